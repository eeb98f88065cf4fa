//! JSON objects in which no name comes twice (RFC 7519 section 4): of two, one reader may take the
//! first and another one the last.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

pub(crate) type Object = Map<String, Value>;

/// Reads one JSON object and nothing behind it.
///
/// # Errors
/// What is wrong; without what it says.
pub(crate) fn read_object(json: &[u8]) -> Result<Object, String> {
    let problem = |error: serde_json::Error| {
        // Its own text shows parts of the input.
        let what = match error.classify() {
            serde_json::error::Category::Data => "is no object with unique names",
            _ => "is no JSON",
        };
        format!("{what} (column {})", error.column())
    };
    serde_json::from_slice::<Unique>(json).map_err(problem)?;
    serde_json::from_slice::<Object>(json).map_err(problem)
}

/// Any value in which no object has a name twice.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unique, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON in which names are unique")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unique, A::Error> {
        while seq.next_element::<Unique>()?.is_some() {}
        Ok(Unique)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a name comes twice"));
            }
            map.next_value::<Unique>()?;
        }
        Ok(Unique)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_at_every_depth() {
        let good = br#"{"a":1,"b":{"a":[1,-2,3.5,true,null,"x",{"a":1}]}}"#;
        assert_eq!(read_object(good).unwrap().len(), 2);
        for bad in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":1}}"#,
            r#"{"b":[{"a":1,"a":1}]}"#,
            "[]",
            "1",
            "null",
            "",
            "{",
            r#"{"a":1}{"a":1}"#,
            r#"{"a":1e999}"#,
            r#"{"a":NaN}"#,
        ] {
            let problem = read_object(bad.as_bytes()).unwrap_err();
            assert!(!problem.contains('a') || problem.starts_with("is no"), "{bad}: {problem}");
        }
        assert!(read_object(b"{\"a\":\"\xff\"}").is_err());
        let deep = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
        assert!(read_object(deep.as_bytes()).is_err(), "not by the stack's end");
    }
}

//! As much JSON as the benchmark takes: the one flat object of numbers that a program prints, and
//! objects of our own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::exec::Result;

/// Reads a flat object whose values are numbers; it is the last line of `output`.
pub(super) fn numbers(output: &str) -> Result<BTreeMap<String, f64>> {
    let line = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let broken = || format!("not an object of numbers: {line:?}");
    let inside = line.strip_prefix('{').and_then(|line| line.strip_suffix('}'));
    let mut all = BTreeMap::new();
    for pair in inside.ok_or_else(broken)?.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (key, value) = pair.split_once(':').ok_or_else(broken)?;
        let key = key.trim().strip_prefix('"').and_then(|key| key.strip_suffix('"'));
        let value: f64 = value.trim().parse().map_err(|_| broken())?;
        all.insert(key.ok_or_else(broken)?.to_owned(), value);
    }
    Ok(all)
}

/// A string with its quotes.
pub(super) fn string(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// An object of numbers; what is not finite is left out.
pub(super) fn object<'a>(pairs: impl IntoIterator<Item = (&'a str, f64)>) -> String {
    let finite = pairs.into_iter().filter(|(_, value)| value.is_finite());
    let pairs: Vec<_> = finite.map(|(key, value)| format!("{}:{value:.4}", string(key))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_read() {
        let all = numbers("warming up\n{\"calls\":12, \"p50_us\": 1.5,\"x\":-2e3}\n\n").unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!((all["calls"], all["p50_us"], all["x"]), (12.0, 1.5, -2000.0));
        assert!(numbers("{}").unwrap().is_empty());
    }

    #[test]
    fn anything_else_is_an_error() {
        for text in ["", "calls: 5", "{\"a\":\"b\"}", "{a:1}", "{\"a\"}"] {
            assert!(numbers(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let text = object([("a", 1.25), ("b", f64::NAN), ("c", 0.0)]);
        assert_eq!(text, "{\"a\":1.2500,\"c\":0.0000}");
        assert_eq!(numbers(&text).unwrap()["a"], 1.25);
        assert_eq!(string("a\"\\\n"), "\"a\\\"\\\\\\u000a\"");
    }
}

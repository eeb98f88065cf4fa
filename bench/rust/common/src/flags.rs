//! `--name value` pairs. Not a parser of command lines: that would be a dependency of each program.

use std::collections::HashMap;
use std::str::FromStr;

use crate::Result;

/// The flags that a program was started with.
pub(crate) struct Flags {
    given: HashMap<String, String>,
}

impl Flags {
    /// Reads the program's arguments; any that is not in `known` is an error.
    pub(crate) fn parse(known: &[&str]) -> Result<Flags> {
        Flags::from(std::env::args().skip(1), known)
    }

    fn from(mut args: impl Iterator<Item = String>, known: &[&str]) -> Result<Flags> {
        let mut given = HashMap::new();
        while let Some(arg) = args.next() {
            let name = arg.strip_prefix("--").filter(|name| known.contains(name));
            let name =
                name.ok_or_else(|| format!("unknown: {arg}; known: --{}", known.join(" --")))?;
            let value = args.next().ok_or_else(|| format!("--{name} needs a value"))?;
            given.insert(name.to_owned(), value);
        }
        Ok(Flags { given })
    }

    /// A flag's text, if it was given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// A flag's value, or `default` without it.
    pub(crate) fn value<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        let Some(text) = self.text(name) else { return Ok(default) };
        text.parse().map_err(|_| format!("--{name} {text}: not a value for it").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags> {
        Flags::from(line.split_whitespace().map(str::to_owned), &["addr", "threads"])
    }

    #[test]
    fn flags_are_pairs() {
        let flags = parse("--threads 3").unwrap();
        assert_eq!(flags.value("threads", 1).unwrap(), 3);
        assert_eq!(flags.text("addr"), None);
        assert_eq!(parse("").unwrap().value("threads", 1).unwrap(), 1);
    }

    #[test]
    fn mistakes_are_errors() {
        assert!(parse("--thread 3").is_err());
        assert!(parse("threads 3").is_err());
        assert!(parse("--threads").is_err());
        assert!(parse("--threads x").unwrap().value("threads", 1).is_err());
    }
}

//! Targets with schemes of one's own, and what resolves them.

use std::fmt;
use std::sync::Arc;

use super::{AnyResolver, Resolver};

/// A target that was taken apart: `scheme:[//authority/]path` (RFC 3986, as `naming.md` uses it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetUri<'a> {
    /// The target as it was written.
    pub text: &'a str,
    /// What stands before the first colon, as it is written: case makes no difference (RFC 3986).
    pub scheme: &'a str,
    /// What stands between two slashes and a third. Mostly nothing.
    pub authority: &'a str,
    /// The name.
    pub path: &'a str,
}

impl<'a> TargetUri<'a> {
    /// Takes a target apart; `None` where it has no scheme.
    pub(crate) fn parse(text: &'a str) -> Option<TargetUri<'a>> {
        let (scheme, rest) = text.split_once(':')?;
        let (authority, path) = match rest.strip_prefix("//") {
            None => ("", rest),
            Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
        };
        Some(TargetUri { text, scheme, authority, path })
    }
}

/// Makes the resolver of a target.
pub(crate) type MakeResolver =
    Arc<dyn Fn(&TargetUri<'_>) -> Result<Arc<dyn AnyResolver>, String> + Send + Sync>;

/// What was registered.
#[derive(Clone, Default)]
pub(crate) struct Schemes(Vec<(String, MakeResolver)>);

impl Schemes {
    /// In place of what was registered for this scheme.
    pub(crate) fn add<R: Resolver>(
        &mut self,
        scheme: String,
        make: impl Fn(&TargetUri<'_>) -> Result<R, String> + Send + Sync + 'static,
    ) {
        self.0.retain(|(known, _)| *known != scheme);
        let make: MakeResolver = Arc::new(move |uri| {
            let resolver: Arc<dyn AnyResolver> = Arc::new(make(uri)?);
            Ok(resolver)
        });
        self.0.push((scheme, make));
    }

    pub(crate) fn find(&self, scheme: &str) -> Option<&MakeResolver> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(scheme)).map(|(_, make)| make)
    }

    /// A scheme that no target can have (RFC 3986 section 3.1).
    pub(crate) fn problem(&self) -> Option<String> {
        let is_scheme = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.')
                })
        };
        let wrong = self.0.iter().find(|(scheme, _)| !is_scheme(scheme))?;
        Some(format!("{:?} is not a scheme: lower-case letters, digits, + - and .", wrong.0))
    }
}

impl fmt::Debug for Schemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(scheme, _)| scheme)).finish()
    }
}

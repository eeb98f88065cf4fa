//! [`CallDefaults`]: what holds for calls of some methods and not for others.

use std::collections::HashMap;
use std::time::Duration;

use gannet_core::MethodDescriptor;
use gannet_core::compression::Encoding;

/// What calls of a method are made with that do not say otherwise, where that is not what the
/// channel says for all: see [`ChannelBuilder::method`](crate::ChannelBuilder::method).
///
/// ```
/// # use std::time::Duration;
/// # use gannet_client::{CallDefaults, Channel};
/// # fn example() -> Result<(), gannet_client::TargetError> {
/// let channel = Channel::builder("localhost:50051")
///     .method("pkg.Files", CallDefaults::new().timeout(Duration::from_secs(60)))
///     .method("/pkg.Files/Download", CallDefaults::new().max_receive_bytes(64 << 20))
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "defaults do nothing until they are given to a channel"]
pub struct CallDefaults {
    pub(crate) timeout: Option<Duration>,
    pub(crate) receive_bytes_max: Option<usize>,
    pub(crate) send_bytes_max: Option<usize>,
    pub(crate) wait_for_ready: Option<bool>,
    pub(crate) compress: Option<Encoding>,
}

impl CallDefaults {
    /// Nothing but what the channel says.
    pub const fn new() -> CallDefaults {
        CallDefaults {
            timeout: None,
            receive_bytes_max: None,
            send_bytes_max: None,
            wait_for_ready: None,
            compress: None,
        }
    }

    /// How long calls may take that have neither a timeout nor a deadline of their own.
    pub const fn timeout(mut self, timeout: Duration) -> CallDefaults {
        self.timeout = Some(timeout);
        self
    }

    /// The largest response message that is accepted, bytes.
    pub const fn max_receive_bytes(mut self, bytes: usize) -> CallDefaults {
        self.receive_bytes_max = Some(bytes);
        self
    }

    /// The largest request message that is sent, bytes before compression.
    pub const fn max_send_bytes(mut self, bytes: usize) -> CallDefaults {
        self.send_bytes_max = Some(bytes);
        self
    }

    /// Whether calls wait while the channel cannot connect.
    pub const fn wait_for_ready(mut self, on: bool) -> CallDefaults {
        self.wait_for_ready = Some(on);
        self
    }

    /// Compresses requests with `encoding`, one of the channel's
    /// [compressors](crate::ChannelBuilder::compressors), or not at all with
    /// [`Encoding::IDENTITY`].
    pub const fn compress(mut self, encoding: Encoding) -> CallDefaults {
        self.compress = Some(encoding);
        self
    }

    /// What these say, and else what `wider` ones do.
    fn or(self, wider: CallDefaults) -> CallDefaults {
        CallDefaults {
            timeout: self.timeout.or(wider.timeout),
            receive_bytes_max: self.receive_bytes_max.or(wider.receive_bytes_max),
            send_bytes_max: self.send_bytes_max.or(wider.send_bytes_max),
            wait_for_ready: self.wait_for_ready.or(wider.wait_for_ready),
            compress: self.compress.or(wider.compress),
        }
    }
}

/// Those of a channel, by the name of a method or a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Defaults(HashMap<String, CallDefaults>);

impl Defaults {
    /// Before what was said of this name.
    pub(super) fn add(&mut self, name: String, defaults: CallDefaults) {
        let known = self.0.entry(name).or_default();
        *known = defaults.or(*known);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is said of a method.
    pub(crate) fn of(&self, method: &MethodDescriptor) -> CallDefaults {
        let said = |name: &str| self.0.get(name).copied().unwrap_or_default();
        said(method.path).or(said(method.service))
    }

    /// A name that no method has, and no service. Which there are is not known to a channel.
    pub(super) fn problem(&self) -> Option<String> {
        let wrong = self.0.keys().find(|name| !is_name(name))?;
        Some(format!(
            "{wrong:?} names neither a method (\"/pkg.Service/Method\") nor a service \
             (\"pkg.Service\")"
        ))
    }

    pub(super) fn encodings(&self) -> impl Iterator<Item = Encoding> {
        self.0.values().filter_map(|defaults| defaults.compress)
    }
}

fn is_name(name: &str) -> bool {
    match name.strip_prefix('/') {
        Some(path) => path
            .rsplit_once('/')
            .is_some_and(|(service, method)| !service.is_empty() && !method.is_empty()),
        None => !name.is_empty() && !name.contains('/'),
    }
}

#[cfg(test)]
mod tests {
    use gannet_core::MethodKind;

    use super::*;

    static SAY: MethodDescriptor = MethodDescriptor::new("/a.B/Say", MethodKind::Unary);
    static ASK: MethodDescriptor = MethodDescriptor::new("/a.B/Ask", MethodKind::Unary);
    static OTHER: MethodDescriptor = MethodDescriptor::new("/a.C/Say", MethodKind::Unary);

    #[test]
    fn a_method_goes_before_its_service_and_later_before_earlier() {
        let seconds = |n| CallDefaults::new().timeout(Duration::from_secs(n));
        let mut all = Defaults::default();
        all.add("a.B".into(), seconds(1).max_send_bytes(1).wait_for_ready(true));
        all.add("/a.B/Say".into(), seconds(2).max_send_bytes(2));
        all.add("/a.B/Say".into(), seconds(3));
        let say = seconds(3).max_send_bytes(2).wait_for_ready(true);
        assert_eq!(all.of(&SAY), say);
        assert_eq!(all.of(&ASK), seconds(1).max_send_bytes(1).wait_for_ready(true));
        assert_eq!(all.of(&OTHER), CallDefaults::new());
        assert_eq!(all.problem(), None);
    }

    #[test]
    fn names_that_nothing_has_are_told() {
        for name in ["", "/", "a.B/Say", "/a.B", "/a.B/", "//Say"] {
            let mut all = Defaults::default();
            all.add(name.into(), CallDefaults::new());
            let problem = all.problem().unwrap_or_else(|| panic!("{name:?} passes"));
            assert!(problem.starts_with(&format!("{name:?} names neither")), "{problem}");
        }
    }
}

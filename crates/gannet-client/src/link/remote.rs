//! The other end of a connection, for what calls are told: where it is, and what it said when it
//! sent GOAWAY (RFC 9113 section 6.8).

use std::fmt::{self, Write as _};
use std::sync::Arc;

use gannet_http2::Reason;

use super::Link;

/// How much of a GOAWAY's debug data is told, bytes. Escaping makes up to four of one.
const DEBUG_SHOWN_BYTES_MAX: usize = 256;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    link: Arc<Link>,
    goaway: Option<Arc<str>>,
}

impl Remote {
    pub(super) fn new(link: Arc<Link>) -> Remote {
        Remote { link, goaway: None }
    }

    /// GOAWAY came. One that only ends a graceful shutdown does not hide a reason given before.
    pub(super) fn on_goaway(&mut self, reason: Reason, debug: &[u8]) {
        if reason == Reason::NO_ERROR && self.goaway.is_some() {
            return;
        }
        let mut told = format!("the server sent GOAWAY {reason}");
        if !debug.is_empty() {
            let shown = &debug[..debug.len().min(DEBUG_SHOWN_BYTES_MAX)];
            let more = if shown.len() < debug.len() { "..." } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(told, " \"{}{more}\"", shown.escape_ascii());
        }
        let told: Arc<str> = told.into();
        let _ = self.link.goaway.set(Arc::clone(&told));
        self.goaway = Some(told);
    }

    /// `what` happened, where, and what the server had said.
    #[cold]
    pub(super) fn tell(&self, what: impl fmt::Display) -> String {
        let mut told = format!("{}: {what}", self.link.address());
        if let Some(goaway) = &self.goaway {
            let _ = write!(told, "; {goaway}");
        }
        told
    }
}

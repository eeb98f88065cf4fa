//! What observers are told of a channel's connections ([`ConnectionEvent`]): written down under the
//! channel's lock, where somebody follows it, and told without.

use std::sync::Arc;

use gannet_core::Status;
use gannet_transport::observe::{ConnectionChange, ConnectionEvent, Disconnect};

use super::Config;
use crate::link::Link;

/// One thing to tell.
#[derive(Debug)]
pub(super) enum News {
    Opened(Arc<Link>),
    /// An attempt at this address.
    Failed(String, Status),
    Closed(Arc<Link>, Disconnect),
}

impl News {
    #[cold]
    pub(super) fn tell(&self, config: &Config) {
        let (address, change) = match self {
            News::Opened(link) => (link.address(), ConnectionChange::Opened),
            News::Failed(address, status) => (&**address, ConnectionChange::Failed(status)),
            News::Closed(link, why) => (link.address(), ConnectionChange::Closed(*why)),
        };
        let event = ConnectionEvent::new(&config.target_uri, address, change);
        config.observers.connection(&event);
    }
}

//! A channel's connections, as events. Of no call: several wait for one connection.

use gannet_transport::observe::{ConnectionChange, ConnectionEvent};
use tracing::{info, warn};

pub(crate) fn tell(event: &ConnectionEvent<'_>) {
    let (address, target) = (event.address, &**event.target);
    match event.change {
        ConnectionChange::Opened => {
            info!(target: "gannet", parent: None, address, target, "connected");
        }
        ConnectionChange::Failed(status) => {
            let why = status.message();
            warn!(target: "gannet", parent: None, address, target, why, "connecting failed");
        }
        ConnectionChange::Closed(why) => {
            let why = &*why.label();
            info!(
                target: "gannet", parent: None,
                address, target, why, "the connection takes no more calls",
            );
        }
        // What later versions tell.
        _ => {}
    }
}

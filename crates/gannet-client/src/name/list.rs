//! [`AddressList`]: addresses that the application tells.

use std::sync::Arc;

use gannet_core::Status;
use tokio::sync::watch;

use super::{Endpoint, Resolution, Resolver, Updates};

/// A resolver that tells what the application tells it, at once and whenever that changes. Clones
/// are the same list: one goes to the channel, another stays with whoever changes it.
///
/// ```
/// # use std::net::SocketAddr;
/// # fn example(one: SocketAddr, two: SocketAddr) -> Result<(), gannet_client::TargetError> {
/// use gannet_client::{Channel, name::AddressList, policy::RoundRobin};
///
/// let backends = AddressList::new([one]);
/// let channel = Channel::builder("backends")
///     .resolver(backends.clone())
///     .balance(RoundRobin::new)
///     .build()?;
/// backends.set([one, two]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct AddressList {
    told: Arc<watch::Sender<Result<Resolution, Status>>>,
}

impl AddressList {
    /// A list of these servers.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<Endpoint>>) -> AddressList {
        let told = Arc::new(watch::Sender::new(Ok(Resolution::new(endpoints))));
        AddressList { told }
    }

    /// These servers, in place of those before. Connections to addresses that are still there are
    /// kept, those to others closed after the calls on them.
    pub fn set(&self, endpoints: impl IntoIterator<Item = impl Into<Endpoint>>) {
        self.set_resolution(Resolution::new(endpoints));
    }

    /// The same with what is said of all of them.
    pub fn set_resolution(&self, resolution: Resolution) {
        self.tell(Ok(resolution));
    }

    /// What they are is not known, and why. Channels that know of some keep those.
    pub fn fail(&self, status: Status) {
        self.tell(Err(status));
    }

    fn tell(&self, names: Result<Resolution, Status>) {
        // What was there before is nobody's concern.
        drop(self.told.send_replace(names));
    }
}

impl Resolver for AddressList {
    async fn watch(&self, updates: Updates) {
        let mut told = self.told.subscribe();
        loop {
            // Whoever is told may tell: not while it is borrowed.
            let names = told.borrow_and_update().clone();
            match names {
                Ok(resolution) => updates.resolved(resolution),
                Err(status) => updates.failed(status),
            }
            // This has a sender itself.
            if told.changed().await.is_err() {
                return;
            }
        }
    }
}

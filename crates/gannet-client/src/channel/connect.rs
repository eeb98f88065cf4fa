//! The task that makes one attempt to connect to one address.
//!
//! When to try is decided by the [`Balancer`](crate::policy::Balancer); this only acts.

use std::sync::{Arc, Weak};
use std::time::Instant;

use gannet_core::Status;
use gannet_http2::{Client, Connection, Upkeep};
use gannet_transport::Driver;
use tokio::sync::oneshot;

use super::dial::{dial, look_up};
use super::race::race;
use super::{Config, Shared, now};
use crate::link::{Classifier, ClientSide, Constants, Link, LinkCommand};
use crate::name::{Address, Way};
use crate::policy::BackendId;

/// One attempt, as the balancer wants it.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    pub(super) backend: BackendId,
    pub(super) address: Address,
    pub(super) attempt: u64,
    /// As messages tell.
    pub(super) nth: u32,
    pub(super) give_up_at: Option<Instant>,
}

/// The task.
#[derive(Debug)]
pub(super) struct Connecting {
    /// Weak, so that a channel nobody holds stops trying.
    channel: Weak<Shared>,
    config: Arc<Config>,
    dial: Dial,
    is_done: bool,
}

impl Connecting {
    pub(super) fn new(channel: Weak<Shared>, config: Arc<Config>, dial: Dial) -> Connecting {
        Connecting { channel, config, dial, is_done: false }
    }

    pub(super) async fn run(mut self) {
        let started = now();
        let give_up_at = self.dial.give_up_at;
        let connected = match until(give_up_at, self.establish()).await {
            Some(connected) => connected,
            None => {
                let after = give_up_at.map(|at| at.saturating_duration_since(started));
                let (address, after) = (&self.dial.address, after.unwrap_or_default());
                let told = format!("{address}: no answer within {:.1} s", after.as_secs_f64());
                Err(Status::unavailable(told))
            }
        };
        self.is_done = true;
        if let Some(channel) = self.channel.upgrade() {
            channel.dialed(&self.dial, connected);
        } else if let Ok(link) = connected {
            link.push(LinkCommand::Close);
        }
    }

    async fn establish(&self) -> Result<Arc<Link>, Status> {
        let address = &self.dial.address;
        let Way::Named(name) = address.way() else {
            return self.establish_at(address, address.to_string()).await;
        };
        let found = look_up(name, &self.config.lookups).await?;
        let one =
            |one: Address| async move { self.establish_at(&one, format!("{name} ({one})")).await };
        race(found, one).await.map_err(|status| {
            let told = format!("{name}: {}", status.message());
            status.with_message(told)
        })
    }

    /// Only SETTINGS prove that a way leads to a server.
    async fn establish_at(&self, address: &Address, shown: String) -> Result<Arc<Link>, Status> {
        let keepalive = self.channel.upgrade().and_then(|channel| channel.keepalive());
        let stream = dial(address, &self.config).await?;
        let http2 = self.config.http2.clone();
        let mut conn = Connection::<Client>::new(http2, Arc::new(Classifier), now());
        if keepalive.is_some() {
            let mut upkeep = Upkeep::default();
            upkeep.keepalive = keepalive;
            conn.keep_up_with(Arc::new(upkeep), 0.0, now());
        }
        let constants = Constants::new(&mut conn, &self.config);
        let link = Link::new(shown, keepalive, (self.dial.backend, self.dial.nth), now());
        let unproven = Unproven::new(link);
        let (tell, told) = oneshot::channel();
        let link = &unproven.link;
        let side = ClientSide::new(self.channel.clone(), Arc::clone(link), constants, tell);
        tokio::spawn(Driver::new(stream, conn, side, Arc::clone(link.queue())));
        match told.await {
            Ok(Ok(())) => Ok(unproven.proven()),
            Ok(Err(status)) => Err(hardly_a_server(status, self.config.tls.is_some())),
            // The driver tells even when it is dropped; this is for what it does not know.
            Err(_) => Err(Status::unavailable(format!("{address}: the runtime went away"))),
        }
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if !self.is_done
            && let Some(channel) = self.channel.upgrade()
        {
            channel.dial_stranded(&self.dial);
        }
    }
}

/// A connection on which the server's SETTINGS have not come; dropped as such, it ends.
struct Unproven {
    link: Arc<Link>,
    is_proven: bool,
}

impl Unproven {
    fn new(link: Arc<Link>) -> Unproven {
        Unproven { link, is_proven: false }
    }

    fn proven(mut self) -> Arc<Link> {
        self.is_proven = true;
        Arc::clone(&self.link)
    }
}

impl Drop for Unproven {
    fn drop(&mut self) {
        if !self.is_proven {
            self.link.abort();
        }
    }
}

#[cold]
pub(super) fn cut_short(link: &Link) -> Status {
    let mut told = format!("{}: the connection ended as soon as it had begun", link.address());
    if let Some(goaway) = link.goaway() {
        told = format!("{told}; {goaway}");
    }
    Status::unavailable(told)
}

/// Adds what it mostly means that a connection ends before the server's SETTINGS.
#[cold]
fn hardly_a_server(status: Status, has_tls: bool) -> Status {
    let what = match has_tls {
        true if is_told_by_tls(&status) => return status,
        // By ALPN it speaks HTTP/2.
        true => "does the server want a certificate of this client, or another one?",
        false => {
            "is it a server that speaks HTTP/2 without TLS? With TLS, the channel needs `tls(…)`"
        }
    };
    let told = format!("{}; {what}", status.message());
    status.with_message(told)
}

/// Whether the server has said in TLS why it ended the connection.
fn is_told_by_tls(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if kind == Some(std::io::ErrorKind::InvalidData) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What `work` comes to, unless the moment comes first.
pub(super) async fn until<T>(moment: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match moment {
        Some(at) => tokio::time::timeout_at(at.into(), work).await.ok(),
        None => Some(work.await),
    }
}

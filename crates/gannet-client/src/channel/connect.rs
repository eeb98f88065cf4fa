//! The task that connects a channel, and tries again until it is connected or not wanted any more.
//!
//! When to try is decided by [`Backoff`](crate::policy::Backoff); this only waits and acts.

use std::sync::{Arc, Weak};
use std::time::Instant;

use gannet_core::Status;
use gannet_http2::{Client, Connection, Upkeep};
use gannet_transport::Driver;
use tokio::sync::oneshot;

use super::dial::{Way, resolve};
use super::race::Race;
use super::{Config, Shared};
use crate::link::{Classifier, ClientSide, Constants, Link};
use crate::policy::Attempt;

/// One run of attempts, from idle to ready.
#[derive(Debug)]
pub(super) struct Connecting {
    /// Weak, so that a channel nobody holds stops trying.
    channel: Weak<Shared>,
    config: Arc<Config>,
    is_done: bool,
}

impl Connecting {
    pub(super) fn new(channel: &Arc<Shared>) -> Connecting {
        Connecting {
            channel: Arc::downgrade(channel),
            config: Arc::clone(channel.config()),
            is_done: false,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let started = now();
            let attempt = self.channel.upgrade().and_then(|channel| channel.attempt(started));
            let Some(Attempt { give_up_at }) = attempt else { return };
            let connected = self.attempt(started, give_up_at).await;
            let Some(channel) = self.channel.upgrade() else { return };
            let connected = connected.and_then(|link| match channel.established(&link) {
                true => Ok(()),
                false => Err(cut_short(&link)),
            });
            match connected {
                Ok(()) => {
                    self.is_done = true;
                    return;
                }
                Err(error) => {
                    let retry_at = channel.attempt_failed(now(), error);
                    drop(channel);
                    match retry_at {
                        Some(at) => tokio::time::sleep_until(at.into()).await,
                        // The channel ends this task when it goes.
                        None => std::future::pending().await,
                    }
                }
            }
        }
    }

    /// Ready when a server's SETTINGS have come.
    async fn attempt(
        &self,
        started: Instant,
        give_up_at: Option<Instant>,
    ) -> Result<Arc<Link>, Status> {
        let after = || give_up_at.map(|at| at.saturating_duration_since(started));
        let Some(ways) = until(give_up_at, resolve(&self.config)).await else {
            let after = after().unwrap_or_default().as_secs_f64();
            return Err(Status::unavailable(format!("not resolved within {after:.1} s")));
        };
        let mut race = Race::new();
        for way in ways? {
            race.enter(way.to_string(), self.establish(way));
        }
        match until(give_up_at, race.run()).await {
            Some(Some(link)) => Ok(link),
            Some(None) => Err(race.failure(None)),
            None => Err(race.failure(after())),
        }
    }

    /// Only SETTINGS prove that a way leads to a server.
    async fn establish(&self, way: Way) -> Result<Arc<Link>, Status> {
        let keepalive = self.channel.upgrade().and_then(|channel| channel.keepalive());
        let stream = way.connect(&self.config).await?;
        let http2 = self.config.http2.clone();
        let mut conn = Connection::<Client>::new(http2, Arc::new(Classifier), now());
        if keepalive.is_some() {
            let mut upkeep = Upkeep::default();
            upkeep.keepalive = keepalive;
            conn.keep_up_with(Arc::new(upkeep), 0.0, now());
        }
        let constants = Constants::new(&mut conn, &self.config);
        let unproven = Unproven::new(Link::new(way.to_string(), keepalive));
        let (tell, told) = oneshot::channel();
        let link = &unproven.link;
        let side = ClientSide::new(self.channel.clone(), Arc::clone(link), constants, tell);
        tokio::spawn(Driver::new(stream, conn, side, Arc::clone(link.queue())));
        match told.await {
            Ok(Ok(())) => Ok(unproven.proven()),
            Ok(Err(status)) => Err(hardly_a_server(status, self.config.tls.is_some())),
            // The driver tells even when it is dropped; this is for what it does not know.
            Err(_) => Err(Status::unavailable(format!("{way}: the runtime went away"))),
        }
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if !self.is_done
            && let Some(channel) = self.channel.upgrade()
        {
            channel.connecting_ended();
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
fn cut_short(link: &Link) -> Status {
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
async fn until<T>(moment: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match moment {
        Some(at) => tokio::time::timeout_at(at.into(), work).await.ok(),
        None => Some(work.await),
    }
}

/// Tokio's clock, which tests can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

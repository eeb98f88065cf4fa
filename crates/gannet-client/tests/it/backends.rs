//! Several servers in one process, which say who they are.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gannet_client::name::Address;
use gannet_client::{Channel, ChannelBuilder};
use gannet_core::codec::Raw;
use gannet_core::{MethodDescriptor, MethodKind, Result, ServiceDescriptor};
use gannet_server::{Dispatch, MethodOptions, Server, Service, Start, Started};
use gannet_transport::{Acceptor, Listener, PipeListener, pipe};

use crate::peer::{Bytes, unary};

static NAMED: ServiceDescriptor = ServiceDescriptor::new(
    "test.Test",
    &[MethodDescriptor::new("/test.Test/Unary", MethodKind::Unary)],
);

/// Answers with its name, and counts.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) calls: Arc<AtomicUsize>,
}

impl Service for Named {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &NAMED
    }

    fn call(&self, _: usize, start: Start<'_>) -> Started {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let name = self.name;
        start.unary::<Raw, Bytes, Bytes, _, _>(move |call, message| async move {
            if message == b"wait" {
                std::future::pending::<()>().await;
            }
            (call, Ok(name.as_bytes().to_vec()))
        })
    }
}

/// A server within the process, and its address.
pub(crate) struct Backend {
    pub(crate) address: Address,
    pub(crate) calls: Arc<AtomicUsize>,
}

/// One that serves.
pub(crate) fn backend(name: &'static str) -> Backend {
    backend_with(name, |server| server)
}

pub(crate) fn backend_with(name: &'static str, change: impl FnOnce(Server) -> Server) -> Backend {
    let (address, listener) = address(name);
    let calls = Arc::default();
    let named = Named { name, calls: Arc::clone(&calls) };
    // Not on threads for computing: virtual time would pass meanwhile.
    let inline = MethodOptions::new().dispatch(Dispatch::Inline);
    let server = change(Server::new().add(named).method("test.Test", inline));
    tokio::spawn(server.serve(listener).into_future());
    Backend { address, calls }
}

/// An address, and who accepts there.
pub(crate) fn address(name: &'static str) -> (Address, PipeListener) {
    let (connector, listener) = pipe();
    (Address::in_process(name, connector), listener)
}

/// One that a test accepts on.
pub(crate) fn scripted(name: &'static str) -> (Address, Acceptor) {
    let (address, listener) = address(name);
    (address, Listener::from(listener).into_acceptor().unwrap())
}

/// One where nobody is.
pub(crate) fn dead(name: &'static str) -> Address {
    address(name).0
}

pub(crate) fn builder() -> ChannelBuilder {
    Channel::builder("test:///backends")
}

/// Who answers a call.
pub(crate) async fn who(channel: &Channel) -> Result<String> {
    let name = unary(channel, b"").await?;
    Ok(String::from_utf8(name).unwrap())
}

/// Who answers so many calls, and how often.
pub(crate) async fn counts(
    channel: &Channel,
    calls: usize,
) -> std::collections::BTreeMap<String, usize> {
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..calls {
        *counts.entry(who(channel).await.unwrap()).or_default() += 1;
    }
    counts
}

/// Waits until so many servers have answered.
pub(crate) async fn until_all_answer(channel: &Channel, servers: usize) {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10_000 {
        seen.insert(who(channel).await.unwrap());
        if seen.len() == servers {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("only {seen:?} of {servers} servers answer");
}

//! A server that asks for tokens, and a client, in this process; with counters of what got through.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use gannet_auth::{Claims, JwtAuth, JwtValidator, JwtValidatorBuilder, Keys};
use gannet_client::Channel;
use gannet_core::codec::{Codec, DecodeError, EncodeError, Raw};
use gannet_core::{Metadata, MethodDescriptor, MethodKind, Result, ServiceDescriptor, Status};
use gannet_server::{Call, Server, Service, Start, Started};
use gannet_transport::{Inbound, Outbound, pipe};

use crate::tokens::{AUDIENCE, ISSUER, NOW, at, key_set};

pub(crate) static TEST: ServiceDescriptor = ServiceDescriptor::new(
    "test.Test",
    &[
        MethodDescriptor::new("/test.Test/Who", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/Chat", MethodKind::BidiStreaming),
    ],
);

type Bytes = Vec<u8>;

/// What got through.
#[derive(Clone)]
pub(crate) struct World {
    /// What its clients send.
    id: usize,
    pub(crate) handlers: Arc<AtomicUsize>,
    /// Each refusal, as the server's log would have it.
    pub(crate) refusals: Arc<Mutex<Vec<String>>>,
    pub(crate) seen: Arc<Mutex<Vec<Claims>>>,
}

/// A client of a world.
pub(crate) struct Client {
    pub(crate) channel: Channel,
    pub(crate) request: Bytes,
}

/// How often each request was decoded. A codec has no state, so each world sends others.
static DECODED: Mutex<BTreeMap<Bytes, usize>> = Mutex::new(BTreeMap::new());
static WORLDS: AtomicUsize = AtomicUsize::new(0);

/// Counts what the server decodes.
struct Counting;

impl Codec<Bytes> for Counting {
    fn encode(message: &Bytes, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Raw::encode(message, bytes_max, out)
    }

    fn decode(payload: &[u8]) -> Result<Bytes, DecodeError> {
        *DECODED.lock().unwrap().entry(payload.to_vec()).or_default() += 1;
        Raw::decode(payload)
    }
}

impl Service for World {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &TEST
    }

    fn call(&self, method: usize, start: Start<'_>) -> Started {
        let world = self.clone();
        match method {
            0 => start.unary::<Counting, Bytes, Bytes, _, _>(|call, _| async move {
                let who = world.enter(&call);
                (call, Ok(who.into_bytes()))
            }),
            1 => start.bidi_streaming::<Counting, Bytes, Bytes, _, _>(|call, ends| async move {
                let (mut requests, mut replies) = ends.open(&call);
                let who = world.enter(&call);
                let result = async {
                    while requests.next().await?.is_some() {
                        replies.send(who.clone().into_bytes()).await?;
                    }
                    Ok(())
                };
                let result = result.await;
                (call, result)
            }),
            _ => start.unimplemented(),
        }
    }
}

impl World {
    pub(crate) fn new() -> World {
        World {
            id: WORLDS.fetch_add(1, Ordering::SeqCst),
            handlers: Arc::default(),
            refusals: Arc::default(),
            seen: Arc::default(),
        }
    }

    /// Requests that were decoded.
    pub(crate) fn decoded(&self) -> usize {
        DECODED.lock().unwrap().get(&self.request()).copied().unwrap_or_default()
    }

    fn request(&self) -> Bytes {
        format!("request {}", self.id).into_bytes()
    }

    fn enter(&self, call: &Call) -> String {
        self.handlers.fetch_add(1, Ordering::SeqCst);
        let claims = call.extensions().get::<Claims>().cloned();
        let who = claims.as_ref().and_then(Claims::subject).unwrap_or("nobody").to_owned();
        self.seen.lock().unwrap().extend(claims);
        who
    }

    /// Serves behind `auth`.
    pub(crate) fn serve(&self, auth: JwtAuth) -> Client {
        let refusals = Arc::clone(&self.refusals);
        let auth = auth.on_refusal(move |call, refusal| {
            let told = format!("{refusal} | {refusal:?} | {call:?}");
            refusals.lock().unwrap().push(told);
        });
        let (connector, listener) = pipe();
        let server = Server::new().intercept(auth).add(self.clone());
        tokio::spawn(server.serve(listener).into_future());
        let builder = Channel::builder_with_connector(connector);
        let channel = builder.allow_credentials_without_tls(true).build().unwrap();
        Client { channel, request: self.request() }
    }

    pub(crate) fn handlers(&self) -> usize {
        self.handlers.load(Ordering::SeqCst)
    }

    pub(crate) fn last_refusal(&self) -> String {
        self.refusals.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

pub(crate) fn clock() -> SystemTime {
    at(NOW)
}

/// What these tests accept.
pub(crate) fn rules(keys: impl Into<Keys>) -> JwtValidatorBuilder {
    JwtValidator::builder().issuer(ISSUER, keys).audience(AUDIENCE).clock(clock)
}

pub(crate) fn usual() -> JwtAuth {
    JwtAuth::new(rules(key_set()).build().unwrap())
}

/// Calls with these values of `authorization`, whatever they are.
pub(crate) async fn call(client: &Client, values: &[Vec<u8>]) -> Result<String, Status> {
    let request =
        client.channel.unary::<Raw, Bytes, Bytes>(&TEST.methods[0], client.request.clone());
    let reply = request.metadata(metadata(values)).await?;
    Ok(String::from_utf8(reply).unwrap())
}

/// The same on a stream.
pub(crate) async fn chat(client: &Client, values: &[Vec<u8>]) -> Result<String, Status> {
    let (mut to, mut from) = open(client, values).await?;
    // The server may have refused by now.
    let _ = to.send(client.request.clone()).await;
    let reply = from.next().await?;
    Ok(String::from_utf8(reply.unwrap_or_default()).unwrap())
}

/// Both ends of a stream.
pub(crate) async fn open(
    client: &Client,
    values: &[Vec<u8>],
) -> Result<(Outbound<Bytes>, Inbound<Bytes>), Status> {
    let streams = client.channel.bidi_streaming::<Raw, Bytes, Bytes>(&TEST.methods[1]);
    streams.metadata(metadata(values)).await
}

pub(crate) fn bearer(token: &str) -> Vec<Vec<u8>> {
    vec![format!("Bearer {token}").into_bytes()]
}

fn metadata(values: &[Vec<u8>]) -> Metadata {
    Metadata::from_wire(values.iter().map(|value| (&b"authorization"[..], &**value)))
}

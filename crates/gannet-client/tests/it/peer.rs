//! A scripted server: says exactly what a test tells it to, and keeps all that comes.

use std::collections::VecDeque;
use std::future::IntoFuture;
use std::io::IoSlice;
use std::sync::Arc;

use gannet_client::{Channel, ChannelBuilder};
use gannet_core::{MethodDescriptor, MethodKind, frame};
use gannet_http2::hpack::{FieldBlock, NoClassifier};
use gannet_http2::{Config, Connection, Event, Reason, RecvBuf, SendBuf, Server, StreamKey};
use gannet_transport::{Acceptor, Listener, Stream, pipe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) static UNARY: MethodDescriptor =
    MethodDescriptor::new("/test.Test/Unary", MethodKind::Unary);
pub(crate) static UPLOAD: MethodDescriptor =
    MethodDescriptor::new("/test.Test/Upload", MethodKind::ClientStreaming);
pub(crate) static DOWNLOAD: MethodDescriptor =
    MethodDescriptor::new("/test.Test/Download", MethodKind::ServerStreaming);
pub(crate) static CHAT: MethodDescriptor =
    MethodDescriptor::new("/test.Test/Chat", MethodKind::BidiStreaming);

/// The messages of all these methods.
pub(crate) type Bytes = Vec<u8>;

/// A unary call with raw bytes.
pub(crate) fn unary<'a>(
    channel: &'a Channel,
    message: &[u8],
) -> gannet_client::Unary<'a, Bytes, Bytes> {
    channel.unary::<gannet_core::codec::Raw, _, _>(&UNARY, message.to_vec())
}

/// The same in a task of its own.
pub(crate) fn spawn_unary(
    channel: &Channel,
    message: &'static [u8],
) -> JoinHandle<gannet_core::Result<Bytes>> {
    let channel = channel.clone();
    tokio::spawn(async move { unary(&channel, message).await })
}

pub(crate) fn download<'a>(
    channel: &'a Channel,
    message: &[u8],
) -> gannet_client::ServerStreaming<'a, Bytes, Bytes> {
    channel.server_streaming::<gannet_core::codec::Raw, _, _>(&DOWNLOAD, message.to_vec())
}

pub(crate) fn upload(channel: &Channel) -> gannet_client::ClientStreaming<'_, Bytes, Bytes> {
    channel.client_streaming::<gannet_core::codec::Raw, _, _>(&UPLOAD)
}

pub(crate) fn chat(channel: &Channel) -> gannet_client::BidiStreaming<'_, Bytes, Bytes> {
    channel.bidi_streaming::<gannet_core::codec::Raw, _, _>(&CHAT)
}

pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut framed = frame::prefix(false, message.len(), usize::MAX).unwrap().to_vec();
    framed.extend_from_slice(message);
    framed
}

/// A port of this machine on which nobody listens.
pub(crate) fn dead_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Request {
        key: StreamKey,
        fields: Fields,
        end_stream: bool,
    },
    Data {
        key: StreamKey,
        bytes: Bytes,
        end_stream: bool,
    },
    Reset {
        key: StreamKey,
        reason: Reason,
    },
    GoAway {
        reason: Reason,
    },
    /// The client closed the connection.
    Closed,
}

/// Header fields in order.
pub(crate) type Fields = Vec<(String, String)>;

pub(crate) fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
}

/// The head of a good response.
pub(crate) const HEAD: &[(&str, &str)] =
    &[(":status", "200"), ("content-type", "application/grpc")];
/// The trailers of a good end.
pub(crate) const OK: &[(&str, &str)] = &[("grpc-status", "0")];

/// The next connection of a listener without TLS.
pub(crate) async fn accept(acceptor: &mut Acceptor) -> Stream {
    acceptor.accept().await.unwrap().unwrap().into_stream().ok().unwrap().0
}

/// Accepts the connections of one channel.
pub(crate) struct Peers {
    acceptor: Acceptor,
    pub(crate) config: Config,
}

impl Peers {
    /// A channel and the other end of its pipe.
    pub(crate) fn new() -> (Channel, Peers) {
        Peers::with(|builder| builder)
    }

    pub(crate) fn with(change: impl FnOnce(ChannelBuilder) -> ChannelBuilder) -> (Channel, Peers) {
        let (connector, listener) = pipe();
        let channel = change(Channel::builder_with_connector(connector)).build().unwrap();
        let acceptor = Listener::from(listener).into_acceptor().unwrap();
        (channel, Peers { acceptor, config: Config::default() })
    }

    /// The next connection, before anything was said on it.
    pub(crate) async fn silent(&mut self) -> Stream {
        accept(&mut self.acceptor).await
    }

    /// Whether no connection waits, and none can come any more.
    pub(crate) async fn nobody_left(&mut self) -> bool {
        self.acceptor.accept().await.unwrap().is_none()
    }

    /// The next connection.
    pub(crate) async fn accept(&mut self) -> Peer {
        let stream = self.silent().await;
        let mut peer = Peer::new(stream, self.config.clone());
        peer.flush().await;
        peer
    }
}

/// The server's end of one connection.
pub(crate) struct Peer {
    io: Stream,
    pub(crate) conn: Connection<Server>,
    recv: RecvBuf,
    send: SendBuf,
    got: VecDeque<Got>,
    /// Give receive credit back as bytes come.
    pub(crate) credits: bool,
    /// Bytes that came.
    pub(crate) received_bytes: usize,
}

impl Peer {
    pub(crate) fn new(io: Stream, config: Config) -> Peer {
        let conn = Connection::new(config, Arc::new(NoClassifier), Instant::now().into_std());
        Peer {
            io,
            conn,
            recv: RecvBuf::new(),
            send: SendBuf::new(),
            got: VecDeque::new(),
            credits: true,
            received_bytes: 0,
        }
    }

    /// Sends what was asked of the engine.
    pub(crate) async fn flush(&mut self) {
        let now = Instant::now().into_std();
        loop {
            self.conn.poll_transmit(now, &mut self.send);
            if self.send.is_empty() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.send.slices(&mut slices);
            match self.io.write_vectored(&slices[..count]).await {
                Ok(written) => self.send.advance(written),
                Err(_) => break,
            }
        }
        let _ = self.io.flush().await;
    }

    /// Writes bytes past the engine.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.flush().await;
        self.io.write_all(bytes).await.unwrap();
    }

    /// Reads until something came that a test asks for.
    pub(crate) async fn next(&mut self) -> Got {
        loop {
            self.parse();
            self.flush().await;
            if let Some(got) = self.got.pop_front() {
                return got;
            }
            let spare = self.recv.spare_mut();
            let count = self.io.read(spare).await.unwrap_or(0);
            self.recv.commit(count);
            self.received_bytes += count;
            if count == 0 {
                return Got::Closed;
            }
        }
    }

    fn parse(&mut self) {
        let now = Instant::now().into_std();
        let mut credit = Vec::new();
        while let Some(event) = self.conn.next_event(now, &mut self.recv).unwrap() {
            match event {
                Event::Headers { key, fields, end_stream } => {
                    let fields = copied(fields);
                    self.got.push_back(Got::Request { key, fields, end_stream });
                }
                Event::Data { key, payload, end_stream } => {
                    credit.push((key, payload.len()));
                    let bytes = payload.to_vec();
                    self.got.push_back(Got::Data { key, bytes, end_stream });
                }
                Event::Reset { key, reason, .. } => {
                    self.got.push_back(Got::Reset { key, reason });
                }
                Event::GoAway { reason, .. } => self.got.push_back(Got::GoAway { reason }),
                _ => {}
            }
        }
        for (key, bytes) in credit.into_iter().filter(|_| self.credits) {
            self.conn.release(key, bytes);
        }
    }

    /// The head of the next request.
    pub(crate) async fn request(&mut self) -> (StreamKey, Fields) {
        match self.next().await {
            Got::Request { key, fields, .. } => (key, fields),
            other => panic!("{other:?} instead of a request"),
        }
    }

    /// The next request with its one message.
    pub(crate) async fn unary(&mut self) -> (StreamKey, Fields, Bytes) {
        let (key, fields) = self.request().await;
        let body = self.body(key).await;
        assert_eq!(body[0], 0);
        (key, fields, body[frame::PREFIX_BYTES..].to_vec())
    }

    /// All DATA of a stream up to its end.
    pub(crate) async fn body(&mut self, key: StreamKey) -> Bytes {
        let mut body = Vec::new();
        loop {
            match self.next().await {
                Got::Data { key: from, bytes, end_stream } if from == key => {
                    body.extend_from_slice(&bytes);
                    if end_stream {
                        return body;
                    }
                }
                other => panic!("{other:?} instead of DATA"),
            }
        }
    }

    /// Expects the stream to be reset. What comes for other streams before that stays.
    pub(crate) async fn reset_of(&mut self, key: StreamKey) -> Reason {
        let mut others = VecDeque::new();
        loop {
            match self.next().await {
                Got::Reset { key: of, reason } if of == key => {
                    others.append(&mut self.got);
                    self.got = others;
                    return reason;
                }
                Got::Data { key: of, .. } if of == key => {}
                Got::Closed => panic!("closed instead of a reset"),
                other => others.push_back(other),
            }
        }
    }

    pub(crate) fn headers(&mut self, key: StreamKey, fields: &[(&str, &str)], end_stream: bool) {
        self.conn.send_headers(key, end_stream, |w| write(w, fields)).unwrap();
    }

    pub(crate) fn data(&mut self, key: StreamKey, bytes: &[u8], end_stream: bool) {
        self.conn.send_data(key, bytes, end_stream).unwrap();
    }

    pub(crate) fn trailers(&mut self, key: StreamKey, fields: &[(&str, &str)]) {
        self.conn.send_trailers(key, |w| write(w, fields)).unwrap();
    }

    /// Answers with these messages, and does not end the stream.
    pub(crate) async fn begin(&mut self, key: StreamKey, messages: &[&[u8]]) {
        self.headers(key, HEAD, false);
        for message in messages {
            self.data(key, &framed(message), false);
        }
        self.flush().await;
    }

    /// Resets the stream and forgets it.
    pub(crate) fn reset(&mut self, key: StreamKey, reason: Reason) {
        self.conn.reset(key, reason);
        self.conn.forget(key);
    }

    /// Answers with these messages and trailers, and forgets the stream.
    pub(crate) async fn respond(
        &mut self,
        key: StreamKey,
        messages: &[&[u8]],
        trailers: &[(&str, &str)],
    ) {
        self.begin(key, messages).await;
        self.trailers(key, trailers);
        self.conn.forget(key);
        self.flush().await;
    }

    /// Takes one unary call and answers it with its own message.
    pub(crate) async fn echo(&mut self) -> Fields {
        let (key, fields, message) = self.unary().await;
        self.respond(key, &[&message], OK).await;
        fields
    }

    /// Makes a unary call, which is to be the next thing that comes, and answers it.
    pub(crate) async fn round_trip(&mut self, channel: &Channel, message: &[u8]) {
        let (reply, ()) = tokio::join!(unary(channel, message).into_future(), async {
            let (key, _, came) = self.unary().await;
            assert_eq!(came, message, "something else came first");
            self.respond(key, &[&came], OK).await;
        });
        assert_eq!(reply.unwrap(), message);
    }

    /// Answers unary calls with their own messages until the client closes.
    pub(crate) async fn echo_all(mut self) {
        loop {
            match self.next().await {
                Got::Request { key, .. } => {
                    let body = self.body(key).await;
                    self.respond(key, &[&body[frame::PREFIX_BYTES..]], OK).await;
                }
                Got::Closed | Got::GoAway { .. } => return,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn write(w: &mut gannet_http2::FieldWriter<'_>, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        w.field(name.as_bytes(), value.as_bytes());
    }
}

fn copied(fields: &FieldBlock) -> Fields {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    fields.iter().map(|field| (text(field.name), text(field.value))).collect()
}

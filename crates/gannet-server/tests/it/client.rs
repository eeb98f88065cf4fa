//! A raw client: sends any headers and bytes, keeps all that comes.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use gannet_core::frame;
use gannet_http2::hpack::{FieldBlock, FieldTag, NoClassifier};
use gannet_http2::{Client, Config, Connection, Event, Reason, RecvBuf, SendBuf, StreamKey};
use gannet_transport::{PipeConnector, Stream, pipe};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use gannet_server::{Server, Serving};

/// What came on one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) headers: Option<Vec<(String, String)>>,
    /// The headers ended the stream.
    pub(crate) trailers_only: bool,
    pub(crate) data: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) reset: Option<Reason>,
    pub(crate) ended: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(self.headers.as_deref().unwrap_or_default(), name)
    }

    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        let list = if self.trailers_only { self.headers.as_deref() } else { Some(&*self.trailers) };
        find(list.unwrap_or_default(), name)
    }

    pub(crate) fn http_status(&self) -> &str {
        self.header(":status").unwrap_or("none")
    }

    /// The number in grpc-status.
    pub(crate) fn code(&self) -> i32 {
        self.trailer("grpc-status").map_or(-1, |digits| digits.parse().unwrap())
    }

    pub(crate) fn message(&self) -> &str {
        self.trailer("grpc-message").unwrap_or_default()
    }

    /// The messages in the body, which must be whole.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let mut rest = &self.data[..];
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
            messages.push(rest[5..5 + length].to_vec());
            rest = &rest[5 + length..];
        }
        messages
    }

    /// The one message of a good reply.
    pub(crate) fn ok(&self) -> Vec<u8> {
        assert_eq!(self.code(), 0, "{self:?}");
        assert_eq!(self.http_status(), "200");
        assert_eq!(self.header("content-type"), Some("application/grpc"));
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "{self:?}");
        messages.remove(0)
    }
}

fn find<'a>(list: &'a [(String, String)], name: &str) -> Option<&'a str> {
    list.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
}

/// One connection.
pub(crate) struct Raw {
    conn: Connection<Client>,
    io: Stream,
    recv: RecvBuf,
    send: SendBuf,
    pub(crate) replies: HashMap<StreamKey, Reply>,
    /// DATA is not given back as credit.
    pub(crate) hold_credit: bool,
    pub(crate) goaways: Vec<(u32, Reason)>,
    /// Debug data of the last GOAWAY.
    pub(crate) farewell: Vec<u8>,
    pub(crate) closed: bool,
}

impl Raw {
    pub(crate) fn new(io: Stream) -> Raw {
        Self::with(io, Config::default())
    }

    pub(crate) fn with(io: Stream, config: Config) -> Raw {
        let now = Instant::now().into_std();
        Raw {
            conn: Connection::new(config, Arc::new(NoClassifier), now),
            io,
            recv: RecvBuf::new(),
            send: SendBuf::new(),
            replies: HashMap::new(),
            hold_credit: false,
            goaways: Vec::new(),
            farewell: Vec::new(),
            closed: false,
        }
    }

    /// Opens a stream with exactly these fields.
    pub(crate) fn open_with(&mut self, fields: &[(&str, &str)], end: bool) -> StreamKey {
        let key = self
            .conn
            .open(end, |w| {
                for (name, value) in fields {
                    w.field_indexed(name.as_bytes(), value.as_bytes());
                }
            })
            .unwrap();
        self.replies.insert(key, Reply::default());
        key
    }

    /// Opens a stream with the usual fields of a call, and some more.
    pub(crate) fn open(&mut self, method: &str, more: &[(&str, &str)]) -> StreamKey {
        let path = format!("/test.Test/{method}");
        let mut fields = vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":path", &*path),
            (":authority", "test"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        fields.extend_from_slice(more);
        self.open_with(&fields, false)
    }

    /// A whole unary request.
    pub(crate) fn call(&mut self, method: &str, message: &[u8]) -> StreamKey {
        let key = self.open(method, &[]);
        self.message(key, message, true);
        key
    }

    pub(crate) fn message(&mut self, key: StreamKey, message: &[u8], end: bool) {
        self.data(key, &framed(message), end);
    }

    pub(crate) fn data(&mut self, key: StreamKey, bytes: &[u8], end: bool) {
        self.conn.send_data(key, bytes, end).unwrap();
    }

    pub(crate) fn end(&mut self, key: StreamKey) {
        self.conn.send_data(key, &[], true).unwrap();
    }

    /// Resets a stream and forgets it, as a cancelled call does.
    pub(crate) fn reset(&mut self, key: StreamKey) {
        self.conn.reset(key, Reason::CANCEL);
        self.conn.forget(key);
        self.replies.remove(&key);
    }

    pub(crate) fn ping(&mut self) {
        self.conn.ping(*b"eager...");
    }

    pub(crate) fn release(&mut self, key: StreamKey, bytes: usize) {
        self.conn.release(key, bytes);
    }

    /// DATA that the server's windows hold back.
    pub(crate) fn unsent(&self, key: StreamKey) -> usize {
        self.conn.queued_bytes(key).unwrap_or(0)
    }

    pub(crate) fn reply(&self, key: StreamKey) -> &Reply {
        &self.replies[&key]
    }

    /// Writes all there is to write, and reads on the way: a peer may stop reading until we do.
    pub(crate) async fn flush(&mut self) {
        self.transmit();
        while !self.send.is_empty() && !self.closed {
            self.progress(true).await;
            self.transmit();
        }
    }

    /// Writes, then reads once.
    pub(crate) async fn step(&mut self) {
        self.flush().await;
        if !self.closed {
            self.progress(false).await;
            self.flush().await;
        }
    }

    fn transmit(&mut self) {
        let now = Instant::now().into_std();
        self.conn.poll_transmit(now, &mut self.send);
    }

    /// One write, if `write` says so, or one read, whichever is possible first.
    async fn progress(&mut self, write: bool) {
        let read = poll_fn(|cx| {
            if write {
                let mut slices = [IoSlice::new(&[]); 16];
                let n = self.send.slices(&mut slices);
                match Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..n]) {
                    Poll::Ready(Ok(n)) => {
                        self.send.advance(n);
                        return Poll::Ready(Some(false));
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(None),
                    Poll::Pending => {}
                }
            }
            let mut buf = ReadBuf::new(self.recv.spare_mut());
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    let n = buf.filled().len();
                    self.recv.commit(n);
                    Poll::Ready(Some(true))
                }
                Poll::Ready(_) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        match read {
            Some(true) => self.parse(),
            Some(false) => {}
            None => self.closed = true,
        }
    }

    fn parse(&mut self) {
        let now = Instant::now().into_std();
        loop {
            let mut credit = None;
            match self.conn.next_event(now, &mut self.recv).unwrap() {
                None => return,
                Some(Event::Headers { key, fields, end_stream }) => {
                    let Some(reply) = self.replies.get_mut(&key) else { continue };
                    reply.headers = Some(list(fields));
                    reply.trailers_only = end_stream;
                    reply.ended = end_stream;
                }
                Some(Event::Data { key, payload, end_stream }) => {
                    credit = Some((key, payload.len()));
                    let Some(reply) = self.replies.get_mut(&key) else { continue };
                    reply.data.extend_from_slice(payload);
                    reply.ended |= end_stream;
                }
                Some(Event::Trailers { key, fields }) => {
                    let Some(reply) = self.replies.get_mut(&key) else { continue };
                    reply.trailers = list(fields);
                    reply.ended = true;
                }
                Some(Event::Reset { key, reason, .. }) => {
                    let Some(reply) = self.replies.get_mut(&key) else { continue };
                    reply.reset = Some(reason);
                    reply.ended = true;
                }
                Some(Event::GoAway { last_stream_id, reason, debug }) => {
                    self.farewell = debug.to_vec();
                    self.goaways.push((last_stream_id, reason));
                }
                Some(_) => {}
            }
            if let Some((key, bytes)) = credit
                && !self.hold_credit
            {
                self.conn.release(key, bytes);
            }
        }
    }

    /// Steps until the condition holds, or the connection closes.
    pub(crate) async fn until(&mut self, mut done: impl FnMut(&Raw) -> bool) {
        self.flush().await;
        while !done(self) && !self.closed {
            self.step().await;
        }
    }

    /// The whole reply; the stream is forgotten.
    pub(crate) async fn finished(&mut self, key: StreamKey) -> Reply {
        self.until(|raw| raw.reply(key).ended).await;
        self.conn.forget(key);
        let reply = self.replies.remove(&key).unwrap();
        assert!(reply.ended, "the connection closed before the reply: {reply:?}");
        reply
    }

    pub(crate) async fn unary(&mut self, method: &str, message: &[u8]) -> Reply {
        let key = self.call(method, message);
        self.finished(key).await
    }
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = frame::prefix(false, message.len(), usize::MAX).unwrap().to_vec();
    bytes.extend_from_slice(message);
    bytes
}

fn list(fields: &FieldBlock) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(fields.iter().all(|field| field.tag == FieldTag::NONE));
    fields.iter().map(|field| (text(field.name), text(field.value))).collect()
}

/// Serves over a pipe in the background.
pub(crate) fn serve(server: Server) -> PipeConnector {
    serve_with(server, |serving| serving)
}

pub(crate) fn serve_with(server: Server, change: impl FnOnce(Serving) -> Serving) -> PipeConnector {
    let (connector, listener) = pipe();
    let serving = change(server.serve(listener));
    tokio::spawn(async move { serving.await.unwrap() });
    connector
}

/// A connection to a server that serves over a pipe.
pub(crate) async fn connect(server: Server) -> Raw {
    let connector = serve(server);
    Raw::new(connector.connect().await.unwrap().0)
}

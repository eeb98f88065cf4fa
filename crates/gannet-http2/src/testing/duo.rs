//! Two engines with nothing between them.

use std::sync::Arc;
use std::time::Instant;

use super::owned::Owned;
use crate::hpack::NoClassifier;
use crate::{
    Client, Config, Connection, ConnectionError, FieldWriter, RecvBuf, Role, SendBuf, Server,
    StreamKey,
};

/// One engine and its buffers.
pub(super) struct End<R: Role> {
    pub(super) engine: Connection<R>,
    pub(super) recv: RecvBuf,
    pub(super) out: SendBuf,
    pub(super) events: Vec<Owned>,
    /// Give credit back as soon as DATA comes.
    pub(super) release: bool,
}

impl<R: Role> End<R> {
    pub(super) fn new(config: Config, now: Instant) -> Self {
        End {
            engine: Connection::new(config, Arc::new(NoClassifier), now),
            recv: RecvBuf::new(),
            out: SendBuf::new(),
            events: Vec::new(),
            release: true,
        }
    }

    /// Reads all events of what has arrived.
    pub(super) fn read(&mut self, now: Instant) -> Result<(), ConnectionError> {
        self.engine.heard(now);
        loop {
            let event = self.engine.next_event(now, &mut self.recv)?;
            let Some(event) = event.map(Owned::from) else { return Ok(()) };
            if let Owned::Data { key, payload, .. } = &event
                && self.release
            {
                self.engine.release(*key, payload.len());
            }
            self.events.push(event);
        }
    }

    /// What goes out now, as one piece.
    pub(super) fn transmit(&mut self, now: Instant) -> Vec<u8> {
        self.engine.poll_transmit(now, &mut self.out);
        let mut bytes = Vec::new();
        self.out.copy_to(&mut bytes);
        self.out.clear();
        bytes
    }

    pub(super) fn take_events(&mut self) -> Vec<Owned> {
        std::mem::take(&mut self.events)
    }

    /// All payload received on a stream, and whether it ended.
    pub(super) fn body(&self, of: StreamKey) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        let mut ended = false;
        for event in &self.events {
            match event {
                Owned::Data { key, payload, end_stream } if *key == of => {
                    body.extend_from_slice(payload);
                    ended |= end_stream;
                }
                Owned::Trailers { key, .. } if *key == of => ended = true,
                _ => {}
            }
        }
        (body, ended)
    }
}

/// A client and a server.
pub(super) struct Duo {
    pub(super) client: End<Client>,
    pub(super) server: End<Server>,
    pub(super) now: Instant,
}

impl Duo {
    pub(super) fn new(client: Config, server: Config) -> Self {
        let now = Instant::now();
        let mut duo = Duo { client: End::new(client, now), server: End::new(server, now), now };
        duo.pump();
        assert!(duo.client.engine.is_established() && duo.server.engine.is_established());
        duo.client.take_events();
        duo.server.take_events();
        duo
    }

    /// Carries bytes to and fro until nobody has any.
    pub(super) fn pump(&mut self) {
        loop {
            let up = self.client.transmit(self.now);
            let down = self.server.transmit(self.now);
            if up.is_empty() && down.is_empty() {
                return;
            }
            self.server.recv.extend_from_slice(&up);
            self.server.read(self.now).expect("a correct client");
            self.client.recv.extend_from_slice(&down);
            self.client.read(self.now).expect("a correct server");
        }
    }

    /// Opens a stream and returns both keys.
    pub(super) fn open(&mut self, end_stream: bool) -> (StreamKey, StreamKey) {
        let client = self.client.engine.open(end_stream, request).expect("may open");
        self.pump();
        let server = self.server.events.iter().rev().find_map(|event| match event {
            Owned::Headers { key, .. } => Some(*key),
            _ => None,
        });
        (client, server.expect("the server saw the request"))
    }
}

/// The fields of an ordinary request.
pub(super) fn request(w: &mut FieldWriter<'_>) {
    w.field(b":method", b"POST");
    w.field(b":scheme", b"http");
    w.field(b":path", b"/a.B/C");
    w.field_indexed(b"te", b"trailers");
}

/// The fields of an ordinary response.
pub(super) fn response(w: &mut FieldWriter<'_>) {
    w.field(b":status", b"200");
    w.field_indexed(b"content-type", b"application/grpc");
}

/// Ordinary trailers.
pub(super) fn trailers(w: &mut FieldWriter<'_>) {
    w.field_indexed(b"grpc-status", b"0");
}

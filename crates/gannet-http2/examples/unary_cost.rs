//! What one unary exchange costs the server's engine, for an instruction counter:
//!
//! ```sh
//! cargo build --release -p gannet-http2 --example unary_cost
//! valgrind --tool=callgrind --toggle-collect='*serve*' target/release/examples/unary_cost 10000
//! ```
//!
//! A client engine makes requests, 100 at a time, and a server engine answers them; only the
//! server's part, `serve`, is collected.

#![allow(clippy::print_stdout, reason = "a tool")]

use std::sync::Arc;
use std::time::Instant;

use gannet_http2::hpack::{CachedField, FieldClassifier, FieldTag};
use gannet_http2::{Client, Config, Connection, Event, RecvBuf, SendBuf, Server, StreamKey};

const IN_FLIGHT: usize = 100;

struct Tags;

impl FieldClassifier for Tags {
    fn classify(&self, name: &[u8], _: &[u8]) -> FieldTag {
        match name {
            b":path" | b"content-type" | b"te" => FieldTag(FieldTag::ELIDE | 1),
            _ => FieldTag::NONE,
        }
    }
}

struct Constants {
    status: CachedField,
    content_type: CachedField,
    ok: CachedField,
}

fn main() {
    let calls: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let now = Instant::now();
    let mut server = Connection::<Server>::new(Config::default(), Arc::new(Tags), now);
    let mut client = Connection::<Client>::new(Config::default(), Arc::new(Tags), now);
    let mut constant = |name: &str, value: &str| {
        server.register_field(name.as_bytes(), value.as_bytes()).expect("a few")
    };
    let constants = Constants {
        status: constant(":status", "200"),
        content_type: constant("content-type", "application/grpc"),
        ok: constant("grpc-status", "0"),
    };
    let (mut to_server, mut to_client) = (RecvBuf::new(), RecvBuf::new());
    let mut keys = Vec::with_capacity(IN_FLIGHT);
    let (mut out, mut answered) = (SendBuf::new(), 0);
    while answered < calls {
        request(&mut client, now, &mut to_server);
        serve(&mut server, &constants, now, &mut to_server, &mut keys, &mut out);
        pass(&mut out, &mut to_client);
        answered += accept(&mut client, now, &mut to_client);
    }
    println!("{answered} calls");
}

fn request(client: &mut Connection<Client>, now: Instant, to_server: &mut RecvBuf) {
    for _ in 0..IN_FLIGHT {
        let opened = client.open(false, |w| {
            w.field_indexed(b":method", b"POST");
            w.field_indexed(b":scheme", b"http");
            w.field_indexed(b":path", b"/grpctest.Grpctest/GetServerResponse");
            w.field_indexed(b":authority", b"localhost:50051");
            w.field_indexed(b"te", b"trailers");
            w.field_indexed(b"content-type", b"application/grpc");
            w.field_indexed(b"user-agent", b"grpc-rust-gannet/0.1.0");
        });
        let Ok(key) = opened else { break };
        client.send_data(key, b"\0\0\0\0\x07\x0a\x05hello", true).expect("just opened");
    }
    let mut out = SendBuf::new();
    client.poll_transmit(now, &mut out);
    pass(&mut out, to_server);
}

#[inline(never)]
fn serve(
    server: &mut Connection<Server>,
    constants: &Constants,
    now: Instant,
    buf: &mut RecvBuf,
    keys: &mut Vec<StreamKey>,
    out: &mut SendBuf,
) {
    while let Some(event) = server.next_event(now, buf).expect("a correct client") {
        if let Event::Data { key, payload, end_stream } = event {
            let bytes = payload.len();
            if end_stream {
                keys.push(key);
            }
            server.release(key, bytes);
        }
    }
    for key in keys.drain(..) {
        let reply = b"\0\0\0\0\x3cHello I am up and running received \"hello\" message from you";
        let sent = server.respond_unary(
            key,
            |w| {
                w.cached(constants.status);
                w.cached(constants.content_type);
            },
            reply,
            |w| w.cached(constants.ok),
        );
        sent.expect("the client does not reset");
    }
    server.poll_transmit(now, out);
}

fn accept(client: &mut Connection<Client>, now: Instant, buf: &mut RecvBuf) -> usize {
    let mut done = 0;
    while let Some(event) = client.next_event(now, buf).expect("a correct server") {
        match event {
            Event::Data { key, payload, .. } => {
                let bytes = payload.len();
                client.release(key, bytes);
            }
            Event::Trailers { key, .. } => {
                done += 1;
                client.forget(key);
            }
            _ => {}
        }
    }
    done
}

fn pass(out: &mut SendBuf, buf: &mut RecvBuf) {
    let mut bytes = Vec::new();
    out.copy_to(&mut bytes);
    buf.extend_from_slice(&bytes);
    out.advance(bytes.len());
}

//! What a server holds for a connection without calls and for a stream without messages, in bytes
//! that its allocator counts: exact, so that nothing here depends on a machine or on what else it
//! does. DESIGN.md, "Memory", tells what the bytes are.
//!
//! The other end of each connection is a socket that writes canned frames and allocates nothing
//! while it is counted. A binary of its own, because it replaces the allocator. Resident memory, by
//! hand, needs the server in a process of its own: `cargo xtask bench`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/running.rs"]
mod running;

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use gannet::server::{Dispatch, MethodOptions};
use gannet::{Call, Inbound, Outbound, Result, Server};
use gannet_interop::proto::gannet::interop::v1 as pb;
use pb::{EchoReply, EchoRequest};
use running::Running;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Connections that are counted: enough that what the server has once does not show.
const CONNECTIONS: usize = 256;
/// Streams that are counted, all on one connection; with the first, no more than it may have.
const STREAMS: usize = 255;
/// Without streams, right after a call.
const FRESH_CONNECTION_BYTES_MAX: f64 = 3_850.0;
/// The same once it has been idle for a while.
const IDLE_CONNECTION_BYTES_MAX: f64 = 3_850.0;
/// An open stream whose handler waits for the next message; more than half of it is the handler's
/// future.
const STREAM_BYTES_MAX: f64 = 1_175.0;
/// A message that is long enough for its storage to be kept.
const LONG_BYTES: usize = 100_000;
/// After this long an idle connection has given back what it can.
const IDLE: Duration = Duration::from_secs(20);

struct Echo;

impl pb::Echo for Echo {
    async fn unary(&self, _: &mut Call, request: EchoRequest) -> Result<EchoReply> {
        Ok(EchoReply { payload: request.payload, ..Default::default() })
    }

    async fn bidi(
        &self,
        _: &mut Call,
        mut requests: Inbound<EchoRequest>,
        mut replies: Outbound<EchoReply>,
    ) -> Result<()> {
        while let Some(request) = requests.next().await? {
            replies.send(EchoReply { payload: request.payload, ..Default::default() }).await?;
        }
        Ok(())
    }
}

#[test]
fn what_a_server_holds_for_idle_connections_and_open_streams_is_small() {
    let server = Running::start(|| {
        // Handlers stay in the connection's task, however slow the machine is.
        let inline = MethodOptions::new().dispatch(Dispatch::Inline);
        Server::new().method("gannet.interop.v1.Echo", inline).add(pb::EchoServer::new(Echo))
    });
    let mut peers = Vec::with_capacity(CONNECTIONS);
    // What is there once, and what pools keep.
    let mut warm = Peer::connect(server.addr);
    warm.open("Unary", true);
    warm.open("Bidi", false);
    server.settle();

    let before = held_bytes();
    for _ in 0..CONNECTIONS {
        let mut peer = Peer::connect(server.addr);
        peer.open("Unary", true);
        peers.push(peer);
    }
    server.settle();
    let each = |held: usize| (held - before) as f64 / CONNECTIONS as f64;
    let fresh = each(held_bytes());
    server.pass(IDLE);
    let idle = each(held_bytes());
    println!("a connection holds {fresh:.0} bytes after a call, {idle:.0} when it stays idle");
    // And the connections are as good as new.
    for peer in &mut peers {
        peer.open("Unary", true);
    }
    drop(peers);

    let mut peer = Peer::connect(server.addr);
    peer.open("Bidi", false);
    server.settle();
    let before = held_bytes();
    for _ in 0..STREAMS {
        peer.open("Bidi", false);
    }
    server.settle();
    let stream = (held_bytes() - before) as f64 / STREAMS as f64;
    println!("an open stream holds {stream:.0} bytes");
    assert!(fresh <= FRESH_CONNECTION_BYTES_MAX, "{fresh} bytes for a connection after a call");
    assert!(idle <= IDLE_CONNECTION_BYTES_MAX, "{idle} bytes for an idle connection");
    assert!(stream <= STREAM_BYTES_MAX, "{stream} bytes for an open stream");
    assert!(idle > 500.0 && stream > 100.0, "the count is broken: {idle}, {stream}");
    storage_of_long_messages_goes_back_when_it_is_not_used(&server);
}

fn storage_of_long_messages_goes_back_when_it_is_not_used(server: &Running) {
    let mut peer = Peer::connect(server.addr);
    peer.open("Unary", true);
    server.settle();
    let before = held_bytes();
    peer.open_long("Unary");
    server.settle();
    let kept = held_bytes() - before;
    assert!(kept >= LONG_BYTES, "the storage of a long message is kept: {kept} bytes");
    server.pass(IDLE);
    let left = held_bytes() - before;
    assert!(left + LONG_BYTES <= kept, "{left} bytes are left of {kept}");
}

fn held_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// A message whose payload is `hello`, with its prefix.
const HELLO: &[u8] = b"\0\0\0\0\x07\x0a\x05hello";

/// The client's end of a connection, without any memory.
struct Peer {
    socket: TcpStream,
    next_id: u32,
}

impl Peer {
    fn connect(addr: SocketAddr) -> Peer {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut peer = Peer { socket, next_id: 1 };
        let mut out = Frames::default();
        out.bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        out.frame(4, 0, 0, &[]);
        peer.socket.write_all(out.as_slice()).unwrap();
        peer
    }

    /// Calls `method`, with one message, and waits for the reply; then the call is over (`whole`),
    /// or its stream stays open.
    fn open(&mut self, method: &str, whole: bool) {
        let id = self.head(method);
        let mut out = Frames::default();
        // The payload, field 1, is `hello`.
        out.frame(0, u8::from(whole), id, HELLO);
        self.socket.write_all(out.as_slice()).unwrap();
        self.wait_for_reply(id, whole);
    }

    /// As a whole call, with a message that has besides a long field that nobody knows.
    fn open_long(&mut self, method: &str) {
        let id = self.head(method);
        let length = LONG_BYTES + 5 + HELLO.len();
        let mut message = vec![0];
        message.extend_from_slice(&u32::try_from(length - 5).unwrap().to_be_bytes());
        message.extend_from_slice(&HELLO[5..]);
        message.extend_from_slice(b"\xa2\x06\xa0\x8d\x06");
        message.resize(length, b'x');
        for part in message.chunks(1_000) {
            let mut out = Frames::default();
            out.frame(0, 0, id, part);
            self.socket.write_all(out.as_slice()).unwrap();
        }
        let mut out = Frames::default();
        out.frame(0, 1, id, &[]);
        self.socket.write_all(out.as_slice()).unwrap();
        self.wait_for_reply(id, true);
    }

    /// Sends the head of a call.
    fn head(&mut self, method: &str) -> u32 {
        let id = self.next_id;
        self.next_id += 2;
        let mut block = Frames::default();
        block.bytes(&[0x83, 0x86]); // :method POST, :scheme http
        // Literals that enter the table, as those of any client do; names by the static table.
        block.literal(&[0x44], &["/gannet.interop.v1.Echo/", method]);
        block.literal(&[0x41], &["localhost:50051"]);
        block.literal(&[0x5f], &["application/grpc"]);
        block.literal(&[0x7a], &["grpc-measure/1.0.0 (test)"]);
        block.literal(b"\x40\x02te", &["trailers"]);
        block.literal(b"\x40\x14grpc-accept-encoding", &["identity,deflate,gzip"]);
        let mut out = Frames::default();
        out.frame(1, 4, id, block.as_slice());
        self.socket.write_all(out.as_slice()).unwrap();
        id
    }

    fn wait_for_reply(&mut self, id: u32, whole: bool) {
        loop {
            let mut head = [0; 9];
            self.socket.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = [0; 1024];
            self.socket.read_exact(&mut payload[..length]).unwrap();
            let stream_id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let (kind, flags) = (head[3], head[4]);
            if kind == 4 && flags == 0 {
                let mut out = Frames::default();
                out.frame(4, 1, 0, &[]);
                self.socket.write_all(out.as_slice()).unwrap();
            }
            assert!(kind != 3 && kind != 7, "reset or turned away");
            if kind == 0 {
                assert_eq!(&payload[..length], HELLO);
            }
            // The reply's DATA, or its trailers.
            if stream_id == id && (kind == 0 && !whole || kind == 1 && flags & 1 == 1) {
                return;
            }
        }
    }
}

/// Bytes on the stack.
struct Frames {
    bytes: [u8; 1024],
    len: usize,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames { bytes: [0; 1024], len: 0 }
    }
}

impl Frames {
    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn frame(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.bytes(&length[1..]);
        self.bytes(&[kind, flags]);
        self.bytes(&id.to_be_bytes());
        self.bytes(payload);
    }

    /// A literal with incremental indexing (RFC 7541 section 6.2.1).
    fn literal(&mut self, name: &[u8], value: &[&str]) {
        self.bytes(name);
        let length: usize = value.iter().map(|part| part.len()).sum();
        self.bytes(&[u8::try_from(length).unwrap()]);
        for part in value {
            self.bytes(part.as_bytes());
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

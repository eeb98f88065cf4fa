//! What a hostile client makes a server hold, in bytes that its allocator counts, for each row of
//! SECURITY.md: every attack is a socket that writes what it likes, and the bound follows from the
//! limits by name. Beside each attack another client is served, what the attack makes the server do
//! is bounded by the bytes that it costs, and afterwards nothing is left of it.
//!
//! What honest traffic of the same shape meets is in the tests that SECURITY.md names beside these.
//! A binary of its own, because it replaces the allocator.

#![allow(clippy::print_stdout, reason = "the figures of a run are worth a line")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/running.rs"]
mod running;

use std::alloc::System;
use std::future::pending;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use gannet::compression::Compressors;
use gannet::server::{Dispatch, MethodOptions};
use gannet::{Call, Http2Config, Inbound, Outbound, Result, Server};
use gannet_interop::proto::gannet::interop::v1 as pb;
use pb::{EchoReply, EchoRequest};
use running::Running;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// What a connection may hold besides: its buffers for reading and writing, tables, queues.
const CONNECTION_BYTES: usize = 600 * KIB;
/// A stream that has begun, with its handler.
const STREAM_BYTES: usize = 2 * KIB;
/// `Config::concurrent_streams_max`.
const STREAMS: usize = 256;
/// What may be left of all connections that are gone: the buffers for reading that a thread keeps,
/// four of 256 KiB at most.
const LEFT_BYTES_MAX: usize = MIB;
/// After this long what is kept for long messages goes back, too.
const IDLE: Duration = Duration::from_secs(20);

/// `ClientStream` never reads, `ServerStream` sends what it is asked for, `Unary` echoes.
struct Echo;

impl pb::Echo for Echo {
    async fn unary(&self, _: &mut Call, request: EchoRequest) -> Result<EchoReply> {
        let bytes = usize::try_from(request.reply_bytes).unwrap_or(0);
        let payload = if bytes > 0 { vec![0; bytes].into() } else { request.payload };
        Ok(EchoReply { payload, ..Default::default() })
    }

    async fn client_stream(&self, _: &mut Call, _: Inbound<EchoRequest>) -> Result<EchoReply> {
        pending().await
    }

    async fn server_stream(
        &self,
        _: &mut Call,
        request: EchoRequest,
        mut replies: Outbound<EchoReply>,
    ) -> Result<()> {
        for _ in 0..request.replies {
            let payload = request.payload.clone();
            replies.send(EchoReply { payload, ..Default::default() }).await?;
        }
        Ok(())
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

/// One attack: what is written, again and again until nothing more is taken.
struct Attack {
    name: &'static str,
    /// What the server may hold for it at most.
    bound: usize,
    /// Whether what the server answers is read.
    reads: bool,
    /// The bytes of each round, from the first.
    bytes: Box<dyn Fn(u32) -> Vec<u8>>,
    /// How often they are sent.
    rounds: u32,
}

fn attack(
    name: &'static str,
    bound: usize,
    rounds: u32,
    bytes: impl Fn(u32) -> Vec<u8> + 'static,
) -> Attack {
    Attack { name, bound, reads: false, bytes: Box::new(bytes), rounds }
}

/// So many bytes of a frame, repeated.
fn flood(one: &[u8]) -> Vec<u8> {
    one.repeat(64 * KIB / one.len())
}

/// A round that begins the next `count` streams.
fn streams(round: u32, count: u32, of: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|n| of(1 + 2 * (round * count + n))).collect()
}

fn attacks() -> Vec<Attack> {
    let cancel = |id| frame(RST_STREAM, 0, id, &[0, 0, 0, 8]);
    let refused = STREAMS * STREAM_BYTES + CONNECTION_BYTES;
    let mut attacks = vec![
        attack("rapid reset", refused, 50, move |round| {
            streams(round, 100, |id| [open("Bidi", id), cancel(id)].concat())
        }),
        attack("made you reset", refused, 50, |round| {
            streams(round, 100, |id| [open("Bidi", id), window_update(id, 0)].concat())
        }),
        attack("more streams than permitted", refused, 50, |round| {
            streams(round, 100, |id| open("Bidi", id))
        }),
        attack("CONTINUATION flood", 128 * KIB + CONNECTION_BYTES, 100, |round| match round {
            0 => frame(HEADERS, 0, 1, &[]),
            _ => frame(CONTINUATION, 0, 1, &[0; 16_384]),
        }),
        attack("HPACK bomb", refused, 20, hpack_bomb),
        attack("long header lists, named from the table", lists(), 3, long_lists),
        attack("cookie crumbs", refused, 50, |round| {
            streams(round, 10, |id| headers(id, END_HEADERS, &[head("Bidi"), crumbs()].concat()))
        }),
        attack("empty DATA", CONNECTION_BYTES, 50, |round| match round {
            0 => open("ClientStream", 1),
            _ => flood(&frame(DATA, 0, 1, b"")),
        }),
        attack("DATA of one byte, of a message that never ends", ONE_MESSAGE, 500, |round| {
            match round {
                0 => [open("ClientStream", 1), frame(DATA, 0, 1, b"\0\0\x3f\xff\xff")].concat(),
                _ => flood(&frame(DATA, 0, 1, b"x")),
            }
        }),
        attack("messages of one byte that nobody reads", 4 * MIB, 500, |round| match round {
            0 => open("ClientStream", 1),
            _ => flood(&frame(DATA, 0, 1, b"\0\0\0\0\0")),
        }),
        attack("padding", MIB + CONNECTION_BYTES, 500, |round| match round {
            0 => open("ClientStream", 1),
            _ => flood(&frame(DATA, PADDED, 1, &[&[255][..], &[0; 256]].concat())),
        }),
    ];
    attacks.extend(floods());
    attacks.extend(announced_and_unread());
    attacks
}

/// Floods of frames, by those who read the answers and those who do not.
fn floods() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let floods: [(&str, Vec<u8>); 8] = [
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("SETTINGS that change the window", frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ("PRIORITY", frame(PRIORITY, 0, 99, &[0, 0, 0, 1, 5])),
        ("WINDOW_UPDATE", window_update(0, 1)),
        ("an unknown type", frame(0x99, 0, 0, b"unknown")),
        ("acknowledgements", frame(SETTINGS, 1, 0, b"")),
        ("GOAWAY", frame(GOAWAY, 0, 0, &[0; 2_000])),
    ];
    for (name, one) in floods {
        for reads in [false, true] {
            let flooding = attack(name, CONNECTION_BYTES, 100, {
                let one = one.clone();
                move |_| flood(&one)
            });
            attacks.push(Attack { reads, ..flooding });
        }
    }
    attacks
}

/// What is announced and does not come, what comes and is not read, and what is asked for and is
/// not read.
fn announced_and_unread() -> Vec<Attack> {
    vec![
        attack("a frame that is announced and does not come", CONNECTION_BYTES, 3, |round| {
            let data = [open("ClientStream", 1), frame(DATA, 0, 1, &[0; 16_384])[..9].to_vec()];
            if round == 0 { data.concat() } else { Vec::new() }
        }),
        attack("messages that are announced long", announced(), 3, |round| {
            let prefix = b"\0\0\x3f\xff\xff";
            let begun = |id| [open("ClientStream", id), frame(DATA, 0, id, prefix)].concat();
            if round == 0 { streams(0, 250, begun) } else { Vec::new() }
        }),
        attack("uploads that nobody reads", UPLOADS_BYTES_MAX, 2_000, |round| match round {
            0 => streams(0, 200, |id| open("ClientStream", id)),
            _ => frame(DATA, 0, 1 + 2 * (round % 200), &message(&[7; 16_000])),
        }),
        attack("answers that are not read, of calls that wait", replies(), 3, |round| {
            let asked = request(&[b'x'; 1_000], 10_000, 0);
            match round {
                0 => streams(0, 250, |id| call("ServerStream", id, &asked)),
                _ => Vec::new(),
            }
        }),
        attack("answers that are not read, of calls that have ended", ANSWERS_BYTES_MAX, 200, {
            |round| streams(round, 4, |id| call("Unary", id, &request(b"", 0, 1 << 18)))
        }),
    ]
}

/// Header lists of 16 KiB, of as many streams as there may be.
const fn lists() -> usize {
    STREAMS * (STREAM_BYTES + 20 * KIB) + CONNECTION_BYTES
}

/// `Server::max_receive_bytes`: what came of a message that is not there yet.
const ONE_MESSAGE: usize = 4 * MIB + CONNECTION_BYTES;

/// Of a message nothing is kept but what came.
const fn announced() -> usize {
    STREAMS * (STREAM_BYTES + KIB) + CONNECTION_BYTES
}

/// `SEND_QUEUE_BYTES_MAX` for each stream, and the message that did not fit.
const fn replies() -> usize {
    STREAMS * (STREAM_BYTES + 64 * KIB + 4 * KIB) + CONNECTION_BYTES
}

/// `Config::recv_buffered_bytes_max` as these servers have it, and the windows that are open then.
const UPLOADS_BYTES_MAX: usize = 4 * MIB + MIB + STREAMS * STREAM_BYTES + CONNECTION_BYTES;
/// `Config::send_queued_bytes_max` as these servers have it, and the answers that were begun.
const ANSWERS_BYTES_MAX: usize = 4 * MIB + 2 * MIB + CONNECTION_BYTES;

/// The largest sums are 32 MiB and 256 MiB by default; here they are as small as makes them quick
/// to reach.
fn server() -> Server {
    let mut http2 = Http2Config::default();
    http2.recv_buffered_bytes_max = 4 << 20;
    http2.window_bytes_max = 1 << 20;
    http2.send_queued_bytes_max = 4 * MIB;
    // Handlers stay in the connection's task, however slow the machine is.
    let inline = MethodOptions::new().dispatch(Dispatch::Inline);
    Server::new()
        .http2(http2)
        .compressors(Compressors::built_in())
        .method("gannet.interop.v1.Echo", inline)
        .add(pb::EchoServer::new(Echo))
}

#[test]
fn attacks_hold_no_more_than_their_bounds() {
    let running = Running::start(server);
    let mut polite = Wire::connect(running.addr);
    polite.handshake(&running);
    polite.is_served(&running, 1);
    running.pass(IDLE);
    let at_first = held_bytes();
    let mut faults = Vec::new();
    let mut next = 3;
    for attack in attacks() {
        let seen = carry_out(&attack, &running);
        println!("{}: {seen:?}, bound {}", attack.name, attack.bound);
        if seen.peak > attack.bound {
            faults.push(format!("{}: {} bytes, not {}", attack.name, seen.peak, attack.bound));
        }
        // For each byte of the attack, not for each frame that it says it has.
        if seen.allocations > 200 + seen.sent / 10 {
            let Seen { sent, allocations, .. } = seen;
            faults.push(format!("{}: {allocations} allocations, {sent} bytes", attack.name));
        }
        polite.is_served(&running, next);
        next += 2;
        // Who is woken also looks after what is kept for long messages.
        running.pass(IDLE);
        running.pass(IDLE);
        let left = held_bytes().saturating_sub(at_first);
        if left > LEFT_BYTES_MAX {
            faults.push(format!("{}: {left} bytes are left", attack.name));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// What one attack did.
#[derive(Debug)]
struct Seen {
    /// Bytes that were sent.
    sent: usize,
    /// Bytes held at most, between two rounds.
    peak: usize,
    /// Allocations that the server made meanwhile.
    allocations: usize,
}

fn carry_out(attack: &Attack, running: &Running) -> Seen {
    running.settle();
    let mut wire = Wire::connect(running.addr);
    wire.handshake(running);
    let before = held_bytes();
    let allocated = ALLOCATOR.stats().allocations;
    let (mut sent, mut peak, mut own) = (0, 0, 0);
    for round in 0..attack.rounds {
        let counted = ALLOCATOR.stats().allocations;
        let bytes = (attack.bytes)(round);
        own += ALLOCATOR.stats().allocations - counted;
        let taken = wire.send(&bytes, running, attack.reads);
        sent += taken;
        let all = taken == bytes.len();
        drop(bytes);
        peak = peak.max(held_bytes().saturating_sub(before));
        if !all || wire.closed {
            break;
        }
    }
    let allocations = ALLOCATOR.stats().allocations - allocated - own;
    drop(wire);
    running.settle();
    Seen { sent, peak, allocations }
}

fn held_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

fn window_update(id: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, id, &by.to_be_bytes())
}

/// A literal that does not enter the table (RFC 7541 section 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let short = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap();
    [&[0, short(name)], name.as_bytes(), &[short(value)], value.as_bytes()].concat()
}

/// The header block of a call.
fn head(method: &str) -> Vec<u8> {
    let path = format!("/gannet.interop.v1.Echo/{method}");
    let mut block = vec![0x83, 0x86];
    block.extend(literal(":path", &path));
    block.extend(literal("te", "trailers"));
    block.extend(literal("content-type", "application/grpc"));
    block
}

fn headers(id: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, id, block)
}

fn open(method: &str, id: u32) -> Vec<u8> {
    headers(id, END_HEADERS, &head(method))
}

fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], &length[..], bytes].concat()
}

/// A whole call with one message.
fn call(method: &str, id: u32, message: &[u8]) -> Vec<u8> {
    [open(method, id), frame(DATA, END_STREAM, id, message)].concat()
}

/// An `EchoRequest` with its prefix.
fn request(payload: &[u8], replies: u32, reply_bytes: u32) -> Vec<u8> {
    let mut body = vec![0x0a];
    varint(&mut body, u32::try_from(payload.len()).unwrap());
    body.extend_from_slice(payload);
    for (tag, value) in [(0x18, replies), (0x20, reply_bytes)] {
        body.push(tag);
        varint(&mut body, value);
    }
    message(&body)
}

fn varint(to: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

/// An entry of 4,000 bytes that enters the table (RFC 7541 section 6.2.1).
fn entry() -> Vec<u8> {
    [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'v'; 4_000]].concat()
}

/// One entry of the table, named 16,000 times.
fn hpack_bomb(round: u32) -> Vec<u8> {
    match round {
        0 => headers(1, END_HEADERS, &[head("Bidi"), entry()].concat()),
        _ => streams(round, 20, |id| {
            headers(id, END_HEADERS, &[head("Bidi"), vec![0xbe; 16_000]].concat())
        }),
    }
}

/// As long as a list may be, of few bytes each.
fn long_lists(round: u32) -> Vec<u8> {
    match round {
        0 => headers(1, END_HEADERS, &[head("Bidi"), entry()].concat()),
        1 => (1..250)
            .flat_map(|n| headers(1 + 2 * n, END_HEADERS, &[head("Bidi"), vec![0xbe; 3]].concat()))
            .collect(),
        _ => Vec::new(),
    }
}

/// More fields than there may be.
fn crumbs() -> Vec<u8> {
    literal("cookie", "a=b").repeat(200)
}

/// The client's end of a connection.
struct Wire {
    socket: TcpStream,
    closed: bool,
}

impl Wire {
    fn connect(addr: SocketAddr) -> Wire {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        Wire { socket, closed: false }
    }

    fn handshake(&mut self, running: &Running) {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        self.send(preface, running, true);
        self.send(b"\0\0\0\x04\x01\0\0\0\0", running, true);
        assert!(!self.closed);
    }

    /// Writes as much as is taken; how much that was.
    fn send(&mut self, bytes: &[u8], running: &Running, reads: bool) -> usize {
        let mut sent = 0;
        // What is not taken after the server had its turn some times is not taken at all.
        let mut patience = 3;
        while sent < bytes.len() && patience > 0 && !self.closed {
            match self.socket.write(&bytes[sent..]) {
                Ok(written) => (sent, patience) = (sent + written, 3),
                Err(error) if error.kind() == ErrorKind::WouldBlock => patience -= 1,
                Err(_) => self.closed = true,
            }
            running.settle();
            if reads {
                self.read();
            }
        }
        running.settle();
        sent
    }

    /// Reads all there is; how much that was.
    fn read(&mut self) -> usize {
        let (mut buffer, mut came) = ([0; 16 * KIB], 0);
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(read) => {
                    came += read;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.closed = true,
            }
            return came;
        }
    }

    /// A call on this stream is answered.
    fn is_served(&mut self, running: &Running, id: u32) {
        let asked = request(b"alive", 0, 0);
        self.read();
        self.send(&call("Unary", id, &asked), running, false);
        let mut came = 0;
        for _ in 0..100 {
            came += self.read();
            if came > 20 {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
            running.settle();
        }
        panic!("stream {id} is not served: {came} bytes came, closed: {}", self.closed);
    }
}

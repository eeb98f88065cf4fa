//! Messages that inflate to more than is permitted: neither role allocates more for one than the
//! limit and the way there, however often it comes, and what comes behind it is served.

use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use gannet::compression::{Compressor, Compressors, Deflate, Gzip, Zstd};
use gannet::{Channel, Code, Status};
use gannet_interop::proto::gannet::interop::v1 as pb;
use pb::{EchoClient, EchoRequest};

use crate::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, call, frame, head, headers, literal, request,
};
use crate::on_client::{self, Calling};
use crate::running::Running;
use crate::wire::{Turns, Wire};
use crate::{CONNECTION_BYTES, KIB, MIB, alone, catch_up, on_server, stats};

/// `Server::max_receive_bytes` and `ChannelBuilder::max_receive_bytes`.
const LIMIT: usize = 4 * MIB;
/// What a bomb becomes.
const INFLATED: usize = 64 * MIB;
/// All that is ever allocated for one bomb, of which little is held at once: storage that doubles
/// up to the limit, and the call. What zstd's decoder needs is the C library's and not counted.
const ALLOCATED_MAX: usize = 2 * LIMIT + CONNECTION_BYTES;
/// How often one comes.
const TIMES: u32 = 5;

/// By its encoding, with its prefix: 64 MiB of nothing.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let zeros = vec![0; INFLATED];
    let codecs: [&dyn Compressor; 3] = [&Gzip::new(), &Deflate::new(), &Zstd::new()];
    let mut bombs = Vec::new();
    for codec in codecs {
        let mut payload = Vec::new();
        codec.compress(&zeros, &mut payload).unwrap();
        bombs.push((codec.encoding().name(), flagged(&payload)));
    }
    // A frame of zstd that does not say what it becomes, of blocks that repeat a byte 131,072 times
    // (RFC 8878, 3.1.1.2); the ones above are refused for what they say.
    let mut silent = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x58];
    silent.extend([0x02, 0, 0x10, 0].repeat(INFLATED >> 17));
    silent.extend([0x03, 0, 0x10, 0]);
    bombs.push(("zstd", flagged(&silent)));
    // One that says it becomes 2^40 bytes (3.1.1.1).
    let mut liar = vec![0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0x70];
    liar.extend_from_slice(&(1_u64 << 40).to_le_bytes());
    liar.extend_from_slice(&[0x03, 0, 0x10, 7]);
    bombs.push(("zstd", flagged(&liar)));
    bombs
}

fn flagged(payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 256 * KIB, "it passes as a message");
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[1], &length[..], payload].concat()
}

/// DATA frames of a message, the last with the end or not.
fn data(id: u32, message: &[u8], flags: u8) -> Vec<u8> {
    let pieces = message.chunks(16 * KIB);
    let last = pieces.len() - 1;
    let frames = pieces.enumerate();
    frames.flat_map(|(n, it)| frame(DATA, if n == last { flags } else { 0 }, id, it)).collect()
}

#[test]
fn a_server_allocates_for_a_bomb_what_a_message_may_have() {
    let _alone = alone();
    let running = Running::start(on_server::server);
    catch_up(&running);
    for (encoding, bomb) in bombs() {
        for method in ["Unary", "Bidi"] {
            let mut wire = Wire::connect(running.addr);
            wire.handshake(&running);
            let block = [head(method), literal("grpc-encoding", encoding)].concat();
            for n in 0..TIMES {
                let id = 1 + 2 * n;
                let bytes =
                    [headers(id, END_HEADERS, &block), data(id, &bomb, END_STREAM)].concat();
                let before = stats().bytes_allocated;
                wire.send(&bytes, &running, false);
                let mut answer = Vec::new();
                for _ in 0..100 {
                    wire.read_with(|bytes| answer.extend_from_slice(bytes));
                    if is_ended(&answer, id) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                    running.settle();
                }
                let allocated = stats().bytes_allocated - before;
                println!("{encoding}, {method}, {n}: {allocated} bytes allocated");
                assert!(allocated <= ALLOCATED_MAX, "{encoding}, {method}: {allocated} bytes");
                // Why is told where the client's role is tested.
                assert!(is_ended(&answer, id) && answer.len() < 500, "{encoding}, {method}");
            }
            wire.send(&call("Unary", 99, &request(b"alive", 0, 0)), &running, false);
            wire.is_served(&running, 101);
        }
    }
}

/// Whether these frames end the stream.
fn is_ended(mut frames: &[u8], id: u32) -> bool {
    while let [a, b, c, kind, flags, rest @ ..] = frames {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if *kind == HEADERS && flags & END_STREAM != 0 && rest.starts_with(&id.to_be_bytes()) {
            return true;
        }
        frames = rest.get(4 + length..).unwrap_or_default();
    }
    false
}

#[test]
fn a_client_allocates_for_a_bomb_what_a_message_may_have() {
    let _alone = alone();
    let calling = Calling::start();
    catch_up(&calling);
    for (encoding, bomb) in bombs() {
        for streams in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let channel = Channel::builder(listener.local_addr().unwrap().to_string())
                .compressors(Compressors::built_in())
                .build()
                .unwrap();
            let mut wire = None;
            for n in 0..TIMES {
                let hears = ask(&calling, &channel, streams);
                let wire = wire.get_or_insert_with(|| {
                    let mut wire = Wire::accept(&listener, &calling);
                    wire.welcome(&calling);
                    wire
                });
                let id = 1 + 2 * n;
                let block = [on_client::head(), literal("grpc-encoding", encoding)].concat();
                let end = Wire::fields(id, END_STREAM, &literal("grpc-status", "0"));
                let bytes = [Wire::fields(id, 0, &block), data(id, &bomb, 0), end].concat();
                let before = stats().bytes_allocated;
                wire.send(&bytes, &calling, true);
                calling.settle();
                let allocated = stats().bytes_allocated - before;
                println!("{encoding}, stream {streams}, {n}: {allocated} bytes allocated");
                assert!(allocated <= ALLOCATED_MAX, "{encoding}: {allocated} bytes");
                let status = hears.recv_timeout(Duration::from_secs(10)).unwrap().unwrap_err();
                assert_eq!(status.code(), Code::ResourceExhausted, "{encoding}: {status}");
            }
        }
    }
}

/// Makes a call; what came of it.
fn ask(
    calling: &Calling,
    channel: &Channel,
    streams: bool,
) -> mpsc::Receiver<Result<usize, Status>> {
    let (told, hears) = mpsc::channel();
    let client = EchoClient::new(channel.clone());
    calling.work(move |calls| {
        calls.spawn(async move {
            let request = EchoRequest::default();
            let came = if streams {
                match client.server_stream(request).await {
                    Ok(mut replies) => replies.next().await.map(|reply| reply.map(|it| it.payload)),
                    Err(status) => Err(status),
                }
            } else {
                client.unary(request).await.map(|reply| Some(reply.payload))
            };
            let _ = told.send(came.map(|payload| payload.map_or(0, |payload| payload.len())));
        });
    });
    hears
}

//! What comes to a port for TLS and is none, in any pieces: requests of HTTP/2 are answered as a
//! reader that is written apart finds them, those of HTTP/1 in words, and the handshake fails.
#![no_main]

use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use arbitrary::Arbitrary;
use gannet_http2::hpack::{Decoder, FieldBlock, Limits, NoClassifier};
use gannet_transport::tls::{Identity, ServerTls};
use gannet_transport::{Listener, Stream, pipe};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

#[derive(Debug, Arbitrary)]
struct Input {
    pieces: Vec<Piece>,
    /// The client says that nothing more comes, or waits for an answer.
    closes: bool,
}

#[derive(Debug, Arbitrary)]
enum Piece {
    Preface,
    Frame {
        kind: u8,
        flags: u8,
        stream: u32,
        payload: Vec<u8>,
        length: Option<u16>,
    },
    /// A whole request, by its number.
    Request(u8),
    Bytes(Vec<u8>),
    /// Milliseconds pass.
    Wait(u8),
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What the server reads of a client that it does not understand, at least.
const READ_BYTES: usize = 16 << 10;
/// A server's time for handshakes.
const HANDSHAKE: Duration = Duration::from_secs(120);

impl Piece {
    fn bytes(&self) -> Vec<u8> {
        let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8], length: usize| {
            let length = u32::try_from(length).expect("it is short").to_be_bytes();
            [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
        };
        match self {
            Piece::Preface => PREFACE.to_vec(),
            Piece::Frame { kind, flags, stream, payload, length } => {
                let length = length.map_or(payload.len(), usize::from);
                frame(*kind % 12, *flags, *stream, payload, length)
            }
            Piece::Request(number) => frame(1, 4, 1 + 2 * u32::from(*number), b"block", 5),
            Piece::Bytes(bytes) => bytes.clone(),
            Piece::Wait(_) => Vec::new(),
        }
    }
}

static TLS: LazyLock<ServerTls> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
    ServerTls::new(identity.expect("key and certificate fit")).expect("they are of use")
});

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("there can be a runtime");
}

fuzz_target!(|input: Input| {
    let (outcome, answer) = RUNTIME.with(|runtime| runtime.block_on(meet(&input)));
    let said: Vec<u8> = input.pieces.iter().flat_map(Piece::bytes).collect();
    check(&input, &said, &outcome, &answer);
});

/// How the handshake ended, where it did, and what the client was told.
async fn meet(input: &Input) -> (Option<io::Result<()>>, Vec<u8>) {
    let (connector, listener) = pipe();
    let mut acceptor =
        Listener::from(listener).tls(TLS.clone()).into_acceptor().expect("it is a pipe");
    let (stream, _) = connector.connect().await.expect("it is accepted");
    let Stream::Pipe(mut stream) = stream else { panic!("a pipe is none") };
    let incoming = acceptor.accept().await.expect("there is one").expect("there is one");
    let Err(handshake) = incoming.into_stream() else { panic!("there is no handshake") };
    let server = async { timeout(HANDSHAKE, handshake).await.ok().map(|done| done.map(drop)) };
    let client = async {
        let mut answer = Vec::new();
        for piece in &input.pieces {
            if let Piece::Wait(ms) = piece {
                sleep(Duration::from_millis(u64::from(*ms))).await;
            }
            // The server may have heard enough.
            if stream.write_all(&piece.bytes()).await.is_err() {
                break;
            }
        }
        if input.closes {
            let _ = stream.shutdown().await;
        }
        stream.read_to_end(&mut answer).await.expect("a pipe has no errors");
        answer
    };
    tokio::join!(server, client)
}

const HTTP1: &[u8] = b"HTTP/1.1 400 Bad Request\r\n";
const TOLD: &[u8] = b"This port speaks TLS, and was sent plain HTTP. Try https://";

fn check(input: &Input, said: &[u8], outcome: &Option<io::Result<()>>, answer: &[u8]) {
    assert!(!matches!(outcome, Some(Ok(()))), "that was no handshake");
    let is_upper = said.first().is_some_and(u8::is_ascii_uppercase);
    // No words, or an alert.
    if matches!(answer, [] | [21, ..]) {
        // What begins like a preface may go on like one.
        assert!(!is_upper || said[0] == b'P' && said.len() < 4 && !input.closes, "no answer");
        return;
    }
    let told = outcome.as_ref().and_then(|outcome| outcome.as_ref().err());
    assert!(told.is_some_and(|told| told.to_string().contains("plain HTTP")), "{told:?}");
    // A server's SETTINGS begin with their length.
    assert!(is_upper || said[0] == 0, "{said:?}");
    let due = asked(said);
    if answer.starts_with(HTTP1) {
        assert!(answer.ends_with(&[TOLD, b"\n"].concat()));
        // Who does not wait with a request is answered in HTTP/2.
        let waits = input.pieces.iter().any(|piece| matches!(piece, Piece::Wait(1..)));
        let begins = &said[..said.len().min(READ_BYTES)];
        let is_early = begins.starts_with(b"PRI ") && !asked(begins).is_empty();
        assert!(waits || !is_early, "asked on {due:?}");
        return;
    }
    let answered = answered(answer);
    assert!(!answered.is_empty() && due.starts_with(&answered), "{answered:?} of {due:?}");
}

/// The streams of requests: HEADERS whose head has come, on streams of a client's that go up.
fn asked(said: &[u8]) -> Vec<u32> {
    let (mut at, mut streams) = (PREFACE.len(), Vec::new());
    while at + 9 <= said.len() && streams.len() < 100 {
        let number = |from: usize, to: usize| {
            said[at + from..at + to].iter().fold(0_u32, |n, byte| n << 8 | u32::from(*byte))
        };
        let stream = number(5, 9) & 0x7fff_ffff;
        if said[at + 3] == 1 && stream % 2 == 1 && streams.iter().all(|known| *known < stream) {
            streams.push(stream);
        }
        at += 9 + number(0, 3) as usize;
    }
    streams
}

/// The streams that are answered, each in full, between SETTINGS and GOAWAY (RFC 9113).
fn answered(mut answer: &[u8]) -> Vec<u32> {
    let mut next = || {
        let (head, rest) = answer.split_first_chunk::<9>().expect("a head");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (payload, rest) = rest.split_at(length);
        answer = rest;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        (head[3], head[4], stream, payload, rest.is_empty())
    };
    assert_eq!(next(), (4, 0, 0, &[][..], false));
    assert_eq!(next(), (4, 1, 0, &[][..], false));
    let mut streams = Vec::new();
    loop {
        let (kind, flags, stream, payload, is_last) = next();
        match kind {
            1 => {
                assert_eq!(flags, 4);
                is_refusal(payload);
                let (kind, flags, same, payload, _) = next();
                assert_eq!((kind, flags, same), (0, 1, stream));
                assert_eq!(payload, [TOLD, b"\n"].concat());
                streams.push(stream);
            }
            7 => {
                let last = streams.last().copied().unwrap_or_default();
                assert_eq!(payload, [&last.to_be_bytes(), &[0, 0, 0, 12], TOLD].concat());
                assert!(is_last && stream == 0, "something follows");
                return streams;
            }
            other => panic!("a frame of type {other}"),
        }
    }
}

fn is_refusal(block: &[u8]) {
    let limits = Limits { header_list_bytes_max: 4096, fields_max: 32 };
    let mut fields = FieldBlock::default();
    let mut decoder = Decoder::new(4096, limits);
    decoder.decode(block, &mut fields, &NoClassifier).expect("it is a block");
    let fields: Vec<_> = fields.iter().map(|field| (field.name, field.value)).collect();
    let due: [(&[u8], &[u8]); 4] = [
        (b":status", b"400"),
        (b"content-type", b"text/plain"),
        (b"grpc-status", b"14"),
        (b"grpc-message", TOLD),
    ];
    assert_eq!(fields, due);
}

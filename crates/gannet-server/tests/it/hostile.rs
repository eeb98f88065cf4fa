//! Clients that mean harm or cannot do better, on raw frames: what becomes of their connection, of
//! the handlers that they started, and of everybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gannet_http2::Reason;
use gannet_server::{Dispatch, MethodOptions, Server};
use gannet_transport::PipeConnector;
use tokio::time::{Instant, timeout};

use crate::client::{Raw, framed, serve};
use crate::service::{Test, World};
use crate::wire::{
    CONTINUATION, DATA, END, END_HEADERS, Frame, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, Wire, block, frame, reset, settings, window_update,
};

const PROTOCOL: Reason = Reason::PROTOCOL_ERROR;
const SIZE: Reason = Reason::FRAME_SIZE_ERROR;
const FLOW: Reason = Reason::FLOW_CONTROL_ERROR;
const CALM: Reason = Reason::ENHANCE_YOUR_CALM;
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// What every call has, and its path.
fn fields(method: &str) -> [(&'static str, String); 5] {
    [
        (":method", "POST".to_owned()),
        (":scheme", "http".to_owned()),
        (":path", format!("/test.Test/{method}")),
        ("te", "trailers".to_owned()),
        ("content-type", "application/grpc".to_owned()),
    ]
}

fn head(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = fields(method);
    let mut list: Vec<_> = usual.iter().map(|(name, value)| (*name, &**value)).collect();
    list.extend_from_slice(more);
    block(&list)
}

/// The head of a call, with a body to follow.
fn open(stream: u32, method: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &head(method, &[]))
}

/// A whole unary call.
fn call(stream: u32, method: &str) -> Vec<u8> {
    [open(stream, method), frame(DATA, END, stream, &framed(b"m"))].concat()
}

/// A server with a well-behaved client on another connection, in the midst of a call.
struct Scene {
    connector: PipeConnector,
    world: Arc<World>,
    polite: Raw,
    waiting: gannet_http2::StreamKey,
}

impl Scene {
    async fn new() -> Scene {
        Scene::with(|server| server).await
    }

    async fn with(change: impl FnOnce(Server) -> Server) -> Scene {
        let test = Test::new();
        let world = test.world.clone();
        // Not on threads for computing: virtual time would pass meanwhile.
        let inline = MethodOptions::new().dispatch(Dispatch::Inline);
        let server = Server::new().add(test).method("test.Test", inline);
        let connector = serve(change(server));
        let mut polite = Raw::new(connector.connect().await.unwrap().0);
        // So that its handshake is over, whatever time passes.
        polite.unary("Echo", b"hello").await.ok();
        let waiting = polite.call("Wait", b"through");
        polite.flush().await;
        world.settle(|world| world.started() == 1).await;
        Scene { connector, world, polite, waiting }
    }

    async fn silent(&self) -> Wire {
        Wire::new(self.connector.connect().await.unwrap().0)
    }

    async fn client(&self) -> Wire {
        Wire::client(self.connector.connect().await.unwrap().0).await
    }

    /// The others are served as ever, and nothing runs on for those that are gone.
    async fn all_is_well(mut self) {
        assert_eq!(self.polite.unary("Echo", b"alive").await.ok(), b"alive");
        self.world.gate.add_permits(1);
        assert_eq!(self.polite.finished(self.waiting).await.ok(), b"through");
        self.world.settle(|world| world.started() == world.gone()).await;
    }
}

/// The connection ended for this reason, and everything before that was said.
async fn expect_goaway(name: &str, wire: &mut Wire, reason: Reason) {
    let answers = wire.answers().await;
    let last = answers.last().unwrap_or_else(|| panic!("{name}: no answer"));
    assert_eq!((last.kind, last.reason()), (GOAWAY, reason), "{name}: {answers:?}");
    wire.finish().await;
    assert!(wire.next().await.is_none() && wire.closed, "{name}: not closed");
}

/// The kinds of frames of a stream, and the reason of the last one where it is a reset.
fn of(stream: u32, answers: &[Frame]) -> Vec<&Frame> {
    answers.iter().filter(|frame| frame.stream == stream).collect()
}

#[tokio::test(start_paused = true)]
async fn a_bad_or_short_preface() {
    let mut wrong = PREFACE.to_vec();
    wrong[23] = b'x';
    let cases: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &wrong,
        &PREFACE[..10],
        &[PREFACE, &settings(&[])[..5]].concat(),
        b"",
    ];
    for bytes in cases {
        let scene = Scene::new().await;
        let mut wire = scene.silent().await;
        wire.send(bytes).await;
        wire.finish().await;
        let start = Instant::now();
        // Whatever it is told, it is little, and then the connection is closed.
        let mut told = 0;
        while let Some(frame) = wire.next().await {
            told += 9 + frame.payload.len();
        }
        assert!(told <= 200, "{told} bytes in answer to {bytes:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{bytes:?}");
        scene.all_is_well().await;
    }
}

#[tokio::test(start_paused = true)]
async fn bad_initial_settings() {
    let cases: [(&str, Vec<u8>, Reason); 9] = [
        ("a stream", frame(SETTINGS, 0, 1, b""), PROTOCOL),
        ("short", frame(SETTINGS, 0, 0, &[0; 5]), SIZE),
        ("an acknowledgement", frame(SETTINGS, 1, 0, b""), PROTOCOL),
        ("small frames", settings(&[(5, 100)]), PROTOCOL),
        ("huge frames", settings(&[(5, 1 << 24)]), PROTOCOL),
        ("a window", settings(&[(4, 1 << 31)]), FLOW),
        ("push", settings(&[(2, 2)]), PROTOCOL),
        ("an unknown type first", frame(0x99, 0, 0, b""), PROTOCOL),
        ("a call first", call(1, "Echo"), PROTOCOL),
    ];
    let scene = Scene::new().await;
    for (name, bytes, reason) in cases {
        let mut wire = scene.silent().await;
        wire.send(&[PREFACE, &bytes].concat()).await;
        expect_goaway(name, &mut wire, reason).await;
    }
    scene.all_is_well().await;
}

#[tokio::test(start_paused = true)]
async fn settings_that_are_never_acknowledged() {
    let scene = Scene::new().await;
    let mut wire = scene.silent().await;
    let start = Instant::now();
    wire.send(&[PREFACE, &settings(&[]), &call(1, "Wait")].concat()).await;
    let goaway = wire.next_of(GOAWAY).await;
    assert_eq!(goaway.reason(), Reason::SETTINGS_TIMEOUT);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(31), "{took:?}");
    wire.finish().await;
    while wire.next().await.is_some() {}
    scene.all_is_well().await;
}

#[tokio::test(start_paused = true)]
async fn what_ends_the_connection() {
    let unended = frame(HEADERS, 0, 3, &head("Wait", &[]));
    let cases: [(&str, Vec<u8>, Reason); 16] = [
        ("bad headers", frame(HEADERS, END_HEADERS, 3, &[0x80]), Reason::COMPRESSION_ERROR),
        ("cut short", frame(HEADERS, END_HEADERS, 3, &[0, 9, b'x']), Reason::COMPRESSION_ERROR),
        ("padding", [open(3, "Upload"), frame(DATA, PADDED, 3, &[9, 0, 0])].concat(), PROTOCOL),
        ("padded headers", frame(HEADERS, END_HEADERS | PADDED, 3, &[9, 0x83]), PROTOCOL),
        ("too long", [open(3, "Upload"), frame(DATA, 0, 3, &[0; 16_385])].concat(), SIZE),
        ("a short PING", frame(PING, 0, 0, &[0; 7]), SIZE),
        ("a short WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), SIZE),
        ("window overflow", window_update(0, WINDOW_MAX), FLOW),
        ("a window that grows by 0", window_update(0, 0), PROTOCOL),
        ("an even stream", open(4, "Wait"), PROTOCOL),
        ("stream 0", open(0, "Wait"), PROTOCOL),
        ("a stream that is older", [open(9, "Wait"), open(5, "Wait")].concat(), PROTOCOL),
        ("DATA on an idle stream", frame(DATA, 0, 77, b"x"), PROTOCOL),
        ("a reset of an idle stream", reset(77, Reason::CANCEL), PROTOCOL),
        ("headers interrupted", [unended.clone(), frame(PING, 0, 0, &[0; 8])].concat(), PROTOCOL),
        ("CONTINUATION", [unended, frame(CONTINUATION, 0, 3, b"").repeat(20)].concat(), CALM),
    ];
    let scene = Scene::new().await;
    for (name, bytes, reason) in cases {
        let mut wire = scene.client().await;
        // A handler runs meanwhile: it must not stay.
        let started = scene.world.started();
        wire.send(&call(1, "Wait")).await;
        scene.world.settle(|world| world.started() == started + 1).await;
        wire.send(&bytes).await;
        expect_goaway(name, &mut wire, reason).await;
    }
    scene.all_is_well().await;
}

#[tokio::test(start_paused = true)]
async fn what_ends_only_the_stream() {
    let huge = "v".repeat(17 << 10);
    let bomb = head("Echo", &[("x", &huge)]);
    let (first, rest) = bomb.split_at(16_000.min(bomb.len() - 1));
    let cases: [(&str, Vec<u8>, Reason); 8] = [
        (
            "large metadata",
            [frame(HEADERS, END, 1, first), frame(CONTINUATION, END_HEADERS, 1, rest)].concat(),
            CALM,
        ),
        (
            "a connection header",
            { frame(HEADERS, END_HEADERS | END, 1, &head("Echo", &[("connection", "close")])) },
            PROTOCOL,
        ),
        (
            "a duplicate path",
            {
                frame(
                    HEADERS,
                    END_HEADERS | END,
                    1,
                    &block(&[
                        (":method", "POST"),
                        (":scheme", "http"),
                        (":path", "/test.Test/Echo"),
                        (":path", "/test.Test/Echo"),
                    ]),
                )
            },
            PROTOCOL,
        ),
        ("duplicate headers", [open(1, "Upload"), open(1, "Upload")].concat(), PROTOCOL),
        ("window overflow", [open(1, "Upload"), window_update(1, WINDOW_MAX)].concat(), FLOW),
        ("a window that grows by 0", [open(1, "Upload"), window_update(1, 0)].concat(), PROTOCOL),
        (
            "more than the window holds",
            [
                open(1, "Upload"),
                frame(DATA, 0, 1, &framed(b"gate")),
                frame(DATA, 0, 1, &[0; 16_384]).repeat(65),
            ]
            .concat(),
            FLOW,
        ),
        (
            "DATA after the end",
            [open(1, "Wait"), frame(DATA, END, 1, &framed(b"m")), frame(DATA, 0, 1, b"x")].concat(),
            Reason::STREAM_CLOSED,
        ),
    ];
    let scene = Scene::new().await;
    for (name, bytes, reason) in cases {
        let mut wire = scene.client().await;
        wire.send(&bytes).await;
        let answers = wire.answers().await;
        let stream = of(1, &answers);
        let last = stream.last().unwrap_or_else(|| panic!("{name}: {answers:?}"));
        assert_eq!((last.kind, last.reason()), (RST_STREAM, reason), "{name}: {answers:?}");
        assert!(answers.iter().all(|frame| frame.kind != GOAWAY), "{name}: {answers:?}");
        served(&mut wire, 3).await;
    }
    scene.all_is_well().await;
}

/// A call on this stream is answered in full.
async fn served(wire: &mut Wire, stream: u32) {
    wire.send(&call(stream, "Echo")).await;
    let answers = wire.answers().await;
    let kinds: Vec<_> = of(stream, &answers).iter().map(|f| (f.kind, f.flags & END)).collect();
    assert_eq!(kinds, [(HEADERS, 0), (DATA, 0), (HEADERS, END)], "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_odd_and_permitted() {
    let scene = Scene::new().await;
    let mut wire = scene.client().await;
    wire.send(&frame(0x99, 0xff, 0, b"unknown")).await;
    served(&mut wire, 1).await;
    wire.send(&[open(3, "Echo"), frame(0x99, 0, 3, b"unknown")].concat()).await;
    wire.send(&frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9])).await;
    wire.send(&frame(DATA, END, 3, &framed(b"m"))).await;
    assert_eq!(of(3, &wire.answers().await).len(), 3);
    // The bound that the protocol asks of everybody: 8 KiB.
    let metadata = "v".repeat(7 << 10);
    let head = head("Echo", &[("x", &metadata)]);
    wire.send(&frame(HEADERS, END_HEADERS, 5, &head)).await;
    wire.send(&frame(DATA, END, 5, &framed(b"m"))).await;
    assert_eq!(of(5, &wire.answers().await).len(), 3);
    for n in 0..100_u8 {
        let opaque = [n; 8];
        wire.send(&frame(PING, 0, 0, &opaque)).await;
        let ack = wire.next_of(PING).await;
        assert_eq!((ack.flags, &ack.payload[..]), (1, &opaque[..]));
        served(&mut wire, 7 + 2 * u32::from(n)).await;
    }
    scene.all_is_well().await;
}

/// A frame that never ends holds up its own connection only, and what came before it is answered.
#[tokio::test(start_paused = true)]
async fn head_of_line_blocking() {
    let scene = Scene::new().await;
    let mut wire = scene.client().await;
    let mut bytes: Vec<u8> = (0..10).flat_map(|n| call(1 + 2 * n, "Echo")).collect();
    bytes.extend(open(21, "Upload"));
    bytes.extend_from_slice(&frame(DATA, 0, 21, &[0; 10_000])[..100]);
    wire.send(&bytes).await;
    let answers = wire.answers().await;
    let ends = answers.iter().filter(|f| f.kind == HEADERS && f.flags & END != 0).count();
    assert_eq!(ends, 10, "{answers:?}");
    assert!(!wire.closed);
    drop(wire);
    scene.all_is_well().await;
}

/// 15 MB in frames of 5 bytes with 255 of padding each, by a client that keeps to the windows.
#[tokio::test(start_paused = true)]
async fn data_frame_padding() {
    let scene = Scene::new().await;
    let mut wire = scene.client().await;
    let message = framed(&vec![7; 300_000]);
    wire.send(&open(1, "Echo")).await;
    let mut windows = [65_535_i64, 1 << 20];
    for part in message.chunks(5) {
        let mut payload = vec![0; 256 + part.len()];
        payload[0] = 255;
        payload[1..=part.len()].copy_from_slice(part);
        let cost = i64::try_from(payload.len()).unwrap();
        while windows.iter().any(|window| *window < cost) {
            let next = timeout(Duration::from_secs(60), wire.next()).await.expect("it stalls");
            let update = next.expect("closed");
            if update.kind == WINDOW_UPDATE {
                windows[usize::from(update.stream == 1)] += i64::from(update.number(0));
            }
        }
        windows = windows.map(|window| window - cost);
        wire.send(&frame(DATA, PADDED, 1, &payload)).await;
    }
    wire.send(&frame(DATA, END, 1, b"")).await;
    // What it takes to get the answer.
    wire.send(&[window_update(0, 1 << 20), window_update(1, 1 << 20)].concat()).await;
    let answers = wire.answers().await;
    let stream = of(1, &answers);
    let data = stream.iter().filter(|frame| frame.kind == DATA);
    let body: Vec<u8> = data.flat_map(|frame| frame.payload.clone()).collect();
    assert!(body == message, "{} bytes came back", body.len());
    scene.all_is_well().await;
}

#[tokio::test(start_paused = true)]
async fn streams_over_the_limit_are_refused() {
    let scene = Scene::new().await;
    let mut wire = scene.client().await;
    let calls: Vec<u8> = (0..260).flat_map(|n| call(1 + 2 * n, "Wait")).collect();
    wire.send(&calls).await;
    let answers = wire.answers().await;
    let refused: Vec<_> = answers.iter().filter(|frame| frame.kind == RST_STREAM).collect();
    assert_eq!(refused.len(), 4, "{answers:?}");
    for (frame, stream) in refused.iter().zip([513, 515, 517, 519]) {
        assert_eq!((frame.stream, frame.reason()), (stream, Reason::REFUSED_STREAM));
    }
    // The polite one's call waits too.
    scene.world.gate.add_permits(257);
    let answers = wire.answers().await;
    let ends = answers.iter().filter(|f| f.kind == HEADERS && f.flags & END != 0).count();
    assert_eq!(ends, 256);
    scene.all_is_well().await;
}

/// A handler that ends before its client has: trailers, then RST_STREAM(NO_ERROR) (RFC 9113 8.1).
#[tokio::test(start_paused = true)]
async fn an_early_end_is_told_by_a_reset_without_error() {
    let scene = Scene::new().await;
    let mut wire = scene.client().await;
    let kinds = |answers: &[Frame]| -> Vec<_> {
        of(1, answers).iter().map(|frame| (frame.kind, frame.flags & END)).collect()
    };
    wire.send(&[open(1, "Upload"), frame(DATA, 0, 1, &framed(b"stop"))].concat()).await;
    let answers = wire.answers().await;
    assert_eq!(kinds(&answers), [(HEADERS, 0), (DATA, 0), (HEADERS, END), (RST_STREAM, 0)]);
    assert_eq!(of(1, &answers)[3].reason(), Reason::NO_ERROR);
    // Trailers-only.
    let mut wire = scene.client().await;
    wire.send(&[open(1, "Upload"), frame(DATA, 0, 1, &framed(b"fail"))].concat()).await;
    let answers = wire.answers().await;
    assert_eq!(kinds(&answers), [(HEADERS, END), (RST_STREAM, 0)]);
    assert_eq!(of(1, &answers)[1].reason(), Reason::NO_ERROR);
    let fields = wire.decode(of(1, &answers)[0]);
    assert!(fields.contains(&("grpc-status".to_owned(), "10".to_owned())), "{fields:?}");
    // Who has half-closed is not reset.
    served(&mut wire, 3).await;
    scene.all_is_well().await;
}

/// RFC 9113 section 5.1: what crosses our reset is passed over, and no other stream's fields suffer
/// from that; behind an end that both sides know of nothing may come.
#[tokio::test(start_paused = true)]
async fn headers_behind_the_end() {
    let scene = Scene::new().await;
    let mut wire = scene.client().await;
    // A table of 4,096 bytes from here on; the entry is its latest.
    let entry = b"\x3f\xe1\x1f\x40\x06custom\x03yes";
    wire.send(&[open(1, "Upload"), frame(DATA, 0, 1, &framed(b"stop"))].concat()).await;
    assert_eq!(of(1, &wire.answers().await).last().unwrap().kind, RST_STREAM);
    // The client's half of the stream ends with an entry of the table.
    wire.send(&frame(HEADERS, END_HEADERS | END, 1, entry)).await;
    assert_eq!(wire.answers().await, []);
    let head = head("Echo", &[]);
    let head = head.strip_prefix(b"\x20").expect("no table, it says first");
    let known = [head, &[0xbe]].concat();
    wire.send(&frame(HEADERS, END_HEADERS, 3, &known)).await;
    wire.send(&frame(DATA, END, 3, &framed(b"m"))).await;
    let answers = wire.answers().await;
    assert_eq!(of(3, &answers).len(), 3, "{answers:?}");
    wire.send(&frame(HEADERS, END_HEADERS | END, 3, &block(&[("x", "y")]))).await;
    expect_goaway("behind both ends", &mut wire, Reason::STREAM_CLOSED).await;
    scene.all_is_well().await;
}

/// Floods on three connections at once, which come back when they are closed: everybody else is
/// served between them. The measure is what the attackers get rid of meanwhile, not time.
#[tokio::test(start_paused = true)]
async fn floods_leave_service_to_others() {
    const CALLS: usize = 100;
    /// What three connections have in their pipes, for each time that a call lets them in.
    const ATTACK_BYTES_PER_CALL_MAX: usize = 1 << 20;
    let floods: [(&str, Vec<u8>); 8] = [
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("SETTINGS", settings(&[])),
        ("PRIORITY", frame(PRIORITY, 0, 99, &[0; 5])),
        ("WINDOW_UPDATE", window_update(0, 1)),
        ("an unknown type", frame(0x99, 0, 0, b"")),
        ("empty DATA", frame(DATA, 0, 1, b"")),
        ("tiny DATA", frame(DATA, 0, 1, b"\0")),
        ("refused calls", Vec::new()),
    ];
    for (name, flood) in floods {
        let scene = Scene::new().await;
        let gone = Arc::new(AtomicUsize::new(0));
        let attackers: Vec<_> = (0..3)
            .map(|_| tokio::spawn(attack(scene.connector.clone(), flood.clone(), gone.clone())))
            .collect();
        let Scene { connector, world, mut polite, waiting } = scene;
        for _ in 0..CALLS {
            let reply = timeout(Duration::from_secs(10), polite.unary("Echo", b"alive")).await;
            assert_eq!(reply.unwrap_or_else(|_| panic!("{name}: starved")).ok(), b"alive");
        }
        let sent = gone.load(Ordering::SeqCst);
        let per_call = sent / CALLS;
        println!("{name}: {per_call} bytes of attack for each call");
        assert!(sent > 0, "{name}: nobody attacks");
        assert!(per_call <= ATTACK_BYTES_PER_CALL_MAX, "{name}: {per_call} bytes for a call");
        attackers.iter().for_each(tokio::task::JoinHandle::abort);
        for attacker in attackers {
            assert!(attacker.await.unwrap_err().is_cancelled());
        }
        world.settle(|world| world.gone() + 1 == world.started()).await;
        Scene { connector, world, polite, waiting }.all_is_well().await;
    }
}

/// Connects, sends without end, and connects again when the connection is closed.
async fn attack(connector: PipeConnector, flood: Vec<u8>, gone: Arc<AtomicUsize>) {
    loop {
        let mut wire = Wire::client(connector.connect().await.unwrap().0).await;
        wire.send(&open(1, "Upload")).await;
        let mut stream = 3;
        while !wire.closed {
            let batch = if flood.is_empty() {
                stream += 200;
                (0..100).flat_map(|n| open(stream - 200 + 2 * n, "Upload")).collect()
            } else {
                flood.repeat((32 << 10) / flood.len())
            };
            // Who does not get rid of it within a second is stopped by back-pressure.
            let sent = timeout(Duration::from_secs(1), wire.send(&batch)).await;
            if sent.is_ok() {
                gone.fetch_add(batch.len(), Ordering::SeqCst);
            }
            tokio::task::yield_now().await;
            while let Ok(Some(_)) = timeout(Duration::ZERO, wire.next()).await {}
        }
    }
}

//! Hostile servers. A client makes a call, or many, and gets whatever they like.

use std::future::pending;
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use gannet::{Channel, Http2Config, Server};
use gannet_interop::proto::gannet::interop::v1 as pb;
use pb::{EchoClient, EchoRequest};
use tokio::task::JoinSet;

use crate::frames::*;
use crate::running::Running;
use crate::wire::{Turns, Wire};
use crate::{
    Attack, CONNECTION_BYTES, IDLE, KIB, LEFT_BYTES_MAX, MIB, STREAM_BYTES, alone, attack,
    catch_up, flood, held_bytes, on_server, streams,
};

/// Calls of an attack that many are made for.
const CALLS: u32 = 100;

/// Callers on a thread of their own, where time passes as it is told.
pub(crate) struct Calling {
    tell: tokio::sync::mpsc::UnboundedSender<(Duration, Option<Work>)>,
    done: mpsc::Receiver<()>,
}

type Work = Box<dyn FnOnce(&mut JoinSet<()>) + Send>;

impl Calling {
    pub(crate) fn start() -> Calling {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel::<(Duration, Option<Work>)>();
        let (report, done) = mpsc::channel();
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(true).build().unwrap();
            runtime.block_on(async {
                // While something blocks, the clock does not go on by itself.
                let (_keep, blocked) = mpsc::channel::<()>();
                tokio::task::spawn_blocking(move || blocked.recv());
                let mut calls = JoinSet::new();
                while let Some((time, work)) = told.recv().await {
                    if let Some(work) = work {
                        work(&mut calls);
                    }
                    tokio::time::advance(time).await;
                    for _ in 0..1_000 {
                        tokio::task::yield_now().await;
                    }
                    while calls.try_join_next().is_some() {}
                    report.send(()).unwrap();
                }
            });
        });
        Calling { tell, done }
    }

    pub(crate) fn work(&self, work: impl FnOnce(&mut JoinSet<()>) + Send + 'static) {
        self.tell.send((Duration::ZERO, Some(Box::new(work)))).unwrap();
        self.done.recv().unwrap();
    }

    /// Makes so many calls.
    fn ask(&self, channel: &Channel, asks: Asks) {
        let client = EchoClient::new(channel.clone());
        let count = match asks {
            Asks::Many => CALLS,
            _ => 1,
        };
        self.work(move |calls| {
            for _ in 0..count {
                calls.spawn(call_once(client.clone(), asks));
            }
        });
    }

    /// A call over this channel is answered.
    fn is_served(&self, channel: &Channel, server: &Running) {
        let (told, hears) = mpsc::channel();
        let client = EchoClient::new(channel.clone());
        self.work(move |calls| {
            calls.spawn(async move {
                let _ = told.send(client.unary(EchoRequest::default()).await.is_ok());
            });
        });
        for _ in 0..100 {
            server.settle();
            self.settle();
            match hears.try_recv() {
                Ok(is_good) => {
                    assert!(is_good, "the call failed");
                    return;
                }
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        panic!("a call to another server is not answered");
    }
}

impl Turns for Calling {
    fn pass(&self, time: Duration) {
        self.tell.send((time, None)).unwrap();
        self.done.recv().unwrap();
    }
}

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// One unary call.
    Unary,
    /// Many of them.
    Many,
    /// Asks for messages, and does not read them.
    Download,
    /// Sends messages for as long as it can.
    Upload,
}

async fn call_once(client: EchoClient, asks: Asks) {
    let request = EchoRequest { payload: vec![1; 10].into(), ..Default::default() };
    match asks {
        Asks::Unary | Asks::Many => drop(client.unary(request).await),
        Asks::Download => {
            let _replies = client.server_stream(request).await;
            pending::<()>().await;
        }
        Asks::Upload => {
            let Ok((mut requests, _reply)) = client.client_stream().await else { return };
            let payload = vec![1; 1_000];
            let request = EchoRequest { payload: payload.into(), ..Default::default() };
            while requests.send(request.clone()).await.is_ok() {}
        }
    }
}

/// `:status 200` and the content type, which begin a response.
pub(crate) fn head() -> Vec<u8> {
    [&[0x88][..], &literal("content-type", "application/grpc")].concat()
}

fn respond(id: u32) -> Vec<u8> {
    Wire::fields(id, 0, &head())
}

fn trailers(id: u32, block: &[u8]) -> Vec<u8> {
    Wire::fields(id, END_STREAM, block)
}

/// An interim response.
fn interim(id: u32) -> Vec<u8> {
    Wire::fields(id, 0, &literal(":status", "103"))
}

fn attacks() -> Vec<(Asks, Attack)> {
    let many = CALLS as usize * STREAM_BYTES + CONNECTION_BYTES;
    let ended = |attack: Attack| Attack { ends: true, ..attack };
    let mut attacks = vec![
        (
            Asks::Unary,
            ended(attack("CONTINUATION flood", 128 * KIB + CONNECTION_BYTES, 100, |round| {
                match round {
                    0 => frame(HEADERS, 0, 1, &[]),
                    _ => frame(CONTINUATION, 0, 1, &[0; 16_384]),
                }
            })),
        ),
        (Asks::Many, attack("HPACK bomb", many, 20, hpack_bomb)),
        (Asks::Many, attack("long header lists, named from the table", lists(), 3, long_lists)),
        (
            Asks::Many,
            attack("cookie crumbs in trailers", many, 1, |_| {
                let crumbs = literal("cookie", "a=b").repeat(200);
                streams(0, CALLS, |id| [respond(id), trailers(id, &crumbs)].concat())
            }),
        ),
        (
            Asks::Unary,
            attack("interim responses without end", CONNECTION_BYTES, 100, |_| flood(&interim(1))),
        ),
        (
            Asks::Unary,
            // Both sides had ended the stream, and neither had reset it.
            ended(attack("trailers behind trailers", CONNECTION_BYTES, 100, |round| match round {
                0 => respond(1),
                _ => flood(&trailers(1, &literal("grpc-status", "1"))),
            })),
        ),
        (
            Asks::Many,
            attack("every call refused, and once more", many, 2, |round| {
                streams(round, CALLS, |id| frame(RST_STREAM, 0, id, &[0, 0, 0, 7]))
            }),
        ),
        (
            Asks::Unary,
            ended(attack("resets without streams", CONNECTION_BYTES, 100, |_| {
                flood(&frame(RST_STREAM, 0, 99, &[0, 0, 0, 8]))
            })),
        ),
        (
            Asks::Unary,
            ended(attack("pushed streams", CONNECTION_BYTES, 100, |_| {
                flood(&frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]))
            })),
        ),
    ];
    attacks.extend(floods().into_iter().map(|attack| (Asks::Unary, attack)));
    attacks.extend(messages());
    attacks.extend(windows());
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
        ("GOAWAY", frame(GOAWAY, 0, 0, &[&[0x7f, 0xff, 0xff, 0xff][..], &[0; 2_000]].concat())),
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

/// Messages: those of nothing, those that are announced, and those that nobody reads.
fn messages() -> Vec<(Asks, Attack)> {
    vec![
        (
            Asks::Download,
            Attack {
                ends: true,
                ..attack("empty DATA", CONNECTION_BYTES, 50, |round| match round {
                    0 => respond(1),
                    _ => flood(&frame(DATA, 0, 1, b"")),
                })
            },
        ),
        (
            Asks::Unary,
            attack("DATA of one byte, of a message that never ends", ONE_MESSAGE, 500, |round| {
                match round {
                    0 => [respond(1), frame(DATA, 0, 1, b"\0\0\x3f\xff\xff")].concat(),
                    _ => flood(&frame(DATA, 0, 1, b"x")),
                }
            }),
        ),
        (
            Asks::Download,
            attack("padding", MIB + CONNECTION_BYTES, 500, |round| match round {
                0 => respond(1),
                _ => flood(&frame(DATA, PADDED, 1, &[&[255][..], &[0; 256]].concat())),
            }),
        ),
        (
            Asks::Many,
            attack("messages that are announced long", announced(), 3, |round| {
                let begun = |id| [respond(id), frame(DATA, 0, id, b"\0\0\x3f\xff\xff")].concat();
                if round == 0 { streams(0, CALLS, begun) } else { Vec::new() }
            }),
        ),
        (
            Asks::Download,
            attack("messages that nobody reads", UNREAD_BYTES_MAX, 2_000, |round| match round {
                0 => respond(1),
                _ => frame(DATA, 0, 1, &message(&[7; 16_000])),
            }),
        ),
        (
            Asks::Download,
            attack("messages of nothing that nobody reads", UNREAD_BYTES_MAX, 500, |round| {
                match round {
                    0 => respond(1),
                    _ => flood(&frame(DATA, 0, 1, b"\0\0\0\0\0")),
                }
            }),
        ),
    ]
}

/// Games with what the client may send.
fn windows() -> Vec<(Asks, Attack)> {
    let queued = 2 * 64 * KIB + CONNECTION_BYTES;
    let window = |bytes: u32| frame(SETTINGS, 0, 0, &[&[0, 4][..], &bytes.to_be_bytes()].concat());
    let reading = |attack: Attack| Attack { reads: true, ..attack };
    vec![
        (
            Asks::Upload,
            attack("no window, and then the largest", queued, 200, move |round| match round % 2 {
                0 => window(0),
                _ => window(0x7fff_ffff),
            }),
        ),
        (
            Asks::Upload,
            reading(attack("a byte of window at a time", queued, 50, move |round| match round {
                0 => window(0),
                _ => flood(&[window_update(1, 1), window_update(0, 1)].concat()),
            })),
        ),
        (
            Asks::Upload,
            Attack {
                ends: true,
                ..attack("a window that overflows", queued, 5, |_| window_update(0, 0x7fff_ffff))
            },
        ),
        (
            Asks::Upload,
            attack("a window that grows by nothing", queued, 100, |_| flood(&window_update(1, 0))),
        ),
    ]
}

/// Header lists of 16 KiB, of as many responses as there are calls.
const fn lists() -> usize {
    CALLS as usize * (STREAM_BYTES + 20 * KIB) + CONNECTION_BYTES
}

/// One entry of the table, named 16,000 times.
fn hpack_bomb(round: u32) -> Vec<u8> {
    let of = |id, more: &[u8]| Wire::fields(id, 0, &[&head(), more].concat());
    match round {
        0 => of(1, &entry()),
        _ => streams(round - 1, 5, |id| of(id + 2, &[0xbe; 16_000])),
    }
}

/// As long as a list may be, of few bytes each.
fn long_lists(round: u32) -> Vec<u8> {
    let of = |id, more: &[u8]| Wire::fields(id, 0, &[&head(), more].concat());
    match round {
        0 => of(1, &entry()),
        1 => streams(0, CALLS - 1, |id| of(id + 2, &[0xbe; 3])),
        _ => Vec::new(),
    }
}

/// `ChannelBuilder::max_receive_bytes`: what came of a message that is not there yet.
const ONE_MESSAGE: usize = 4 * MIB + CONNECTION_BYTES;

/// Of a message nothing is kept but what came.
const fn announced() -> usize {
    CALLS as usize * (STREAM_BYTES + KIB) + CONNECTION_BYTES
}

/// `Config::recv_buffered_bytes_max` and `Config::stream_window_bytes` as these channels have
/// them, and what they are stored in.
const UNREAD_BYTES_MAX: usize = 4 * MIB + MIB + CONNECTION_BYTES;

fn channel(addr: std::net::SocketAddr) -> Channel {
    let mut http2 = Http2Config::default();
    http2.recv_buffered_bytes_max = 4 << 20;
    http2.window_bytes_max = 1 << 20;
    Channel::builder(addr.to_string()).http2(http2).build().unwrap()
}

#[test]
fn hostile_servers_hold_no_more_than_their_bounds() {
    let _alone = alone();
    let server = Running::start(|| -> Server { on_server::server() });
    let calling = Calling::start();
    catch_up(&calling);
    let polite = channel(server.addr);
    calling.is_served(&polite, &server);
    calling.pass(IDLE);
    let at_first = held_bytes();
    let mut faults = Vec::new();
    for (asks, attack) in attacks() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let attacked = channel(listener.local_addr().unwrap());
        calling.ask(&attacked, asks);
        let mut wire = Wire::accept(&listener, &calling);
        // No other attempt gets anywhere.
        drop(listener);
        wire.welcome(&calling);
        // Each call ends with a status of its own.
        let allocations = if asks == Asks::Many { 10 * CALLS as usize } else { 200 };
        let attack = Attack { allocations, ..attack };
        let serve = || calling.is_served(&polite, &server);
        let seen = attack.carry_out(&mut wire, &calling, serve);
        attack.judge(&seen, &mut faults);
        drop((wire, attacked));
        serve();
        calling.work(|calls| calls.abort_all());
        calling.pass(IDLE);
        calling.pass(IDLE);
        let left = held_bytes().saturating_sub(at_first);
        if left > LEFT_BYTES_MAX {
            faults.push(format!("{}: {left} bytes are left", attack.name));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

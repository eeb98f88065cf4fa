//! Hostile clients.

use std::future::pending;

use gannet::compression::Compressors;
use gannet::server::{Dispatch, MethodOptions};
use gannet::{Call, Http2Config, Inbound, Outbound, Result, Server};
use gannet_interop::proto::gannet::interop::v1 as pb;
use pb::{EchoReply, EchoRequest};

use crate::frames::*;
use crate::running::Running;
use crate::wire::Wire;
use crate::{
    Attack, CONNECTION_BYTES, IDLE, KIB, LEFT_BYTES_MAX, MIB, STREAM_BYTES, alone, attack,
    catch_up, flood, held_bytes, streams,
};

/// `Config::concurrent_streams_max`.
const STREAMS: usize = 256;

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

pub(crate) fn attacks() -> Vec<Attack> {
    let cancel = |id| frame(RST_STREAM, 0, id, &[0, 0, 0, 8]);
    let refused = STREAMS * STREAM_BYTES + CONNECTION_BYTES;
    let ended = |attack: Attack| Attack { ends: true, ..attack };
    let mut attacks = vec![
        ended(attack("rapid reset", refused, 50, move |round| {
            streams(round, 100, |id| [open("Bidi", id), cancel(id)].concat())
        })),
        ended(attack("made you reset", refused, 50, |round| {
            streams(round, 100, |id| [open("Bidi", id), window_update(id, 0)].concat())
        })),
        ended(attack("more streams than permitted", refused, 50, |round| {
            streams(round, 100, |id| open("Bidi", id))
        })),
        ended(attack(
            "CONTINUATION flood",
            128 * KIB + CONNECTION_BYTES,
            100,
            |round| match round {
                0 => frame(HEADERS, 0, 1, &[]),
                _ => frame(CONTINUATION, 0, 1, &[0; 16_384]),
            },
        )),
        ended(attack("HPACK bomb", refused, 20, hpack_bomb)),
        attack("long header lists, named from the table", lists(), 3, long_lists),
        ended(attack("cookie crumbs", refused, 50, |round| {
            streams(round, 10, |id| headers(id, END_HEADERS, &[head("Bidi"), crumbs()].concat()))
        })),
        ended(attack("empty DATA", CONNECTION_BYTES, 50, |round| match round {
            0 => open("ClientStream", 1),
            _ => flood(&frame(DATA, 0, 1, b"")),
        })),
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
            // A third PING that comes too soon is one too many (gRFC A8).
            attacks.push(Attack { reads, ends: name == "PING", ..flooding });
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
        Attack {
            // In the end over the connection's window.
            ends: true,
            ..attack("uploads that nobody reads", UPLOADS_BYTES_MAX, 2_000, |round| match round {
                0 => streams(0, 200, |id| open("ClientStream", id)),
                _ => frame(DATA, 0, 1 + 2 * (round % 200), &message(&[7; 16_000])),
            })
        },
        attack("answers that are not read, of calls that wait", replies(), 3, |round| {
            let asked = request(&[b'x'; 1_000], 10_000, 0);
            match round {
                0 => streams(0, 250, |id| call("ServerStream", id, &asked)),
                _ => Vec::new(),
            }
        }),
        Attack {
            // What is refused for them counts as resets do.
            ends: true,
            ..attack(
                "answers that are not read, of calls that have ended",
                ANSWERS_BYTES_MAX,
                200,
                |round| streams(round, 4, |id| call("Unary", id, &request(b"", 0, 1 << 18))),
            )
        },
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

/// The largest sums are 32 MiB and 256 MiB by default; here they are as small as makes them quick
/// to reach.
pub(crate) fn server() -> Server {
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
fn hostile_clients_hold_no_more_than_their_bounds() {
    let _alone = alone();
    let running = Running::start(server);
    hold(&running, attacks(), 0, || Wire::connect(running.addr));
}

/// Carries out each attack over a connection of its own, beside a client that is served meanwhile
/// and afterwards.
pub(crate) fn hold(
    running: &Running,
    attacks: Vec<Attack>,
    more_bytes: usize,
    connect: impl Fn() -> Wire,
) {
    catch_up(running);
    let mut polite = connect();
    polite.handshake(running);
    polite.is_served(running, 1);
    running.pass(IDLE);
    let at_first = held_bytes();
    let mut faults = Vec::new();
    let mut next = 3;
    for mut attack in attacks {
        attack.bound += more_bytes;
        running.settle();
        let mut wire = connect();
        wire.handshake(running);
        let mut serve = || {
            polite.is_served(running, next);
            next += 2;
        };
        let seen = attack.carry_out(&mut wire, running, &mut serve);
        attack.judge(&seen, &mut faults);
        drop(wire);
        running.settle();
        serve();
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

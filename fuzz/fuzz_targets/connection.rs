//! Frames that are mostly well-formed, in any order, with any verbs of the application between
//! them.
#![no_main]

use arbitrary::Arbitrary;
use gannet_fuzz::{Verb, World, config};
use gannet_http2::hpack::{Encoder, Indexing};
use gannet_http2::{Client, Server};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    server: bool,
    /// The connection is kept alive, and ended when it is old or idle.
    kept_up: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    Frame(Frame),
    Verb(Verb),
    /// Only a part of the next frame arrives before the next verb.
    Cut(u8),
}

#[derive(Debug, Arbitrary)]
enum Frame {
    Data {
        stream: u8,
        len: u16,
        padding: Option<u8>,
        end: bool,
    },
    /// A good head for the role, then trailers or any list.
    Headers {
        stream: u8,
        list: List,
        end: bool,
        whole: bool,
        priority: Option<u8>,
    },
    Continuation {
        stream: u8,
        list: List,
        end: bool,
    },
    Priority {
        stream: u8,
        on: u8,
    },
    Reset {
        stream: u8,
        code: u8,
    },
    Settings {
        list: Vec<(u8, SettingValue)>,
    },
    SettingsAck,
    Push {
        stream: u8,
    },
    Ping {
        ack: bool,
        which: u8,
    },
    GoAway {
        last: u8,
        code: u8,
    },
    WindowUpdate {
        stream: u8,
        by: Increment,
    },
    Raw {
        kind: u8,
        flags: u8,
        stream: u8,
        payload: Vec<u8>,
    },
}

#[derive(Debug, Arbitrary)]
enum List {
    Request,
    Response,
    Interim,
    Trailers,
    WithLength(u8),
    Fields(Vec<(u8, u8)>),
    Large(u16),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum SettingValue {
    Small(u16),
    Any(u32),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Increment {
    Small(u16),
    Any(u32),
}

fuzz_target!(|input: Input| {
    let mut encoder = Encoder::new(4096);
    if input.server {
        let mut world: World<Server> = World::new(config());
        if input.kept_up {
            world.keep_up();
        }
        world.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        drive(&mut world, &input.steps, &mut encoder, World::act_server);
        world.finish();
    } else {
        let mut world: World<Client> = World::new(config());
        if input.kept_up {
            world.keep_up();
        }
        drive(&mut world, &input.steps, &mut encoder, World::act_client);
        world.finish();
    }
});

fn drive<R: gannet_http2::Role>(
    world: &mut World<R>,
    steps: &[Step],
    encoder: &mut Encoder,
    act: fn(&mut World<R>, &Verb),
) {
    world.read(&frame(4, 0, 0, b""));
    let mut waiting = Vec::new();
    let mut cut = None;
    for step in steps {
        match step {
            Step::Frame(frame) => {
                waiting.extend(bytes_of(frame, encoder));
                let n = cut.take().map_or(waiting.len(), |n| waiting.len().min(usize::from(n)));
                let now: Vec<u8> = waiting.drain(..n).collect();
                world.read(&now);
            }
            Step::Verb(verb) => act(world, verb),
            Step::Cut(n) => cut = Some(*n),
        }
    }
    world.read(&waiting);
}

fn bytes_of(of: &Frame, encoder: &mut Encoder) -> Vec<u8> {
    let end_stream = |end: bool| u8::from(end);
    match of {
        Frame::Data { stream, len, padding, end } => {
            let mut payload = vec![0x44; usize::from(*len).min(16_000)];
            let mut flags = end_stream(*end);
            if let Some(padding) = padding {
                flags |= 8;
                payload.insert(0, *padding);
                payload.resize(payload.len() + usize::from(*padding), 0);
            }
            frame(0, flags, *stream, &payload)
        }
        Frame::Headers { stream, list, end, whole, priority } => {
            let mut payload = Vec::new();
            let mut flags = end_stream(*end) | if *whole { 4 } else { 0 };
            if let Some(on) = priority {
                flags |= 0x20;
                payload.extend_from_slice(&[0, 0, 0, *on, 16]);
            }
            payload.extend(block(list, encoder));
            payload.truncate(16_384);
            frame(1, flags, *stream, &payload)
        }
        Frame::Continuation { stream, list, end } => {
            let mut payload = block(list, encoder);
            payload.truncate(16_384);
            frame(9, if *end { 4 } else { 0 }, *stream, &payload)
        }
        Frame::Priority { stream, on } => frame(2, 0, *stream, &[0, 0, 0, *on, 1]),
        Frame::Reset { stream, code } => frame(3, 0, *stream, &[0, 0, 0, *code]),
        Frame::Settings { list } => {
            let mut payload = Vec::new();
            for (id, value) in list.iter().take(100) {
                let value = match value {
                    SettingValue::Small(value) => u32::from(*value),
                    SettingValue::Any(value) => *value,
                };
                payload.extend_from_slice(&[0, id % 8]);
                payload.extend_from_slice(&value.to_be_bytes());
            }
            frame(4, 0, 0, &payload)
        }
        Frame::SettingsAck => frame(4, 1, 0, b""),
        Frame::Push { stream } => frame(5, 4, *stream, &[0, 0, 0, 2]),
        Frame::Ping { ack, which } => {
            let opaque = match which % 3 {
                0 => *b"gnt-bdp\0",
                1 => *b"gnt-drn\0",
                _ => [*which; 8],
            };
            frame(6, u8::from(*ack), 0, &opaque)
        }
        Frame::GoAway { last, code } => frame(7, 0, 0, &[0, 0, 0, *last, 0, 0, 0, *code]),
        Frame::WindowUpdate { stream, by } => {
            let by = match by {
                Increment::Small(by) => u32::from(*by),
                Increment::Any(by) => *by,
            };
            frame(8, 0, *stream, &by.to_be_bytes())
        }
        Frame::Raw { kind, flags, stream, payload } => {
            frame(*kind, *flags, *stream, &payload[..payload.len().min(16_384)])
        }
    }
}

fn block(list: &List, encoder: &mut Encoder) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin_block(&mut out);
    let mut field = |name: &[u8], value: &[u8]| {
        encoder.field(&mut out, name, value, Indexing::WhenRepeated);
    };
    match list {
        List::Request | List::WithLength(_) => {
            field(b":method", b"POST");
            field(b":scheme", b"http");
            field(b":path", b"/a.B/C");
            if let List::WithLength(length) = list {
                field(b"content-length", length.to_string().as_bytes());
            }
        }
        List::Response => field(b":status", b"200"),
        List::Interim => field(b":status", b"103"),
        List::Trailers => field(b"grpc-status", b"0"),
        List::Fields(fields) => {
            for (name, value) in fields.iter().take(64) {
                field(NAMES[usize::from(*name) % NAMES.len()], &[*value]);
            }
        }
        List::Large(len) => field(b"large", &vec![b'~'; usize::from(*len)]),
    }
    out
}

const NAMES: [&[u8]; 10] = [
    b":method",
    b":scheme",
    b":path",
    b":status",
    b":authority",
    b"te",
    b"connection",
    b"content-length",
    b"Upper",
    b"x",
];

/// Streams 0 to 63, so that most frames meet one that exists.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, stream % 64];
    out.extend_from_slice(payload);
    out
}

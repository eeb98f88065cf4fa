//! The few frames it takes (RFC 9113 section 6), and one header block (RFC 7541).

/// A frame type that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Headers,
    Reset,
    Settings,
    Ping,
    GoAway,
    Other,
}

/// A received frame.
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) ack: bool,
    pub(crate) end_stream: bool,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the front, and how long it is; `None` until it is complete.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<(Frame<'a>, usize)> {
        let head: &[u8; 9] = bytes.first_chunk()?;
        let length = 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = bytes.get(9..length)?;
        let kind = match head[3] {
            0 => Kind::Data,
            1 => Kind::Headers,
            3 => Kind::Reset,
            4 => Kind::Settings,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            _ => Kind::Other,
        };
        let flag = head[4] & 1 != 0;
        Some((Frame { kind, ack: flag, end_stream: flag, payload }, length))
    }
}

/// One call's frames, first in full and then by reference to the peer's table.
pub(crate) struct Request {
    first: Vec<u8>,
    next: Vec<u8>,
    data: Vec<u8>,
}

impl Request {
    pub(crate) fn new(path: &str, message: &[u8]) -> Request {
        let mut first = vec![0x83, 0x86]; // :method POST, :scheme http
        literal(&mut first, 0x44, path); // :path
        literal(&mut first, 0x41, "localhost"); // :authority
        literal(&mut first, 0x5f, "application/grpc"); // content-type
        first.push(0x40);
        string(&mut first, "te");
        string(&mut first, "trailers");
        literal(&mut first, 0x7a, "gannet-load"); // user-agent
        // The five new entries, newest first, are 62 to 66.
        let next = vec![0x83, 0x86, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe];
        let mut data = vec![0];
        let length = u32::try_from(message.len()).expect("a small message");
        data.extend_from_slice(&length.to_be_bytes());
        data.extend_from_slice(message);
        Request { first, next, data }
    }

    pub(crate) fn write_first(&self, id: u32, out: &mut Vec<u8>) {
        self.write(&self.first, id, out);
    }

    pub(crate) fn write_next(&self, id: u32, out: &mut Vec<u8>) {
        self.write(&self.next, id, out);
    }

    fn write(&self, block: &[u8], id: u32, out: &mut Vec<u8>) {
        head(out, block.len(), 1, 0x4, id);
        out.extend_from_slice(block);
        head(out, self.data.len(), 0, 0x1, id);
        out.extend_from_slice(&self.data);
    }
}

/// The client's preface: SETTINGS as they are by default, and the largest window for the
/// connection.
pub(crate) fn preface() -> Vec<u8> {
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    head(&mut out, 0, 4, 0, 0);
    window_update((1 << 31) - 1 - 65_535, &mut out);
    out
}

pub(crate) fn settings_ack(out: &mut Vec<u8>) {
    head(out, 0, 4, 0x1, 0);
}

pub(crate) fn ping_ack(opaque: &[u8], out: &mut Vec<u8>) {
    head(out, opaque.len(), 6, 0x1, 0);
    out.extend_from_slice(opaque);
}

pub(crate) fn window_update(bytes: u32, out: &mut Vec<u8>) {
    head(out, 4, 8, 0, 0);
    out.extend_from_slice(&bytes.to_be_bytes());
}

fn head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, id: u32) {
    let length = u32::try_from(length).expect("a small frame").to_be_bytes();
    let id = id.to_be_bytes();
    out.extend_from_slice(&[
        length[1], length[2], length[3], kind, flags, id[0], id[1], id[2], id[3],
    ]);
}

/// A literal with incremental indexing whose name has a one-byte index.
fn literal(out: &mut Vec<u8>, name: u8, value: &str) {
    out.push(name);
    string(out, value);
}

fn string(out: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).ok().filter(|n| *n < 127).expect("a short text");
    out.push(length);
    out.extend_from_slice(text.as_bytes());
}

//! Frames and header blocks as attackers write them.

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

pub(crate) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

pub(crate) fn window_update(id: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, id, &by.to_be_bytes())
}

/// A literal that does not enter the table (RFC 7541 section 6.2.2).
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    let short = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap();
    [&[0, short(name)], name.as_bytes(), &[short(value)], value.as_bytes()].concat()
}

/// The header block of a call.
pub(crate) fn head(method: &str) -> Vec<u8> {
    let path = format!("/gannet.interop.v1.Echo/{method}");
    let mut block = vec![0x83, 0x86];
    block.extend(literal(":path", &path));
    block.extend(literal("te", "trailers"));
    block.extend(literal("content-type", "application/grpc"));
    block
}

pub(crate) fn headers(id: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, id, block)
}

pub(crate) fn open(method: &str, id: u32) -> Vec<u8> {
    headers(id, END_HEADERS, &head(method))
}

pub(crate) fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], &length[..], bytes].concat()
}

/// A whole call with one message.
pub(crate) fn call(method: &str, id: u32, message: &[u8]) -> Vec<u8> {
    [open(method, id), frame(DATA, END_STREAM, id, message)].concat()
}

/// An `EchoRequest` with its prefix.
pub(crate) fn request(payload: &[u8], replies: u32, reply_bytes: u32) -> Vec<u8> {
    let mut body = vec![0x0a];
    varint(&mut body, u32::try_from(payload.len()).unwrap());
    body.extend_from_slice(payload);
    for (tag, value) in [(0x18, replies), (0x20, reply_bytes)] {
        body.push(tag);
        varint(&mut body, value);
    }
    message(&body)
}

pub(crate) fn varint(to: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

/// An entry of 4,000 bytes that enters the table (RFC 7541 section 6.2.1).
pub(crate) fn entry() -> Vec<u8> {
    [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'v'; 4_000]].concat()
}

//! The nine bytes before every payload (RFC 9113 section 4.1).

use super::HEAD_BYTES;

/// Frame types (RFC 9113 section 6). Unknown ones are skipped (section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Unknown,
}

impl Kind {
    pub(crate) const DATA: u8 = 0x0;
    pub(crate) const HEADERS: u8 = 0x1;
    pub(crate) const PRIORITY: u8 = 0x2;
    pub(crate) const RST_STREAM: u8 = 0x3;
    pub(crate) const SETTINGS: u8 = 0x4;
    pub(crate) const PUSH_PROMISE: u8 = 0x5;
    pub(crate) const PING: u8 = 0x6;
    pub(crate) const GOAWAY: u8 = 0x7;
    pub(crate) const WINDOW_UPDATE: u8 = 0x8;
    pub(crate) const CONTINUATION: u8 = 0x9;

    fn from_byte(byte: u8) -> Kind {
        match byte {
            Self::DATA => Kind::Data,
            Self::HEADERS => Kind::Headers,
            Self::PRIORITY => Kind::Priority,
            Self::RST_STREAM => Kind::RstStream,
            Self::SETTINGS => Kind::Settings,
            Self::PUSH_PROMISE => Kind::PushPromise,
            Self::PING => Kind::Ping,
            Self::GOAWAY => Kind::GoAway,
            Self::WINDOW_UPDATE => Kind::WindowUpdate,
            Self::CONTINUATION => Kind::Continuation,
            _ => Kind::Unknown,
        }
    }
}

/// Flags; what each means depends on the frame type.
pub(crate) mod flags {
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// A parsed frame head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) length: u32,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    /// Without the reserved bit.
    pub(crate) stream_id: u32,
}

impl FrameHead {
    /// Parses the head at the front of `bytes`; `None` until it is complete.
    pub(crate) fn parse(bytes: &[u8]) -> Option<FrameHead> {
        let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        Some(FrameHead {
            length: Self::payload_bytes(head),
            kind: Kind::from_byte(head[3]),
            flags: head[4],
            stream_id: Self::stream_id_of(head),
        })
    }

    /// What a head says of the payload's length.
    #[inline]
    pub(crate) fn payload_bytes(head: &[u8; HEAD_BYTES]) -> u32 {
        u32::from_be_bytes([0, head[0], head[1], head[2]])
    }

    /// Which stream a head names, without the reserved bit.
    #[inline]
    pub(crate) fn stream_id_of(head: &[u8; HEAD_BYTES]) -> u32 {
        u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Head and payload together, in bytes.
    pub(crate) fn frame_bytes(self) -> usize {
        HEAD_BYTES + self.length as usize
    }
}

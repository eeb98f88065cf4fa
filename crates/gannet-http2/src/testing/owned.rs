//! Events that borrow nothing, so that tests can keep and compare them.

use crate::hpack::FieldBlock;
use crate::{Event, Reason, StreamKey};

/// [`Event`] without its borrows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owned {
    Headers { key: StreamKey, fields: Fields, end_stream: bool },
    Informational { key: StreamKey, status: u16 },
    Data { key: StreamKey, payload: Vec<u8>, end_stream: bool },
    Trailers { key: StreamKey, fields: Fields },
    Reset { key: StreamKey, reason: Reason, remote: bool, unprocessed: bool },
    Ping([u8; 8]),
    PingAck([u8; 8]),
    Settings,
    GoAway { last_stream_id: u32, reason: Reason, debug: Vec<u8> },
}

/// Names and values in order.
pub(super) type Fields = Vec<(String, String)>;

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Headers { key, fields, end_stream } => {
                Owned::Headers { key, fields: fields_of(fields), end_stream }
            }
            Event::Informational { key, status } => Owned::Informational { key, status },
            Event::Data { key, payload, end_stream } => {
                Owned::Data { key, payload: payload.to_vec(), end_stream }
            }
            Event::Trailers { key, fields } => Owned::Trailers { key, fields: fields_of(fields) },
            Event::Reset { key, reason, remote, unprocessed } => {
                Owned::Reset { key, reason, remote, unprocessed }
            }
            Event::Ping { opaque } => Owned::Ping(opaque),
            Event::PingAck { opaque } => Owned::PingAck(opaque),
            Event::Settings => Owned::Settings,
            Event::GoAway { last_stream_id, reason, debug } => {
                Owned::GoAway { last_stream_id, reason, debug: debug.to_vec() }
            }
        }
    }
}

impl Owned {
    /// The stream it is about.
    pub(super) fn key(&self) -> Option<StreamKey> {
        match self {
            Owned::Headers { key, .. }
            | Owned::Informational { key, .. }
            | Owned::Data { key, .. }
            | Owned::Trailers { key, .. }
            | Owned::Reset { key, .. } => Some(*key),
            _ => None,
        }
    }
}

fn fields_of(block: &FieldBlock) -> Fields {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    block.iter().map(|field| (text(field.name), text(field.value))).collect()
}

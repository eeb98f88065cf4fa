//! SETTINGS parameters (RFC 9113 section 6.5).

use crate::ConnectionError;
use crate::error::Reason;

use super::WINDOW_BYTES_MAX;

/// Identifiers as they stand on the wire.
pub(crate) mod setting_id {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 0x1;
    pub(crate) const ENABLE_PUSH: u16 = 0x2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 0x5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
}

/// One parameter with a legal value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    HeaderTableSize(u32),
    EnablePush(bool),
    MaxConcurrentStreams(u32),
    InitialWindowSize(u32),
    MaxFrameSize(u32),
    MaxHeaderListSize(u32),
    Unknown,
}

/// The parameters of a SETTINGS payload, each checked (RFC 9113 section 6.5.2).
pub(crate) fn settings_of(
    payload: &[u8],
) -> impl Iterator<Item = Result<Setting, ConnectionError>> + '_ {
    payload.chunks_exact(6).map(|chunk| {
        let id = u16::from_be_bytes([chunk[0], chunk[1]]);
        let value = u32::from_be_bytes([chunk[2], chunk[3], chunk[4], chunk[5]]);
        parse_one(id, value)
    })
}

fn parse_one(id: u16, value: u32) -> Result<Setting, ConnectionError> {
    Ok(match id {
        setting_id::HEADER_TABLE_SIZE => Setting::HeaderTableSize(value),
        setting_id::ENABLE_PUSH => match value {
            0 => Setting::EnablePush(false),
            1 => Setting::EnablePush(true),
            _ => return Err(ConnectionError::protocol("SETTINGS_ENABLE_PUSH is neither 0 nor 1")),
        },
        setting_id::MAX_CONCURRENT_STREAMS => Setting::MaxConcurrentStreams(value),
        setting_id::INITIAL_WINDOW_SIZE => {
            if i64::from(value) > WINDOW_BYTES_MAX {
                return Err(ConnectionError::new(
                    Reason::FLOW_CONTROL_ERROR,
                    "SETTINGS_INITIAL_WINDOW_SIZE is above 2^31 - 1",
                ));
            }
            Setting::InitialWindowSize(value)
        }
        setting_id::MAX_FRAME_SIZE => {
            if !(super::FRAME_BYTES_MIN..1 << 24).contains(&value) {
                return Err(ConnectionError::protocol("SETTINGS_MAX_FRAME_SIZE is out of range"));
            }
            Setting::MaxFrameSize(value)
        }
        setting_id::MAX_HEADER_LIST_SIZE => Setting::MaxHeaderListSize(value),
        _ => Setting::Unknown,
    })
}

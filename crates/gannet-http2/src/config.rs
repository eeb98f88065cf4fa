//! What one connection may do and hold: every bound of the engine, with its default.

use std::sync::Arc;
use std::time::Duration;

use crate::hpack;

/// Limits and windows of one connection. All are enforced from the first byte, for both roles.
///
/// Defaults suit a public server; a field's doc gives its unit and what exceeding it does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Streams the peer may have open at once (default 256), advertised as
    /// SETTINGS_MAX_CONCURRENT_STREAMS. A stream counts until it is closed on the wire *and*
    /// forgotten by the layer above; one more is refused with REFUSED_STREAM.
    pub concurrent_streams_max: u32,
    /// Streams a client opens at most before the peer's SETTINGS told its own limit (default 100).
    pub initial_open_streams_max: u32,
    /// Receive window of each stream in bytes (default 1 MiB; 1 to 2^31 - 1).
    pub stream_window_bytes: u32,
    /// Receive window of the connection in bytes (default 1 MiB, at least 65,535).
    pub connection_window_bytes: u32,
    /// How far measured bandwidth may grow both windows, in bytes (default 16 MiB).
    pub window_bytes_max: u32,
    /// Bytes that may lie received but not released by the layer above, over all streams (default
    /// 32 MiB), give or take a frame. Until that, one stalled reader does not slow the other
    /// streams: connection credit is returned on receipt.
    pub recv_buffered_bytes_max: u32,
    /// Largest frame payload we accept, advertised as SETTINGS_MAX_FRAME_SIZE (default 16 KiB;
    /// 16,384 to 16,777,215).
    pub frame_bytes_max: u32,
    /// Bytes of the HPACK table that the peer's encoder may fill (default 4,096).
    pub header_table_bytes: u32,
    /// Bytes of the HPACK table that our encoder uses at most, whatever the peer offers (default
    /// 4,096).
    pub encoder_table_bytes_max: u32,
    /// Bounds on one decoded header list. A request over it is reset with ENHANCE_YOUR_CALM.
    pub header_limits: hpack::Limits,
    /// Encoded bytes of one header block over all its frames (default 64 KiB); over it, the
    /// connection ends with ENHANCE_YOUR_CALM.
    pub header_block_bytes_max: u32,
    /// CONTINUATION frames of one header block (default 8); over it, the connection ends.
    pub continuation_frames_max: u32,
    /// Time from HEADERS to the end of its header block (default 10 s).
    pub header_timeout: Duration,
    /// Time from the start until the peer's preface and SETTINGS (default 120 s).
    pub handshake_timeout: Duration,
    /// Time from the peer's SETTINGS until it acknowledges ours (default 30 s).
    pub settings_ack_timeout: Duration,
    /// Replies (PING and SETTINGS acknowledgements, RST_STREAM) that may wait to be sent before
    /// reading stops (default 64).
    pub control_frames_max: u32,
    /// Burst of resets that a peer may send or provoke (default 200): rapid reset, CVE-2023-44487,
    /// and made-you-reset, CVE-2025-8671. Over it, the connection ends with ENHANCE_YOUR_CALM. At
    /// least `concurrent_streams_max`, so that a client may cancel all its calls at once.
    pub resets_burst_max: u32,
    /// Resets a second that refill the burst (default 100).
    pub resets_per_second: u32,
    /// DATA frames without payload that may follow each other (default 64).
    pub empty_data_frames_max: u32,
    /// Bytes that may wait in the output buffer before `poll_transmit` adds no more (default 256
    /// KiB).
    pub send_buffer_bytes_max: usize,
    /// Bytes of queued DATA over all streams from which on new streams are refused with
    /// REFUSED_STREAM (default 256 MiB; server only): replies that a peer asks for and does not
    /// read.
    pub send_queued_bytes_max: usize,
    /// Bytes of queued DATA from which on a client must keep reading (default 64 MiB; server only):
    /// at least 64 KiB in each `send_stall_timeout`, or the connection ends with ENHANCE_YOUR_CALM.
    /// Below this an application may pause its reading for as long as it likes.
    pub send_stall_bytes_min: usize,
    /// See `send_stall_bytes_min` (default 60 s).
    pub send_stall_timeout: Duration,
    /// Queued bytes below which a stream that was above it is reported by `poll_drained` (default
    /// 16 KiB).
    pub send_low_water_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            concurrent_streams_max: 256,
            initial_open_streams_max: 100,
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 1 << 20,
            window_bytes_max: 16 << 20,
            recv_buffered_bytes_max: 32 << 20,
            frame_bytes_max: 16_384,
            header_table_bytes: 4_096,
            encoder_table_bytes_max: 4_096,
            header_limits: hpack::Limits::default(),
            header_block_bytes_max: 64 << 10,
            continuation_frames_max: 8,
            header_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(120),
            settings_ack_timeout: Duration::from_secs(30),
            control_frames_max: 64,
            resets_burst_max: 200,
            resets_per_second: 100,
            empty_data_frames_max: 64,
            send_buffer_bytes_max: 256 << 10,
            send_queued_bytes_max: 256 << 20,
            send_stall_bytes_min: 64 << 20,
            send_stall_timeout: Duration::from_secs(60),
            send_low_water_bytes: 16 << 10,
        }
    }
}

impl Config {
    /// Brings every field into the range the protocol allows.
    pub(crate) fn clamped(given: Arc<Config>) -> Arc<Config> {
        let clamped = Config::clone(&given).into_range();
        if clamped == *given { given } else { Arc::new(clamped) }
    }

    fn into_range(mut self) -> Self {
        const WINDOW_MAX: u32 = (1 << 31) - 1;
        self.stream_window_bytes = self.stream_window_bytes.clamp(1, WINDOW_MAX);
        self.window_bytes_max = self.window_bytes_max.min(WINDOW_MAX);
        self.connection_window_bytes = self.connection_window_bytes.clamp(65_535, WINDOW_MAX);
        self.recv_buffered_bytes_max =
            self.recv_buffered_bytes_max.clamp(self.connection_window_bytes, WINDOW_MAX);
        self.frame_bytes_max = self.frame_bytes_max.clamp(16_384, (1 << 24) - 1);
        self.control_frames_max = self.control_frames_max.max(1);
        self
    }
}

//! The connection: one state machine for both roles.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `reader` | which frame comes next, and where its bytes lie |
//! | `headers`, `message`, `memo` | header blocks, what makes a request or response well-formed |
//! | `data` | DATA, padding, receive windows |
//! | `control` | SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY |
//! | `verbs` | what the layer above asks for |
//! | `transmit` | what goes out, in which order |
//! | `upkeep` | keepalive, the end of connections that are old or idle |
//! | `lifecycle` | how streams close, are reset, refused and forgotten |
//!
//! Length: see the table; this file holds the state and the clock only.

mod control;
mod data;
mod fields;
mod headers;
#[cfg(any(test, feature = "invariants"))]
mod invariants;
mod lifecycle;
mod memo;
mod message;
#[cfg(test)]
mod probe;
mod reader;
mod role;
mod transmit;
mod upkeep;
mod verbs;

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use crate::flow::{Bdp, RecvFlow, ResetBudget, StallWatch, StrikeCounter};
use crate::frame::{self, setting_id};
use crate::hpack::{CachedBlock, CachedField, Decoder, Encoder, FieldBlock, FieldClassifier};
use crate::stream::{RecentlyClosed, Store};
use crate::upkeep::{Caretaker, Farewell};
use crate::{Config, ConnectionError, Reason, SendBuf, StreamKey};

pub use fields::FieldWriter;
pub(crate) use fields::RecordedFields;
use headers::BlockInFlight;
use memo::Memo;
use message::Verdict;
use reader::{Emit, Reader};
pub use role::{Client, Role, Server};

/// An HTTP/2 connection without I/O.
///
/// The owner calls, in this order, whenever something can be done:
///
/// 1. after reading from the socket (unless [`read_budget`](Self::read_budget) is 0):
///    [`heard`](Self::heard), and [`next_event`](Self::next_event) until it yields `None`;
/// 2. [`handle_timeout`](Self::handle_timeout) when the time of
///    [`poll_timeout`](Self::poll_timeout) has come;
/// 3. any verbs: `open`, `send_headers`, `send_data`, `send_trailers`, `respond_unary`, `reset`,
///    `forget`, `release`, `ping`, `drain`, `goaway`;
/// 4. [`poll_transmit`](Self::poll_transmit), then writes the [`SendBuf`] to the socket;
/// 5. [`poll_drained`](Self::poll_drained) until it yields `None`.
///
/// After an error from step 1 or 2, or once [`is_finished`](Self::is_finished), it transmits what
/// is left and closes the socket.
pub struct Connection<R: Role> {
    role: PhantomData<R>,
    /// Shared between connections.
    config: Arc<Config>,
    peer: PeerSettings,

    reader: Reader,
    block: Option<BlockInFlight>,
    block_bytes: Vec<u8>,
    decoder: Decoder,
    classifier: Arc<dyn FieldClassifier>,
    memo: Memo,
    fields: FieldBlock,
    /// What `fields` is.
    verdict: Verdict,
    /// Events that no frame of their own carries; bounded by the number of streams.
    events: VecDeque<Emit>,

    streams: Store,
    closed: RecentlyClosed,
    highest_peer_id: u32,
    next_local_id: u32,

    recv_flow: RecvFlow,
    bdp: Bdp,
    /// What the whole connection may send.
    send_window: i64,
    stream_window_bytes: u32,
    /// By how much the default window exceeds ours: until our SETTINGS are acknowledged a client
    /// may go by the default (RFC 9113 section 6.9.3).
    window_surplus_bytes: u32,
    /// Streams with a WINDOW_UPDATE due; each at most once.
    credit_due: Vec<StreamKey>,

    encoder: Encoder,
    /// PING and GOAWAY frames: they may overtake everything.
    control: Vec<u8>,
    /// Everything whose order matters: HEADERS, RST_STREAM, SETTINGS acknowledgements, direct DATA.
    ready: SendBuf,
    /// Replies in `control` and `ready` that the peer provoked.
    replies_queued: u32,
    /// Streams with queued DATA and an open window, served in turn.
    schedule: VecDeque<StreamKey>,
    stall: StallWatch,
    /// Forgotten streams that flush their end, and until when they may.
    lingering: Vec<(Instant, StreamKey)>,
    /// DATA that waits in the streams' queues.
    queued_bytes: usize,
    drained: Vec<StreamKey>,

    shutdown: Shutdown,
    goaway_received: bool,
    timers: Timers,
    /// SETTINGS frames of ours without an acknowledgement.
    settings_unacked: u32,
    peer_limits_streams: bool,
    resets: ResetBudget,
    empty_data: StrikeCounter,
    /// Boxed, as most of it is looked at seldom.
    caretaker: Option<Box<Caretaker>>,
    /// When bytes came last.
    heard_at: Instant,
    /// HEADERS or DATA were sent since the peer's last PING.
    has_answered: bool,
    watches_idleness: bool,
}

/// What the peer announced (RFC 9113 section 6.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerSettings {
    /// Streams we may have open at once.
    pub concurrent_streams_max: u32,
    /// Initial send window of a stream, in bytes.
    pub stream_window_bytes: u32,
    /// Largest frame payload it accepts, in bytes.
    pub frame_bytes_max: u32,
    /// Largest header list it accepts, in bytes counted as in RFC 7541 section 4.1, if it told.
    pub header_list_bytes_max: Option<u32>,
}

/// How far our own shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    /// New streams are welcome.
    Open,
    /// GOAWAY(2^31 - 1) and a PING are out: the peer may not know yet.
    Announced { why: Farewell },
    /// GOAWAY with the last stream is out: later ones are ignored.
    Final { last_stream_id: u32 },
    /// The connection broke.
    Failed,
}

#[derive(Debug, Default)]
struct Timers {
    handshake: Option<Instant>,
    /// Runs from the peer's SETTINGS on: before those it has not answered anything.
    settings_ack: Option<Instant>,
    header_block: Option<Instant>,
    /// The peer's acknowledgement of the PING of a graceful shutdown.
    drain: Option<Instant>,
    /// When the caretaker is due.
    upkeep: Option<Instant>,
}

impl PeerSettings {
    /// Before the peer's SETTINGS.
    fn untold(config: &Config) -> PeerSettings {
        PeerSettings {
            concurrent_streams_max: config.initial_open_streams_max,
            stream_window_bytes: frame::DEFAULT_WINDOW_BYTES,
            frame_bytes_max: frame::FRAME_BYTES_MIN,
            header_list_bytes_max: None,
        }
    }
}

impl Timers {
    fn start(config: &Config, now: Instant) -> Timers {
        Timers { handshake: now.checked_add(config.handshake_timeout), ..Timers::default() }
    }
}

impl<R: Role> Connection<R> {
    /// Starts a connection: the preface (client) and SETTINGS are queued at once.
    ///
    /// `config` is shared where it comes as an `Arc`; `classifier` gives header fields their tags;
    /// `now` starts the handshake timers.
    pub fn new(
        config: impl Into<Arc<Config>>,
        classifier: Arc<dyn FieldClassifier>,
        now: Instant,
    ) -> Self {
        let config = Config::clamped(config.into());
        let decoder_bytes = config.header_table_bytes.max(crate::hpack::TABLE_BYTES_DEFAULT);
        let mut connection = Connection {
            role: PhantomData,
            peer: PeerSettings::untold(&config),
            reader: if R::IS_SERVER { Reader::Preface } else { Reader::FirstSettings },
            block: None,
            block_bytes: Vec::new(),
            decoder: Decoder::new(decoder_bytes, config.header_limits),
            classifier,
            memo: Memo::default(),
            fields: FieldBlock::default(),
            verdict: Verdict::Malformed,
            events: VecDeque::new(),
            streams: Store::default(),
            closed: RecentlyClosed::new(config.concurrent_streams_max),
            highest_peer_id: 0,
            next_local_id: if R::IS_SERVER { 2 } else { 1 },
            recv_flow: RecvFlow::new(
                config.connection_window_bytes,
                config.recv_buffered_bytes_max,
            ),
            bdp: Bdp::new(config.window_bytes_max),
            send_window: i64::from(frame::DEFAULT_WINDOW_BYTES),
            stream_window_bytes: config.stream_window_bytes,
            window_surplus_bytes: if R::IS_SERVER {
                frame::DEFAULT_WINDOW_BYTES.saturating_sub(config.stream_window_bytes)
            } else {
                0
            },
            credit_due: Vec::new(),
            encoder: Encoder::new(
                config.encoder_table_bytes_max.min(crate::hpack::TABLE_BYTES_DEFAULT),
            ),
            control: Vec::new(),
            ready: SendBuf::new(),
            replies_queued: 0,
            schedule: VecDeque::new(),
            stall: StallWatch::default(),
            lingering: Vec::new(),
            queued_bytes: 0,
            drained: Vec::new(),
            shutdown: Shutdown::Open,
            goaway_received: false,
            timers: Timers::start(&config, now),
            settings_unacked: 1,
            peer_limits_streams: false,
            resets: ResetBudget::new(
                config.resets_burst_max.max(config.concurrent_streams_max),
                config.resets_per_second,
                now,
            ),
            empty_data: StrikeCounter::new(
                config.empty_data_frames_max,
                "too many DATA frames without payload",
            ),
            caretaker: None,
            heard_at: now,
            has_answered: false,
            watches_idleness: false,
            config,
        };
        connection.write_preface();
        connection
    }

    /// Registers a constant field for [`FieldWriter::cached`]; `None` when there are already
    /// [`CACHED_FIELDS_MAX`](crate::hpack::CACHED_FIELDS_MAX).
    pub fn register_field(&mut self, name: &[u8], value: &[u8]) -> Option<CachedField> {
        self.encoder.try_register(name, value)
    }

    /// Registers fields that are always written together, for [`FieldWriter::cached_block`].
    /// `None` for too many fields ([`BLOCK_FIELDS_MAX`](crate::hpack::BLOCK_FIELDS_MAX)) or blocks
    /// ([`CACHED_BLOCKS_MAX`](crate::hpack::CACHED_BLOCKS_MAX)).
    pub fn register_block(&mut self, fields: &[CachedField]) -> Option<CachedBlock> {
        self.encoder.try_register_block(fields)
    }

    /// What the peer announced so far.
    pub fn peer_settings(&self) -> PeerSettings {
        self.peer
    }

    /// The peer's SETTINGS have arrived: the connection is known to work.
    pub fn is_established(&self) -> bool {
        self.timers.handshake.is_none()
    }

    /// Streams that count: open on the wire, or not yet forgotten by the layer above.
    #[inline]
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// How many bytes to read from the socket now. 0 means none: the peer is owed so much output
    /// that it must first read.
    #[inline]
    pub fn read_budget(&self) -> usize {
        let replies_full = self.replies_queued >= self.config.control_frames_max;
        // A client's own requests never stop it from reading: otherwise two full peers could wait
        // for each other.
        let output_full = R::IS_SERVER && self.ready.len() >= self.config.send_buffer_bytes_max;
        if replies_full || output_full { 0 } else { crate::RecvBuf::BYTES_MAX }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let mut next = self.stall.deadline();
        let Timers { handshake, settings_ack, header_block, drain, upkeep } = self.timers;
        for timer in [handshake, settings_ack, header_block, drain, upkeep] {
            next = earlier(next, timer);
        }
        for (until, _) in &self.lingering {
            next = earlier(next, Some(*until));
        }
        next
    }

    /// Acts on timers that have expired by `now`.
    ///
    /// # Errors
    /// A peer that is too slow with its preface, an acknowledgement or a header block; one that is
    /// gone, or has had its time ([`Upkeep`](crate::Upkeep)).
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let expired = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        if expired(self.timers.drain) {
            self.finish_drain();
        }
        self.reset_lingering(now);
        let error = if expired(self.timers.handshake) {
            ConnectionError::protocol("the peer did not send its preface and SETTINGS in time")
        } else if expired(self.timers.settings_ack) {
            ConnectionError::new(
                Reason::SETTINGS_TIMEOUT,
                "the peer did not acknowledge SETTINGS in time",
            )
        } else if expired(self.stall.deadline()) {
            ConnectionError::calm("much is queued, and the peer does not read")
        } else if expired(self.timers.header_block) {
            ConnectionError::calm("a header block was not completed in time")
        } else if expired(self.timers.upkeep)
            && let Err(error) = self.keep_up(now)
        {
            error
        } else {
            return Ok(());
        };
        Err(self.fail(error))
    }

    /// All is said: flush the output and close the socket.
    #[inline]
    pub fn is_finished(&self) -> bool {
        match self.shutdown {
            Shutdown::Failed => true,
            Shutdown::Open | Shutdown::Announced { .. } => {
                !R::IS_SERVER && self.goaway_received && self.streams.len() == 0
            }
            Shutdown::Final { .. } => self.streams.len() == 0,
        }
    }

    /// No new streams: we or the peer sent GOAWAY, or the connection failed.
    pub fn is_going_away(&self) -> bool {
        self.goaway_received || self.shutdown != Shutdown::Open
    }

    /// Gives storage back that only traffic needs: for a connection that has been idle for a while,
    /// as the next call must allocate again. Does nothing while there are streams or output is due.
    pub fn release_storage(&mut self) {
        if self.streams.len() > 0 || !self.ready.is_empty() || !self.control.is_empty() {
            return;
        }
        self.streams.release();
        self.ready.release();
        self.control = Vec::new();
        self.memo.release();
        self.fields = FieldBlock::default();
        // Nothing but keys of streams that are gone.
        self.events = VecDeque::new();
        self.schedule = VecDeque::new();
        self.credit_due = Vec::new();
        self.drained = Vec::new();
        self.lingering = Vec::new();
        if self.block.is_none() {
            self.block_bytes = Vec::new();
        }
    }

    fn write_preface(&mut self) {
        let config = &self.config;
        let mut settings = vec![
            (setting_id::HEADER_TABLE_SIZE, config.header_table_bytes),
            (setting_id::INITIAL_WINDOW_SIZE, config.stream_window_bytes),
            (setting_id::MAX_FRAME_SIZE, config.frame_bytes_max),
            (setting_id::MAX_HEADER_LIST_SIZE, config.header_limits.header_list_bytes_max),
        ];
        // Control frames go out first, and this must come before any of them.
        let out = &mut self.control;
        if R::IS_SERVER {
            settings.push((setting_id::MAX_CONCURRENT_STREAMS, config.concurrent_streams_max));
        } else {
            out.extend_from_slice(frame::PREFACE);
            settings.push((setting_id::ENABLE_PUSH, 0));
        }
        frame::write_settings(out, &settings);
        if let Some(credit) = self.recv_flow.credit_due() {
            frame::write_window_update(out, 0, credit);
            self.recv_flow.announce(credit);
        }
    }
}

impl<R: Role> fmt::Debug for Connection<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("server", &R::IS_SERVER)
            .field("streams", &self.streams.len())
            .field("peer", &self.peer)
            .field("shutdown", &self.shutdown)
            .field("send_window", &self.send_window)
            .field("recv_window", &self.recv_flow.available())
            .finish_non_exhaustive()
    }
}

#[inline]
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

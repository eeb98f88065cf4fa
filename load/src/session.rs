//! The client's side of one HTTP/2 connection, without I/O: calls of a script, so many in flight.
//!
//! It sends no more than the server's SETTINGS and windows allow, and gives back what it receives
//! in few large WINDOW_UPDATEs. It decodes no header block: a call is right when every message
//! that is due came as it should and trailers followed.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::frames::{self, END_HEADERS, END_STREAM, Frame, Kind, WINDOW_BYTES_INITIAL, unexpected};
use crate::headers::{self, TABLE_OFF};
use crate::link::Speaker;
use crate::message::Reader;
use crate::peer::{ENABLE_PUSH, INITIAL_WINDOW_SIZE, Peer};
use crate::script::Script;
use crate::streams::{self, Streams};
use crate::tally::{Pace, Tally};

/// What each stream of ours may receive before it needs credit.
const STREAM_WINDOW_BYTES: u32 = 1 << 30;
/// Received bytes after which a stream gets them back as credit.
const STREAM_CREDIT_STEP_BYTES: u32 = STREAM_WINDOW_BYTES / 2;
/// Received bytes after which the connection gets them back as credit.
const CREDIT_STEP_BYTES: u32 = 1 << 28;
/// No more DATA is made ready while this much waits for the socket: so it stays in the cache.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// One connection's state.
#[derive(Debug)]
pub(crate) struct Session {
    script: Arc<Script>,
    in_flight: usize,
    peer: Peer,
    table: Table,
    next_id: u32,
    streams: Streams<Stream>,
    /// Streams that have DATA to send and room in their own window.
    ready: VecDeque<u32>,
    credit_bytes: u32,
    /// Trailers came: the first ones spell the status out, and were looked at.
    saw_trailers: bool,
    output: Vec<u8>,
}

/// What the server's header table holds of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Empty,
    Filled,
    /// Nothing, and it shall stay so.
    Off,
}

#[derive(Debug)]
struct Stream {
    begun: Instant,
    window: i64,
    /// Whole requests sent, and the bytes of the next one.
    requests: u32,
    offset: usize,
    replies: u32,
    reader: Reader,
    credit_bytes: u32,
    is_queued: bool,
}

impl Stream {
    fn has_to_send(&self, script: &Script) -> bool {
        let plan = &script.plan;
        let due = self.replies.saturating_add(plan.outstanding).min(plan.requests);
        self.requests < due
    }
}

impl Session {
    pub(crate) fn new(script: Arc<Script>, in_flight: usize) -> Session {
        let mut output = Vec::with_capacity(OUTPUT_BYTES_MAX.min(64 * in_flight + 64));
        output.extend_from_slice(frames::PREFACE);
        let window = (INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES);
        frames::settings(&[(ENABLE_PUSH, 0), window], &mut output);
        let most = (1 << 31) - 1 - u32::try_from(WINDOW_BYTES_INITIAL).unwrap_or(0);
        frames::window_update(0, most, &mut output);
        Session {
            script,
            in_flight,
            peer: Peer::new(),
            table: Table::Empty,
            next_id: 1,
            streams: streams::with_room(in_flight),
            ready: VecDeque::with_capacity(in_flight),
            credit_bytes: 0,
            saw_trailers: false,
            output,
        }
    }

    /// From now on, calls of another script. None may be under way.
    pub(crate) fn follow(&mut self, script: Arc<Script>, in_flight: usize) -> io::Result<()> {
        self.table = match self.table {
            Table::Filled if script.plan.path != self.script.plan.path => Table::Empty,
            table => table,
        };
        self.streams.reserve(2 * in_flight + 2);
        self.ready.reserve(in_flight);
        self.script = script;
        self.in_flight = in_flight;
        self.check_streams_max()
    }

    fn check_streams_max(&self) -> io::Result<()> {
        let allowed = self.peer.streams_max;
        if usize::try_from(allowed).is_ok_and(|allowed| allowed < self.in_flight) {
            return Err(unexpected(format!(
                "the server admits {allowed} streams a connection, and {} are asked for",
                self.in_flight,
            )));
        }
        Ok(())
    }

    fn begin(&mut self, now: Instant) -> io::Result<()> {
        let id = self.next_id;
        self.next_id = id.checked_add(2).filter(|next| *next <= 1 << 31).ok_or_else(|| {
            unexpected("the connection has no stream identifiers left: 2^30 calls were made")
        })?;
        let script = &self.script;
        let mut stream = Stream {
            begun: now,
            window: self.peer.window_initial,
            requests: 0,
            offset: 0,
            replies: 0,
            reader: Reader::default(),
            credit_bytes: 0,
            is_queued: false,
        };
        let length = script.request.len();
        match &script.whole {
            Some(whole)
                if self.table == Table::Filled
                    && !self.peer.keeps_no_table
                    && self.ready.is_empty()
                    && self.peer.room(stream.window) >= length =>
            {
                whole.write(id, &mut self.output);
                let bytes = i64::try_from(length).unwrap_or(i64::MAX);
                self.peer.window -= bytes;
                stream.window -= bytes;
                stream.requests = 1;
            }
            _ => {
                self.write_headers(id);
                stream.is_queued = true;
                self.ready.push_back(id);
            }
        }
        self.streams.insert(id, stream);
        Ok(())
    }

    fn write_headers(&mut self, id: u32) {
        let blocks = &self.script.blocks;
        let (turns_off, block) = match self.table {
            Table::Filled if !self.peer.keeps_no_table => (false, &blocks.next),
            Table::Empty if !self.peer.keeps_no_table => (false, &blocks.first),
            Table::Off => (false, &blocks.plain),
            Table::Empty | Table::Filled => (true, &blocks.plain),
        };
        let length = block.len() + usize::from(turns_off);
        frames::head(&mut self.output, length, Kind::Headers, END_HEADERS, id);
        if turns_off {
            self.output.push(TABLE_OFF);
        }
        self.output.extend_from_slice(block);
        self.table = match self.table {
            Table::Empty | Table::Filled if !self.peer.keeps_no_table => Table::Filled,
            _ => Table::Off,
        };
    }

    /// Writes DATA, one frame of each ready stream after the other, as far as the windows and the
    /// output's bound allow.
    fn write_data(&mut self) {
        let script = &*self.script;
        while self.output.len() < OUTPUT_BYTES_MAX && self.peer.window > 0 {
            let Some(id) = self.ready.pop_front() else { return };
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let rest = &script.request[stream.offset..];
            let length = rest.len().min(self.peer.room(stream.window));
            if length == 0 {
                stream.is_queued = false;
                continue;
            }
            stream.offset += length;
            if stream.offset == script.request.len() {
                stream.offset = 0;
                stream.requests += 1;
            }
            let plan = &script.plan;
            let ends = stream.requests == plan.requests && !plan.holds;
            let flags = if ends { END_STREAM } else { 0 };
            frames::head(&mut self.output, length, Kind::Data, flags, id);
            self.output.extend_from_slice(&rest[..length]);
            let bytes = i64::try_from(length).unwrap_or(i64::MAX);
            self.peer.window -= bytes;
            stream.window -= bytes;
            stream.is_queued = stream.has_to_send(script);
            if stream.is_queued {
                self.ready.push_back(id);
            }
        }
    }

    fn handle_data(
        &mut self,
        frame: &Frame<'_>,
        now: Instant,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let plan = &self.script.plan;
        let id = frame.id;
        let stream = self.streams.get_mut(&id).ok_or_else(|| not_open("DATA", id))?;
        // A payload has at most FRAME_BYTES_MAX.
        let credit = u32::try_from(frame.payload.len()).unwrap_or(0);
        self.credit_bytes += credit;
        stream.credit_bytes += credit;
        let replies = stream.reader.read(frame.data()?, &self.script.reply)?;
        stream.replies += replies;
        tally.counts.messages += u64::from(replies);
        if stream.replies > plan.replies
            || stream.replies == plan.replies && stream.reader.is_inside()
        {
            return Err(unexpected(format!("more than the {} replies that are due", plan.replies)));
        }
        if frame.ends_stream() {
            return Err(unexpected(format!("stream {id} ended with DATA: there is no status")));
        }
        if stream.credit_bytes >= STREAM_CREDIT_STEP_BYTES {
            frames::window_update(id, stream.credit_bytes, &mut self.output);
            stream.credit_bytes = 0;
        }
        if replies > 0 {
            if plan.holds && stream.replies == plan.replies {
                tally.end(now - stream.begun);
            }
            let is_free = tally.pace == Pace::Free;
            if is_free && !stream.is_queued && stream.has_to_send(&self.script) {
                stream.is_queued = true;
                self.ready.push_back(id);
            }
        }
        Ok(())
    }

    fn handle_end(&mut self, frame: &Frame<'_>, now: Instant, tally: &mut Tally) -> io::Result<()> {
        let plan = &self.script.plan;
        let stream = self.streams.remove(&frame.id).ok_or_else(|| not_open("HEADERS", frame.id))?;
        let complete = stream.replies == plan.replies && !stream.reader.is_inside();
        if !complete || plan.holds || stream.requests < plan.requests {
            return Err(ended_early(&stream, plan.replies, frame.payload));
        }
        if !self.saw_trailers {
            self.saw_trailers = true;
            if headers::status(frame.payload).is_some_and(|status| status != 0) {
                return Err(ended_early(&stream, plan.replies, frame.payload));
            }
        }
        tally.end(now - stream.begun);
        Ok(())
    }

    fn handle_settings(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let change = self.peer.apply(frame)?;
        frames::settings_ack(&mut self.output);
        if change != 0 {
            for (id, stream) in &mut self.streams {
                stream.window += change;
                if !stream.is_queued && stream.window > 0 && stream.has_to_send(&self.script) {
                    stream.is_queued = true;
                    self.ready.push_back(*id);
                }
            }
        }
        self.check_streams_max()
    }

    fn handle_window_update(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let increment = frame.number(0)?;
        if frame.id == 0 {
            return frames::widen(&mut self.peer.window, increment);
        }
        // A stream may have ended meanwhile.
        let Some(stream) = self.streams.get_mut(&frame.id) else { return Ok(()) };
        frames::widen(&mut stream.window, increment)?;
        if !stream.is_queued && stream.window > 0 && stream.has_to_send(&self.script) {
            stream.is_queued = true;
            self.ready.push_back(frame.id);
        }
        Ok(())
    }

    fn handle_reset(&self, frame: &Frame<'_>) -> io::Result<()> {
        let code = frames::error_name(frame.number(0)?);
        match self.streams.get(&frame.id) {
            // After its trailers a server may reset what it did not read.
            None => Ok(()),
            Some(stream) => Err(unexpected(format!(
                "the server reset stream {} with {code}, after {} of {} replies",
                frame.id, stream.replies, self.script.plan.replies,
            ))),
        }
    }
}

impl Speaker for Session {
    fn handle(&mut self, bytes: &[u8], now: Instant, tally: &mut Tally) -> io::Result<usize> {
        let mut used = 0;
        while let Some((frame, length)) = Frame::parse(&bytes[used..])? {
            match frame.kind {
                Kind::Data => self.handle_data(&frame, now, tally)?,
                Kind::Headers if frame.ends_stream() => self.handle_end(&frame, now, tally)?,
                Kind::Settings if !frame.is_ack() => self.handle_settings(&frame)?,
                Kind::WindowUpdate => self.handle_window_update(&frame)?,
                Kind::Ping if !frame.is_ack() => {
                    frames::ping_ack(frame.payload, &mut self.output);
                }
                Kind::Reset => self.handle_reset(&frame)?,
                Kind::GoAway => return Err(goodbye(&frame)?),
                Kind::Headers | Kind::Settings | Kind::Ping | Kind::Other => {}
            }
            used += length;
        }
        if self.credit_bytes >= CREDIT_STEP_BYTES {
            frames::window_update(0, self.credit_bytes, &mut self.output);
            self.credit_bytes = 0;
        }
        Ok(used)
    }

    fn fill(&mut self, now: Instant, tally: &mut Tally) -> io::Result<()> {
        let goes = tally.pace != Pace::Waits;
        while goes && self.peer.is_known && self.streams.len() < self.in_flight && tally.begin() {
            self.begin(now)?;
        }
        if tally.pace == Pace::Goes {
            for (id, stream) in &mut self.streams {
                if !stream.is_queued && stream.has_to_send(&self.script) {
                    stream.is_queued = true;
                    self.ready.push_back(*id);
                }
            }
        }
        if !self.ready.is_empty() {
            self.write_data();
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        let requests = self.script.plan.requests;
        self.streams.values().all(|stream| {
            stream.requests < requests && stream.replies == stream.requests && stream.offset == 0
        })
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn is_ready(&self) -> bool {
        self.peer.is_known
    }
}

fn goodbye(frame: &Frame<'_>) -> io::Result<io::Error> {
    let code = frames::error_name(frame.number(4)?);
    let said = frame.payload.get(8..).unwrap_or_default().escape_ascii();
    Ok(unexpected(format!("the server said goodbye with {code} \"{said}\"")))
}

fn not_open(what: &str, id: u32) -> io::Error {
    unexpected(format!("{what} on stream {id}, which is not open"))
}

fn ended_early(stream: &Stream, due: u32, block: &[u8]) -> io::Error {
    let status = match headers::status(block) {
        Some(status) => format!("with grpc-status {status}"),
        None => "with a status that cannot be read without its table".to_owned(),
    };
    let cut = if stream.reader.is_inside() { " and a part" } else { "" };
    unexpected(format!("a call ended {status} after {}{cut} of {due} replies", stream.replies))
}

#[cfg(test)]
mod tests;

//! The server's side of one HTTP/2 connection, without I/O: an answer that is known before the
//! call comes.
//!
//! It reads no header block, so every call gets the same. It obeys the client's windows and gives
//! credit back as any server must.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::frames::{
    self, END_HEADERS, END_STREAM, Frame, Kind, PREFACE, WINDOW_BYTES_INITIAL, unexpected,
};
use crate::headers;
use crate::link::Speaker;
use crate::message;
use crate::peer::{INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, Peer};
use crate::scenario;
use crate::script::Template;
use crate::streams::{self, Streams};
use crate::tally::Tally;

/// What a client may send on a stream before it needs credit; so much of a call is kept at most.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const STREAM_CREDIT_STEP_BYTES: u32 = STREAM_WINDOW_BYTES / 2;
/// Received bytes after which the connection gets them back as credit.
const CREDIT_STEP_BYTES: u32 = 1 << 28;
const STREAMS_MAX: usize = 100_000;
/// Nothing more is answered while this much waits for the socket.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// What every call gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The hello world's reply to a request with this message, when the request has come.
    Hello(String),
    /// What it sends, as it comes.
    Echo,
    /// Payloads (`bench.Payload`), when the request has come.
    Stream {
        /// How many.
        messages: u32,
        /// How long each is.
        bytes: u32,
    },
}

/// A reply as bytes.
#[derive(Debug)]
pub(crate) struct Answer {
    headers: Vec<u8>,
    trailers: Vec<u8>,
    /// The message with its prefix, and how often it comes; `None` for an echo.
    message: Option<(Vec<u8>, u32)>,
    /// Everything, where it is one short message.
    whole: Option<Template>,
}

impl Answer {
    pub(crate) fn new(reply: &Reply) -> Answer {
        let message = match reply {
            Reply::Hello(text) => Some((message::framed(&scenario::hello_reply(text)), 1)),
            Reply::Echo => None,
            Reply::Stream { messages, bytes } => {
                let payload = message::bytes_field(&vec![b'x'; *bytes as usize]);
                Some((message::framed(&payload), *messages))
            }
        };
        let (headers, trailers) = (headers::response(), headers::trailers());
        let short = message
            .as_ref()
            .filter(|(message, count)| *count == 1 && message.len() <= frames::FRAME_BYTES_MAX);
        let whole = short.map(|(message, _)| {
            let mut whole = Template::default();
            whole.add(Kind::Headers, END_HEADERS, &headers);
            whole.add(Kind::Data, 0, message);
            whole.add(Kind::Headers, END_HEADERS | END_STREAM, &trailers);
            whole
        });
        Answer { headers, trailers, message, whole }
    }
}

/// One connection's state.
#[derive(Debug)]
pub(crate) struct Responder {
    answer: Arc<Answer>,
    peer: Peer,
    /// The client's preface has come.
    is_greeted: bool,
    last_id: u32,
    calls: Streams<Call>,
    /// Calls that have something to be sent and room for it.
    ready: VecDeque<u32>,
    credit_bytes: u32,
    output: Vec<u8>,
}

#[derive(Debug)]
struct Call {
    window: i64,
    credit_bytes: u32,
    /// The client has sent everything.
    is_complete: bool,
    has_headers: bool,
    /// Messages that are due.
    left: u32,
    /// What came and goes back.
    kept: Vec<u8>,
    /// What of the message, or of `kept`, is sent.
    offset: usize,
    is_queued: bool,
}

impl Call {
    /// What goes next; nothing once only trailers are due.
    fn rest<'a>(&'a self, answer: &'a Answer) -> &'a [u8] {
        match &answer.message {
            None => &self.kept[self.offset..],
            Some((message, _)) if self.left > 0 => &message[self.offset..],
            Some(_) => &[],
        }
    }

    /// Keeps what is to go back. Of what was sent already no more is kept than a window's worth.
    fn keep(&mut self, data: &[u8]) {
        if self.offset + data.len() > STREAM_WINDOW_BYTES as usize {
            self.kept.drain(..self.offset);
            self.offset = 0;
        }
        self.kept.extend_from_slice(data);
    }

    /// Takes note that so much of the rest was sent.
    fn advance(&mut self, length: usize, answer: &Answer) {
        self.offset += length;
        let end = answer.message.as_ref().map_or(self.kept.len(), |(message, _)| message.len());
        if self.offset == end {
            self.offset = 0;
            self.kept.clear();
            self.left = self.left.saturating_sub(1);
        }
    }

    /// Whether it has something to send that its window allows.
    fn can_go_on(&self, answer: &Answer) -> bool {
        let is_due = self.is_complete || answer.message.is_none();
        let rest = self.rest(answer);
        is_due && if rest.is_empty() { self.is_complete } else { self.window > 0 }
    }
}

impl Responder {
    pub(crate) fn new(answer: Arc<Answer>) -> Responder {
        let mut output = Vec::new();
        let streams = u32::try_from(STREAMS_MAX).unwrap_or(u32::MAX);
        let window = (INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES);
        frames::settings(&[(MAX_CONCURRENT_STREAMS, streams), window], &mut output);
        let most = (1 << 31) - 1 - u32::try_from(WINDOW_BYTES_INITIAL).unwrap_or(0);
        frames::window_update(0, most, &mut output);
        Responder {
            answer,
            peer: Peer::new(),
            is_greeted: false,
            last_id: 0,
            calls: streams::with_room(100),
            ready: VecDeque::new(),
            credit_bytes: 0,
            output,
        }
    }

    fn handle_headers(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        if frame.id > self.last_id {
            if self.calls.len() == STREAMS_MAX || frame.id.is_multiple_of(2) {
                return Err(unexpected(format!("stream {} may not be opened", frame.id)));
            }
            self.last_id = frame.id;
            let call = Call {
                window: self.peer.window_initial,
                credit_bytes: 0,
                is_complete: false,
                has_headers: false,
                left: self.answer.message.as_ref().map_or(0, |(_, count)| *count),
                kept: Vec::new(),
                offset: 0,
                is_queued: false,
            };
            self.calls.insert(frame.id, call);
        }
        if frame.ends_stream() {
            self.complete(frame.id);
        }
        Ok(())
    }

    fn handle_data(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let data = frame.data()?;
        // A payload has at most FRAME_BYTES_MAX.
        let length = u32::try_from(frame.payload.len()).unwrap_or(0);
        self.credit_bytes += length;
        // A call that the client has reset may have sent more before.
        let Some(call) = self.calls.get_mut(&frame.id) else { return Ok(()) };
        if self.answer.message.is_none() {
            // What is sent already was given back as credit: only the rest counts.
            if call.kept.len() - call.offset + data.len() > STREAM_WINDOW_BYTES as usize {
                return Err(unexpected("more DATA than the stream's window allows"));
            }
            call.keep(data);
            let padding = frame.payload.len() - data.len();
            call.credit_bytes += u32::try_from(padding).unwrap_or(0);
        } else {
            call.credit_bytes += length;
        }
        give_credit(frame.id, call, &mut self.output);
        if frame.ends_stream() {
            self.complete(frame.id);
        } else {
            self.queue(frame.id);
        }
        Ok(())
    }

    /// The request has come whole.
    fn complete(&mut self, id: u32) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.is_complete = true;
        if let (Some(whole), Some((message, _))) = (&self.answer.whole, &self.answer.message) {
            let has_room = self.peer.room(call.window) >= message.len();
            if has_room && self.ready.is_empty() && self.output.len() < OUTPUT_BYTES_MAX {
                self.peer.window -= i64::try_from(message.len()).unwrap_or(i64::MAX);
                whole.write(id, &mut self.output);
                self.calls.remove(&id);
                return;
            }
        }
        self.queue(id);
    }

    fn queue(&mut self, id: u32) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !call.is_queued && call.can_go_on(&self.answer) {
            call.is_queued = true;
            self.ready.push_back(id);
        }
    }

    /// Writes one frame of each call that is ready after the other, as far as the windows and the
    /// output's bound allow.
    fn write_ready(&mut self) {
        let answer = &*self.answer;
        // Each turn of a call sends something, or takes it from the queue.
        let mut waiting = 0;
        while waiting < self.ready.len() && self.output.len() < OUTPUT_BYTES_MAX {
            let Some(id) = self.ready.pop_front() else { return };
            let Some(call) = self.calls.get_mut(&id) else { continue };
            let rest = call.rest(answer);
            let length = rest.len().min(self.peer.room(call.window));
            if length == 0 && !rest.is_empty() && call.window > 0 {
                // The connection's window is empty; trailers of others may go all the same.
                self.ready.push_back(id);
                waiting += 1;
                continue;
            }
            if !call.has_headers && call.can_go_on(answer) {
                frames::head(
                    &mut self.output,
                    answer.headers.len(),
                    Kind::Headers,
                    END_HEADERS,
                    id,
                );
                self.output.extend_from_slice(&answer.headers);
                call.has_headers = true;
            }
            if length > 0 {
                frames::head(&mut self.output, length, Kind::Data, 0, id);
                self.output.extend_from_slice(&call.rest(answer)[..length]);
                let bytes = i64::try_from(length).unwrap_or(i64::MAX);
                self.peer.window -= bytes;
                call.window -= bytes;
                call.advance(length, answer);
                if answer.message.is_none() {
                    call.credit_bytes += u32::try_from(length).unwrap_or(0);
                    give_credit(id, call, &mut self.output);
                }
            }
            if call.is_complete && call.rest(answer).is_empty() {
                let flags = END_HEADERS | END_STREAM;
                frames::head(&mut self.output, answer.trailers.len(), Kind::Headers, flags, id);
                self.output.extend_from_slice(&answer.trailers);
                self.calls.remove(&id);
                continue;
            }
            call.is_queued = call.can_go_on(answer);
            if call.is_queued {
                self.ready.push_back(id);
            }
        }
    }

    fn handle_settings(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let change = self.peer.apply(frame)?;
        frames::settings_ack(&mut self.output);
        if change != 0 {
            for (id, call) in &mut self.calls {
                call.window += change;
                if !call.is_queued && call.can_go_on(&self.answer) {
                    call.is_queued = true;
                    self.ready.push_back(*id);
                }
            }
        }
        Ok(())
    }

    fn handle_window_update(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let increment = frame.number(0)?;
        if frame.id == 0 {
            return frames::widen(&mut self.peer.window, increment);
        }
        // A call may have ended meanwhile.
        let Some(call) = self.calls.get_mut(&frame.id) else { return Ok(()) };
        frames::widen(&mut call.window, increment)?;
        self.queue(frame.id);
        Ok(())
    }
}

/// Gives a stream its credit back once it is worth a frame.
fn give_credit(id: u32, call: &mut Call, output: &mut Vec<u8>) {
    if call.credit_bytes >= STREAM_CREDIT_STEP_BYTES && !call.is_complete {
        frames::window_update(id, call.credit_bytes, output);
        call.credit_bytes = 0;
    }
}

impl Speaker for Responder {
    fn handle(&mut self, bytes: &[u8], _: Instant, _: &mut Tally) -> io::Result<usize> {
        let mut used = 0;
        if !self.is_greeted {
            let start = &bytes[..bytes.len().min(PREFACE.len())];
            if !PREFACE.starts_with(start) {
                return Err(unexpected(format!("no HTTP/2 client: {}", start.escape_ascii())));
            }
            if start.len() < PREFACE.len() {
                return Ok(0);
            }
            self.is_greeted = true;
            used = PREFACE.len();
        }
        while let Some((frame, length)) = Frame::parse(&bytes[used..])? {
            match frame.kind {
                Kind::Data => self.handle_data(&frame)?,
                Kind::Headers => self.handle_headers(&frame)?,
                Kind::Settings if !frame.is_ack() => self.handle_settings(&frame)?,
                Kind::WindowUpdate => self.handle_window_update(&frame)?,
                Kind::Ping if !frame.is_ack() => {
                    frames::ping_ack(frame.payload, &mut self.output);
                }
                Kind::Reset => {
                    self.calls.remove(&frame.id);
                }
                Kind::Settings | Kind::Ping | Kind::GoAway | Kind::Other => {}
            }
            used += length;
        }
        if self.credit_bytes >= CREDIT_STEP_BYTES {
            frames::window_update(0, self.credit_bytes, &mut self.output);
            self.credit_bytes = 0;
        }
        Ok(used)
    }

    fn fill(&mut self, _: Instant, _: &mut Tally) -> io::Result<()> {
        if !self.ready.is_empty() {
            self.write_ready();
        }
        Ok(())
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn is_ready(&self) -> bool {
        self.is_greeted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::FRAME_BYTES_MAX;

    /// A client that always has a full window under way, and reads a little of each echo.
    #[test]
    fn an_echo_that_is_never_whole_is_bounded_by_what_is_unsent() {
        const STEP_BYTES: usize = FRAME_BYTES_MAX;
        let mut client = PREFACE.to_vec();
        frames::settings(&[(INITIAL_WINDOW_SIZE, 0)], &mut client);
        frames::head(&mut client, 0, Kind::Headers, END_HEADERS, 1);
        let mut responder = Responder::new(Arc::new(Answer::new(&Reply::Echo)));
        let (now, mut tally) = (Instant::now(), Tally::default());
        // At first the whole window; afterwards as much as comes back in credit.
        let mut credit = STREAM_WINDOW_BYTES as usize;
        let (mut sent, mut echoed) = (0, 0);
        while echoed < 5 * STREAM_WINDOW_BYTES as usize {
            while credit >= STEP_BYTES {
                frames::head(&mut client, STEP_BYTES, Kind::Data, 0, 1);
                client.extend_from_slice(&[7; STEP_BYTES]);
                credit -= STEP_BYTES;
                sent += STEP_BYTES;
            }
            frames::window_update(1, 10_000, &mut client);
            frames::window_update(0, 10_000, &mut client);
            assert_eq!(responder.handle(&client, now, &mut tally).unwrap(), client.len());
            responder.fill(now, &mut tally).unwrap();
            client.clear();
            let output = std::mem::take(responder.output());
            let mut rest = &output[..];
            while let Some((frame, length)) = Frame::parse(rest).unwrap() {
                match frame.kind {
                    Kind::Data => echoed += frame.payload.len(),
                    Kind::WindowUpdate if frame.id == 1 => {
                        credit += frame.number(0).unwrap() as usize;
                    }
                    _ => {}
                }
                rest = &rest[length..];
            }
            let kept = responder.calls.values().map(|call| call.kept.len()).sum::<usize>();
            assert!(kept <= 2 * STREAM_WINDOW_BYTES as usize, "{kept} bytes are kept");
        }
        assert!(sent >= echoed);
    }
}

//! How calls come to their streams: at once, or when the server allows another one.

use std::time::Instant;

use gannet_core::Status;
use gannet_http2::{Client, Connection, OpenError, Reason};
use gannet_transport::Turn;
use gannet_transport::observe::Disconnect;

use super::ClientSide;
use crate::call::request::{Body, Receiver, Request};
use crate::link::calls::CallKey;
use crate::link::exchange::{Call, Phase};
use crate::link::head::{Constants, Head};

/// Stale entries of the queue for streams that are tolerated before it is swept.
const STALE_WAITING_MIN: usize = 64;

impl ClientSide {
    /// A call arrives.
    pub(super) fn admit(
        &mut self,
        turn: &mut Turn<'_, Client>,
        request: Box<Request>,
        receiver: Receiver,
    ) {
        let deadline = request.deadline;
        let key = self.calls.insert(|place| Call::new(request, receiver, place));
        self.waiting_live += 1;
        if let Some(deadline) = deadline {
            if deadline <= turn.now {
                return self.expire(key);
            }
            self.arm(key, deadline);
        }
        if !self.waiting.is_empty() || !self.open(turn, key) {
            self.waiting.push_back(key);
            self.sweep_waiting();
        }
    }

    fn arm(&mut self, key: CallKey, deadline: Instant) {
        self.deadlines.insert(deadline, key);
        if let Some(call) = self.calls.get_mut(key) {
            call.is_armed = true;
        }
    }

    /// Opens a call's stream; false where the server's limit of streams is reached.
    fn open(&mut self, turn: &mut Turn<'_, Client>, key: CallKey) -> bool {
        match turn.conn.can_open() {
            Ok(()) => {}
            Err(OpenError::StreamLimit) => return false,
            Err(OpenError::GoingAway) => {
                self.hand_back(key);
                return true;
            }
            Err(OpenError::IdsExhausted) => {
                let told = self.remote.tell("no more streams can be opened on the connection");
                self.retire(Status::unavailable(told), Disconnect::Unknown);
                turn.conn.goaway(Reason::NO_ERROR, b"");
                self.hand_back(key);
                return true;
            }
        }
        let Some(call) = self.calls.get_mut(key) else { return true };
        let Some(request) = &call.request else { return true };
        if let Some(status) = over_header_limit(&self.constants, turn.conn, request) {
            call.fail(status);
            self.note_due(key);
            return true;
        }
        let head = Head {
            method: request.method,
            deadline: request.deadline,
            now: turn.now,
            metadata: &request.metadata,
            encoding: request.encoding(),
        };
        let registered = self.constants.registered(turn.conn, &head);
        let opened = turn.conn.open(false, |w| self.constants.write(w, &head, registered));
        let Ok(stream) = opened else {
            self.hand_back(key);
            return true;
        };
        // Stale only where the stream is gone, of which an event tells.
        let _ = match &request.body {
            Body::Stream => Ok(()),
            Body::Small(framed) => turn.conn.send_data(stream, framed, true),
            Body::Large(pieces) => pieces.iter().zip(1..).try_for_each(|(piece, nth)| {
                turn.conn.send_data_shared(stream, piece.clone(), nth == pieces.len())
            }),
        };
        call.opened(stream);
        call.tell_sent();
        self.waiting_live = self.waiting_live.saturating_sub(1);
        let index = stream.index();
        if self.by_stream.len() <= index {
            self.by_stream.resize(index + 1, None);
        }
        self.by_stream[index] = Some(key);
        true
    }

    /// Opens the streams of waiting calls as far as the server's limit allows; whether a call was
    /// taken from the queue.
    pub(super) fn open_waiting(&mut self, turn: &mut Turn<'_, Client>) -> bool {
        let mut any = false;
        while let Some(&key) = self.waiting.front() {
            let waits = self.calls.get_mut(key).is_some_and(|call| call.phase == Phase::Waiting);
            if waits && !self.open(turn, key) {
                break;
            }
            self.waiting.pop_front();
            any = true;
        }
        any
    }

    /// Calls that ended while they waited leave their keys behind: bounds how many.
    fn sweep_waiting(&mut self) {
        let stale = self.waiting.len().saturating_sub(self.waiting_live);
        if stale > STALE_WAITING_MIN && stale > self.waiting_live {
            let calls = &mut self.calls;
            self.waiting
                .retain(|key| calls.get_mut(*key).is_some_and(|call| call.phase == Phase::Waiting));
        }
    }

    /// The server has not seen this call, which has no stream: its caller makes it elsewhere.
    fn hand_back(&mut self, key: CallKey) {
        self.waiting_live = self.waiting_live.saturating_sub(1);
        if let Some(call) = self.remove(key) {
            call.hand_back(|| Status::unavailable(self.remote.tell("the server shuts down")));
        }
    }
}

/// What ends a call whose metadata the server would not take.
fn over_header_limit(
    constants: &Constants,
    conn: &Connection<Client>,
    request: &Request,
) -> Option<Status> {
    if request.metadata.is_empty() {
        return None;
    }
    let max = conn.peer_settings().header_list_bytes_max?;
    let bytes = constants.list_bytes(request.method, &request.metadata);
    let fits = u32::try_from(bytes).is_ok_and(|bytes| bytes <= max);
    (!fits).then(|| {
        let told = format!("the metadata makes {bytes} bytes of headers; the server takes {max}");
        Status::resource_exhausted(told)
    })
}

//! Status codes of those who are no server: credentials, load balancing policies and name resolvers
//! (gRFC A54).
//!
//! Codes that say something of what a call asks for are for servers alone. Who sees NOT_FOUND may
//! act on it, and must not because a registry did not know a name.

use gannet_core::{Code, Status};

use crate::policy::ChannelState;

/// Whether only a server may end a call with it.
pub(crate) fn is_for_servers(code: Code) -> bool {
    matches!(
        code,
        Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::DataLoss
    )
}

/// INTERNAL in place of a code that is [for servers](is_for_servers): the mistake of `whose`.
#[cold]
pub(crate) fn misused(status: Status, what: &str, whose: &str) -> Status {
    let told = format!(
        "{what} failed with {}, which only a server may end a call with; this is a mistake in \
         {whose}: {}",
        status.code(),
        status.message()
    );
    Status::internal(told).with_source(status)
}

/// Why a name is not known: UNAVAILABLE, whatever the resolver calls it.
pub(crate) fn of_resolver(status: Status) -> Status {
    if status.code() == Code::Unavailable {
        return status;
    }
    Status::unavailable(format!("{}: {}", status.code(), status.message())).with_source(status)
}

/// What a call ends with that a picker fails. It names the target.
#[cold]
pub(crate) fn of_picker(status: Status, target: &str, state: ChannelState) -> Status {
    if is_for_servers(status.code()) {
        let what = format!("{target}: the call's pick");
        return misused(status, &what, "the load balancing policy");
    }
    if status.message().contains(target) {
        return status;
    }
    let told = format!("{target} [{}]: {}", name_of(state), status.message());
    status.with_message(told)
}

fn name_of(state: ChannelState) -> &'static str {
    match state {
        ChannelState::Idle => "IDLE",
        ChannelState::Connecting => "CONNECTING",
        ChannelState::Ready => "READY",
        ChannelState::TransientFailure => "TRANSIENT_FAILURE",
        ChannelState::Shutdown => "SHUTDOWN",
    }
}

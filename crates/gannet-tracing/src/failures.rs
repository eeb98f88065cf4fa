//! Calls that fail, as events.

use gannet_core::Code;
use tracing::{Level, Span, debug, enabled, warn};

/// Whether somebody wants to know, who perhaps wants no spans.
pub(crate) fn are_wanted() -> bool {
    enabled!(target: "gannet", Level::WARN)
}

/// Within the call's span; where that is not wanted, within the one that is current.
#[cold]
pub(crate) fn tell(span: &Span, method: &str, code: Code, why: &str) {
    let parent = || span.id().or_else(|| Span::current().id());
    let status = code.name();
    if is_a_fault(code) {
        warn!(
            target: "gannet", parent: parent(),
            method, status, status_message = why, "the call failed",
        );
    } else {
        debug!(
            target: "gannet", parent: parent(),
            method, status, status_message = why, "the call failed",
        );
    }
}

/// Whether the system is at fault, and not the request. OpenTelemetry's conventions have the same
/// codes for a server's errors, and UNIMPLEMENTED, which anybody brings about who asks for what is
/// not there.
fn is_a_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

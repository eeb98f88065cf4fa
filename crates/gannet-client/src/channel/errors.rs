//! What calls are told whose channel cannot do its work.

use gannet_core::Status;

#[cold]
pub(super) fn policy_panicked(target: &str, told: &str) -> Status {
    Status::internal(format!("{target}: the load balancing policy panicked: {told}"))
}

#[cold]
pub(super) fn never_connects() -> Status {
    Status::internal(
        "the task that connects is ended by its runtime each time; the runtime must run, and have \
         I/O and time enabled (`enable_all`)",
    )
}

#[cold]
pub(crate) fn no_runtime() -> Status {
    Status::internal(
        "the call needs a tokio runtime to connect on: await it inside one, or use `wait`, which \
         needs none",
    )
}

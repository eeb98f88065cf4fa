//! What calls are told by policies that have no connection for them.

use gannet_core::Status;

use super::Actions;

/// The name stands for nothing.
#[cold]
pub(super) fn no_address(actions: &Actions) -> Status {
    cannot_connect(&Status::unavailable("the name resolver knows no address"), actions)
}

/// Where it could not be connected to, and why. It keeps its cause.
#[cold]
pub(super) fn cannot_connect(why: &Status, actions: &Actions) -> Status {
    let target = actions.target();
    let told = match why.message() {
        told if told.starts_with(target) => format!("cannot connect to {told}"),
        told => format!("cannot connect to {target}: {told}"),
    };
    why.clone().with_message(told)
}

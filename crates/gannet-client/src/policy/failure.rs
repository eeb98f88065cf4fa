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
    let why_not = why.message();
    let told = if names(why_not, target) {
        format!("cannot connect to {why_not}")
    } else {
        format!("cannot connect to {target}: {why_not}")
    };
    why.clone().with_message(told)
}

/// Whether the text begins with what it is about, and not with a word that does.
pub(crate) fn names(told: &str, target: &str) -> bool {
    told.strip_prefix(target).is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
}

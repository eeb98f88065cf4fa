//! What calls are told by policies that have no connection for them.

use std::fmt::Write as _;

use gannet_core::Status;

use super::Actions;

/// Of so many failures the text is told, and of the others how many there are.
const TOLD_MAX: usize = 16;

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

/// Those of whom the health is asked do not feel well.
#[cold]
pub(super) fn not_healthy(why: &Status, actions: &Actions) -> Status {
    let told = format!("{} is not healthy: {}", actions.target(), why.message());
    why.clone().with_message(told)
}

/// How all of them failed, in one text. The cause is the last one's.
#[cold]
pub(super) fn joined(failures: &[&Status], actions: &Actions) -> Option<Status> {
    let target = actions.target();
    // What texts that follow each other have in common is said once.
    let beginnings =
        [format!("cannot connect to {target}: "), format!("{target} is not healthy: ")];
    let (mut told, mut before) = (String::new(), "");
    for status in failures.iter().take(TOLD_MAX) {
        let text = status.message();
        let beginning = beginnings.iter().find(|beginning| text.starts_with(*beginning));
        let beginning = beginning.map_or("", String::as_str);
        let said = if beginning == before { beginning.len() } else { 0 };
        let separator = if told.is_empty() { "" } else { "; " };
        // Writing to a string cannot fail.
        let _ = write!(told, "{separator}{}", text.get(said..).unwrap_or_default());
        before = beginning;
    }
    let more = failures.len().saturating_sub(TOLD_MAX);
    if more > 0 {
        let _ = write!(told, "; and {more} more");
    }
    failures.last().map(|last| (*last).clone().with_message(told))
}

/// Whether the text begins with what it is about, and not with a word that does.
pub(crate) fn names(told: &str, target: &str) -> bool {
    told.strip_prefix(target).is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
}

//! What the greeter tells of itself, as others see it: a trace over three processes and two
//! languages by way of OTLP, and rates by way of Prometheus.

mod prometheus;
mod trace;

use std::process::Command;
use std::time::Duration;

use super::Note;
use super::process::Server;
use super::setup::Tools;
use crate::exec::Result;

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telemetry {
    /// A receiver of OTLP, in Python: ours, around OpenTelemetry's own messages.
    Trace,
    /// Prometheus, which fetches from the replica that is there.
    Prometheus,
}

impl Telemetry {
    pub(super) const ALL: [Self; 2] = [Self::Trace, Self::Prometheus];

    /// Who calls whom, and what it is called.
    pub(super) fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Trace => ("gannet->python", "telemetry"),
            Self::Prometheus => ("prometheus", "rates"),
        }
    }
}

/// `replica` is the group's; `limit` is for all of it.
pub(super) fn run(
    what: Telemetry,
    tools: &Tools,
    replica: &Server,
    limit: Duration,
) -> Result<Note> {
    match what {
        Telemetry::Trace => trace::run(tools, limit),
        Telemetry::Prometheus => prometheus::run(tools, replica, limit),
    }
}

/// `greeter call` to this target.
fn caller(tools: &Tools, target: &str) -> Command {
    let mut command = Command::new(tools.greeter());
    command.args(["call", "--target", target]).arg("--keys").arg(tools.greeter_keys());
    command
}

//! What the gate counts: each case with what it may cost.

use super::baseline::{Baseline, Figures, METRICS, SLACK};

/// The side that is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    Server,
    Client,
}

/// One case: what is called, how often, and what it may cost.
#[derive(Clone, Copy)]
pub(super) struct Case {
    /// The table's name in the baseline.
    pub(super) name: &'static str,
    pub(super) side: Side,
    /// What the generator, or the client, is told.
    pub(super) args: &'static [&'static str],
    /// What the server is told.
    pub(super) server: &'static [&'static str],
    /// What the canned server is told that a client calls.
    pub(super) canned: &'static [&'static str],
    /// Whether the calls carry a token, as the server makes and checks it.
    pub(super) has_token: bool,
    /// Calls of the two runs: multiples of what is in flight.
    pub(super) calls: [u64; 2],
    /// The same for the build without inlining.
    pub(super) calls_slow: [u64; 2],
    /// What the figures are divided by, in each call.
    pub(super) messages: u64,
    /// What it may cost at most, as [`METRICS`] are ordered.
    pub(super) budgets: [Option<f64>; METRICS.len()],
    /// The case, before this one, than which it may cost a tenth more instructions.
    pub(super) tenth_above: Option<&'static str>,
    /// What its figures may differ by from run to run.
    pub(super) slack: Figures,
}

/// What a case has cost, by its name.
pub(super) type Counted = (&'static str, Figures);

impl Case {
    /// With the budget that follows from another case: by what was counted of that before, or else
    /// by the baseline.
    pub(super) fn with_budgets(&self, counted: &[Counted], baseline: &Baseline) -> Case {
        let mut case = *self;
        let now = |other| counted.iter().find(|(name, _)| *name == other).map(|(_, now)| now);
        if let Some(other) = self.tenth_above.and_then(|other| now(other).or(baseline.get(other))) {
            let tenth_above = other[0] * 1.1;
            case.budgets[0] = Some(case.budgets[0].map_or(tenth_above, |own| own.min(tenth_above)));
        }
        case
    }
}

/// Mutexes taken per call or message, at most; a wake takes several, the reactor's.
const LOCKS_MAX: f64 = 0.15;
/// Writes and reads of a hundred calls in flight: together 0.05 for each.
const WRITES_MAX: f64 = 0.025;
const READS_MAX: f64 = 0.025;
const NONE: [Option<f64>; METRICS.len()] = [None, None, Some(LOCKS_MAX), None, None];

/// Budgets of a hundred calls in flight.
const fn at_most(instructions: f64, allocations: f64) -> [Option<f64>; METRICS.len()] {
    let (writes, reads) = (Some(WRITES_MAX), Some(READS_MAX));
    [Some(instructions), Some(allocations), Some(LOCKS_MAX), writes, reads]
}

/// Of a client with a hundred calls in flight.
const CLIENT_100: [Option<f64>; METRICS.len()] =
    [Some(8_000.0), None, Some(LOCKS_MAX), Some(WRITES_MAX), Some(READS_MAX)];

/// What a call costs that nobody follows, as [`CASES`] count it now: instructions and allocations
/// on the server and on the client.
const SERVER_CALL: [f64; 2] = [3_400.0, 2.0];
const CLIENT_CALL: [f64; 2] = [6_100.0, 5.1];

/// What a call may cost where somebody follows it, by what that may add: little of it is ours, and
/// the SDKs behind it take locks of their own.
const fn followed(
    call: [f64; 2],
    instructions: f64,
    allocations: f64,
) -> [Option<f64>; METRICS.len()] {
    [Some(call[0] + instructions), Some(call[1] + allocations), None, None, None]
}

/// The same where it carries a token: files of keys and of tokens are followed without a lock.
const fn with_token(
    call: [f64; 2],
    instructions: f64,
    allocations: f64,
) -> [Option<f64>; METRICS.len()] {
    let [instructions, allocations, _, writes, reads] = followed(call, instructions, allocations);
    [instructions, allocations, Some(LOCKS_MAX), writes, reads]
}

/// How a mebibyte comes in is the kernel's choice: in a few more wakes, or a few less; and in the
/// pauses between, a young connection gives storage back.
const SLACK_LARGE: Figures = [0.0, 1.0, 2.0, 0.5, 0.5];

/// What cases have in common where they say nothing else: enough calls for a hundred in flight.
const UNARY: Case = Case {
    name: "",
    side: Side::Server,
    args: &[],
    server: &[],
    // What the client under test says.
    canned: &["--text", "world"],
    has_token: false,
    calls: [10_000, 30_000],
    calls_slow: [2_000, 6_000],
    messages: 1,
    budgets: [None; METRICS.len()],
    tenth_above: None,
    slack: SLACK,
};

/// Some instructions a message, for wakes that come or not.
const SLACK_CLIENT_STREAM: Figures = [30.0, 0.01, 0.03, 0.002, 0.002];

/// A client's streams of small messages. How many come at once is the kernel's choice, which shows
/// in the wakes and little in what a message costs.
const CLIENT_STREAM: Case = Case {
    side: Side::Client,
    calls: [4, 24],
    calls_slow: [2, 6],
    messages: 1_000,
    budgets: NONE,
    slack: SLACK_CLIENT_STREAM,
    ..UNARY
};

/// What a call of 64 tasks may cost on one thread.
const ONE_THREAD: f64 = 7_100.0;

/// Of a canned server that is ten backends.
const TEN: &[&str] = &["--text", "world", "--addr", "0.0.0.0:0"];

/// 64 tasks on one channel: what a call costs over one connection, over ten by turns, and where two
/// workers share the tasks and the connections.
const SCALING: Case = Case {
    side: Side::Client,
    args: &["--in-flight", "64", "--backends", "10"],
    canned: TEN,
    calls: [9_600, 28_800],
    calls_slow: [1_920, 5_760],
    // Six calls on each connection: how many of them share a wake is for chance, and for workers.
    slack: [200.0, 0.03, 0.3, 0.15, 0.05],
    ..UNARY
};

/// One call after the other.
const CLIENT_1: Case =
    Case { side: Side::Client, calls: [2_000, 6_000], calls_slow: [500, 1_500], ..UNARY };

const UNARY_100: &[&str] = &["--scenario", "unary", "--in-flight", "100"];

/// All of them, in the order in which they are counted.
pub(super) const CASES: &[Case] = &[
    Case {
        name: "unary-1x100",
        args: &["--scenario", "unary", "--in-flight", "100"],
        budgets: at_most(4_500.0, 2.4),
        ..UNARY
    },
    Case {
        name: "unary-1x1",
        args: &["--scenario", "unary", "--in-flight", "1"],
        calls: [2_000, 6_000],
        calls_slow: [500, 1_500],
        // A wake for each call: its lock counts in full.
        budgets: [Some(6_000.0), Some(2.4), None, None, None],
        ..UNARY
    },
    Case {
        name: "unary-1x100-workers",
        args: &["--scenario", "unary", "--in-flight", "100"],
        server: &["--workers", "1"],
        budgets: at_most(4_500.0, 2.4),
        ..UNARY
    },
    Case {
        name: "unary-1x1-workers",
        args: &["--scenario", "unary", "--in-flight", "1"],
        server: &["--workers", "1"],
        calls: [2_000, 6_000],
        calls_slow: [500, 1_500],
        // 6,000 instructions are the goal of one thread: to park and wake costs more here.
        budgets: [None, Some(2.4), None, None, None],
        ..UNARY
    },
    Case {
        name: "unary-1x100-intercepted",
        args: &["--scenario", "unary", "--in-flight", "100"],
        server: &["--interceptors", "1"],
        // What a call may cost, and an interceptor: 1,000 instructions and 2 allocations.
        budgets: at_most(4_500.0 + 1_000.0, 2.4 + 2.0),
        ..UNARY
    },
    Case {
        name: "unary-1x100-metrics",
        args: UNARY_100,
        server: &["--observe", "metrics"],
        // The state that follows the call is allocated, and nothing else. The SDK takes a lock for
        // each of three histograms.
        budgets: followed(SERVER_CALL, 2_500.0, 1.1),
        ..UNARY
    },
    Case {
        name: "unary-1x100-traces",
        args: UNARY_100,
        server: &["--observe", "traces"],
        budgets: followed(SERVER_CALL, 7_000.0, 8.1),
        ..UNARY
    },
    Case {
        name: "unary-1x100-spans",
        args: UNARY_100,
        server: &["--observe", "spans"],
        budgets: followed(SERVER_CALL, 2_800.0, 1.1),
        ..UNARY
    },
    Case {
        name: "unary-1x100-jwt",
        args: UNARY_100,
        server: &["--jwt"],
        has_token: true,
        // Most of it is the hash by which a token is found again.
        budgets: with_token(SERVER_CALL, 20_000.0, 4.1),
        ..UNARY
    },
    Case {
        name: "unary-50x20",
        args: &["--scenario", "unary", "--connections", "50", "--in-flight", "20"],
        // A wake for twenty calls: its locks show.
        budgets: [None, Some(2.4), Some(0.3), None, None],
        ..UNARY
    },
    Case {
        name: "server-stream-16",
        args: &["--scenario", "server-stream", "--messages", "1000", "--bytes", "16"],
        calls: [4, 24],
        calls_slow: [2, 6],
        messages: 1_000,
        budgets: NONE,
        ..UNARY
    },
    Case {
        name: "bidi-16",
        args: &["--scenario", "bidi", "--messages", "1000", "--bytes", "16", "--outstanding", "50"],
        calls: [4, 24],
        calls_slow: [2, 6],
        messages: 1_000,
        budgets: NONE,
        ..UNARY
    },
    Case {
        name: "echo-1MiB",
        args: &["--scenario", "echo", "--bytes", "1048576", "--in-flight", "1"],
        calls: [8, 40],
        calls_slow: [8, 72],
        slack: SLACK_LARGE,
        ..UNARY
    },
    Case {
        name: "client-100",
        side: Side::Client,
        args: &["--in-flight", "100"],
        budgets: CLIENT_100,
        ..UNARY
    },
    Case {
        name: "client-100-deadline",
        side: Side::Client,
        args: &["--in-flight", "100", "--timeout", "600"],
        budgets: CLIENT_100,
        ..UNARY
    },
    Case {
        name: "client-100-intercepted",
        side: Side::Client,
        args: &["--in-flight", "100", "--interceptors", "1"],
        // Likewise; of allocations a call makes six.
        budgets: at_most(8_000.0 + 1_000.0, 6.1 + 2.0),
        ..UNARY
    },
    Case {
        name: "client-100-metrics",
        side: Side::Client,
        args: &["--in-flight", "100", "--observe", "metrics"],
        budgets: followed(CLIENT_CALL, 3_800.0, 9.1),
        ..UNARY
    },
    Case {
        name: "client-100-traces",
        side: Side::Client,
        args: &["--in-flight", "100", "--observe", "traces"],
        // Two spans.
        budgets: followed(CLIENT_CALL, 19_000.0, 28.1),
        ..UNARY
    },
    Case {
        name: "client-100-spans",
        side: Side::Client,
        args: &["--in-flight", "100", "--observe", "spans"],
        budgets: followed(CLIENT_CALL, 4_200.0, 9.1),
        ..UNARY
    },
    Case {
        name: "client-100-jwt",
        side: Side::Client,
        args: &["--in-flight", "100"],
        has_token: true,
        budgets: with_token(CLIENT_CALL, 4_000.0, 8.1),
        ..UNARY
    },
    Case {
        name: "client-10x100-round-robin",
        side: Side::Client,
        // As many on each connection as a client of one has.
        args: &["--in-flight", "1000", "--backends", "10"],
        canned: TEN,
        tenth_above: Some("client-100"),
        budgets: [None, None, Some(LOCKS_MAX), None, None],
        ..UNARY
    },
    Case {
        name: "client-64",
        args: &["--in-flight", "64"],
        budgets: [Some(6_400.0), None, Some(LOCKS_MAX), None, None],
        ..SCALING
    },
    Case {
        name: "client-64-round-robin",
        // The same calls over ten connections: not a tenth above, as six share a wake where 64 did,
        // and how many do is for chance.
        budgets: [Some(ONE_THREAD), None, Some(1.0), None, None],
        ..SCALING
    },
    Case {
        name: "client-64-round-robin-2workers",
        args: &["--in-flight", "64", "--backends", "10", "--workers", "2"],
        // A seventh more than on one thread, and less than one lock for each call beside.
        budgets: [Some(ONE_THREAD * 8.0 / 7.0), None, Some(1.5), None, None],
        ..SCALING
    },
    Case {
        name: "client-server-stream-16",
        args: &["--mode", "server-stream", "--in-flight", "1", "--messages", "1000"],
        canned: &["--reply", "stream", "--messages", "1000", "--bytes", "16"],
        ..CLIENT_STREAM
    },
    Case {
        name: "client-bidi-16",
        args: &["--mode", "bidi", "--in-flight", "1", "--messages", "1000"],
        canned: &["--reply", "echo"],
        ..CLIENT_STREAM
    },
    Case { name: "client-1", args: &["--in-flight", "1"], ..CLIENT_1 },
    Case {
        name: "client-1-round-robin",
        args: &["--in-flight", "1", "--backends", "10"],
        canned: TEN,
        tenth_above: Some("client-1"),
        ..CLIENT_1
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_rounds_are_counted() {
        let number = |case: &Case, flag: &str| {
            let at = case.args.iter().position(|arg| *arg == flag);
            at.map_or(1, |at| case.args[at + 1].parse::<u64>().unwrap())
        };
        for case in CASES {
            let round = number(case, "--connections") * number(case, "--in-flight");
            for calls in [case.calls, case.calls_slow] {
                assert!(calls[0] < calls[1], "{}", case.name);
                assert!(calls.iter().all(|calls| calls % round == 0), "{}", case.name);
            }
            let messages = number(case, "--messages");
            assert_eq!(messages, case.messages, "{}", case.name);
            assert_eq!(messages % number(case, "--outstanding"), 0, "{}", case.name);
        }
    }
}

//! The rows of the benchmark: what is called, over how many connections, and by which side.

use super::programs::Role;

/// What is counted in a row, and a figure of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Call,
    Message,
    /// A message of a MiB: its rate is told in GB/s.
    Mebibyte,
    /// Something that is held open: only memory is measured.
    Held,
}

/// Who makes the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The load generator calls the server under test: scenario, connections, in flight on each.
    Load(&'static str, u32, u32),
    /// The client under test calls the canned server: mode, in flight.
    Client(&'static str, u32),
}

/// One row: every program of its role is measured in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) role: Role,
    pub(super) caller: Caller,
    pub(super) unit: Unit,
    /// Worker threads of the program under test; more than one is not pinned.
    pub(super) threads: u32,
    /// What the canned server is told, where it takes part.
    pub(super) canned: &'static [&'static str],
    /// Raw TCP takes part, as the ceiling.
    pub(super) ceiling: bool,
    /// System calls are counted too.
    pub(super) syscalls: bool,
    /// Programs that speak TLS take part, and do.
    pub(super) tls: bool,
}

const HELLO: &[&str] = &["--reply", "hello"];
const STREAM: &[&str] = &["--reply", "stream", "--messages", "1000", "--bytes", "16"];
const ECHO: &[&str] = &["--reply", "echo"];

const fn unary(name: &'static str, connections: u32, in_flight: u32) -> Row {
    Row {
        name,
        role: Role::Server,
        caller: Caller::Load("unary", connections, in_flight),
        unit: Unit::Call,
        threads: 1,
        canned: HELLO,
        ceiling: false,
        syscalls: true,
        tls: false,
    }
}

const fn stream(
    name: &'static str,
    scenario: &'static str,
    canned: &'static [&'static str],
) -> Row {
    let caller = Caller::Load(scenario, 1, 8);
    Row { caller, unit: Unit::Message, canned, ..unary(name, 1, 8) }
}

const fn large(name: &'static str, scenario: &'static str, in_flight: u32) -> Row {
    let caller = Caller::Load(scenario, 1, in_flight);
    Row { caller, unit: Unit::Mebibyte, canned: ECHO, ceiling: true, ..unary(name, 1, in_flight) }
}

const fn held(name: &'static str, scenario: &'static str, connections: u32, each: u32) -> Row {
    let caller = Caller::Load(scenario, connections, each);
    Row { caller, unit: Unit::Held, canned: ECHO, syscalls: false, ..unary(name, 1, 1) }
}

/// A row under TLS, which raw TCP has no part in.
const fn tls(row: Row) -> Row {
    Row { tls: true, ceiling: false, ..row }
}

const fn rest(name: &'static str, scenario: &'static str, connections: u32) -> Row {
    let caller = Caller::Load(scenario, connections, 1);
    Row { role: Role::Rest, caller, ..unary(name, 1, 1) }
}

const fn client(
    name: &'static str,
    mode: &'static str,
    in_flight: u32,
    unit: Unit,
    canned: &'static [&'static str],
) -> Row {
    let caller = Caller::Client(mode, in_flight);
    Row { role: Role::Client, caller, unit, canned, syscalls: false, ..unary(name, 1, 1) }
}

/// All rows, in the order of the tables.
pub(super) const ROWS: &[Row] = &[
    unary("unary-1x1", 1, 1),
    unary("unary-1x100", 1, 100),
    unary("unary-8x100", 8, 100),
    unary("unary-50x1", 50, 1),
    unary("unary-50x20", 50, 20),
    stream("server-stream-16B", "server-stream", STREAM),
    stream("bidi-16B", "bidi", ECHO),
    large("echo-1MiB-1x8", "echo", 8),
    Row { ceiling: false, ..large("stream-1MiB", "large-stream", 1) },
    Row { threads: 2, syscalls: false, ..unary("unary-8x100-2cores", 8, 100) },
    Row { threads: 2, syscalls: false, ..unary("unary-50x20-2cores", 50, 20) },
    Row { threads: 2, syscalls: false, ..large("echo-1MiB-1x8-2cores", "echo", 8) },
    Row { canned: HELLO, ..held("idle-1000", "idle", 1_000, 1) },
    held("open-10000", "open-streams", 100, 100),
    tls(unary("tls-unary-1x1", 1, 1)),
    tls(unary("tls-unary-1x100", 1, 100)),
    tls(unary("tls-unary-50x20", 50, 20)),
    tls(large("tls-echo-1MiB-1x8", "echo", 8)),
    rest("rest-1", "rest", 1),
    rest("rest-50", "rest", 50),
    rest("rest-connect-1", "rest-connect", 1),
    rest("rest-connect-50", "rest-connect", 50),
    client("client-unary-1", "unary", 1, Unit::Call, HELLO),
    client("client-unary-100", "unary", 100, Unit::Call, HELLO),
    Row { threads: 2, ..client("client-unary-100-2threads", "unary", 100, Unit::Call, HELLO) },
    client("client-server-stream-16B", "server-stream", 8, Unit::Message, STREAM),
    client("client-bidi-16B", "bidi", 8, Unit::Message, ECHO),
    client("client-echo-1MiB", "large", 8, Unit::Mebibyte, ECHO),
];

impl Row {
    /// How many things are held open.
    pub(super) fn held(&self) -> f64 {
        match self.caller {
            Caller::Load(_, connections, each) => f64::from(connections) * f64::from(each),
            Caller::Client(..) => 0.0,
        }
    }

    /// What one unit is called.
    pub(super) fn unit_name(&self) -> &'static str {
        match self.unit {
            Unit::Call => "call",
            Unit::Message => "message",
            Unit::Mebibyte => "MiB",
            Unit::Held if self.name.starts_with("idle") => "connection",
            Unit::Held => "stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_of_their_own() {
        for (at, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..at].iter().all(|other| other.name != row.name), "{}", row.name);
        }
    }

    #[test]
    fn a_role_and_its_caller_agree() {
        for row in ROWS {
            let is_client = matches!(row.caller, Caller::Client(..));
            assert_eq!(is_client, row.role == Role::Client, "{}", row.name);
            assert_eq!(row.tls, row.name.starts_with("tls-"), "{}", row.name);
            assert!(!row.tls || row.role == Role::Server, "{}", row.name);
            assert_eq!(row.held() > 1.0 && row.unit == Unit::Held, row.unit == Unit::Held);
        }
        assert_eq!(ROWS.iter().find(|row| row.name == "open-10000").map(Row::held), Some(1e4));
    }
}

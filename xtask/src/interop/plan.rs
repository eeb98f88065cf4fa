//! Which checks there are: peers × directions × cases, and the suites.
//!
//! Says nothing of how a peer is started; interop/README.md says what each case does.

use std::time::Duration;

use super::http::Request;
use super::suites::Suite;

/// A gRPC implementation that the harness can start as client and as server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Gannet,
    Python,
    Go,
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gannet => "gannet",
            Self::Python => "python",
            Self::Go => "go",
        }
    }
}

/// Which of a peer's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// The hello world as a newcomer writes it.
    Hello,
    /// The service of gannet_interop.proto, and the hello world beside it.
    Echo,
    /// gRPC's official interop program, by the peer's own authors; its flags are its own.
    Official,
}

/// The checks that share one server process.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) server: Peer,
    pub(super) program: Program,
    pub(super) checks: Vec<Check>,
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct Check {
    /// `client->server/case`.
    pub(super) name: String,
    pub(super) what: What,
    pub(super) limit: Duration,
}

#[derive(Debug)]
pub(super) enum What {
    /// A peer's client program, which judges for itself.
    Client { peer: Peer, program: Program, case: &'static str, host: &'static str },
    /// A suite of HTTP/2; unless `strict`, its score is only printed.
    Suite { suite: Suite, strict: bool },
    /// A plain HTTP tool.
    Http(Request),
}

/// Cases of the echo programs, and how long one may take in seconds.
pub(super) const CASES: &[(&str, u64)] = &[
    ("empty_unary", 10),
    ("unary", 10),
    ("large_unary", 10),
    ("client_stream", 10),
    ("empty_stream", 10),
    ("server_stream", 10),
    ("large_stream", 20),
    ("bidi", 10),
    ("metadata", 10),
    ("metadata_on_error", 10),
    ("early_headers", 10),
    ("status_codes", 10),
    ("status_message", 10),
    ("status_details", 10),
    ("status_on_streams", 10),
    ("deadline", 20),
    ("cancel", 20),
    ("unimplemented", 10),
    ("oversized", 20),
    ("concurrent", 25),
    ("many_at_once", 25),
    ("gzip", 20),
];

/// Cases in encodings that not every peer has: which ones do.
const ENCODINGS: &[(&str, &[Peer])] =
    &[("deflate", &[Peer::Gannet, Peer::Python]), ("zstd", &[Peer::Gannet])];
const ENCODING_SECONDS_MAX: u64 = 20;

/// The official cases, and how long one may take in seconds.
pub(super) const OFFICIAL: &[(&str, u64)] = &[
    ("empty_unary", 10),
    ("large_unary", 10),
    ("client_streaming", 10),
    ("server_streaming", 10),
    ("ping_pong", 10),
    ("empty_stream", 10),
    ("custom_metadata", 10),
    ("status_code_and_message", 10),
    ("special_status_message", 10),
    ("unimplemented_method", 10),
    ("unimplemented_service", 10),
    ("cancel_after_begin", 10),
    ("cancel_after_first_response", 10),
    ("timeout_on_sleeping_server", 10),
    ("rpc_soak", 20),
    ("channel_soak", 20),
];

/// The official cases with compressed messages, which grpc-go's programs do not have.
const OFFICIAL_COMPRESSION: &[(&str, u64)] = &[
    ("client_compressed_unary", 10),
    ("client_compressed_streaming", 10),
    ("server_compressed_unary", 10),
    ("server_compressed_streaming", 10),
];

/// Whose official programs are run.
const OFFICIAL_PEERS: &[Peer] = &[Peer::Gannet, Peer::Go];
const PEERS: &[Peer] = &[Peer::Gannet, Peer::Python, Peer::Go];
const SUITE_SECONDS_MAX: u64 = 240;
const HELLO_SECONDS_MAX: u64 = 10;
const LOOPBACK: &str = "127.0.0.1";

/// The groups to run, in order; those without a check that matches `only` are left out.
pub(super) fn plan(peers_only: bool, quick: bool, only: Option<&str>) -> Vec<Group> {
    let among_others = |a: Peer, b: Peer| a != Peer::Gannet && b != Peer::Gannet;
    let wanted = |client: Peer, server: Peer| match among_others(client, server) {
        true => !quick,
        false => !peers_only,
    };
    let mut groups = Vec::new();
    for &server in PEERS {
        let clients: Vec<Peer> =
            PEERS.iter().copied().filter(|&client| wanted(client, server)).collect();
        let hellos = clients.iter().flat_map(|&client| hello(client, server)).collect();
        groups.push(Group { server, program: Program::Hello, checks: hellos });
        let echoes = clients.iter().flat_map(|&client| echo(client, server)).collect();
        groups.push(Group { server, program: Program::Echo, checks: echoes });
        if OFFICIAL_PEERS.contains(&server) {
            let clients = clients.iter().filter(|client| OFFICIAL_PEERS.contains(client));
            let checks = clients.flat_map(|&client| official(client, server)).collect();
            groups.push(Group { server, program: Program::Official, checks });
        }
    }
    let tested = if peers_only { Peer::Go } else { Peer::Gannet };
    groups.push(Group { server: tested, program: Program::Echo, checks: tools(tested) });
    for group in &mut groups {
        group.checks.retain(|check| only.is_none_or(|text| check.name.contains(text)));
    }
    groups.retain(|group| !group.checks.is_empty());
    groups
}

/// The hello world, by address and by name.
fn hello(client: Peer, server: Peer) -> Vec<Check> {
    [("hello", LOOPBACK), ("hello_localhost", "localhost")]
        .map(|(name, host)| {
            let what = What::Client { peer: client, program: Program::Hello, case: "hello", host };
            check(client.name(), server, name, what, HELLO_SECONDS_MAX)
        })
        .into()
}

fn echo(client: Peer, server: Peer) -> Vec<Check> {
    let program = Program::Echo;
    let to_check = |&(case, seconds): &(&'static str, u64)| {
        let what = What::Client { peer: client, program, case, host: LOOPBACK };
        check(client.name(), server, case, what, seconds)
    };
    let both_have = |peers: &[Peer]| peers.contains(&client) && peers.contains(&server);
    let encodings = ENCODINGS.iter().filter(|(_, peers)| both_have(peers));
    let encodings: Vec<_> = encodings.map(|(case, _)| (*case, ENCODING_SECONDS_MAX)).collect();
    CASES.iter().chain(&encodings).map(to_check).collect()
}

fn official(client: Peer, server: Peer) -> Vec<Check> {
    let to_check = |&(case, seconds): &(&'static str, u64)| {
        let program = Program::Official;
        let what = What::Client { peer: client, program, case, host: LOOPBACK };
        check(client.name(), server, &format!("official/{case}"), what, seconds)
    };
    let compression = match (client, server) {
        (Peer::Gannet, Peer::Gannet) => OFFICIAL_COMPRESSION,
        _ => &[],
    };
    OFFICIAL.iter().chain(compression).map(to_check).collect()
}

/// Suites first: the plain requests after them also show that the server has survived.
fn tools(server: Peer) -> Vec<Check> {
    let strict = server == Peer::Gannet;
    let suites = Suite::ALL.iter().map(|&suite| {
        check(suite.name(), server, "all", What::Suite { suite, strict }, SUITE_SECONDS_MAX)
    });
    let requests = Request::ALL.iter().map(|&request| {
        let (tool, case) = request.name();
        check(tool, server, case, What::Http(request), 30)
    });
    suites.chain(requests).collect()
}

fn check(client: &str, server: Peer, case: &str, what: What, seconds: u64) -> Check {
    let name = format!("{client}->{}/{case}", server.name());
    Check { name, what, limit: Duration::from_secs(seconds) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn names(peers_only: bool, quick: bool, only: Option<&str>) -> Vec<String> {
        let groups = plan(peers_only, quick, only);
        groups.into_iter().flat_map(|group| group.checks).map(|check| check.name).collect()
    }

    #[test]
    fn the_full_plan_has_every_pair_once() {
        let all = names(false, false, None);
        let distinct: HashSet<&String> = all.iter().collect();
        assert_eq!(all.len(), distinct.len());
        let official = OFFICIAL.len();
        // Two encodings more, and the official cases with compression.
        let among_ourselves = official + 2 + OFFICIAL_COMPRESSION.len();
        for (pair, more) in [
            ("gannet->gannet", among_ourselves),
            ("gannet->go", official),
            ("python->gannet", 1),
            ("go->python", 0),
            ("go->go", official),
        ] {
            let count = all.iter().filter(|name| name.starts_with(&format!("{pair}/"))).count();
            assert_eq!(count, CASES.len() + 2 + more, "{pair}");
        }
        assert!(all.contains(&"h2spec->gannet/all".to_string()));
    }

    #[test]
    fn peers_only_never_needs_gannet_and_quick_always_does() {
        assert!(names(true, false, None).iter().all(|name| !name.contains("gannet")));
        assert!(names(false, true, None).iter().all(|name| name.contains("gannet")));
    }

    #[test]
    fn only_filters_by_text() {
        assert_eq!(names(true, false, Some("go->python/bidi")), ["go->python/bidi"]);
        assert!(plan(false, false, Some("no such check")).is_empty());
    }
}

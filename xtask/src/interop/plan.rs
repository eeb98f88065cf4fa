//! Which checks there are: peers × directions × cases, and the suites.
//!
//! Says nothing of how a peer is started; interop/README.md says what each case does.

use std::time::Duration;

use super::http::Request;
use super::official;
use super::services::{Asked, Whose};
use super::suites::Suite;
use super::telemetry::Telemetry;
use super::tls::{self, Scene};

/// A gRPC implementation that the harness can start as client and as server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Gannet,
    Python,
    Go,
    Java,
    Node,
    Cpp,
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gannet => "gannet",
            Self::Python => "python",
            Self::Go => "go",
            Self::Java => "java",
            Self::Node => "node",
            Self::Cpp => "cpp",
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
    /// The same; the server ends connections soon for their age and idleness.
    Aging,
    /// `examples/greeter`: a replica, with TLS and tokens.
    Greeter,
    /// gRPC's official interop program, by the peer's own authors where they have one; its flags
    /// are its own.
    Official,
}

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// What continuous integration runs: only what involves Gannet, and the official cases only
    /// with grpc-go.
    Quick,
    /// The same and the others among themselves.
    Usual,
    /// The official cases with every peer, too.
    All,
}

/// Whether a group's server speaks TLS: the official programs with the test certificates that they
/// carry, the others with those that [`super::tls`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Off,
    On,
    /// Clients must show a certificate that is not revoked.
    Mutual,
}

impl Tls {
    pub(super) fn is_on(self) -> bool {
        self != Self::Off
    }
}

/// The checks that share one server process.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) server: Peer,
    pub(super) program: Program,
    pub(super) tls: Tls,
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
    /// A tool that asks for health, or for what the server serves.
    Service(Whose, &'static Asked),
    /// Servers that replace each other, under the load of this peer's client.
    Restarts(Peer),
    /// What the greeter tells of itself.
    Telemetry(Telemetry),
    /// What the greeter tells Kubernetes.
    Manifest,
    /// A meeting by TLS, or one that fails.
    Tls(Scene),
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

/// Cases that not every peer has: which ones do.
const SOME: &[(&str, &[Peer])] = &[
    ("deflate", &[Peer::Gannet, Peer::Python]),
    ("zstd", &[Peer::Gannet]),
    // Python's has no credentials without TLS.
    ("bearer", &[Peer::Gannet, Peer::Go]),
    ("jwt", &[Peer::Gannet, Peer::Python]),
];
const SOME_SECONDS_MAX: u64 = 20;
/// Cases of one client against one server.
const PAIRED: &[(&str, Peer, Peer)] = &[("too_many_pings", Peer::Python, Peer::Gannet)];
const PAIRED_SECONDS_MAX: u64 = 30;
/// The case of a server that ends connections.
const AGING: (&str, u64) = ("connection_age", 60);

/// Whose echo programs there are.
const PEERS: &[Peer] = &[Peer::Gannet, Peer::Python, Peer::Go];
const SUITE_SECONDS_MAX: u64 = 240;
const SERVICE_SECONDS_MAX: u64 = 10;
/// For each step: the validator, a server's start, a probe.
const MANIFEST_SECONDS_MAX: u64 = 20;
/// For each step: a server's start, a drain.
const RESTART_SECONDS_MAX: u64 = 40;
/// Of which a load takes 26.
const TELEMETRY_SECONDS_MAX: u64 = 60;
const TLS_SECONDS_MAX: u64 = 10;
const HELLO_SECONDS_MAX: u64 = 10;
const LOOPBACK: &str = "127.0.0.1";

/// The groups to run, in order; those without a check that matches `only` are left out.
pub(super) fn plan(peers_only: bool, extent: Extent, only: Option<&str>) -> Vec<Group> {
    let among_others = |a: Peer, b: Peer| a != Peer::Gannet && b != Peer::Gannet;
    let wanted = |client: Peer, server: Peer| match among_others(client, server) {
        true => extent != Extent::Quick,
        false => !peers_only,
    };
    let mut groups = Vec::new();
    for &server in PEERS {
        let clients: Vec<Peer> =
            PEERS.iter().copied().filter(|&client| wanted(client, server)).collect();
        let mut add =
            |program, checks| groups.push(Group { server, program, tls: Tls::Off, checks });
        add(Program::Hello, clients.iter().flat_map(|&client| hello(client, server)).collect());
        add(Program::Echo, clients.iter().flat_map(|&client| echo(client, server)).collect());
        add(Program::Aging, clients.iter().map(|&client| aging(client, server)).collect());
    }
    let peers = official::peers(extent);
    let both = peers.iter().flat_map(|server| [(server, Tls::Off), (server, Tls::On)]);
    for (&server, tls) in both {
        // Among the others it is the harness that is proven: each with itself is enough.
        let with =
            |client| wanted(client, server) && (client == server || !among_others(client, server));
        let clients = peers.iter().copied().filter(|&client| with(client));
        let checks = clients.flat_map(|client| official(client, server, tls)).collect();
        groups.push(Group { server, program: Program::Official, tls, checks });
    }
    groups.extend(tested(if peers_only { Peer::Go } else { Peer::Gannet }));
    if !peers_only && extent != Extent::Quick {
        groups.push(restarts());
    }
    if !peers_only {
        groups.extend(secured());
    }
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
    let some = SOME.iter().filter(|(_, peers)| both_have(peers));
    let some = some.map(|(case, _)| (*case, SOME_SECONDS_MAX));
    let paired = PAIRED.iter().filter(|(_, a, b)| (*a, *b) == (client, server));
    let paired = paired.map(|(case, ..)| (*case, PAIRED_SECONDS_MAX));
    let more: Vec<_> = some.chain(paired).collect();
    CASES.iter().chain(&more).map(to_check).collect()
}

fn aging(client: Peer, server: Peer) -> Check {
    let (case, seconds) = AGING;
    let what = What::Client { peer: client, program: Program::Echo, case, host: LOOPBACK };
    check(client.name(), server, case, what, seconds)
}

fn official(client: Peer, server: Peer, tls: Tls) -> Vec<Check> {
    let to_check = |case: &official::Case| {
        let program = Program::Official;
        let what = What::Client { peer: client, program, case: case.name, host: LOOPBACK };
        let folder = if tls.is_on() { "official-tls" } else { "official" };
        check(client.name(), server, &format!("{folder}/{}", case.name), what, case.seconds)
    };
    official::between(client, server).map(to_check).collect()
}

/// h2load can show no certificate.
fn can_show(tls: Tls, what: &What) -> bool {
    tls == Tls::On || !matches!(what, What::Http(Request::H2loadHello))
}

/// The suites and tools against one server.
fn tested(server: Peer) -> Vec<Group> {
    let program = Program::Echo;
    let mut groups = vec![Group { server, program, tls: Tls::Off, checks: tools(server) }];
    // The others' echo programs have no TLS, nor these services.
    if server == Peer::Gannet {
        groups.extend(Whose::ALL.map(|whose| {
            let to_check = |asked: &'static Asked| {
                let case = format!("{}/{}", whose.folder(), asked.name);
                let what = What::Service(whose, asked);
                check(asked.tool.name(), server, &case, what, SERVICE_SECONDS_MAX)
            };
            let checks = whose.checks().iter().map(to_check).collect();
            Group { server, program: whose.program(), tls: Tls::Off, checks }
        }));
        groups.push(telemetry());
        let checks = suites(server, "tls").collect();
        groups.push(Group { server, program, tls: Tls::On, checks });
    }
    groups
}

/// Who looks at the greeter, which is there for them.
fn telemetry() -> Group {
    let server = Peer::Gannet;
    let to_check = |what: Telemetry| {
        let (client, case) = what.name();
        check(client, server, case, What::Telemetry(what), TELEMETRY_SECONDS_MAX)
    };
    let mut checks: Vec<_> = Telemetry::ALL.map(to_check).into();
    let (validator, case) = ("kubernetes-validate", "greeter/manifest");
    checks.push(check(validator, server, case, What::Manifest, MANIFEST_SECONDS_MAX));
    Group { server, program: Program::Greeter, tls: Tls::Off, checks }
}

/// Of servers that the check starts itself.
fn restarts() -> Group {
    let (server, program) = (Peer::Gannet, Program::Echo);
    let checks = [Peer::Python, Peer::Go].map(|client| {
        check(client.name(), server, "restarts", What::Restarts(client), RESTART_SECONDS_MAX)
    });
    let checks = checks.into();
    Group { server, program, tls: Tls::Off, checks }
}

/// Meetings by TLS of Gannet's programs with others' and with tools.
fn secured() -> impl Iterator<Item = Group> {
    tls::SCENES.iter().map(|&(server, tls, scenes)| {
        let folder = match tls {
            Tls::Off => "plain/",
            Tls::On => "tls/",
            Tls::Mutual => "mutual/",
        };
        let to_check = |scene: &Scene| {
            let case = format!("{folder}{}", scene.name);
            check(scene.client.name(), server, &case, What::Tls(*scene), TLS_SECONDS_MAX)
        };
        let mut checks: Vec<_> = scenes.iter().map(to_check).collect();
        if server == Peer::Gannet && tls.is_on() {
            checks.extend(requests(server, folder).filter(|check| can_show(tls, &check.what)));
        }
        Group { server, program: Program::Echo, tls, checks }
    })
}

/// Suites first: the plain requests after them also show that the server has survived.
fn tools(server: Peer) -> Vec<Check> {
    suites(server, "all").chain(requests(server, "")).collect()
}

fn requests(server: Peer, folder: &str) -> impl Iterator<Item = Check> {
    // Others answer HTTP/1 in their own way, if at all.
    let ours = server == Peer::Gannet && folder.is_empty();
    let asked = Request::ALL.iter().filter(move |&&request| request != Request::CurlHttp1 || ours);
    asked.map(move |&request| {
        let (tool, case) = request.name();
        check(tool, server, &format!("{folder}{case}"), What::Http(request), 30)
    })
}

fn suites(server: Peer, case: &'static str) -> impl Iterator<Item = Check> {
    let strict = server == Peer::Gannet;
    Suite::ALL.iter().map(move |&suite| {
        check(suite.name(), server, case, What::Suite { suite, strict }, SUITE_SECONDS_MAX)
    })
}

fn check(client: &str, server: Peer, case: &str, what: What, seconds: u64) -> Check {
    let name = format!("{client}->{}/{case}", server.name());
    Check { name, what, limit: Duration::from_secs(seconds) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn names(peers_only: bool, extent: Extent, only: Option<&str>) -> Vec<String> {
        let groups = plan(peers_only, extent, only);
        groups.into_iter().flat_map(|group| group.checks).map(|check| check.name).collect()
    }

    fn count(names: &[String], start: &str) -> usize {
        names.iter().filter(|name| name.starts_with(start)).count()
    }

    #[test]
    fn the_full_plan_has_every_pair_once() {
        let all = names(false, Extent::All, None);
        let distinct: HashSet<&String> = all.iter().collect();
        assert_eq!(all.len(), distinct.len());
        for client in PEERS {
            for server in PEERS {
                let pair = format!("{}->{}/", client.name(), server.name());
                let official = count(&all, &format!("{pair}official"));
                let services = count(&all, &format!("{pair}services"))
                    + count(&all, &format!("{pair}greeter"));
                let both_have = |peers: &[Peer]| peers.contains(client) && peers.contains(server);
                let some = SOME.iter().filter(|(_, peers)| both_have(peers)).count();
                let paired = PAIRED.iter().filter(|(_, a, b)| (a, b) == (client, server));
                // Besides those: two of the hello world, and the one about age.
                let usual = CASES.len() + some + paired.count() + 3;
                let secured = secured().flat_map(|group| group.checks);
                let secured = secured.filter(|check| check.name.starts_with(&pair)).count();
                let restarts = count(&all, &format!("{pair}restarts"));
                let others = official + services + secured + restarts;
                assert_eq!(count(&all, &pair) - others, usual, "{pair}");
            }
        }
        assert!(all.contains(&"h2spec->gannet/all".to_string()));
        assert!(all.contains(&"h2spec->gannet/tls".to_string()));
        assert_eq!(count(&all, "python->gannet/services/"), 2);
        assert_eq!(count(&all, "python->gannet/greeter/"), 1);
        assert_eq!(count(&all, "python->gannet/restarts"), 1);
        assert_eq!(count(&all, "go->gannet/restarts"), 1);
        assert_eq!(count(&all, "gannet->python->gannet/telemetry"), 1);
        assert_eq!(count(&all, "prometheus->gannet/rates"), 1);
        assert_eq!(count(&all, "kubernetes-validate->gannet/greeter/manifest"), 1);
    }

    #[test]
    fn the_official_cases_run_both_ways_plain_and_over_tls() {
        let all = names(false, Extent::All, None);
        for peer in official::PEERS.iter().map(|peer| peer.name()) {
            for pair in [format!("gannet->{peer}"), format!("{peer}->gannet")] {
                let plain = count(&all, &format!("{pair}/official/"));
                assert!(plain >= 14, "{pair}: {plain}");
                assert_eq!(plain, count(&all, &format!("{pair}/official-tls/")), "{pair}");
            }
            assert!(count(&all, &format!("{peer}->{peer}/official/")) >= 14, "{peer}");
        }
        assert_eq!(count(&all, "java->cpp/"), 0);
        let quick = names(false, Extent::Quick, None);
        assert!(count(&quick, "go->gannet/official-tls/") >= 14);
        assert_eq!(count(&quick, "python->gannet/official"), 0);
    }

    #[test]
    fn peers_only_never_needs_gannet_and_quick_always_does() {
        assert!(names(true, Extent::All, None).iter().all(|name| !name.contains("gannet")));
        assert!(names(false, Extent::Quick, None).iter().all(|name| name.contains("gannet")));
    }

    #[test]
    fn only_filters_by_text() {
        assert_eq!(names(true, Extent::Usual, Some("go->python/bidi")), ["go->python/bidi"]);
        assert!(plan(false, Extent::All, Some("no such check")).is_empty());
    }
}

//! gRPC's official interop cases: which of them each peer's own programs have, and how those
//! programs are called.
//!
//! The cases and the flags are those of grpc/grpc, `doc/interop-test-descriptions.md`. Cases that
//! need an account at a cloud provider are left out; [`LEFT_OUT`] says what else is.

use std::path::Path;
use std::process::Command;

use super::plan::{Extent, Peer};
use super::setup::Tools;

/// One case, and whose programs have it.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// How long it may take, in seconds.
    pub(super) seconds: u64,
    clients: &'static [Peer],
    servers: &'static [Peer],
}

use Peer::{Cpp, Gannet, Go, Java, Node, Python};

/// Whose official programs there are.
pub(super) const PEERS: &[Peer] = &[Gannet, Go, Python, Java, Node, Cpp];

/// The cases, in the order of the table in the repository.
pub(super) const CASES: &[Case] = &[
    common("empty_unary"),
    common("large_unary"),
    common("client_streaming"),
    common("server_streaming"),
    common("ping_pong"),
    common("empty_stream"),
    case("client_compressed_unary", 30, COMPRESSING, &[Gannet, Cpp]),
    case("client_compressed_streaming", 30, COMPRESSING, &[Gannet, Cpp]),
    case("client_compressed_unary_noprobe", 30, &[Java], &[Gannet, Java]),
    case("client_compressed_streaming_noprobe", 30, &[Java], &[Gannet, Java]),
    case("server_compressed_unary", 30, COMPRESSING, COMPRESSING),
    case("server_compressed_streaming", 30, COMPRESSING, &[Gannet, Cpp]),
    common("custom_metadata"),
    common("status_code_and_message"),
    common("special_status_message"),
    common("unimplemented_method"),
    common("unimplemented_service"),
    common("cancel_after_begin"),
    common("cancel_after_first_response"),
    common("timeout_on_sleeping_server"),
    case("half_duplex", 30, &[Gannet, Cpp, Node], PEERS),
    case("slow_consumer", 120, &[Gannet, Cpp], PEERS),
    case("very_large_request", 30, &[Gannet, Java], &[Gannet, Java]),
    case("pick_first_unary", 30, NOT_PYTHON, &[Gannet, Node]),
    case("rpc_soak", 60, NOT_PYTHON, PEERS),
    case("channel_soak", 60, NOT_PYTHON, PEERS),
    case("orca_per_rpc", 40, &[Gannet, Go, Java, Node], &[Gannet, Go, Java, Node]),
    case("orca_oob", 60, &[Gannet, Go, Java, Node], &[Gannet, Go, Java]),
];

/// What the table says below itself.
pub(super) const LEFT_OUT: &[(&str, &str)] = &[
    (
        "half_duplex, slow_consumer, very_large_request",
        "not in the written descriptions: only where a program has them.",
    ),
    (
        "pick_first_unary",
        "needs a server that fills in `server_id`: none of the others' does, only ours in Node.",
    ),
    (
        "client_compressed_*, server_compressed_*",
        "grpc-go, grpc-js and gRPC Python compress calls, not messages; grpc-java's server does \
         not see which request came compressed, and compresses no stream.",
    ),
    (
        "client_compressed_*_noprobe",
        "not in the written descriptions: grpc-java's client alone has them. They do not ask first \
         whether the server looks.",
    ),
    ("rpc_soak, channel_soak", "10 calls; the Python programs have no soak client."),
    (
        "orca_per_rpc, orca_oob",
        "Gannet's client reads the reports itself, without a load balancing policy; grpc-js has \
         no memory utilization out of band, and the C++ and Python programs know neither.",
    ),
    (
        "max_concurrent_streams_connection_scaling",
        "no peer here has it in the version that is run; it needs gRFC A105 in the client, which \
         Gannet's has not either.",
    ),
    (
        "cacheable_unary",
        "only grpc-java has it, and it needs a caching proxy: no gRPC server answers a GET.",
    ),
    ("long_lived_channel", "only waits, between two calls."),
    (
        "compute_engine_creds, compute_engine_channel_credentials, service_account_creds, \
         jwt_token_creds, oauth2_auth_token, per_rpc_creds, google_default_credentials",
        "need an account at a cloud provider.",
    ),
];

/// Everyone but the C core's Python programs, which are of a time before the case.
const NOT_PYTHON: &[Peer] = &[Gannet, Go, Java, Node, Cpp];

/// Those that can compress one message and not another, and see whether one came compressed. The
/// server of grpc-java does not see it, and compresses no stream.
const COMPRESSING: &[Peer] = &[Gannet, Java, Cpp];

/// The name in the test certificate that every peer's programs carry.
const HOST_OVERRIDE: &str = "foo.test.google.fr";

/// The same for everybody: the defaults differ, and some allow no latency at all.
const SOAK_FLAGS: &[&str] = &[
    "--soak_iterations=10",
    "--soak_max_failures=0",
    "--soak_per_iteration_max_acceptable_latency_ms=5000",
    "--soak_overall_timeout_seconds=40",
];

/// The policy by which clients look at reports of a server's load.
const BACKEND_METRICS: &str =
    r#"{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}"#;

const fn common(name: &'static str) -> Case {
    case(name, 30, PEERS, PEERS)
}

const fn case(
    name: &'static str,
    seconds: u64,
    clients: &'static [Peer],
    servers: &'static [Peer],
) -> Case {
    Case { name, seconds, clients, servers }
}

/// Whose official programs are run.
pub(super) fn peers(extent: Extent) -> &'static [Peer] {
    match extent {
        Extent::All => PEERS,
        Extent::Usual | Extent::Quick => &[Gannet, Go],
    }
}

/// The cases that both programs have.
pub(super) fn between(client: Peer, server: Peer) -> impl Iterator<Item = &'static Case> {
    let both = move |case: &&Case| case.clients.contains(&client) && case.servers.contains(&server);
    CASES.iter().filter(both)
}

/// A peer's server on this port.
pub(super) fn server(tools: &Tools, peer: Peer, tls: bool, port: u16) -> Command {
    let mut command = program(tools, peer, "server");
    command.arg(format!("--port={port}"));
    // grpc-java's default is TLS.
    command.arg(format!("--use_tls={tls}"));
    match peer {
        Gannet | Go | Node if tls => {
            command.arg(file("--tls_cert_file=", &tools.certificates().join("server1.pem")));
            command.arg(file("--tls_key_file=", &tools.certificates().join("server1.key")));
        }
        // The test certificate is part of the others' programs.
        _ => {}
    }
    command
}

/// A peer's client for one case.
pub(super) fn client(
    tools: &Tools,
    peer: Peer,
    tls: bool,
    (host, port): (&str, u16),
    case: &str,
) -> Command {
    let mut command = program(tools, peer, "client");
    command.arg(format!("--server_host={host}")).arg(format!("--server_port={port}"));
    command.arg(format!("--test_case={case}")).arg(format!("--use_tls={tls}"));
    if tls {
        command.arg("--use_test_ca=true").arg(format!("--server_host_override={HOST_OVERRIDE}"));
        if matches!(peer, Gannet | Go | Node) {
            command.arg(file("--ca_file=", &tools.certificates().join("ca.pem")));
        }
    }
    // In this case gRPC C++'s client looks at no other flag to choose TLS.
    if (peer, tls, case) == (Cpp, true, "pick_first_unary") {
        command.arg("--custom_credentials_type=ssl");
    }
    if case.ends_with("_soak") {
        command.args(SOAK_FLAGS);
    }
    if case.starts_with("orca_") {
        command.arg(format!("--service_config_json={BACKEND_METRICS}"));
    }
    command
}

fn program(tools: &Tools, peer: Peer, which: &str) -> Command {
    match peer {
        Gannet => Command::new(tools.gannet.join(format!("official-{which}"))),
        Go => Command::new(tools.official_go().join(which)),
        Python => {
            let mut command = Command::new(tools.python());
            command.current_dir(tools.official_python()).env("PYTHONDONTWRITEBYTECODE", "1");
            command.arg("-m").arg(format!("tests.interop.{which}"));
            command
        }
        Java => {
            let class = if which == "server" { "TestServiceServer" } else { "TestServiceClient" };
            let mut command = Command::new("java");
            command.arg("-cp").arg(tools.official_java().join("*"));
            command.arg(format!("io.grpc.testing.integration.{class}"));
            command
        }
        Node => {
            let mut command = Command::new("node");
            command.arg(tools.official_node().join(format!("{which}.js")));
            command
        }
        Cpp => Command::new(tools.official_cpp().join(which)),
    }
}

fn file(flag: &str, path: &Path) -> std::ffi::OsString {
    crate::install::with_path(flag, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::show;

    #[test]
    fn clients_get_the_official_flags() {
        let tools = Tools::nowhere();
        let shown = show(&client(&tools, Go, false, ("h", 1), "ping_pong"));
        let flags = "client --server_host=h --server_port=1 --test_case=ping_pong --use_tls=false";
        assert!(shown.ends_with(flags), "{shown}");
        let shown = show(&client(&tools, Cpp, true, ("h", 1), "rpc_soak"));
        for flag in ["--use_tls=true", "--use_test_ca=true", "--soak_iterations=10"] {
            assert!(shown.contains(flag), "{shown}");
        }
        let shown = show(&client(&tools, Java, false, ("h", 1), "orca_oob"));
        assert!(shown.contains("test_backend_metrics_load_balancer"), "{shown}");
    }

    #[test]
    fn servers_whose_certificate_is_ours_to_give_get_it() {
        let tools = Tools::nowhere();
        let certified = |peer, tls| show(&server(&tools, peer, tls, 1)).contains("server1.pem");
        assert!(certified(Go, true) && certified(Gannet, true) && certified(Node, true));
        assert!(!certified(Java, true) && !certified(Go, false));
    }

    #[test]
    fn every_case_has_a_client_and_a_server_of_ours_on_one_side() {
        for case in CASES {
            let ours = case.clients.contains(&Gannet) || case.servers.contains(&Gannet);
            assert!(ours, "{}", case.name);
        }
    }
}

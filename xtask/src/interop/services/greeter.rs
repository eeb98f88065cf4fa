//! `examples/greeter`: TLS by an authority of its own, tokens, health and reflection.

use super::{Asked, Tool, asked, by_turns, refused};

const GREET: &str = "greeter.Greeter/Greet";
const GREET_URL: &str = "https://ADDR/greeter.Greeter/Greet";
const CA: &str = "KEYS/authority.pem";
const AUTHORIZED: &str = "authorization: Bearer TOKEN";
const NAME: &str = r#"{"name":"tool"}"#;
const REPLY: &str = r#""text": "Hello, tool!""#;
/// What grpcui's page asks of itself: one request, and the same token in a cookie and a header.
const FORM: &[&str] = &[
    "--header",
    "content-type: application/json",
    "--cookie",
    "_grpcui_csrf_token=t",
    "--header",
    "x-grpcui-csrf-token: t",
    "--data",
    r#"{"data":[{"name":"tool"}]}"#,
    "UI/invoke/greeter.Greeter.Greet",
];
/// Flags of the grpcui that is asked.
pub(super) const GRPCUI: &[&str] = &["-cacert", CA, "-rpc-header", AUTHORIZED];

pub(super) const ALL: &[Asked] = &[
    asked(
        Tool::Grpcurl,
        "list",
        &["-cacert", CA, "ADDR", "list"],
        &[
            "greeter.Greeter",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ],
    ),
    asked(
        Tool::Grpcurl,
        "describe",
        &["-cacert", CA, "ADDR", "describe", "greeter.Greeter"],
        &[
            "rpc Greet ( .greeter.GreetRequest ) returns ( .greeter.Greeting );",
            "rpc GreetAll ( stream .greeter.GreetRequest ) returns ( stream .greeter.Greeting );",
        ],
    ),
    asked(
        Tool::Grpcurl,
        "call",
        &["-cacert", CA, "-H", AUTHORIZED, "-d", NAME, "ADDR", GREET],
        &[REPLY, r#""caller": "ada""#],
    ),
    asked(
        Tool::Grpcurl,
        "stream",
        &[
            "-cacert",
            CA,
            "-H",
            AUTHORIZED,
            "-d",
            r#"{"name":"one"} {"name":"two"}"#,
            "ADDR",
            "greeter.Greeter/GreetAll",
        ],
        &["Hello, one!", "Hello, two!"],
    ),
    refused(
        Tool::Grpcurl,
        "no_token",
        &["-cacert", CA, "-d", NAME, "ADDR", GREET],
        &["Code: Unauthenticated"],
    ),
    refused(
        Tool::Grpcurl,
        "token_cut_short",
        &["-cacert", CA, "-H", "authorization: Bearer SHORTENED", "-d", NAME, "ADDR", GREET],
        &["Code: Unauthenticated"],
    ),
    refused(
        Tool::Grpcurl,
        "empty_name",
        &["-cacert", CA, "-H", AUTHORIZED, "-d", "{}", "ADDR", GREET],
        &["Code: InvalidArgument", "whom shall I greet?"],
    ),
    refused(Tool::Grpcurl, "unknown_authority", &["ADDR", "list"], &["unknown authority"]),
    asked(
        Tool::Grpcui,
        "page",
        &["UI/"],
        &["<title>gRPC UI", "greeter.Greeter", "GreetAll", "grpc.health.v1.Health"],
    ),
    asked(Tool::Grpcui, "invoke", FORM, &["Hello, tool!", r#""error": null"#]),
    asked(
        Tool::HealthProbe,
        "service",
        &["-addr=ADDR", "-tls", "-tls-ca-cert=KEYS/authority.pem", "-service=greeter.Greeter"],
        &["status: SERVING"],
    ),
    asked(
        Tool::HealthProbe,
        "probes",
        &["-addr=PROBES", "-service=greeter.Greeter"],
        &["status: SERVING"],
    ),
    refused(
        Tool::HealthProbe,
        "calls_without_tls",
        &["-addr=ADDR", "-service=greeter.Greeter", "-connect-timeout=5s"],
        &["failed to connect"],
    ),
    asked(
        Tool::Buf,
        "call",
        &[
            "curl",
            "--protocol=grpc",
            "--cacert",
            CA,
            "--header",
            AUTHORIZED,
            "--data",
            NAME,
            GREET_URL,
        ],
        &["Hello, tool!"],
    ),
    by_turns(
        3,
        asked(
            Tool::Python,
            "round_robin",
            &["--target=ipv4:ADDR", "--keys=KEYS", "--count=300", "--each"],
            &["Hello, Ada!", "Hello, Ben!", "  replica\n", "  replica-2\n", "  replica-3\n"],
        ),
    ),
];

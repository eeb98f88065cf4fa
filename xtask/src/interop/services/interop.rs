//! Health and reflection of the interop server, without TLS.

use super::{Asked, Tool, asked, refused};

const HELLO: &str = "grpctest.Grpctest/GetServerResponse";
const HELLO_URL: &str = "http://ADDR/grpctest.Grpctest/GetServerResponse";
const MESSAGE: &str = r#"{"message":"found"}"#;
const REPLY: &str = r#"received \"found\" message"#;
/// What grpcui's page asks of itself: one request, and the same token in a cookie and a header.
const FORM: &[&str] = &[
    "--header",
    "content-type: application/json",
    "--cookie",
    "_grpcui_csrf_token=t",
    "--header",
    "x-grpcui-csrf-token: t",
    "--data",
    r#"{"data":[{"message":"found"}]}"#,
    "UI/invoke/grpctest.Grpctest.GetServerResponse",
];

pub(super) const ALL: &[Asked] = &[
    asked(
        Tool::Grpcurl,
        "list",
        &["-plaintext", "ADDR", "list"],
        &[
            "gannet.interop.v1.Echo",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "grpctest.Grpctest",
        ],
    ),
    asked(
        Tool::Grpcurl,
        "describe_all",
        &["-plaintext", "ADDR", "describe"],
        &["grpc.health.v1.Health is a service", "rpc GetServerResponse ( .grpctest.Message )"],
    ),
    asked(
        Tool::Grpcurl,
        "describe_message",
        &["-plaintext", "ADDR", "describe", "grpctest.MessageResponse"],
        &["grpctest.MessageResponse is a message", "bool received = 2;"],
    ),
    asked(Tool::Grpcurl, "call", &["-plaintext", "-d", MESSAGE, "ADDR", HELLO], &[REPLY]),
    asked(
        Tool::Grpcurl,
        "health_list",
        &["-plaintext", "ADDR", "grpc.health.v1.Health/List"],
        &["grpctest.Grpctest", "SERVING"],
    ),
    refused(
        Tool::Grpcurl,
        "describe_unknown",
        &["-plaintext", "ADDR", "describe", "grpctest.Nothing"],
        &["Symbol not found: grpctest.Nothing"],
    ),
    asked(
        Tool::Grpcui,
        "page",
        &["UI/"],
        &["initGRPCForm(services", "service Grpctest {", "rpc GetServerResponse ( Message )"],
    ),
    asked(
        Tool::Grpcui,
        "metadata",
        &["UI/metadata?method=grpctest.Grpctest.GetServerResponse"],
        &[r#""requestType": "grpctest.Message""#, r#""protoName": "message""#],
    ),
    asked(Tool::Grpcui, "invoke", FORM, &[REPLY, r#""error": null"#]),
    refused(Tool::Grpcui, "unknown_method", &["UI/metadata?method=no.Such.Method"], &["422"]),
    asked(Tool::HealthProbe, "server", &["-addr=ADDR"], &["status: SERVING"]),
    asked(
        Tool::HealthProbe,
        "service",
        &["-addr=ADDR", "-service=grpctest.Grpctest"],
        &["status: SERVING"],
    ),
    refused(
        Tool::HealthProbe,
        "unknown",
        &["-addr=ADDR", "-service=nothing"],
        &["code = NotFound"],
    ),
    asked(
        Tool::Buf,
        "call",
        &["curl", "--protocol=grpc", "--http2-prior-knowledge", "--data", MESSAGE, HELLO_URL],
        &[REPLY],
    ),
    asked(Tool::Python, "health", &["--addr=ADDR", "--case=health"], &[]),
    asked(Tool::Python, "reflection", &["--addr=ADDR", "--case=reflection"], &[]),
];

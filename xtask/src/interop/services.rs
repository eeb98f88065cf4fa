//! Health and reflection of Gannet's server, by tools that others wrote and that have no proto file
//! of it: grpcurl, grpcui, grpc_health_probe, buf, and gRPC Python's clients of both services.

use std::process::Command;
use std::time::Duration;

use super::Note;
use super::process::{self, Ready, Server};
use super::setup::Tools;
use crate::exec::{self, Result};

/// One question, and what its answer must say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) tool: Tool,
    pub(super) name: &'static str,
    /// `ADDR` stands for the server's, `UI` for grpcui's.
    arguments: &'static [&'static str],
    /// Whether the tool is to succeed.
    succeeds: bool,
    /// Each in what it prints.
    says: &'static [&'static str],
}

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Grpcurl,
    /// curl, to a grpcui that was started for it.
    Grpcui,
    HealthProbe,
    Buf,
    Python,
}

const HELLO: &str = "grpctest.Grpctest/GetServerResponse";
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
        &["curl", "--protocol=grpc", "--http2-prior-knowledge", "--data", MESSAGE, "URL/HELLO"],
        &[REPLY],
    ),
    asked(Tool::Python, "health", &["--addr=ADDR", "--case=health"], &[]),
    asked(Tool::Python, "reflection", &["--addr=ADDR", "--case=reflection"], &[]),
];

const fn asked(
    tool: Tool,
    name: &'static str,
    arguments: &'static [&'static str],
    says: &'static [&'static str],
) -> Asked {
    Asked { tool, name, arguments, succeeds: true, says }
}

const fn refused(
    tool: Tool,
    name: &'static str,
    arguments: &'static [&'static str],
    says: &'static [&'static str],
) -> Asked {
    Asked { tool, name, arguments, succeeds: false, says }
}

impl Tool {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Grpcurl => "grpcurl",
            Self::Grpcui => "grpcui",
            Self::HealthProbe => "grpc_health_probe",
            Self::Buf => "buf",
            Self::Python => "python",
        }
    }

    fn command(self, tools: &Tools) -> Command {
        match self {
            Self::Grpcurl => Command::new(tools.bin().join("grpcurl")),
            Self::Grpcui => {
                let mut command = Command::new("curl");
                command.args(["--silent", "--show-error", "--fail"]);
                command
            }
            Self::HealthProbe => Command::new(tools.bin().join("grpc-health-probe")),
            Self::Buf => Command::new(tools.python().with_file_name("buf")),
            Self::Python => {
                let mut command = Command::new(tools.python());
                command.arg(exec::root().join("interop/python/services_client.py"));
                command
            }
        }
    }
}

/// Asks the server at `port`.
pub(super) fn run(asked: &Asked, tools: &Tools, port: u16, limit: Duration) -> Result<Note> {
    let mut command = asked.tool.command(tools);
    let address = format!("127.0.0.1:{port}");
    let ui = match asked.tool {
        Tool::Grpcui => Some(grpcui(tools, &address, limit)?),
        _ => None,
    };
    let ui_address =
        ui.as_ref().map_or(String::new(), |ui| format!("http://127.0.0.1:{}", ui.port()));
    let argument = |text: &&str| {
        let text = text.replace("URL", "http://ADDR").replace("ADDR", &address);
        text.replace("UI/", &format!("{ui_address}/")).replace("HELLO", HELLO)
    };
    command.args(asked.arguments.iter().map(argument));
    let ended = process::run(command, limit)?;
    let missing = asked.says.iter().find(|text| !ended.output.contains(**text));
    match (ended.status.success() == asked.succeeds, missing) {
        (true, None) => Ok(Note::new()),
        (true, Some(text)) => Err(format!("no `{text}` in:\n{}", ended.output)),
        (false, _) => Err(format!("{}\n{}", ended.status, ended.output)),
    }
}

/// grpcui at work on the server at `address`.
fn grpcui(tools: &Tools, address: &str, limit: Duration) -> Result<Server> {
    let command = |port: u16| {
        let mut command = Command::new(tools.bin().join("grpcui"));
        command.args(["-plaintext", "-port", &port.to_string(), address]);
        command
    };
    Server::start(command, Ready::Accepts, limit)
}

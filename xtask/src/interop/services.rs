//! Health and reflection of Gannet's server, by tools that others wrote and that have no proto file
//! of it: grpcurl, grpc_health_probe, buf, and gRPC Python's clients of both services.

use std::process::Command;
use std::time::Duration;

use super::Note;
use super::process;
use super::setup::Tools;
use crate::exec::{self, Result};

/// One question, and what its answer must say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) tool: Tool,
    pub(super) name: &'static str,
    /// `ADDR` stands for the server's.
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
    HealthProbe,
    Buf,
    Python,
}

const HELLO: &str = "grpctest.Grpctest/GetServerResponse";
const MESSAGE: &str = r#"{"message":"found"}"#;
const REPLY: &str = r#"received \"found\" message"#;

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
            Self::HealthProbe => "grpc_health_probe",
            Self::Buf => "buf",
            Self::Python => "python",
        }
    }

    fn command(self, tools: &Tools) -> Command {
        match self {
            Self::Grpcurl => Command::new(tools.bin().join("grpcurl")),
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
    let argument = |text: &&str| {
        let text = text.replace("URL", "http://ADDR").replace("ADDR", &address);
        text.replace("HELLO", HELLO)
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

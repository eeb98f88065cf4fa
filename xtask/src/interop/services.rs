//! What Gannet's servers serve, asked by tools that others wrote and that have no proto file of it:
//! grpcurl, grpcui, grpc_health_probe, buf, and gRPC Python's clients.

mod greeter;
mod interop;

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::Note;
use super::plan::Program;
use super::process::{self, Ready, Server};
use super::setup::Tools;
use crate::exec::{self, Result};

/// One question, and what its answer must say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) tool: Tool,
    pub(super) name: &'static str,
    /// `ADDR` stands for the server's, `UI` for grpcui's; `KEYS` for the folder of the greeter's
    /// keys, and `TOKEN` for the token in it.
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

    fn command(self, whose: Whose, tools: &Tools) -> Command {
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
                command.env("PYTHONPATH", tools.python_stubs()).env("PYTHONDONTWRITEBYTECODE", "1");
                command.arg(exec::root().join(whose.script()));
                command
            }
        }
    }
}

/// Whose services are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The interop server's, without TLS.
    Interop,
    /// Those of `examples/greeter`, with TLS and tokens.
    Greeter,
}

impl Whose {
    pub(super) const ALL: [Self; 2] = [Self::Interop, Self::Greeter];

    pub(super) fn program(self) -> Program {
        match self {
            Self::Interop => Program::Echo,
            Self::Greeter => Program::Greeter,
        }
    }

    /// What its checks are called.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Interop => "services",
            Self::Greeter => "greeter",
        }
    }

    pub(super) fn checks(self) -> &'static [Asked] {
        match self {
            Self::Interop => interop::ALL,
            Self::Greeter => greeter::ALL,
        }
    }

    fn script(self) -> &'static str {
        match self {
            Self::Interop => "interop/python/services_client.py",
            Self::Greeter => "examples/greeter/python/greeter_client.py",
        }
    }

    /// What grpcui has to know to call it.
    fn grpcui(self) -> &'static [&'static str] {
        match self {
            Self::Interop => &["-plaintext"],
            Self::Greeter => greeter::GRPCUI,
        }
    }

    /// The arguments with what they stand for.
    fn filled(
        self,
        arguments: &[&str],
        tools: &Tools,
        places: &[(&str, &str)],
    ) -> Result<Vec<String>> {
        let keys = tools.greeter_keys();
        let token = match self {
            Self::Interop => String::new(),
            Self::Greeter => {
                let path = keys.join("ada.token");
                fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?
            }
        };
        let keys = keys.display().to_string();
        let all = [places, &[("KEYS", keys.as_str()), ("TOKEN", token.as_str())]].concat();
        let filled = |text: &&str| {
            all.iter().fold((*text).to_owned(), |text, (place, what)| text.replace(place, what))
        };
        Ok(arguments.iter().map(filled).collect())
    }
}

/// Asks the server at `port`.
pub(super) fn run(
    (whose, asked): (Whose, &Asked),
    tools: &Tools,
    port: u16,
    limit: Duration,
) -> Result<Note> {
    let mut command = asked.tool.command(whose, tools);
    let address = format!("127.0.0.1:{port}");
    let ui = match asked.tool {
        Tool::Grpcui => Some(grpcui(whose, tools, &address, limit)?),
        _ => None,
    };
    let ui_address =
        ui.as_ref().map_or(String::new(), |ui| format!("http://127.0.0.1:{}/", ui.port()));
    let places = [("ADDR", address.as_str()), ("UI/", ui_address.as_str())];
    command.args(whose.filled(asked.arguments, tools, &places)?);
    let ended = process::run(command, limit)?;
    let missing = asked.says.iter().find(|text| !ended.output.contains(**text));
    match (ended.status.success() == asked.succeeds, missing) {
        (true, None) => Ok(Note::new()),
        (true, Some(text)) => Err(format!("no `{text}` in:\n{}", ended.output)),
        (false, _) => Err(format!("{}\n{}", ended.status, ended.output)),
    }
}

/// grpcui at work on the server at `address`.
fn grpcui(whose: Whose, tools: &Tools, address: &str, limit: Duration) -> Result<Server> {
    let flags = whose.filled(whose.grpcui(), tools, &[])?;
    let command = |port: u16| {
        let mut command = Command::new(tools.bin().join("grpcui"));
        command.args(flags).args(["-port", &port.to_string(), address]);
        command
    };
    Server::start(command, Ready::Accepts, limit)
}

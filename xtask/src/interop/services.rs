//! What Gannet's servers serve, asked by tools that others wrote and that have no proto file of it:
//! grpcurl, grpcui, grpc_health_probe, buf, and gRPC Python's clients.

mod greeter;
mod interop;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::Note;
use super::peers;
use super::plan::Program;
use super::process::{self, Ready, Server};
use super::setup::Tools;
use crate::exec::{self, Result};

/// One question, and what its answer must say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) tool: Tool,
    pub(super) name: &'static str,
    /// `ADDR` stands for the server's address, with those of other replicas behind it, `PROBES` for
    /// that by which the greeter's health is asked for, `UI` for grpcui's; `KEYS` for the folder of
    /// the greeter's keys, `TOKEN` for the token in it, and `SHORTENED` for that without its end.
    arguments: &'static [&'static str],
    /// How many servers there are: more than one are called by turns, which are counted.
    replicas: usize,
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
    Asked { tool, name, arguments, replicas: 1, succeeds: true, says }
}

const fn refused(
    tool: Tool,
    name: &'static str,
    arguments: &'static [&'static str],
    says: &'static [&'static str],
) -> Asked {
    Asked { tool, name, arguments, replicas: 1, succeeds: false, says }
}

/// Of so many replicas of the greeter, the first of which is the group's server.
const fn by_turns(replicas: usize, asked: Asked) -> Asked {
    Asked { replicas, ..asked }
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
        // Without the end of its signature.
        let cut_short = token.trim_end().get(..token.trim_end().len().saturating_sub(4));
        let of_keys = [
            ("KEYS", keys.as_str()),
            ("SHORTENED", cut_short.unwrap_or_default()),
            ("TOKEN", token.as_str()),
        ];
        let all = [places, &of_keys].concat();
        let filled = |text: &&str| {
            all.iter().fold((*text).to_owned(), |text, (place, what)| text.replace(place, what))
        };
        Ok(arguments.iter().map(filled).collect())
    }
}

/// Asks the server.
pub(super) fn run(
    (whose, asked): (Whose, &Asked),
    tools: &Tools,
    server: &Server,
    limit: Duration,
) -> Result<Note> {
    let mut command = asked.tool.command(whose, tools);
    let address = format!("127.0.0.1:{}", server.port());
    let others = others(asked.replicas, tools, limit)?;
    let others = others.iter().map(|other| format!(",127.0.0.1:{}", other.port()));
    let addresses = format!("{address}{}", others.collect::<String>());
    let probes = match whose {
        Whose::Greeter => peers::greeter_address(server, "probes", limit)?,
        Whose::Interop => String::new(),
    };
    let ui = match asked.tool {
        Tool::Grpcui => Some(grpcui(whose, tools, &address, limit)?),
        _ => None,
    };
    let ui_address =
        ui.as_ref().map_or(String::new(), |ui| format!("http://127.0.0.1:{}/", ui.port()));
    let places =
        [("ADDR", addresses.as_str()), ("PROBES", probes.as_str()), ("UI/", ui_address.as_str())];
    command.args(whose.filled(asked.arguments, tools, &places)?);
    let ended = process::run(command, limit)?;
    let missing = asked.says.iter().find(|text| !ended.output.contains(**text));
    match (ended.status.success() == asked.succeeds, missing) {
        (true, None) if asked.replicas > 1 => turns(&ended.output, asked.replicas),
        (true, None) => Ok(Note::new()),
        (true, Some(text)) => Err(format!("no `{text}` in:\n{}", ended.output)),
        (false, _) => Err(format!("{}\n{}", ended.status, ended.output)),
    }
}

/// The replicas beside the group's server.
fn others(replicas: usize, tools: &Tools, limit: Duration) -> Result<Vec<Server>> {
    let start = |number: usize| {
        let name = format!("replica-{number}");
        Server::start(|port| peers::greeter_named(&name, tools, port), Ready::Says, limit)
    };
    (2..=replicas).map(start).collect()
}

/// Whether calls went to all replicas by turns, from when all had answered one: by lines
/// `answered by NAME`, in the order of the calls.
fn turns(output: &str, replicas: usize) -> Result<Note> {
    let names = output.lines().filter_map(|line| line.strip_prefix("answered by "));
    let names: Vec<_> = names.collect();
    let mut met = BTreeSet::new();
    let all = names.iter().position(|name| met.insert(*name) && met.len() == replicas);
    let all = all.ok_or_else(|| format!("only {met:?} answered {} calls", names.len()))?;
    let turns = &names[all..];
    if turns.len() < TURNS_MIN {
        return Err(format!("all had answered only when {} calls were left", turns.len()));
    }
    let is_turn = |calls: &[&str]| calls.iter().collect::<BTreeSet<_>>().len() == replicas;
    match turns.windows(replicas).all(is_turn) {
        true => Ok(format!("{} calls by turns", turns.len())),
        false => Err(format!("not by turns: {turns:?}")),
    }
}

/// Fewer say little.
const TURNS_MIN: usize = 100;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(names: &[&str]) -> Result<Note> {
        let lines: Vec<_> = names.iter().map(|name| format!("answered by {name}\n")).collect();
        turns(&lines.concat(), 3)
    }

    #[test]
    fn turns_count_from_when_all_have_answered() {
        let turns = ["c", "b", "a"].repeat(40);
        let late = [&["a", "a", "b", "a", "b"], &turns[..]].concat();
        assert_eq!(judged(&late).unwrap(), "120 calls by turns");
        assert!(judged(&late[..50]).is_err(), "too few");
        assert!(judged(&["a", "b"].repeat(100)).is_err(), "two of three");
        let twice = [&turns[..], &["a"], &turns[..]].concat();
        assert!(judged(&twice).is_err(), "one of them twice");
    }
}

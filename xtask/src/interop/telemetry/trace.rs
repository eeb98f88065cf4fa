//! One trace from our client over a server in Python to our server: each of the three sends its
//! spans to one receiver of OTLP, and they must hang together there as gRFC A72 and
//! OpenTelemetry's instrumentation of grpcio have it.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::caller;
use crate::exec::Result;
use crate::interop::Note;
use crate::interop::peers;
use crate::interop::process::{self, Ended, POLL, Ready, Server};
use crate::interop::setup::Tools;

/// Spans of a call: two of the client's, two of the relay's, one of the replica's.
const SPANS: usize = 5;
/// How long a receiver's output may be on its way to us.
const OUTPUT_TIME_MAX: Duration = Duration::from_secs(5);
const NO_SCOPE: &str = "PERMISSION_DENIED, the token does not permit this";

pub(super) fn run(tools: &Tools, limit: Duration) -> Result<Note> {
    let receiver = Server::start(|port| receiver(tools, port), Ready::Says, limit)?;
    let collector = format!("http://{}:{}", Ipv4Addr::LOCALHOST, receiver.port());
    let replica = |port| {
        let mut command = peers::greeter(tools, port);
        command.args(["--traces", &collector]);
        command
    };
    let replica = Server::start(replica, Ready::Says, limit)?;
    let relay = |port| {
        let mut command = peers::python(tools, "relay_server.py");
        command.args(["--addr", &local(port), "--target", &local(replica.port())]);
        command.args(["--traces", &collector]).arg("--keys").arg(tools.greeter_keys());
        command
    };
    let relay = Server::start(relay, Ready::Says, limit)?;
    // By a name, so that the channel has something to resolve.
    let target = format!("localhost:{}", relay.port());
    // The second may not call, which the caller's exit status says, too.
    for (token, answer, succeeds) in
        [("ada.token", "Hello, Ada!", true), ("ben.token", "PERMISSION_DENIED", false)]
    {
        let mut call = caller(tools, &target);
        call.args(["--traces", &collector, "--token", token, "--count=1", "Ada"]);
        let Ended { status, output } = process::run(call, limit)?;
        if status.success() != succeeds || !output.contains(answer) {
            return Err(format!("{status}, where `{answer}` is due:\n{output}"));
        }
    }
    // Each sends what it has before it ends.
    relay.end(limit)?;
    replica.end(limit)?;
    judge_when_there(&receiver)
}

fn receiver(tools: &Tools, port: u16) -> std::process::Command {
    let mut command = peers::python(tools, "otlp_receiver.py");
    command.args(["--addr", &local(port)]);
    command
}

fn local(port: u16) -> String {
    format!("{}:{port}", Ipv4Addr::LOCALHOST)
}

/// Judges once all lines have come through the pipe, or what is wrong then.
fn judge_when_there(receiver: &Server) -> Result<Note> {
    let end = Instant::now() + OUTPUT_TIME_MAX;
    loop {
        let lines = receiver.lines("span\t");
        let spans = lines.iter().map(|line| Span::parse(line)).collect::<Result<Vec<_>>>()?;
        match judge(&spans) {
            Err(error) if Instant::now() >= end => {
                return Err(format!("{error}\n{}", lines.join("\n")));
            }
            Err(_) => std::thread::sleep(POLL),
            Ok(note) => return Ok(note),
        }
    }
}

/// What the receiver has printed of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    service: String,
    instance: String,
    trace: String,
    id: String,
    parent: String,
    kind: String,
    name: String,
    status: String,
    attributes: String,
    events: Vec<String>,
    scope: String,
    flags: String,
}

impl Span {
    fn parse(line: &str) -> Result<Span> {
        let broken = || format!("the receiver printed `{line}`");
        let mut fields = line.split('\t').skip(1);
        let mut next = || fields.next().ok_or_else(broken);
        let text = str::to_owned;
        let listed = |events: &str| {
            events.split('|').filter(|event| !event.is_empty()).map(str::to_owned).collect()
        };
        // In the order of the line.
        let span = Span {
            service: next().map(text)?,
            instance: next().map(text)?,
            trace: next().map(text)?,
            id: next().map(text)?,
            parent: next().map(text)?,
            kind: next().map(text)?,
            name: next().map(text)?,
            status: next().map(text)?,
            attributes: next().map(text)?,
            events: next().map(listed)?,
            scope: next().map(text)?,
            flags: next().map(text)?,
        };
        if fields.next().is_none() { Ok(span) } else { Err(broken()) }
    }
}

/// What one of a trace must be.
struct Expected {
    service: &'static str,
    kind: &'static str,
    name: &'static str,
    /// Of the call that succeeds, and of the one that does not; of ours only.
    status: Option<[&'static str; 2]>,
    /// Its end is what it was called with: whether the parent is in another process.
    flags: Option<&'static str>,
}

const RELAYED: &str = "/greeter.Greeter/Greet";
/// From the first to the last, each the child of the one before.
const CHAIN: [Expected; SPANS] = [
    ours("Sent.greeter.Greeter.Greet", "CLIENT", "0x101"),
    ours("Attempt.greeter.Greeter.Greet", "INTERNAL", "0x101"),
    theirs("SERVER"),
    theirs("CLIENT"),
    ours("Recv.greeter.Greeter.Greet", "SERVER", "0x301"),
];

const fn ours(name: &'static str, kind: &'static str, flags: &'static str) -> Expected {
    let status = Some(["OK", NO_SCOPE]);
    Expected { service: "greeter", kind, name, status, flags: Some(flags) }
}

const fn theirs(kind: &'static str) -> Expected {
    Expected { service: "relay", kind, name: RELAYED, status: None, flags: None }
}

fn judge(spans: &[Span]) -> Result<Note> {
    let roots: Vec<&Span> = spans.iter().filter(|span| span.name == CHAIN[0].name).collect();
    let [first, second] = roots[..] else {
        return Err(format!("{} calls were traced, not 2", roots.len()));
    };
    let is_good = |span: &Span| span.status == "OK";
    let (good, bad) = if is_good(first) { (first, second) } else { (second, first) };
    for (call, root) in [good, bad].into_iter().enumerate() {
        let chain = chain(spans, root)?;
        for (expected, span) in CHAIN.iter().zip(&chain) {
            is_as(expected, span, call)?;
        }
        details(&chain, call)?;
    }
    if good.trace == bad.trace {
        return Err(format!("two calls have the trace {}", good.trace));
    }
    Ok(format!("{SPANS} spans each under {} and {}", good.trace, bad.trace))
}

/// All spans of the root's trace, each the child of the one before.
fn chain<'a>(spans: &'a [Span], root: &'a Span) -> Result<Vec<&'a Span>> {
    let is_id = |id: &str, digits: usize| id.len() == digits && id.bytes().any(|c| c != b'0');
    if !is_id(&root.trace, 32) || !root.parent.is_empty() {
        return Err(format!("no root: {root:?}"));
    }
    let of_trace = spans.iter().filter(|span| span.trace == root.trace).count();
    let mut chain = vec![root];
    while let [.., last] = chain[..]
        && chain.len() <= SPANS
    {
        let children = spans.iter().filter(|span| span.parent == last.id);
        let children: Vec<&Span> = children.filter(|span| span.trace == root.trace).collect();
        match children[..] {
            [] => break,
            [child] if is_id(&child.id, 16) => chain.push(child),
            _ => return Err(format!("not one child: {children:?}")),
        }
    }
    match (chain.len(), of_trace) {
        (SPANS, SPANS) => Ok(chain),
        (length, _) => Err(format!("{length} of {of_trace} spans in a row, not {SPANS}")),
    }
}

fn is_as(expected: &Expected, span: &Span, call: usize) -> Result {
    let same = span.service == expected.service
        && span.kind == expected.kind
        && span.name == expected.name
        && expected.flags.is_none_or(|flags| span.flags == flags);
    let status = expected.status.map(|both| match call {
        0 => both[0].to_owned(),
        _ => format!("ERROR {}", both[1]),
    });
    if same && status.is_none_or(|status| span.status == status) {
        return Ok(());
    }
    Err(format!("not {} of {} as it should be: {span:?}", expected.name, expected.service))
}

/// Attributes and events of ours.
fn details(chain: &[&Span], call: usize) -> Result {
    let [sent, attempt, _, _, recv] = chain else { return Err("too few".to_owned()) };
    let out = "Outbound message sequence-number=0;message-size=";
    let come = "Inbound message sequence-number=0;message-size=";
    let request = |start: &str| format!("{start}5");
    let tried = "previous-rpc-attempts=0;transparent-retry=false";
    let mut on_attempt = vec!["Delayed LB pick complete".to_owned(), request(out)];
    let mut on_recv = vec![request(come)];
    if call == 0 {
        // "Hello, Ada!", "replica" and "ada", each with two bytes before it.
        on_attempt.push(format!("{come}27"));
        on_recv.push(format!("{out}27"));
    }
    let wrong = [
        (sent, "", vec!["Delayed name resolution complete".to_owned()], "client"),
        (attempt, tried, on_attempt, "client"),
        (recv, "", on_recv, "replica"),
    ]
    .into_iter()
    .find(|(span, attributes, events, instance)| {
        span.attributes != *attributes
            || span.events != *events
            || span.instance != *instance
            || span.scope != "grpc-rust-gannet"
    });
    match wrong {
        None => Ok(()),
        Some((span, attributes, events, _)) => {
            Err(format!("not with `{attributes}` and {events:?}: {span:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call's spans as they should be; the trace's digit, and which of the two it is.
    fn spans(trace: char, call: usize) -> Vec<Span> {
        let mut parent = String::new();
        let mut spans = Vec::new();
        for (at, expected) in CHAIN.iter().enumerate() {
            let id = format!("{:016}", at + 1);
            let status = match call {
                0 => "OK".to_owned(),
                _ => format!("ERROR {NO_SCOPE}"),
            };
            let ours = expected.service == "greeter";
            spans.push(Span {
                service: expected.service.to_owned(),
                instance: if at < 2 { "client" } else { "replica" }.to_owned(),
                trace: trace.to_string().repeat(32),
                id: id.clone(),
                parent: std::mem::replace(&mut parent, id),
                kind: expected.kind.to_owned(),
                name: expected.name.to_owned(),
                status: if ours { status } else { "UNSET".to_owned() },
                attributes: String::new(),
                events: Vec::new(),
                scope: "grpc-rust-gannet".to_owned(),
                flags: expected.flags.unwrap_or("0x100").to_owned(),
            });
        }
        let (out, come) = ("Outbound message", "Inbound message");
        let size = |what: &str, bytes| format!("{what} sequence-number=0;message-size={bytes}");
        spans[0].events = vec!["Delayed name resolution complete".to_owned()];
        spans[1].attributes = "previous-rpc-attempts=0;transparent-retry=false".to_owned();
        spans[1].events = vec!["Delayed LB pick complete".to_owned(), size(out, 5)];
        spans[4].events = vec![size(come, 5)];
        if call == 0 {
            spans[1].events.push(size(come, 27));
            spans[4].events.push(size(out, 27));
        }
        spans
    }

    fn both() -> Vec<Span> {
        [spans('b', 1), spans('a', 0)].concat()
    }

    #[test]
    fn two_calls_as_they_should_be() {
        let note = judge(&both()).unwrap();
        assert!(note.contains(&"a".repeat(32)) && note.contains(&"b".repeat(32)), "{note}");
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        let break_one: [fn(&mut Vec<Span>); 13] = [
            |spans| drop(spans.remove(9)),
            |spans| spans[9].trace = "c".repeat(32),
            |spans| spans[9].parent = "f".repeat(16),
            |spans| spans[8].name = "/greeter.Greeter/GreetAll".to_owned(),
            |spans| spans[7].kind = "CLIENT".to_owned(),
            // Who counts calls by their kind would count this one twice.
            |spans| spans[6].kind = "CLIENT".to_owned(),
            |spans| spans[4].status = "OK".to_owned(),
            |spans| spans[5].parent = "1".repeat(16),
            |spans| drop(spans[5].events.pop()),
            |spans| spans[6].attributes.clear(),
            |spans| spans[6].events.swap(0, 1),
            |spans| spans[9].flags = "0x101".to_owned(),
            |spans| spans.push(spans[9].clone()),
        ];
        for (number, break_it) in break_one.into_iter().enumerate() {
            let mut spans = both();
            break_it(&mut spans);
            assert!(judge(&spans).is_err(), "{number}");
        }
    }

    #[test]
    fn lines_have_all_their_fields() {
        let line = "span\ts\ti\tt\t1\t0\tCLIENT\tn\tOK\ta=b\te|f x=y\tscope\t0x1";
        let span = Span::parse(line).unwrap();
        assert_eq!((&*span.name, &*span.flags), ("n", "0x1"));
        assert_eq!(span.events, ["e", "f x=y"]);
        assert_eq!((&*span.service, &*span.scope), ("s", "scope"));
        assert!(Span::parse("span\ts\ti").is_err());
        assert!(Span::parse(&format!("{line}\tmore")).is_err());
    }
}

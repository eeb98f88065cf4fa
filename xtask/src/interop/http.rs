//! Plain HTTP/2 tools that know nothing of gRPC: curl, nghttp and h2load.
//!
//! They see what a gRPC library hides: HTTP status, header names, trailers, the bytes of a body.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Note;
use super::plan::Tls;
use super::process;
use super::setup::Tools;
use super::tls::files;
use crate::exec::Result;

/// The hello world's method.
pub(super) const HELLO_PATH: &str = "/grpctest.Grpctest/GetServerResponse";
const HELLO_TEXT: &str = "hello from afar";
/// Requests of the h2load run, over 4 connections with 50 streams each.
const LOAD_REQUESTS: u32 = 20_000;

/// One request, or one load of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    CurlHello,
    CurlUnknownMethod,
    CurlContentType,
    CurlGet,
    /// As a browser or a load balancer's check would: in HTTP/1, at a port without TLS.
    CurlHttp1,
    NghttpHello,
    H2loadHello,
}

impl Request {
    pub(super) const ALL: &'static [Self] = &[
        Self::CurlHello,
        Self::CurlUnknownMethod,
        Self::CurlContentType,
        Self::CurlGet,
        Self::CurlHttp1,
        Self::NghttpHello,
        Self::H2loadHello,
    ];

    /// The tool and the case.
    pub(super) fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::CurlHello => ("curl", "hello"),
            Self::CurlUnknownMethod => ("curl", "unknown_method"),
            Self::CurlContentType => ("curl", "wrong_content_type"),
            Self::CurlGet => ("curl", "get"),
            Self::CurlHttp1 => ("curl", "http1"),
            Self::NghttpHello => ("nghttp", "hello"),
            Self::H2loadHello => ("h2load", "hello"),
        }
    }
}

/// Sends `request` to a server of the hello world and checks what comes back.
pub(super) fn run(
    request: Request,
    tools: &Tools,
    (port, tls): (u16, Tls),
    limit: Duration,
) -> Result<Note> {
    let body = tools.scratch("hello-request");
    write(&body, &framed(&message(HELLO_TEXT)))?;
    let scheme = if tls.is_on() { "https" } else { "http" };
    let at = |path: &str| format!("{scheme}://127.0.0.1:{port}{path}");
    let curl = |content_type: &str, url: &str, more: &[&str]| {
        let mut command = curl(tools, tls);
        command.args(["--header", &format!("content-type: {content_type}")]);
        command.args(["--header", "te: trailers"]);
        command.args(more).arg(url);
        Curl::run(tools, command, limit)
    };
    let data = format!("@{}", body.display());
    let post = ["--data-binary", data.as_str()];
    match request {
        Request::CurlHello => {
            let reply = curl("application/grpc", &at(HELLO_PATH), &post)?;
            reply
                .has("HTTP/2 200")?
                .has("content-type: application/grpc")?
                .has("grpc-status: 0")?;
            reply.body_is(&framed(&reply_message()))
        }
        // Refusals are asked for without a body: a server may refuse before it has read one, and
        // reset the stream, and then curl may not show what was answered.
        Request::CurlUnknownMethod => {
            let path = at("/grpctest.Grpctest/Nothing");
            let reply = curl("application/grpc", &path, &["--request", "POST"])?;
            reply.has("HTTP/2 200")?.has("grpc-status: 12")?.body_is(b"")
        }
        Request::CurlContentType => {
            let reply = curl("text/plain", &at(HELLO_PATH), &["--request", "POST"])?;
            reply.has("HTTP/2 415").map(|_| Note::new())
        }
        Request::CurlGet => {
            curl("application/grpc", &at(HELLO_PATH), &[])?.has("HTTP/2 405").map(|_| Note::new())
        }
        Request::CurlHttp1 => {
            let mut command = Command::new("curl");
            command.args(["--silent", "--show-error", "--http1.1"]).arg(at("/"));
            let reply = Curl::run(tools, command, limit)?;
            reply.has("HTTP/1.1 505")?.has("connection: close")?;
            reply.body_is(b"This port speaks gRPC over HTTP/2, and was sent HTTP/1.1\n")
        }
        Request::NghttpHello => nghttp(&body, &at(HELLO_PATH), shown(tools, tls), limit),
        Request::H2loadHello => h2load(&body, &at(HELLO_PATH), limit),
    }
}

/// curl for HTTP/2: under TLS with who is trusted and, where it must be, with a certificate.
fn curl(tools: &Tools, tls: Tls) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error"]);
    match tls {
        Tls::Off => command.arg("--http2-prior-knowledge"),
        _ => command.arg("--http2").arg("--cacert").arg(tools.tls().join(files::AUTHORITY)),
    };
    command.args(shown(tools, tls));
    command
}

/// The certificate that curl and nghttp show where one is demanded.
fn shown(tools: &Tools, tls: Tls) -> Vec<OsString> {
    let (chain, key) = files::CLIENT;
    match tls {
        Tls::Mutual => vec![
            "--cert".into(),
            tools.tls().join(chain).into(),
            "--key".into(),
            tools.tls().join(key).into(),
        ],
        _ => Vec::new(),
    }
}

/// What curl got: the header block and the trailers as text, and the body.
struct Curl {
    fields: String,
    body: Vec<u8>,
}

impl Curl {
    fn run(tools: &Tools, mut command: Command, limit: Duration) -> Result<Self> {
        let (fields, body) = (tools.scratch("reply-fields"), tools.scratch("reply-body"));
        write(&fields, b"")?;
        write(&body, b"")?;
        command.arg("--dump-header").arg(&fields).arg("--output").arg(&body);
        process::run(command, limit)?.success()?;
        let fields = String::from_utf8_lossy(&read(&fields)?).into_owned();
        Ok(Self { fields, body: read(&body)? })
    }

    /// Fails unless a line of the fields starts with `start`.
    fn has(&self, start: &str) -> Result<&Self> {
        if self.fields.lines().any(|line| line.trim_end().starts_with(start)) {
            return Ok(self);
        }
        Err(format!("no `{start}` in:\n{}", self.fields))
    }

    fn body_is(&self, expected: &[u8]) -> Result<Note> {
        if self.body == expected {
            return Ok(Note::new());
        }
        Err(format!("body is {:02x?}, expected {expected:02x?}", self.body))
    }
}

fn nghttp(body: &Path, url: &str, shown: Vec<OsString>, limit: Duration) -> Result<Note> {
    let mut command = Command::new("nghttp");
    command.args(shown);
    command.arg("--verbose").arg("--data").arg(body).args(grpc_headers()).arg(url);
    let output = process::run(command, limit)?.success()?;
    let expected = [":status: 200", "grpc-status: 0", &reply_text()];
    match expected.iter().find(|text| !output.contains(**text)) {
        None => Ok(Note::new()),
        Some(missing) => Err(format!("no `{missing}` in:\n{output}")),
    }
}

fn h2load(body: &Path, url: &str, limit: Duration) -> Result<Note> {
    let mut command = Command::new("h2load");
    command.args(["-n", &LOAD_REQUESTS.to_string(), "-c", "4", "-m", "50", "-d"]).arg(body);
    let output = process::run(command_with(command, url), limit)?.success()?;
    let expected = [
        format!("{LOAD_REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout"),
        format!("{LOAD_REQUESTS} 2xx"),
    ];
    match expected.iter().find(|text| !output.contains(text.as_str())) {
        None => {
            let line = output.lines().find(|line| line.starts_with("finished in"));
            Ok(line.unwrap_or_default().to_string())
        }
        Some(missing) => Err(format!("no `{missing}` in:\n{output}")),
    }
}

fn command_with(mut command: Command, url: &str) -> Command {
    command.args(grpc_headers()).arg(url);
    command
}

fn grpc_headers() -> [&'static str; 4] {
    ["-H", "content-type: application/grpc", "-H", "te: trailers"]
}

fn reply_text() -> String {
    format!("Hello I am up and running received \"{HELLO_TEXT}\" message from you")
}

/// `grpctest.Message`: field 1, a string.
fn message(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or_default();
    [&[0x0a, length], text.as_bytes()].concat()
}

/// `grpctest.MessageResponse`: field 1 like the request's, field 2 a true bool.
fn reply_message() -> Vec<u8> {
    [message(&reply_text()).as_slice(), &[0x10, 0x01]].concat()
}

/// gRPC's framing: not compressed, four bytes of length.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or_default();
    [&[0], length.to_be_bytes().as_slice(), message].concat()
}

fn write(file: &Path, bytes: &[u8]) -> Result {
    std::fs::write(file, bytes).map_err(|error| format!("{}: {error}", file.display()))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_framed_messages() {
        assert_eq!(framed(&message("hi")), b"\0\0\0\0\x04\x0a\x02hi");
        assert!(reply_message().ends_with(b"message from you\x10\x01"));
        // One byte of length holds them: a varint below 128.
        assert!(reply_text().len() < 128);
    }

    #[test]
    fn fields_are_matched_by_line() {
        let fields = "HTTP/2 200 \r\ncontent-type: application/grpc\r\n\r\ngrpc-status: 12\r\n";
        let reply = Curl { fields: fields.into(), body: b"x".to_vec() };
        assert!(reply.has("HTTP/2 200").is_ok() && reply.has("grpc-status: 12").is_ok());
        assert!(reply.has("grpc-status: 0").is_err());
        assert!(reply.body_is(b"x").is_ok() && reply.body_is(b"").is_err());
    }
}

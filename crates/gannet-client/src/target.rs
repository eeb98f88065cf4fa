//! What a channel connects to: the target grammar (gRPC's `naming.md`, with `http://` besides).
//!
//! Only reads the text, and asks the system for the number of an interface where an IPv6 address
//! names one; names are resolved when the channel connects. Schemes of the application's own are
//! not known here: see `name`.

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use gannet_transport::PipeConnector;

use crate::host::{
    authority_problem, checked_name, is_like_ipv6, read_v6, read_v6_port, split_host_port,
};
use crate::name::{Address, TargetUri};

/// A target that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As the user wrote it.
    pub(crate) text: String,
    /// What it stands for.
    pub(crate) names: Names,
    /// The `:authority` of requests, unless the user names another.
    pub(crate) authority: String,
    /// Whether the scheme says that there is TLS, or none.
    pub(crate) tls: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// These, each a server of its own.
    Addresses(Vec<Address>),
    /// What DNS says.
    Dns { host: String, port: u16 },
    /// What a resolver says that the application has made: one for the target's scheme, or one for
    /// this channel, whose target may be any text.
    Given { has_scheme: bool },
}

/// A target that is no target: what was written, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    target: String,
    problem: String,
}

impl TargetError {
    pub(crate) fn new(target: &str, problem: impl Into<String>) -> TargetError {
        TargetError { target: target.to_owned(), problem: problem.into() }
    }

    /// The target as it was written.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad target {:?}: {}", self.target, self.problem)
    }
}

impl Error for TargetError {}

impl Target {
    /// Reads a target.
    pub(crate) fn parse(text: &str) -> Result<Target, TargetError> {
        let failed = |problem: String| TargetError::new(text, problem);
        let (names, authority) = read(text).map_err(failed)?;
        Ok(Target { text: text.to_owned(), names, authority, tls: tls_of(text) })
    }

    /// What is wrong where the scheme says one thing and the builder, with TLS or without,
    /// another.
    pub(crate) fn scheme_problem(&self, has_tls: bool) -> Option<&'static str> {
        match (self.tls, has_tls) {
            (Some(true), false) => Some(
                "https:// needs to know whom to trust: give the builder `tls(ClientTls::new()?)` \
                 (feature \"tls\"), or write http:// for plaintext",
            ),
            (Some(false), true) => Some("http:// is plaintext, but the builder was given TLS"),
            _ => None,
        }
    }

    /// The target with its scheme, as telemetry tells of it (gRFC A66, `grpc.target`). `http://` and
    /// `https://` stand for a name in DNS with a port: that it is, by whatever it was written.
    pub(crate) fn uri(&self) -> String {
        let text = &self.text;
        let (scheme, rest) = text.split_once(':').unzip();
        match (&self.names, scheme.map(str::to_ascii_lowercase).as_deref()) {
            (Names::Addresses(_), None) => format!("in-process:///{text}"),
            (Names::Given { has_scheme: true }, _) => text.clone(),
            (Names::Addresses(_) | Names::Dns { .. }, Some("http" | "https"))
                if self.tls.is_some() =>
            {
                format!("dns:///{}", self.authority)
            }
            _ if text.contains("://") => text.clone(),
            (Names::Given { has_scheme: false }, _) => format!("resolver:///{text}"),
            (_, Some("dns")) => format!("dns:///{}", rest.unwrap_or_default()),
            (_, Some("unix" | "unix-abstract" | "ipv4" | "ipv6" | "passthrough")) => text.clone(),
            _ => format!("dns:///{text}"),
        }
    }

    /// The target of a channel that was given a connector.
    pub(crate) fn connector(text: &str, connector: PipeConnector) -> Target {
        Target {
            text: text.to_owned(),
            names: Names::Addresses(vec![Address::in_process(text, connector)]),
            authority: LOCAL_AUTHORITY.to_owned(),
            tls: None,
        }
    }

    /// The target of a channel whose addresses a resolver tells that is not known here: one for its
    /// scheme, or for this channel. Its name is the authority, where it can be.
    pub(crate) fn given(text: &str, has_scheme: bool) -> Target {
        let name = given_name(text, has_scheme);
        let authority = name.filter(|name| authority_problem(name).is_none());
        Target {
            text: text.to_owned(),
            names: Names::Given { has_scheme },
            authority: authority.unwrap_or_else(|| LOCAL_AUTHORITY.to_owned()),
            tls: tls_of(text),
        }
    }
}

/// Whether the scheme says that there is TLS, or none.
fn tls_of(text: &str) -> Option<bool> {
    let (scheme, _) = text.split_once("://")?;
    let is = |known| scheme.eq_ignore_ascii_case(known);
    (is("http") || is("https")).then(|| is("https"))
}

/// The name in a target that is not read here. Without a scheme that is one for sure it is all of
/// the text: what stands before a colon may be a host.
fn given_name(text: &str, has_scheme: bool) -> Option<String> {
    if tls_of(text).is_some() {
        // The port may be left out.
        return read(text).ok().map(|(_, authority)| authority);
    }
    match TargetUri::parse(text) {
        Some(uri)
            if has_scheme || text.contains("://") || uri.scheme.eq_ignore_ascii_case("dns") =>
        {
            Some(uri.path.to_owned())
        }
        _ => Some(text.to_owned()),
    }
}

/// The authority where there is no host.
const LOCAL_AUTHORITY: &str = "localhost";

fn read(text: &str) -> Result<(Names, String), String> {
    if text.is_empty() {
        return Err("it is empty; write for instance \"localhost:50051\"".into());
    }
    for (scheme, port) in [("http", 80), ("https", 443)] {
        if let Some((known, rest)) = text.split_once("://")
            && known.eq_ignore_ascii_case(scheme)
        {
            let (host_port, path) = rest.split_once('/').unwrap_or((rest, ""));
            if !path.is_empty() {
                return Err("a gRPC target has no path".into());
            }
            return host_port_endpoint(host_port, Some(port));
        }
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err("it has no port; write for instance \"localhost:50051\"".into());
    };
    match scheme.to_ascii_lowercase().as_str() {
        "dns" => match rest.strip_prefix("//") {
            None => host_port_endpoint(rest, None),
            Some(rest) => match rest.split_once('/') {
                Some(("", host_port)) => host_port_endpoint(host_port, None),
                Some((server, _)) => {
                    Err(format!("naming a DNS server ({server:?}) is not supported"))
                }
                None => Err("write three slashes, dns:///host:port, or none".into()),
            },
        },
        "unix" => unix_endpoint(rest),
        "unix-abstract" => abstract_endpoint(rest),
        "passthrough" => passthrough(rest),
        "ipv4" => addresses_endpoint(rest, "an IPv4 address with a port, 1.2.3.4:5", |part| {
            Ok(part.parse::<SocketAddrV4>().ok().map(SocketAddr::from))
        }),
        "ipv6" => addresses_endpoint(rest, "an IPv6 address with a port, [::1]:5", read_v6_port),
        known @ ("http" | "https") if !rest.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("write two slashes, {known}://{rest}"))
        }
        _ if text.starts_with('[') => host_port_endpoint(text, None),
        _ if rest.starts_with("//") || (rest.contains(':') && !is_like_ipv6(text)) => Err(format!(
            "the scheme {scheme:?} is not known; known are dns, http, https, unix, unix-abstract, \
             passthrough, ipv4 and ipv6"
        )),
        _ => host_port_endpoint(text, None),
    }
}

fn unix_endpoint(rest: &str) -> Result<(Names, String), String> {
    let path = match rest.strip_prefix("//") {
        Some(path) if !path.starts_with('/') => {
            return Err("the path after unix:// must be absolute: unix:///path".into());
        }
        Some(path) => path,
        None => rest,
    };
    if path.is_empty() {
        return Err("the path of the Unix socket is missing".into());
    }
    if path.contains('\0') {
        return Err("the path of the Unix socket has a NUL byte".into());
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("the path of the Unix socket is longer than {PATH_BYTES_MAX} bytes"));
    }
    if path.ends_with('/') {
        return Err("the path of the Unix socket is a folder's".into());
    }
    if cfg!(not(unix)) {
        return Err("this system has no Unix sockets".into());
    }
    Ok((Names::Addresses(vec![Address::unix(path)]), LOCAL_AUTHORITY.to_owned()))
}

fn abstract_endpoint(rest: &str) -> Result<(Names, String), String> {
    if cfg!(not(any(target_os = "linux", target_os = "android"))) {
        return Err("this system has no abstract Unix sockets".into());
    }
    if rest.is_empty() {
        return Err("the name of the Unix socket is missing".into());
    }
    if rest.contains('\0') {
        return Err("the name of the Unix socket has a NUL byte; the first is put before it".into());
    }
    if rest.len() > ABSTRACT_BYTES_MAX {
        return Err(format!("the name is longer than {ABSTRACT_BYTES_MAX} bytes"));
    }
    Ok((Names::Addresses(vec![Address::unix_abstract(rest)]), LOCAL_AUTHORITY.to_owned()))
}

/// The name goes to the system as it is, with each connection.
fn passthrough(rest: &str) -> Result<(Names, String), String> {
    let host_port = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => match rest.split_once('/') {
            Some(("", host_port)) => host_port,
            _ => return Err("write three slashes, passthrough:///host:port, or none".into()),
        },
    };
    let (names, authority) = host_port_endpoint(host_port, None)?;
    match names {
        Names::Dns { .. } => Ok((Names::Addresses(vec![Address::named(host_port)]), authority)),
        names => Ok((names, authority)),
    }
}

fn addresses_endpoint(
    rest: &str,
    wanted: &str,
    read: impl Fn(&str) -> Result<Option<SocketAddr>, String>,
) -> Result<(Names, String), String> {
    let mut addresses = Vec::new();
    for part in rest.split(',') {
        match read(part)? {
            Some(address) if address.port() != 0 => addresses.push(address),
            _ => return Err(format!("{part:?} is not {wanted}")),
        }
    }
    // What leads to it from here says nothing to the server.
    let authority = SocketAddr::new(addresses[0].ip(), addresses[0].port()).to_string();
    Ok((Names::Addresses(addresses.into_iter().map(Address::tcp).collect()), authority))
}

fn host_port_endpoint(text: &str, port_default: Option<u16>) -> Result<(Names, String), String> {
    let (host, port) = split_host_port(text)?;
    let port = match (port, port_default) {
        (Some(port), _) => port,
        (None, Some(port)) => port,
        (None, None) => return Err("it has no port; write host:port".into()),
    };
    if let Some(bracketed) = host.strip_prefix('[') {
        let inner = bracketed.strip_suffix(']').unwrap_or(bracketed);
        let (ip, scope) = read_v6(inner)?;
        let address = SocketAddrV6::new(ip, port, 0, scope);
        // What leads to it from here says nothing to the server.
        let shown = inner.split('%').next().unwrap_or(inner);
        let names = Names::Addresses(vec![SocketAddr::from(address).into()]);
        return Ok((names, format!("[{shown}]:{port}")));
    }
    let names = match host.parse::<Ipv4Addr>() {
        Ok(ip) => Names::Addresses(vec![SocketAddr::from((ip, port)).into()]),
        Err(_) => Names::Dns { host: checked_name(host)?.to_owned(), port },
    };
    Ok((names, format!("{host}:{port}")))
}

/// The longest path: what `sockaddr_un` has room for before a NUL byte (`unix(7)`; BSDs have less).
const PATH_BYTES_MAX: usize =
    if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };
/// The longest name in the abstract namespace: what `sockaddr_un` has room for behind the first
/// byte (Linux, `unix(7)`).
const ABSTRACT_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests;

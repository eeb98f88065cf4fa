//! What a channel connects to: the target grammar (gRPC's `naming.md`, with `http://` besides).
//!
//! Only reads the text; names are resolved when the channel connects.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// A target that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As the user wrote it.
    pub(crate) text: String,
    /// What to connect to.
    pub(crate) endpoint: Endpoint,
    /// The `:authority` of requests, unless the user names another.
    pub(crate) authority: String,
    /// Whether the scheme says that there is TLS, or none.
    pub(crate) tls: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Addresses, tried in order.
    Addresses(Vec<SocketAddr>),
    /// A name to be resolved.
    Name { host: String, port: u16 },
    /// A Unix socket.
    Unix(PathBuf),
    /// Whatever the connector that was passed in leads to.
    Connector,
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
        let (endpoint, authority) = read(text).map_err(failed)?;
        let tls = match text.split_once("://") {
            Some(("https", _)) => Some(true),
            Some(("http", _)) => Some(false),
            _ => None,
        };
        Ok(Target { text: text.to_owned(), endpoint, authority, tls })
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

    /// The target of a channel that was given a connector.
    pub(crate) fn connector(text: &str) -> Target {
        Target {
            text: text.to_owned(),
            endpoint: Endpoint::Connector,
            authority: LOCAL_AUTHORITY.to_owned(),
            tls: None,
        }
    }
}

/// The authority where there is no host.
const LOCAL_AUTHORITY: &str = "localhost";

fn read(text: &str) -> Result<(Endpoint, String), String> {
    if text.is_empty() {
        return Err("it is empty; write for instance \"localhost:50051\"".into());
    }
    for (scheme, port) in [("http://", 80), ("https://", 443)] {
        if let Some(rest) = text.strip_prefix(scheme) {
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
    match scheme {
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
        "ipv4" => addresses_endpoint(rest, "an IPv4 address with a port, 1.2.3.4:5", |address| {
            address.is_ipv4()
        }),
        "ipv6" => addresses_endpoint(rest, "an IPv6 address with a port, [::1]:5", |address| {
            address.is_ipv6()
        }),
        _ if rest.starts_with("//") => Err(format!(
            "the scheme {scheme:?} is not known; known are dns, http, https, unix, ipv4 and ipv6"
        )),
        _ => host_port_endpoint(text, None),
    }
}

fn unix_endpoint(rest: &str) -> Result<(Endpoint, String), String> {
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
    if cfg!(not(unix)) {
        return Err("this system has no Unix sockets".into());
    }
    Ok((Endpoint::Unix(PathBuf::from(path)), LOCAL_AUTHORITY.to_owned()))
}

fn addresses_endpoint(
    rest: &str,
    wanted: &str,
    fits: impl Fn(&SocketAddr) -> bool,
) -> Result<(Endpoint, String), String> {
    let mut addresses = Vec::new();
    for part in rest.split(',') {
        match part.parse::<SocketAddr>() {
            Ok(address) if fits(&address) && address.port() != 0 => addresses.push(address),
            _ => return Err(format!("{part:?} is not {wanted}")),
        }
    }
    let authority = addresses[0].to_string();
    Ok((Endpoint::Addresses(addresses), authority))
}

fn host_port_endpoint(text: &str, port_default: Option<u16>) -> Result<(Endpoint, String), String> {
    let (host, port) = split_host_port(text)?;
    let port = match (port, port_default) {
        (Some(port), _) => port,
        (None, Some(port)) => port,
        (None, None) => return Err("it has no port; write host:port".into()),
    };
    let ip = match host.strip_prefix('[') {
        Some(bracketed) => {
            let inner = bracketed.strip_suffix(']').unwrap_or(bracketed);
            let ip = inner.parse::<Ipv6Addr>();
            Some(IpAddr::V6(ip.map_err(|_| format!("{inner:?} is not an IPv6 address"))?))
        }
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    let authority = format!("{host}:{port}");
    let endpoint = match ip {
        Some(ip) => Endpoint::Addresses(vec![SocketAddr::new(ip, port)]),
        None => Endpoint::Name { host: checked_name(host)?.to_owned(), port },
    };
    Ok((endpoint, authority))
}

/// Splits at the colon before the port; the host keeps its brackets.
fn split_host_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']').ok_or("a bracket is not closed")?;
        let (host, rest) = text.split_at(end + 1);
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(format!("{rest:?} follows the bracket where a port should")),
        }
    } else {
        match text.split_once(':') {
            None => (text, None),
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address goes in brackets: [::1]:50051".into());
            }
            Some((host, port)) => (host, Some(port)),
        }
    };
    if host.is_empty() {
        return Err("it has no host".into());
    }
    let Some(port) = port else { return Ok((host, None)) };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if digits && port != 0 => Ok((host, Some(port))),
        _ => Err(format!("{port:?} is not a port, 1 to 65535")),
    }
}

fn checked_name(host: &str) -> Result<&str, String> {
    let misfit = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    match host.chars().find(misfit) {
        Some(c) if !c.is_ascii() => {
            Err(format!("the host has {c:?}; write international names in punycode, xn--…"))
        }
        Some(c) => Err(format!("the host has the character {c:?}")),
        None if host.len() > HOST_BYTES_MAX => Err("the host is longer than 253 bytes".into()),
        None => Ok(host),
    }
}

/// The longest DNS name (RFC 1035 2.3.4, in text form).
const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(host: &str, port: u16) -> Endpoint {
        Endpoint::Name { host: host.into(), port }
    }

    fn addresses(list: &[&str]) -> Endpoint {
        Endpoint::Addresses(list.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn reads_every_form() {
        let table = [
            ("localhost:50051", name("localhost", 50051), "localhost:50051"),
            ("svc_a.example.com.:1", name("svc_a.example.com.", 1), "svc_a.example.com.:1"),
            ("dns:///svc:50051", name("svc", 50051), "svc:50051"),
            ("dns:svc:50051", name("svc", 50051), "svc:50051"),
            ("http://svc:8080", name("svc", 8080), "svc:8080"),
            ("http://svc/", name("svc", 80), "svc:80"),
            ("https://svc", name("svc", 443), "svc:443"),
            ("127.0.0.1:7", addresses(&["127.0.0.1:7"]), "127.0.0.1:7"),
            ("[::1]:7", addresses(&["[::1]:7"]), "[::1]:7"),
            ("dns:///[::1]:7", addresses(&["[::1]:7"]), "[::1]:7"),
            ("ipv4:1.2.3.4:5", addresses(&["1.2.3.4:5"]), "1.2.3.4:5"),
            ("ipv4:1.2.3.4:5,5.6.7.8:9", addresses(&["1.2.3.4:5", "5.6.7.8:9"]), "1.2.3.4:5"),
            ("ipv6:[::1]:5", addresses(&["[::1]:5"]), "[::1]:5"),
        ];
        for (text, endpoint, authority) in table {
            let target = Target::parse(text).unwrap();
            assert_eq!(target.endpoint, endpoint, "{text}");
            assert_eq!(target.authority, authority, "{text}");
            assert_eq!(target.text, text);
        }
    }

    #[cfg(unix)]
    #[test]
    fn reads_unix_paths() {
        let table = [
            ("unix:/run/a.sock", "/run/a.sock"),
            ("unix:///run/a.sock", "/run/a.sock"),
            ("unix:a.sock", "a.sock"),
        ];
        for (text, path) in table {
            let target = Target::parse(text).unwrap();
            assert_eq!(target.endpoint, Endpoint::Unix(path.into()), "{text}");
            assert_eq!(target.authority, "localhost");
        }
    }

    #[test]
    fn errors_show_the_target_and_what_is_wrong() {
        let table = [
            ("", "it is empty"),
            ("localhost", "no port"),
            ("dns:///localhost", "no port"),
            (":50051", "no host"),
            ("localhost:", "\"\" is not a port"),
            ("localhost:0", "\"0\" is not a port"),
            ("localhost:65536", "\"65536\" is not a port"),
            ("localhost:+80", "\"+80\" is not a port"),
            ("localhost:http", "\"http\" is not a port"),
            ("local host:80", "the character ' '"),
            ("user@host:80", "the character '@'"),
            ("müller.example:80", "punycode"),
            ("::1:50051", "in brackets"),
            ("[::1]50051", "follows the bracket"),
            ("[::1:50051", "not closed"),
            ("[1.2.3.4]:5", "not an IPv6 address"),
            ("dns://8.8.8.8/svc:1", "naming a DNS server"),
            ("dns://svc:1", "three slashes"),
            ("http://svc:1/path", "no path"),
            ("xds:///svc", "the scheme \"xds\" is not known"),
            ("ipv4:[::1]:5", "not an IPv4 address"),
            ("ipv4:1.2.3.4", "not an IPv4 address"),
            ("ipv6:1.2.3.4:5", "not an IPv6 address"),
            ("unix:", "is missing"),
            ("unix://relative", "must be absolute"),
        ];
        for (text, problem) in table {
            let error = Target::parse(text).unwrap_err();
            assert_eq!(error.target(), text);
            let shown = error.to_string();
            assert!(shown.contains(&format!("{text:?}")), "{shown}");
            assert!(shown.contains(problem), "{shown}");
        }
    }
}

//! What a channel connects to: the target grammar (gRPC's `naming.md`, with `http://` besides).
//!
//! Only reads the text, and asks the system for the number of an interface where an IPv6 address
//! names one; names are resolved when the channel connects. Schemes of the application's own are
//! not known here: see `name`.

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use gannet_transport::PipeConnector;

use crate::host::{checked_name, is_like_ipv6, read_v6, read_v6_port, split_host_port};
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
        let tls = text.split_once("://").and_then(|(scheme, _)| {
            let is = |known| scheme.eq_ignore_ascii_case(known);
            (is("http") || is("https")).then(|| is("https"))
        });
        Ok(Target { text: text.to_owned(), names, authority, tls })
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
            (_, Some("http" | "https")) if self.tls.is_some() => {
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

    /// The target of a channel whose addresses a resolver tells that is not known here. Its name is
    /// the authority, where it can be.
    pub(crate) fn given(text: &str, has_scheme: bool) -> Target {
        let name = TargetUri::parse(text).map_or(text, |uri| match uri.path {
            "" => text,
            path => path,
        });
        let is_authority = !name.is_empty() && name.chars().all(is_authority);
        let authority = if is_authority { name } else { LOCAL_AUTHORITY };
        Target {
            text: text.to_owned(),
            names: Names::Given { has_scheme },
            authority: authority.to_owned(),
            tls: None,
        }
    }
}

/// RFC 3986 3.2 without user information, as the host or the IP literal of an authority.
pub(crate) fn is_authority(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:[]".contains(c)
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
mod tests {
    use super::*;

    fn name(host: &str, port: u16) -> Names {
        Names::Dns { host: host.into(), port }
    }

    fn addresses(list: &[&str]) -> Names {
        let addresses = list.iter().map(|text| text.parse::<SocketAddr>().unwrap());
        Names::Addresses(addresses.map(Address::from).collect())
    }

    #[test]
    fn telemetry_is_told_a_scheme() {
        let table = [
            ("localhost:50051", "dns:///localhost:50051"),
            ("dns:svc:1", "dns:///svc:1"),
            ("dns:///svc:1", "dns:///svc:1"),
            ("https://svc", "dns:///svc:443"),
            ("https://svc:443/", "dns:///svc:443"),
            ("http://svc", "dns:///svc:80"),
            ("http://[::1]:7", "dns:///[::1]:7"),
            ("127.0.0.1:7", "dns:///127.0.0.1:7"),
            ("[::1]:7", "dns:///[::1]:7"),
            ("ipv6:[::1]:5", "ipv6:[::1]:5"),
            ("unix:/a/b", "unix:/a/b"),
            ("unix:///a/b", "unix:///a/b"),
            ("DNS:svc:1", "dns:///svc:1"),
        ];
        for (text, uri) in table {
            assert_eq!(Target::parse(text).unwrap().uri(), uri);
        }
        assert_eq!(Target::given("zoo:cage/7", true).uri(), "zoo:cage/7");
        for (text, uri) in [
            ("slow", "resolver:///slow"),
            ("svc:80", "resolver:///svc:80"),
            ("zoo:///7", "zoo:///7"),
            ("https://svc", "https://svc"),
        ] {
            assert_eq!(Target::given(text, false).uri(), uri);
        }
        let (connector, _listener) = gannet_transport::pipe();
        assert_eq!(Target::connector("in-process", connector).uri(), "in-process:///in-process");
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
            ("ipv6:[::1]:5,[::2]:6", addresses(&["[::1]:5", "[::2]:6"]), "[::1]:5"),
            ("DNS:///svc:1", name("svc", 1), "svc:1"),
            ("Http://svc", name("svc", 80), "svc:80"),
            ("HTTPS://svc", name("svc", 443), "svc:443"),
            ("IPv4:1.2.3.4:5", addresses(&["1.2.3.4:5"]), "1.2.3.4:5"),
            ("http:80", name("http", 80), "http:80"),
            ("[fe80::1%7]:5", addresses(&["[fe80::1%7]:5"]), "[fe80::1]:5"),
            ("dns:///[fe80::1%7]:5", addresses(&["[fe80::1%7]:5"]), "[fe80::1]:5"),
            ("passthrough:///[fe80::1%7]:5", addresses(&["[fe80::1%7]:5"]), "[fe80::1]:5"),
            ("http://[fe80::1%7]:5", addresses(&["[fe80::1%7]:5"]), "[fe80::1]:5"),
            ("ipv6:[fe80::1%7]:5,[::2]:6", addresses(&["[fe80::1%7]:5", "[::2]:6"]), "[fe80::1]:5"),
            ("passthrough:///1.2.3.4:5", addresses(&["1.2.3.4:5"]), "1.2.3.4:5"),
            (
                "passthrough:///svc:50051",
                Names::Addresses(vec![Address::named("svc:50051")]),
                "svc:50051",
            ),
        ];
        for (text, names, authority) in table {
            let target = Target::parse(text).unwrap();
            assert_eq!(target.names, names, "{text}");
            assert_eq!(target.authority, authority, "{text}");
            assert_eq!(target.text, text);
        }
    }

    /// The loopback interface has the number 1 on every Linux.
    #[cfg(target_os = "linux")]
    #[test]
    fn interfaces_have_names() {
        for form in ["", "dns:", "dns:///", "passthrough:///", "ipv6:", "http://"] {
            let target = Target::parse(&format!("{form}[fe80::1%lo]:5")).unwrap();
            assert_eq!(target.names, addresses(&["[fe80::1%1]:5"]), "{form}");
            assert_eq!(target.authority, "[fe80::1]:5", "{form}");
            let error = Target::parse(&format!("{form}[fe80::1%no-such]:5")).unwrap_err();
            assert!(error.to_string().contains("no interface \"no-such\""), "{error}");
            let error = Target::parse(&format!("{form}[::1%lo]:5")).unwrap_err();
            assert!(error.to_string().contains("not link-local"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_is_as_long_as_the_system_allows() {
        let path = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
        let fits = |bytes| std::os::unix::net::SocketAddr::from_pathname(path(bytes)).is_ok();
        assert!(fits(PATH_BYTES_MAX) && !fits(PATH_BYTES_MAX + 1));
        assert!(Target::parse(&format!("unix:{}", path(PATH_BYTES_MAX))).is_ok());
        let error = Target::parse(&format!("unix:{}", path(PATH_BYTES_MAX + 1))).unwrap_err();
        assert!(error.to_string().contains(&format!("longer than {PATH_BYTES_MAX} bytes")));
    }

    #[test]
    fn labels_have_their_lengths() {
        let host = |bytes: usize| format!("{}.example:1", "a".repeat(bytes));
        assert!(Target::parse(&host(63)).is_ok());
        let error = Target::parse(&host(64)).unwrap_err();
        assert!(error.to_string().contains("longer than 63 bytes"), "{error}");
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
            assert_eq!(target.names, Names::Addresses(vec![Address::unix(path)]), "{text}");
            assert_eq!(target.authority, "localhost");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn reads_abstract_names() {
        let target = Target::parse("unix-abstract:a/b:c").unwrap();
        assert_eq!(target.names, Names::Addresses(vec![Address::unix_abstract("a/b:c")]));
        assert_eq!(target.authority, "localhost");
        assert!(Target::parse(&format!("unix-abstract:{}", "a".repeat(107))).is_ok());
        let error = Target::parse(&format!("unix-abstract:{}", "a".repeat(108))).unwrap_err();
        assert!(error.to_string().contains("longer than 107 bytes"), "{error}");
    }

    #[test]
    fn a_name_that_others_resolve_is_the_authority_where_it_can_be() {
        let table = [
            ("consul:///billing", "billing"),
            ("consul://dc1/billing", "billing"),
            ("consul:billing", "billing"),
            ("backends", "backends"),
            ("three backends", "localhost"),
            ("consul:///a/b", "localhost"),
        ];
        for (text, authority) in table {
            assert_eq!(Target::given(text, false).authority, authority, "{text}");
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
            ("a..b:80", "nothing between two dots"),
            (".:80", "nothing between two dots"),
            (".a:80", "nothing between two dots"),
            ("a..:80", "nothing between two dots"),
            ("https:svc:1", "https://svc:1"),
            ("https:svc", "https://svc"),
            ("HTTP:svc:1", "http://svc:1"),
            ("consul:svc:1", "the scheme \"consul\" is not known"),
            ("consul:a:b:c", "the scheme \"consul\" is not known"),
            ("fe80::1:80", "in brackets"),
            ("fe80::1%eth0:80", "in brackets"),
            ("1:2:3:4:5:6:7:8:80", "in brackets"),
            ("[fe80::1%]:80", "behind the percent sign is missing"),
            ("ipv6:[fe80::1%]:80", "behind the percent sign is missing"),
            ("[fe80::1%4294967296]:80", "no interface \"4294967296\""),
            ("unix:/", "a folder's"),
            ("unix:///", "a folder's"),
            ("unix:/run/", "a folder's"),
            ("unix:", "is missing"),
            ("unix://relative", "must be absolute"),
            ("unix:a\0b", "NUL byte"),
            ("unix-abstract:", "is missing"),
            ("unix-abstract:a\0b", "NUL byte"),
            ("passthrough://svc:1", "three slashes"),
            ("passthrough:///svc", "no port"),
            ("ipv4:1.2.3.4:5,", "\"\" is not an IPv4 address"),
            ("ipv4:1.2.3.4:5, 5.6.7.8:9", "\" 5.6.7.8:9\" is not an IPv4 address"),
            ("ipv4:1.2.3.4:0", "not an IPv4 address"),
            ("ipv6:::1", "not an IPv6 address"),
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

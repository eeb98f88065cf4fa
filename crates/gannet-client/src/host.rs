//! Hosts and ports as they are written in targets.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

/// Splits at the colon before the port; the host keeps its brackets.
pub(crate) fn split_host_port(text: &str) -> Result<(&str, Option<u16>), String> {
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

/// What is wrong with an `:authority`: it is a host, and a port where there is one (RFC 3986 3.2,
/// without user information).
pub(crate) fn authority_problem(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("it is empty".into());
    }
    let host = match split_host_port(text) {
        Ok((host, _)) => host,
        Err(problem) => return Some(problem),
    };
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let is_v6 = inner.parse::<Ipv6Addr>().is_ok();
        return (!is_v6).then(|| format!("{inner:?} is not an IPv6 address"));
    }
    let c = host.chars().find(|c| !is_of_name(*c))?;
    Some(format!("it has the character {c:?}"))
}

/// A character of a registered name (RFC 3986 section 3.2.2).
fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=".contains(c)
}

pub(crate) fn checked_name(host: &str) -> Result<&str, String> {
    let misfit = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    match host.chars().find(misfit) {
        Some(c) if !c.is_ascii() => {
            Err(format!("the host has {c:?}; write international names in punycode, xn--…"))
        }
        Some(c) => Err(format!("the host has the character {c:?}")),
        None if host.len() > HOST_BYTES_MAX => Err("the host is longer than 253 bytes".into()),
        None => {
            // The root may be written.
            let labels = || host.strip_suffix('.').unwrap_or(host).split('.');
            if labels().any(str::is_empty) {
                return Err("the host has nothing between two dots, or before the first".into());
            }
            if labels().any(|label| label.len() > LABEL_BYTES_MAX) {
                let told = "a part of the host, between dots, is longer than 63 bytes";
                return Err(told.into());
            }
            Ok(host)
        }
    }
}

/// An IPv6 address without brackets, and the number of the interface that is named behind a percent
/// sign (RFC 4007 section 11), or 0.
pub(crate) fn read_v6(text: &str) -> Result<(Ipv6Addr, u32), String> {
    let (address, scope) = text.split_once('%').unzip();
    let address = address.unwrap_or(text);
    let ip = address.parse::<Ipv6Addr>();
    let ip = ip.map_err(|_| format!("{address:?} is not an IPv6 address"))?;
    Ok((ip, scope.map_or(Ok(0), |scope| interface(ip, scope))?))
}

/// An IPv6 address in brackets and a port; `None` where it is none.
pub(crate) fn read_v6_port(text: &str) -> Result<Option<SocketAddr>, String> {
    if !text.contains('%') {
        return Ok(text.parse::<SocketAddrV6>().ok().map(SocketAddr::from));
    }
    let (host, port) = split_host_port(text)?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let Some((inner, port)) = inner.zip(port) else { return Ok(None) };
    let (ip, scope) = read_v6(inner)?;
    Ok(Some(SocketAddrV6::new(ip, port, 0, scope).into()))
}

/// The number of an interface that leads to a link-local address.
fn interface(ip: Ipv6Addr, scope: &str) -> Result<u32, String> {
    if scope.is_empty() {
        return Err("the interface behind the percent sign is missing".into());
    }
    if scope.bytes().all(|byte| byte.is_ascii_digit()) {
        return scope.parse().map_err(|_| format!("there is no interface {scope:?}"));
    }
    if !ip.is_unicast_link_local() && !ip.is_multicast() {
        return Err(format!("{ip} is not link-local: no interface is named behind it"));
    }
    // The system reads an address with a name behind it, and looks nothing up for that.
    let mut found = (format!("{ip}%{scope}"), 0).to_socket_addrs().into_iter().flatten();
    match found.next() {
        Some(SocketAddr::V6(address)) if address.scope_id() != 0 => Ok(address.scope_id()),
        _ => Err(format!("this system knows no interface {scope:?}")),
    }
}

/// Whether somebody may have meant an IPv6 address without its brackets.
pub(crate) fn is_like_ipv6(text: &str) -> bool {
    let address = text.split('%').next().unwrap_or(text);
    address.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
}

/// The longest DNS name, and part of one (RFC 1035 2.3.4, in text form).
const HOST_BYTES_MAX: usize = 253;
/// See [`HOST_BYTES_MAX`].
const LABEL_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for good in
            ["svc", "svc:1", "a.b_c:65535", "1.2.3.4:5", "[::1]", "[::1]:443", "a%2fb", "a+b=c"]
        {
            assert_eq!(authority_problem(good), None, "{good}");
        }
        let table = [
            ("", "empty"),
            (":443", "no host"),
            ("a:b:c", "in brackets"),
            (":1]:443", "in brackets"),
            ("a]:1", "the character ']'"),
            ("svc:", "not a port"),
            ("svc:http", "not a port"),
            ("svc:65536", "not a port"),
            ("::1", "in brackets"),
            ("[::1", "not closed"),
            ("[::1]a", "follows the bracket"),
            ("[svc]:1", "not an IPv6 address"),
            ("[fe80::1%1]:1", "not an IPv6 address"),
            ("user@svc", "the character '@'"),
            ("a b", "the character ' '"),
            ("a/b", "the character '/'"),
            ("m\u{fc}ller", "the character"),
        ];
        for (bad, problem) in table {
            let told = authority_problem(bad).expect(bad);
            assert!(told.contains(problem), "{bad}: {told}");
        }
    }
}

//! What targets mean, and what is said of those that mean nothing.

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
        ("consul:///billing:80", "billing:80"),
        ("consul:///[::1]:80", "[::1]:80"),
        ("dns:///svc:443", "svc:443"),
        ("dns:svc:443", "svc:443"),
        ("https://svc", "svc:443"),
        ("http://svc:8080/", "svc:8080"),
        ("https://svc/a/b", "localhost"),
        ("svc.example:443", "svc.example:443"),
        ("localhost:50051", "localhost:50051"),
        ("[::1]:443", "[::1]:443"),
        ("1.2.3.4:5", "1.2.3.4:5"),
        ("backends", "backends"),
        // Nobody knows the scheme, nor whether it is one.
        ("consul:billing", "localhost"),
        ("three backends", "localhost"),
        ("consul:///a/b", "localhost"),
        ("consul://billing", "localhost"),
        ("a/b", "localhost"),
        ("a:b:c", "localhost"),
        ("unix:///run/a.sock", "localhost"),
        ("", "localhost"),
    ];
    for (text, authority) in table {
        assert_eq!(Target::given(text, false).authority, authority, "{text}");
    }
    for (text, authority) in
        [("consul:billing", "billing"), ("svc:443", "443"), ("a:b/c", "localhost")]
    {
        assert_eq!(Target::given(text, true).authority, authority, "{text}");
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

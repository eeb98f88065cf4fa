//! The scenes, by the server that they need.

use super::openssl::Talk;
use super::{Client, Peer, Scene, Tls};

/// Which scenes each server plays in.
pub(in super::super) const SCENES: &[(Peer, Tls, &[Scene])] = &[
    (Peer::Gannet, Tls::Off, PLAIN),
    (Peer::Gannet, Tls::On, SECURE),
    (Peer::Gannet, Tls::Mutual, MUTUAL),
    (Peer::Python, Tls::Off, PYTHON_PLAIN),
    (Peer::Python, Tls::Mutual, PYTHON_MUTUAL),
];

/// TLS meets a server of ours that speaks none.
const PLAIN: &[Scene] = &[
    openssl("tls", Talk::Refused, &["-alpn", "h2"], &["wrong version number"], CLIENT_SPEAKS_TLS),
    curl("tls", 35, &["--http2", HTTPS], &["wrong version number"], CLIENT_SPEAKS_TLS),
    call(
        Peer::Python,
        "tls",
        "unavailable",
        TRUSTING,
        &["WRONG_VERSION_NUMBER"],
        CLIENT_SPEAKS_TLS,
    ),
    call(
        Peer::Gannet,
        "tls",
        "unavailable",
        TRUSTING,
        &["the server does not speak TLS: it answered in plain HTTP/2; leave `tls(…)` out for it"],
        CLIENT_SPEAKS_TLS,
    ),
];

/// A server of ours that shows a certificate and wants none.
const SECURE: &[Scene] = &[
    openssl("alpn", Talk::Answered, &["-alpn", "http/1.1,h2"], &["ALPN protocol: h2"], ""),
    openssl("no_alpn", Talk::Refused, &[], &["alert number 120"], NO_H2),
    openssl("http1", Talk::Refused, &["-alpn", "http/1.1"], &["alert number 120"], NO_H2),
    openssl(
        "tls_1_1",
        Talk::Refused,
        // It takes that to make OpenSSL offer it.
        &["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0", "-alpn", "h2"],
        &["alert number 70"],
        "the client speaks TLS 1.1 or something older",
    ),
    openssl("tls_1_2", Talk::Answered, TLS_1_2, &["New, TLSv1.2, Cipher is ECDHE"], ""),
    openssl("tls_1_3", Talk::Answered, TLS_1_3, &["New, TLSv1.3, Cipher is TLS_"], ""),
    openssl("resumed_1_2", Talk::Resumed, TLS_1_2, &["Reused, TLSv1.2", "ALPN protocol: h2"], ""),
    openssl("resumed_1_3", Talk::Resumed, TLS_1_3, &["Reused, TLSv1.3", "ALPN protocol: h2"], ""),
    openssl("replaced", Talk::Replaced, TLS_1_3, &["subject=CN = server anew"], ""),
    curl("plain_http1", 0, &["--include", HTTP], &["HTTP/1.1 400", THIS_IS_TLS], SENT_HTTP1),
    // Who sends its request at once is answered in HTTP/2; who waits to be welcome, in HTTP/1.
    curl("plain", 0, PRIOR_KNOWLEDGE, &["HTTP/2 400", THIS_IS_TLS], SENT_HTTP2),
    call(Peer::Go, "plain", "unavailable", &[], &["looked like an HTTP/1.1 header"], SENT_HTTP2),
    call(
        Peer::Python,
        "plain",
        "unavailable",
        &[],
        &["http1.x server (HTTP status 400)"],
        SENT_HTTP2,
    ),
    call(Peer::Gannet, "plain", "unavailable", &[], &["speaks TLS", "needs `tls(…)`"], SENT_HTTP2),
    call(Peer::Python, "untrusted", "unavailable", STRANGE, &["VERIFY_FAILED"], LEFT_WORDLESS),
    call(Peer::Gannet, "untrusted", "unavailable", STRANGE, &[NOT_TRUSTED], "handshake: UnknownCA"),
    call(Peer::Python, "server_name", "unary", NAMED, &[], ""),
    call(Peer::Gannet, "server_name", "unary", NAMED, &[], ""),
    call(Peer::Python, "wrong_name", "unavailable", MISNAMED, &["Hostname Verif"], CLOSED_WORDLESS),
    call(Peer::Gannet, "wrong_name", "unavailable", MISNAMED, ANOTHERS_NAME, "BadCertificate"),
];

/// A server of ours that wants certificates.
const MUTUAL: &[Scene] = &[
    openssl("known", Talk::Answered, SHOWN, &["ALPN protocol: h2"], ""),
    openssl("nobody", Talk::Refused, TLS_1_3, &["alert number 116"], NONE_SHOWN),
    openssl("nobody_1_2", Talk::Refused, TLS_1_2, &["alert number 116"], NONE_SHOWN),
    openssl("stranger", Talk::Refused, SHOWN_STRANGE, &["alert number 48"], NOT_TRUSTED),
    openssl("revoked", Talk::Refused, SHOWN_REVOKED, &["alert number 44"], "it is revoked"),
    curl(
        "nobody",
        56,
        &["--http2", "--cacert", "@ca.pem", HTTPS],
        &["alert certificate required"],
        NONE_SHOWN,
    ),
    call(Peer::Python, "known", "peer", KNOWN, &[], ""),
    call(Peer::Gannet, "known", "peer", KNOWN, &[], ""),
    call(
        Peer::Python,
        "nobody",
        "unavailable",
        TRUSTING,
        &["TLSV1_ALERT_CERTIFICATE_REQUIRED"],
        NONE_SHOWN,
    ),
    call(
        Peer::Gannet,
        "nobody",
        "unavailable",
        TRUSTING,
        &["the peer demands a certificate, and was shown none"],
        NONE_SHOWN,
    ),
    call(
        Peer::Python,
        "stranger",
        "unavailable",
        STRANGER,
        &["TLSV1_ALERT_UNKNOWN_CA"],
        NOT_TRUSTED,
    ),
    call(
        Peer::Gannet,
        "stranger",
        "unavailable",
        STRANGER,
        &[NOT_ACCEPTED, "UnknownCA"],
        NOT_TRUSTED,
    ),
    call(
        Peer::Python,
        "revoked",
        "unavailable",
        REVOKED,
        &["ALERT_CERTIFICATE_REVOKED"],
        "it is revoked",
    ),
    call(
        Peer::Gannet,
        "revoked",
        "unavailable",
        REVOKED,
        &[NOT_ACCEPTED, "CertificateRevoked"],
        "it is revoked",
    ),
];

const PYTHON_PLAIN: &[Scene] = &[call(
    Peer::Gannet,
    "tls",
    "unavailable",
    TRUSTING,
    &["the server does not speak TLS: it answered in plain HTTP/2"],
    "",
)];

/// grpcio's server, which wants certificates.
const PYTHON_MUTUAL: &[Scene] = &[
    call(Peer::Gannet, "known", "peer", KNOWN, &[], ""),
    call(Peer::Gannet, "nobody", "unavailable", TRUSTING, WANTS_ANOTHER, ""),
    call(Peer::Gannet, "stranger", "unavailable", STRANGER, WANTS_ANOTHER, ""),
    call(Peer::Gannet, "plain", "unavailable", &[], &["needs `tls(…)`"], ""),
    call(Peer::Gannet, "untrusted", "unavailable", STRANGE, &[NOT_TRUSTED], ""),
    call(Peer::Gannet, "server_name", "peer", KNOWN_NAMED, &[], ""),
    call(Peer::Gannet, "wrong_name", "unavailable", MISNAMED, ANOTHERS_NAME, ""),
    call(Peer::Gannet, "system_roots", "peer", KNOWN_BY_SYSTEM, &[], ""),
    call(Peer::Gannet, "system_roots_without", "unavailable", &["--tls"], &[NOT_TRUSTED], ""),
];

/// grpcio's server closes the connection where a certificate is not to its liking.
const WANTS_ANOTHER: &[&str] = &[
    "without a word of TLS",
    "does the server want a certificate of this client, or another one?",
];
const ANOTHERS_NAME: &[&str] = &["not valid for name \"other.example\"", "svc.example"];
const NOT_ACCEPTED: &str = "the peer does not accept the certificate that it was shown";
const LEFT_WORDLESS: &str = "without a word why; does it trust this server's certificate?";
const CLOSED_WORDLESS: &str = "the peer closed the connection without a word of TLS";
const CLIENT_SPEAKS_TLS: &str = "the client speaks TLS, and this port does not";
const SENT_HTTP1: &str = "it sent plain HTTP/1, and this port speaks TLS";
const SENT_HTTP2: &str = "it sent plain HTTP/2, and this port speaks TLS";
const THIS_IS_TLS: &str = "This port speaks TLS, and was sent plain HTTP. Try https://";
const NO_H2: &str = "the client does not offer HTTP/2 (\"h2\") by ALPN, which gRPC needs";
const NONE_SHOWN: &str = "the client has shown no certificate, and one is demanded";
const NOT_TRUSTED: &str = "certificate is not accepted: no authority that is trusted has signed it";

const HTTP: &str = "http://127.0.0.1:PORT/";
const HTTPS: &str = "https://127.0.0.1:PORT/";
const PRIOR_KNOWLEDGE: &[&str] = &["--include", "--http2-prior-knowledge", HTTP];
const TLS_1_2: &[&str] = &["-tls1_2", "-alpn", "h2"];
const TLS_1_3: &[&str] = &["-tls1_3", "-alpn", "h2"];
const SHOWN: &[&str] = &["-alpn", "h2", "-cert", "@client.pem", "-key", "@client.key"];
const SHOWN_STRANGE: &[&str] = &["-alpn", "h2", "-cert", "@stranger.pem", "-key", "@stranger.key"];
const SHOWN_REVOKED: &[&str] = &["-alpn", "h2", "-cert", "@revoked.pem", "-key", "@revoked.key"];

/// Flags of the echo clients.
const TRUSTING: &[&str] = &["--tls", "--tls-ca-file", "@ca.pem"];
const STRANGE: &[&str] = &["--tls", "--tls-ca-file", "@strangers-ca.pem"];
const NAMED: &[&str] = &["--tls", "--tls-ca-file", "@ca.pem", "--tls-server-name", "svc.example"];
const MISNAMED: &[&str] =
    &["--tls", "--tls-ca-file", "@ca.pem", "--tls-server-name", "other.example"];

macro_rules! showing {
    ($name:literal $(, $more:literal)*) => {
        &["--tls", "--tls-ca-file", "@ca.pem", "--tls-cert-file", concat!("@", $name, ".pem"),
          "--tls-key-file", concat!("@", $name, ".key") $(, $more)*]
    };
}
const KNOWN: &[&str] = showing!("client");
const KNOWN_NAMED: &[&str] = showing!("client", "--tls-server-name", "svc.example");
const STRANGER: &[&str] = showing!("stranger");
const REVOKED: &[&str] = showing!("revoked");
const KNOWN_BY_SYSTEM: &[&str] = &[
    "SSL_CERT_FILE=@ca.pem",
    "--tls",
    "--tls-cert-file",
    "@client.pem",
    "--tls-key-file",
    "@client.key",
];

type Texts = &'static [&'static str];

const fn openssl(
    name: &'static str,
    talk: Talk,
    flags: Texts,
    told: Texts,
    server_told: &'static str,
) -> Scene {
    Scene { name, client: Client::Openssl(talk), flags, told, server_told }
}

const fn curl(
    name: &'static str,
    code: i32,
    flags: Texts,
    told: Texts,
    server_told: &'static str,
) -> Scene {
    Scene { name, client: Client::Curl(code), flags, told, server_told }
}

const fn call(
    peer: Peer,
    name: &'static str,
    case: &'static str,
    flags: Texts,
    told: Texts,
    server_told: &'static str,
) -> Scene {
    Scene { name, client: Client::Program(peer, case), flags, told, server_told }
}

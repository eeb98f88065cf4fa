//! What can be wrong with certificates and keys, and what a failed handshake means.

use std::error::Error;
use std::fmt;
use std::io;

use tokio_rustls::rustls;

use super::first::Plain;

/// Certificates or keys that cannot be used. The text names the file where there is one.
#[derive(Debug)]
pub struct TlsError {
    problem: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl TlsError {
    pub(super) fn new(problem: impl Into<String>) -> TlsError {
        TlsError { problem: problem.into(), source: None }
    }

    pub(super) fn with_source(
        problem: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> TlsError {
        TlsError { problem: problem.into(), source: Some(source.into()) }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// A handshake's error in the words of whoever has to mend it. `peer` is "server" or "client".
pub(super) fn handshake(peer: &str, error: io::Error) -> io::Error {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let meaning = match cause {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            format!("the {peer} does not speak TLS: what it sent is no TLS record")
        }
        Some(
            rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)
            | rustls::Error::NoApplicationProtocol,
        ) => no_h2(peer),
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("the {peer} refused the TLS handshake: {alert:?}")
        }
        Some(rustls::Error::InvalidCertificate(why)) => {
            format!("the {peer}'s certificate is not accepted: {}", reason(why))
        }
        Some(rustls::Error::NoCertificatesPresented) => {
            format!("the {peer} has shown no certificate, and one is demanded")
        }
        Some(other) => format!("the TLS handshake failed: {other}"),
        None if is_end(&error) => {
            format!("the {peer} closed the connection during the TLS handshake; does it speak TLS?")
        }
        None => return error,
    };
    io::Error::new(error.kind(), Handshake { meaning, cause: error })
}

/// An error of the handshake with a client that has said in TLS what it wants.
pub(super) fn answered(error: io::Error) -> io::Error {
    if error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>)
        || !is_end(&error)
    {
        return handshake("client", error);
    }
    let meaning = "the client closed the connection during the TLS handshake, without a word why; \
                   does it trust this server's certificate?";
    io::Error::new(error.kind(), Handshake { meaning: meaning.to_owned(), cause: error })
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// The stream below has ended, and TLS has not.
pub(super) fn cut_off() -> io::Error {
    let told = "the peer closed the connection without a word of TLS (close_notify) why";
    io::Error::new(io::ErrorKind::UnexpectedEof, told)
}

/// Why a certificate is not accepted, where rustls only has the name of an error for it.
fn reason(why: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Why;
    let reason = match why {
        Why::UnknownIssuer => "no authority that is trusted has signed it",
        Why::BadSignature => "the authority that it names has not signed it",
        Why::Revoked => "it is revoked, or an authority above it is",
        Why::UnknownRevocationStatus => "there is no revocation list of its issuer",
        Why::ExpiredRevocationList | Why::ExpiredRevocationListContext { .. } => {
            "the revocation list of its issuer is outdated"
        }
        Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => {
            "it is not for this role: its extended key usage forbids it"
        }
        _ => return why.to_string(),
    };
    reason.to_owned()
}

/// What came is not TLS but something that is known.
pub(super) fn plain(peer: &str, what: Plain) -> io::Error {
    let meaning = match (peer, what) {
        ("server", Plain::Http2) => {
            "the server does not speak TLS: it answered in plain HTTP/2; leave `tls(…)` out for it"
        }
        ("server", Plain::Http1) => {
            "the server does not speak TLS: it answered in plain HTTP/1; is this the right port?"
        }
        ("server", Plain::Other | Plain::OldTls) => {
            "the server does not speak TLS: what it sent is no TLS record"
        }
        (_, Plain::Http2) => {
            "the client does not speak TLS: it sent plain HTTP/2, and this port speaks TLS"
        }
        (_, Plain::Http1) => {
            "the client does not speak TLS: it sent plain HTTP/1, and this port speaks TLS"
        }
        (_, Plain::OldTls) => {
            "the client speaks TLS 1.1 or something older, and this port TLS 1.2 and 1.3"
        }
        (_, Plain::Other) => "the client does not speak TLS: what it sent is no TLS record",
    };
    io::Error::new(io::ErrorKind::InvalidData, meaning)
}

/// An error of records behind the handshake. With TLS 1.3 this is how a client learns that its
/// certificate was refused.
pub(super) fn records(cause: rustls::Error) -> io::Error {
    use rustls::AlertDescription as Alert;
    let meaning = match &cause {
        rustls::Error::AlertReceived(Alert::CertificateRequired) => {
            "the peer demands a certificate, and was shown none".to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::AccessDenied),
        ) => format!("the peer does not accept the certificate that it was shown: {alert:?}"),
        rustls::Error::AlertReceived(alert) => format!("the peer ended TLS: {alert:?}"),
        _ => "what the peer sent is no good TLS".to_owned(),
    };
    let cause = io::Error::new(io::ErrorKind::InvalidData, cause);
    io::Error::new(io::ErrorKind::InvalidData, Handshake { meaning, cause })
}

/// What to say where ALPN has not agreed on HTTP/2.
pub(super) fn no_h2(peer: &str) -> String {
    format!("the {peer} does not offer HTTP/2 (\"h2\") by ALPN, which gRPC needs")
}

/// The meaning in front, rustls' own words behind.
#[derive(Debug)]
struct Handshake {
    meaning: String,
    cause: io::Error,
}

impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.meaning)
    }
}

impl Error for Handshake {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

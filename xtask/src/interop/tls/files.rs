//! The certificates of the scenes, made anew for each run: an authority's and a stranger's.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};

use crate::exec::Result;
use crate::interop::setup::Tools;

/// Whom everybody trusts.
pub(in super::super) const AUTHORITY: &str = "ca.pem";
/// Whom nobody trusts.
const STRANGERS_AUTHORITY: &str = "strangers-ca.pem";
/// The authority's revocation list.
pub(in super::super) const REVOCATIONS: &str = "crl.pem";

/// Certificate and key of a server, for `svc.example` and 127.0.0.1.
pub(in super::super) const SERVER: Pair = ("server.pem", "server.key");
/// The same for a server that has got a new one.
pub(super) const SERVER_ANEW: Pair = ("server-anew.pem", "server-anew.key");
/// A client's.
pub(in super::super) const CLIENT: Pair = ("client.pem", "client.key");
const REVOKED: Pair = ("revoked.pem", "revoked.key");
const STRANGER: Pair = ("stranger.pem", "stranger.key");

/// Files of a certificate and of its key.
type Pair = (&'static str, &'static str);

/// The serial number of the certificate that is revoked.
const REVOKED_SERIAL: u64 = 4242;

/// Writes all of them into a folder.
pub(in super::super) fn make(folder: &Path) -> Result {
    let write = |(name, text): (&str, String)| {
        let file = folder.join(name);
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))
    };
    let failed = |error| format!("cannot make certificates: {error}");
    made().map_err(failed)?.into_iter().try_for_each(write)
}

type Made<T> = std::result::Result<T, rcgen::Error>;

/// Names of files, and what is in them.
type Files = Vec<(&'static str, String)>;

fn made() -> Made<Files> {
    let (ours, theirs) = (authority("authority")?, authority("strangers' authority")?);
    let server = ["svc.example", "127.0.0.1"];
    let client = ["client.example", "spiffe://client.example/interop"];
    let mut files = vec![
        (AUTHORITY, ours.pem()),
        (STRANGERS_AUTHORITY, theirs.pem()),
        (REVOCATIONS, revocations(&ours)?),
    ];
    files.extend(issue(&ours, SERVER, "server", server, 1)?);
    files.extend(issue(&ours, SERVER_ANEW, "server anew", server, 2)?);
    files.extend(issue(&ours, CLIENT, "client", client, 3)?);
    files.extend(issue(&ours, REVOKED, "revoked", client, REVOKED_SERIAL)?);
    files.extend(issue(&theirs, STRANGER, "stranger", client, 1)?);
    Ok(files)
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Made<Authority> {
    let mut params = CertificateParams::new([])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// A certificate for this common name and these others, and its key.
fn issue(
    authority: &Authority,
    files: Pair,
    name: &str,
    others: [&str; 2],
    serial: u64,
) -> Made<[(&'static str, String); 2]> {
    let mut params = CertificateParams::new([])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    for other in others {
        params.subject_alt_names.push(match other.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if other.contains("://") => SanType::URI(other.to_owned().try_into()?),
            Err(_) => SanType::DnsName(other.to_owned().try_into()?),
        });
    }
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok([(files.0, certificate.pem()), (files.1, key.serialize_pem())])
}

/// What a certificate's file and its key's hold.
pub(super) fn read(tools: &Tools, (chain, key): Pair) -> Result<[Vec<u8>; 2]> {
    let read = |name: &str| {
        let file = tools.tls().join(name);
        std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))
    };
    Ok([read(chain)?, read(key)?])
}

/// Replaces both.
pub(super) fn write(tools: &Tools, (chain, key): Pair, contents: &[Vec<u8>; 2]) -> Result {
    [chain, key].iter().zip(contents).try_for_each(|(name, bytes)| {
        let file = tools.tls().join(name);
        std::fs::write(&file, bytes).map_err(|error| format!("{}: {error}", file.display()))
    })
}

fn revocations(authority: &Authority) -> Made<String> {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(REVOKED_SERIAL),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(4000, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(authority)?.pem()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path()).unwrap();
        let pairs = [SERVER, SERVER_ANEW, CLIENT, REVOKED, STRANGER];
        let keys = pairs.map(|(_, key)| (key, "PRIVATE KEY"));
        let chains = pairs.map(|(chain, _)| (chain, "CERTIFICATE"));
        let others = [
            (AUTHORITY, "CERTIFICATE"),
            (STRANGERS_AUTHORITY, "CERTIFICATE"),
            (REVOCATIONS, "X509 CRL"),
        ];
        let all: Vec<_> = keys.into_iter().chain(chains).chain(others).collect();
        for (name, kind) in &all {
            let pem = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(pem.starts_with(&format!("-----BEGIN {kind}-----")), "{pem}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), all.len());
    }
}

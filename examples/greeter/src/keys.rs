//! What an authority would issue: certificates, keys and tokens, for this example to run anywhere.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::{Failure, token};

/// The name in the replicas' certificate: clients expect it whatever address they call.
pub(crate) const SERVER_NAME: &str = "greeter";
/// Who issues tokens.
pub(crate) const ISSUER: &str = "https://issuer.example";
/// For whom they are.
pub(crate) const AUDIENCE: &str = "greeter.Greeter";
/// The scope that a greeting needs.
pub(crate) const SCOPE: &str = "greet";

/// Names of the files in the folder.
pub(crate) mod file {
    /// Whom clients trust.
    pub(crate) const AUTHORITY: &str = "authority.pem";
    /// The replicas' certificate.
    pub(crate) const CERTIFICATE: &str = "server.pem";
    /// Its key.
    pub(crate) const KEY: &str = "server.key";
    /// What tokens are checked with.
    pub(crate) const TOKEN_KEYS: &str = "jwks.json";
    /// What tokens are signed with. Only the issuer has it.
    pub(crate) const SIGNING_KEY: &str = "issuer.key";
    /// The token that clients send if they are not told of another.
    pub(crate) const TOKEN: &str = "ada.token";
}

/// Flags of `greeter keys`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder, made where it is not there
    #[arg(default_value = "keys")]
    folder: PathBuf,
    /// Further names and addresses in the replicas' certificate
    #[arg(long = "name")]
    names: Vec<String>,
}

/// Makes all files; what is there is replaced, so that tokens by the key before are good no more.
pub(crate) fn make(args: &Args) -> Result<(), Failure> {
    let folder = &args.folder;
    fs::create_dir_all(folder).map_err(|error| told(folder, &error))?;
    certificates(folder, &args.names)?;
    tokens(folder)?;
    let folder = folder.display();
    println!("{folder}: certificates, keys and tokens; the tokens are good for an hour");
    Ok(())
}

/// An authority, whose own key is forgotten, and a certificate by it.
fn certificates(folder: &Path, names: &[String]) -> Result<(), Failure> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "Authority of the greeter example");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    let certificate = authority.self_signed(&authority_key)?;
    write(folder, file::AUTHORITY, &certificate.pem())?;

    let own = [SERVER_NAME, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let server = CertificateParams::new([own.as_slice(), names].concat())?;
    let key = KeyPair::generate()?;
    let issued = server.signed_by(&key, &Issuer::new(authority, authority_key))?;
    write(folder, file::CERTIFICATE, &issued.pem())?;
    write_secret(folder, file::KEY, &key.serialize_pem())
}

/// A key that signs tokens, its public half, and two tokens, of which one lacks the scope.
fn tokens(folder: &Path) -> Result<(), Failure> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?.serialize_pem();
    write_secret(folder, file::SIGNING_KEY, &key)?;
    write(folder, file::TOKEN_KEYS, &token::signing_key(folder)?.to_jwks())?;
    for (subject, scope) in [("ada", SCOPE), ("ben", "look")] {
        token::write(folder, subject, scope, token::LIFETIME)?;
    }
    Ok(())
}

/// Writes what everybody may read.
fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|error| told(&path, &error))
}

/// Writes what only its owner may read, from the first byte on.
pub(crate) fn write_secret(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = folder.join(name);
    let written = match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes())),
    };
    written.map_err(|error| told(&path, &error))
}

pub(crate) fn told(path: &Path, error: &io::Error) -> Failure {
    format!("{}: {error}", path.display()).into()
}

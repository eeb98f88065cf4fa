//! Tokens, as an issuer would make them for those who may call.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gannet::auth::SigningKey;
use serde_json::json;

use crate::Failure;
use crate::keys::{AUDIENCE, ISSUER, SCOPE, file, told, write_secret};

/// How long tokens are good, unless it is said.
pub(crate) const LIFETIME: Duration = Duration::from_secs(3_600);
/// Which key it was, for replicas that know several.
const KEY_ID: &str = "2026-11";

/// Flags of `greeter token`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who may call with it; the file is NAME.token
    #[arg(default_value = "ada")]
    name: String,
    /// What it permits
    #[arg(long, default_value = SCOPE)]
    scope: String,
    /// How long it is good, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "3600")]
    lifetime: NonZeroU32,
    /// The folder that `greeter keys` has made
    #[arg(long, default_value = "keys")]
    keys: PathBuf,
}

/// Makes one; what is there of this name is replaced.
pub(crate) fn issue(args: &Args) -> Result<(), Failure> {
    let lifetime = Duration::from_secs(args.lifetime.get().into());
    let file = write(&args.keys, &args.name, &args.scope, lifetime)?;
    println!("{}: a token that is good for {} s", file.display(), lifetime.as_secs());
    Ok(())
}

/// Makes a token with the issuer's key, in the same folder.
pub(crate) fn write(
    folder: &Path,
    subject: &str,
    scope: &str,
    lifetime: Duration,
) -> Result<PathBuf, Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "scope": scope,
        "iat": now.as_secs(), "exp": (now + lifetime).as_secs(),
    });
    let name = format!("{subject}.token");
    write_secret(folder, &name, &signing_key(folder)?.sign(&claims)?)?;
    Ok(folder.join(name))
}

/// The issuer's key.
pub(crate) fn signing_key(folder: &Path) -> Result<SigningKey, Failure> {
    let path = folder.join(file::SIGNING_KEY);
    let pem = std::fs::read(&path).map_err(|error| told(&path, &error))?;
    Ok(SigningKey::from_pem(pem)?.with_key_id(KEY_ID))
}

//! The certificate of servers that are measured under TLS: for `localhost`, its own authority.

use std::path::{Path, PathBuf};

use crate::exec::{self, Result};

/// Makes a new one.
pub(super) fn make() -> Result {
    write_into(&folder())
}

/// The certificate, in PEM.
pub(super) fn file() -> PathBuf {
    folder().join("certificate.pem")
}

/// Its key, in PEM.
pub(super) fn key_file() -> PathBuf {
    folder().join("key.pem")
}

fn folder() -> PathBuf {
    exec::root().join("target/bench/tls")
}

fn write_into(folder: &Path) -> Result {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.map_err(|error| format!("cannot make a certificate: {error}"))?;
    let pems =
        [("certificate.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())];
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(told)?;
    for (name, pem) in pems {
        std::fs::write(folder.join(name), pem).map_err(told)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_its_key_are_made() {
        let folder = tempfile::tempdir().unwrap();
        write_into(&folder.path().join("tls")).unwrap();
        for (file, kind) in [(file(), "CERTIFICATE"), (key_file(), "PRIVATE KEY")] {
            let name = file.file_name().unwrap();
            let pem = std::fs::read_to_string(folder.path().join("tls").join(name)).unwrap();
            assert!(pem.starts_with(&format!("-----BEGIN {kind}-----")), "{pem}");
        }
    }
}

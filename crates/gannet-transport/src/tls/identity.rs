//! Certificates with their key, and certificates that are trusted; both read from PEM.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};

use super::TlsError;

/// A certificate chain, the leaf first, and its private key.
pub struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// Where the chain and the key are read again.
    files: Option<Box<(PathBuf, PathBuf)>>,
}

impl Identity {
    /// Reads a chain and a key (PKCS #8, PKCS #1 or SEC1) from PEM text.
    ///
    /// # Errors
    /// Where either holds none, or is no PEM.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Identity, TlsError> {
        Identity::read("the certificate chain", chain.as_ref(), "the private key", key.as_ref())
    }

    /// Reads a chain and a key from PEM files, which may be one and the same. They can be followed:
    /// see `reload_every` of the builders.
    ///
    /// # Errors
    /// Names the file that cannot be read, or holds no certificate or key.
    pub fn from_pem_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Identity, TlsError> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        let files = Some(Box::new((chain.to_owned(), key.to_owned())));
        let (chain_bytes, key_bytes) = (read_file(chain)?, read_file(key)?);
        let (chain, key) = (chain.display().to_string(), key.display().to_string());
        let read = Identity::read(&chain, &chain_bytes, &key, &key_bytes)?;
        Ok(Identity { files, ..read })
    }

    /// The same from the same files, as they are now.
    pub(super) fn reread(&self) -> Result<Identity, TlsError> {
        match &self.files {
            Some(files) => Identity::from_pem_files(&files.0, &files.1),
            None => Ok(self.clone()),
        }
    }

    /// What cannot be used of it, and why.
    pub(super) fn unusable(&self, error: rustls::Error) -> TlsError {
        let problem = match &self.files {
            Some(files) => format!(
                "the certificate in {} and the key in {} cannot be used together",
                files.0.display(),
                files.1.display(),
            ),
            None => "the certificate and its key cannot be used".to_owned(),
        };
        TlsError::with_source(problem, error)
    }

    fn read(
        chain_name: &str,
        chain: &[u8],
        key_name: &str,
        key: &[u8],
    ) -> Result<Identity, TlsError> {
        let chain = certificates(chain_name, chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            if CertificateDer::from_pem_slice(key).is_ok() {
                let told = "holds a certificate, where a private key is wanted";
                return TlsError::new(format!("{key_name} {told}"));
            }
            TlsError::with_source(format!("{key_name} holds no private key in PEM"), error)
        })?;
        Ok(Identity { chain, key, files: None })
    }
}

impl Clone for Identity {
    fn clone(&self) -> Identity {
        let (chain, files) = (self.chain.clone(), self.files.clone());
        Identity { chain, key: self.key.clone_key(), files }
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Identity) -> bool {
        self.chain == other.chain && self.key.secret_der() == other.key.secret_der()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// The certificate authorities that are trusted.
#[derive(Clone)]
pub struct Roots {
    pub(super) store: Arc<RootCertStore>,
    /// Where they are read again.
    file: Option<PathBuf>,
}

impl Roots {
    /// Those that the operating system trusts now. Where `SSL_CERT_FILE` or `SSL_CERT_DIR` is set,
    /// they name the files, as for OpenSSL.
    ///
    /// # Errors
    /// Where it has none that can be read.
    pub fn system() -> Result<Roots, TlsError> {
        let mut found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(found.certs);
        if added > 0 {
            return Ok(Roots { store: Arc::new(store), file: None });
        }
        let problem = "this system has no trusted certificates (on Debian: ca-certificates)";
        Err(match found.errors.pop() {
            Some(error) => TlsError::with_source(problem, error),
            None => TlsError::new(problem),
        })
    }

    /// Those in a PEM text.
    ///
    /// # Errors
    /// Where it holds no certificate, or one that cannot be an authority's.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Roots, TlsError> {
        Roots::read("the text of trusted certificates", pem.as_ref())
    }

    /// Those in a PEM file, which can be followed: see `reload_every` of the builders.
    ///
    /// # Errors
    /// Names the file.
    pub fn from_pem_file(path: impl AsRef<Path>) -> Result<Roots, TlsError> {
        let path = path.as_ref();
        let read = Roots::read(&path.display().to_string(), &read_file(path)?)?;
        Ok(Roots { file: Some(path.to_owned()), ..read })
    }

    /// The same from the same file, as it is now.
    pub(super) fn reread(&self) -> Result<Roots, TlsError> {
        match &self.file {
            Some(file) => Roots::from_pem_file(file),
            None => Ok(self.clone()),
        }
    }

    fn read(name: &str, pem: &[u8]) -> Result<Roots, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(name, pem)? {
            store.add(certificate).map_err(|error| {
                TlsError::with_source(format!("{name} holds a certificate of no use"), error)
            })?;
        }
        Ok(Roots { store: Arc::new(store), file: None })
    }
}

impl PartialEq for Roots {
    fn eq(&self, other: &Roots) -> bool {
        self.store.roots == other.store.roots
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("certificates", &self.store.len()).finish()
    }
}

fn certificates(name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| TlsError::with_source(format!("{name} is not PEM"), error))?;
    if read.is_empty() && PrivateKeyDer::from_pem_slice(pem).is_ok() {
        let told = "holds a private key, where certificates are wanted";
        return Err(TlsError::new(format!("{name} {told}")));
    }
    if read.is_empty() {
        return Err(TlsError::new(format!("{name} holds no certificate in PEM")));
    }
    Ok(read)
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path)
        .map_err(|error| TlsError::with_source(format!("cannot read {}", path.display()), error))
}

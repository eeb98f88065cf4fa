//! Certificate revocation lists (RFC 5280 section 5).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::CertificateRevocationListDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::TlsError;
use super::identity::read_file;

/// Certificate revocation lists, against which a peer's whole chain is checked.
///
/// Every issuer in the chain must have a list here, or the peer is refused, unless
/// [`allow_unknown`](Self::allow_unknown) is on.
#[derive(Clone, PartialEq)]
pub struct Crls {
    pub(super) lists: Arc<[CertificateRevocationListDer<'static>]>,
    pub(super) allows_unknown: bool,
    pub(super) refuses_outdated: bool,
    source: Source,
}

/// Where they are read again.
#[derive(Clone, PartialEq)]
enum Source {
    Memory,
    File(PathBuf),
    Folder(PathBuf),
}

impl Crls {
    /// Those in a PEM text.
    ///
    /// # Errors
    /// Where it holds none.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Crls, TlsError> {
        let mut lists = Vec::new();
        read("the revocation lists", pem.as_ref(), &mut lists)?;
        Crls::new(lists, Source::Memory, "the PEM")
    }

    /// Those in a PEM file.
    ///
    /// # Errors
    /// Names the file.
    pub fn from_pem_file(path: impl AsRef<Path>) -> Result<Crls, TlsError> {
        let path = path.as_ref();
        let mut lists = Vec::new();
        read(&path.display().to_string(), &read_file(path)?, &mut lists)?;
        Crls::new(lists, Source::File(path.to_owned()), &path.display().to_string())
    }

    /// Those in all files of a folder, but not in folders within. Files without a list are passed
    /// over, and a list that is there twice counts once; so a folder of OpenSSL's, with a link for
    /// each hash, will do.
    ///
    /// # Errors
    /// Names the folder or file that cannot be read or is broken, or the folder without a list.
    pub fn from_pem_folder(path: impl AsRef<Path>) -> Result<Crls, TlsError> {
        let path = path.as_ref();
        let failed = |error| {
            TlsError::with_source(format!("cannot read the folder {}", path.display()), error)
        };
        let mut lists = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if file.is_file() {
                read(&file.display().to_string(), &read_file(&file)?, &mut lists)?;
            }
        }
        // The order of a folder is not always the same, and is no change.
        lists.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
        lists.dedup();
        Crls::new(lists, Source::Folder(path.to_owned()), &path.display().to_string())
    }

    fn new(
        lists: Vec<CertificateRevocationListDer<'static>>,
        source: Source,
        name: &str,
    ) -> Result<Crls, TlsError> {
        if lists.is_empty() {
            return Err(TlsError::new(format!("{name} holds no revocation list in PEM")));
        }
        Ok(Crls { lists: lists.into(), allows_unknown: false, refuses_outdated: false, source })
    }

    /// Accepts certificates for whose issuer there is no list. Without this they are refused.
    #[must_use]
    pub fn allow_unknown(self) -> Crls {
        Crls { allows_unknown: true, ..self }
    }

    /// Refuses certificates whose issuer's list is past its `nextUpdate`. Without this an old list
    /// counts as a new one.
    #[must_use]
    pub fn refuse_outdated(self) -> Crls {
        Crls { refuses_outdated: true, ..self }
    }

    /// The same from the same place, as it is now.
    pub(super) fn reread(&self) -> Result<Crls, TlsError> {
        let lists = match &self.source {
            Source::Memory => Arc::clone(&self.lists),
            Source::File(path) => Crls::from_pem_file(path)?.lists,
            Source::Folder(path) => Crls::from_pem_folder(path)?.lists,
        };
        Ok(Crls { lists, ..self.clone() })
    }
}

impl fmt::Debug for Crls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crls").field("lists", &self.lists.len()).finish_non_exhaustive()
    }
}

fn read(
    name: &str,
    pem: &[u8],
    lists: &mut Vec<CertificateRevocationListDer<'static>>,
) -> Result<(), TlsError> {
    for list in CertificateRevocationListDer::pem_slice_iter(pem) {
        lists.push(
            list.map_err(|error| TlsError::with_source(format!("{name} is not PEM"), error))?,
        );
    }
    Ok(())
}

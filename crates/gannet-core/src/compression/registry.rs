//! [`Compressors`]: which encodings a server or a channel knows.

use std::fmt;
use std::num::NonZeroU8;
use std::sync::Arc;

use super::{Compressor, Encoding};
use crate::limits::COMPRESSORS_MAX;

/// The encodings that a server or a channel knows, besides
/// [`IDENTITY`](Encoding::IDENTITY). A value that is shared when it is cloned; nothing is
/// registered anywhere else.
///
/// ```
/// use gannet_core::compression::Compressors;
/// assert!(Compressors::new().is_empty());
/// ```
#[derive(Clone, Default)]
pub struct Compressors(Option<Arc<Registry>>);

#[derive(Clone)]
struct Registry {
    codecs: Vec<Arc<dyn Compressor>>,
    /// The value of `grpc-accept-encoding`.
    accepted: String,
}

/// Which one of a [`Compressors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecId(NonZeroU8);

/// Some of a [`Compressors`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodecSet(u16);

impl Compressors {
    /// None.
    pub const fn new() -> Compressors {
        Compressors(None)
    }

    /// Those that are built in: `gzip` and `deflate` with the cargo feature `gzip`, `zstd` with the
    /// feature `zstd`.
    pub fn built_in() -> Compressors {
        let all = Compressors::new();
        #[cfg(feature = "gzip")]
        let all = all.with(super::Gzip::new()).with(super::Deflate::new());
        #[cfg(feature = "zstd")]
        let all = all.with(super::Zstd::new());
        all
    }

    /// These and one more, in place of one with the same name.
    ///
    /// # Panics
    ///
    /// Where it is called `identity`, and for more than 16.
    #[must_use]
    pub fn with(self, compressor: impl Compressor) -> Compressors {
        let encoding = compressor.encoding();
        assert!(!encoding.is_identity(), "identity is no compression");
        let compressor: Arc<dyn Compressor> = Arc::new(compressor);
        let mut codecs = self.0.map(|registry| registry.codecs.clone()).unwrap_or_default();
        match codecs.iter_mut().find(|known| known.encoding() == encoding) {
            Some(known) => *known = compressor,
            None => codecs.push(compressor),
        }
        assert!(codecs.len() <= COMPRESSORS_MAX, "no more than {COMPRESSORS_MAX} compressors");
        let mut accepted = Encoding::IDENTITY.name().to_owned();
        for codec in &codecs {
            accepted.push(',');
            accepted.push_str(codec.encoding().name());
        }
        Compressors(Some(Arc::new(Registry { codecs, accepted })))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The encodings, in the order in which they were added.
    pub fn encodings(&self) -> impl Iterator<Item = Encoding> + '_ {
        self.codecs().iter().map(|codec| codec.encoding())
    }

    /// The value of `grpc-accept-encoding`: `identity` and the names of all.
    pub fn accepted(&self) -> &str {
        self.0.as_ref().map_or(Encoding::IDENTITY.name(), |registry| &registry.accepted)
    }

    /// The one with this name.
    pub fn find(&self, name: &[u8]) -> Option<CodecId> {
        let at = self.codecs().iter().position(|c| c.encoding().name().as_bytes() == name)?;
        let nth = u8::try_from(at + 1).ok()?;
        NonZeroU8::new(nth).map(CodecId)
    }

    /// The one with an id from [`find`](Self::find).
    pub fn codec(&self, id: CodecId) -> Option<&Arc<dyn Compressor>> {
        self.codecs().get(usize::from(id.0.get()) - 1)
    }

    /// Those that a value of `grpc-accept-encoding` lists.
    pub fn listed(&self, accepted: &[u8]) -> CodecSet {
        let names = accepted.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let known = names.filter_map(|name| self.find(name));
        known.fold(CodecSet::default(), |set, id| CodecSet(set.0 | id.bit()))
    }

    fn codecs(&self) -> &[Arc<dyn Compressor>] {
        self.0.as_ref().map_or(&[], |registry| &registry.codecs)
    }
}

impl CodecId {
    /// As a number that is not 0.
    pub fn number(self) -> u8 {
        self.0.get()
    }

    /// From [`number`](Self::number).
    pub fn from_number(number: u8) -> Option<CodecId> {
        NonZeroU8::new(number).map(CodecId)
    }

    fn bit(self) -> u16 {
        1_u16.checked_shl(u32::from(self.0.get()) - 1).unwrap_or(0)
    }
}

impl CodecSet {
    /// Whether it is in the set.
    pub fn has(self, id: CodecId) -> bool {
        self.0 & id.bit() != 0
    }

    /// What is in either.
    #[must_use]
    pub fn and(self, other: CodecSet) -> CodecSet {
        CodecSet(self.0 | other.0)
    }

    /// As bits.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// From [`bits`](Self::bits).
    pub fn from_bits(bits: u16) -> CodecSet {
        CodecSet(bits)
    }
}

impl fmt::Debug for Compressors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.encodings()).finish()
    }
}

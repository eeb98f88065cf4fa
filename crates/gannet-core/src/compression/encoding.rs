//! [`Encoding`]: the name of a compression, as `grpc-encoding` has it.

use std::fmt;

/// The name of a compression.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding(&'static str);

impl Encoding {
    /// No compression.
    pub const IDENTITY: Encoding = Encoding("identity");
    /// RFC 1952. What every gRPC implementation has.
    pub const GZIP: Encoding = Encoding("gzip");
    /// RFC 1950 (zlib), which gRPC calls `deflate` as HTTP does. C-core has it.
    pub const DEFLATE: Encoding = Encoding("deflate");
    /// RFC 8878. Between Rust peers; others have it as an addition at most.
    pub const ZSTD: Encoding = Encoding("zstd");

    /// An encoding of an application's own.
    ///
    /// # Panics
    ///
    /// Where the name is empty, or has other characters than lower case letters, digits and
    /// `-._+`: at compile time for a constant.
    pub const fn new(name: &'static str) -> Encoding {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty(), "an encoding has a name");
        let mut at = 0;
        while at < bytes.len() {
            let good = matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'+');
            assert!(good, "encodings are named with lower case letters, digits and -._+");
            at += 1;
        }
        Encoding(name)
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Whether it is [`IDENTITY`](Self::IDENTITY).
    pub fn is_identity(self) -> bool {
        self == Encoding::IDENTITY
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoding({})", self.0)
    }
}

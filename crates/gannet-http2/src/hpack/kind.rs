//! What one field is to HTTP/2: the verdict on it by itself (RFC 9113, sections 8.2 and 8.3). Rules
//! about whole lists are not checked here.

/// What a field is to HTTP/2. Computed when a literal is decoded and kept in the table entry, so
/// that validation costs one load.
///
/// Exhaustive on purpose: whoever validates a header list must think about each kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum FieldKind {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Authority,
    /// `:path`
    Path,
    /// `:protocol` (RFC 8441)
    Protocol,
    /// `:status`; the value is not checked to be a number
    Status,
    /// A well-formed field without meaning to HTTP/2.
    Regular,
    /// `content-length`; the value is not checked to be a number
    ContentLength,
    /// `host`
    Host,
    /// `cookie`
    Cookie,
    /// `te: trailers`, the only legal use of `te`
    TeTrailers,
    /// `connection`, `keep-alive`, `proxy-connection`, `transfer-encoding`, `upgrade`, or `te` with
    /// a value other than `trailers`: forbidden (RFC 9113, section 8.2.2)
    ConnectionSpecific,
    /// A name that starts with a colon and is none of the above
    UnknownPseudo,
    /// An empty name, a name that is not a lower-case token, or a value with CR, LF or NUL anywhere
    /// or SP or HTAB at either end (RFC 9113, section 8.2.1)
    Malformed,
}

impl FieldKind {
    /// The kind of the field `name: value`.
    #[must_use]
    pub fn of(name: &[u8], value: &[u8]) -> Self {
        Self::of_name(name).with_value(value)
    }

    /// Whether this is a pseudo-header field, known or not.
    #[inline]
    #[must_use]
    pub const fn is_pseudo(self) -> bool {
        matches!(
            self,
            Self::Method
                | Self::Scheme
                | Self::Authority
                | Self::Path
                | Self::Protocol
                | Self::Status
                | Self::UnknownPseudo
        )
    }

    /// The kind as far as the name decides it: `te` counts as [`FieldKind::TeTrailers`] until
    /// [`FieldKind::with_value`] has seen the value.
    pub(super) fn of_name(name: &[u8]) -> Self {
        if name.first() == Some(&b':') {
            return match name {
                b":method" => Self::Method,
                b":scheme" => Self::Scheme,
                b":authority" => Self::Authority,
                b":path" => Self::Path,
                b":protocol" => Self::Protocol,
                b":status" => Self::Status,
                _ => Self::UnknownPseudo,
            };
        }
        if name.is_empty() || has_class(name, NOT_NAME) {
            return Self::Malformed;
        }
        match name {
            b"content-length" => Self::ContentLength,
            b"host" => Self::Host,
            b"cookie" => Self::Cookie,
            b"te" => Self::TeTrailers,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => Self::ConnectionSpecific,
            _ => Self::Regular,
        }
    }

    /// Completes the verdict of [`FieldKind::of_name`] with the value.
    #[inline]
    pub(super) fn with_value(self, value: &[u8]) -> Self {
        let edge_is_space =
            |byte: Option<&u8>| byte.is_some_and(|byte| CLASS[usize::from(*byte)] & SPACE != 0);
        if has_class(value, NOT_VALUE)
            || edge_is_space(value.first())
            || edge_is_space(value.last())
        {
            Self::Malformed
        } else if self == Self::TeTrailers && !value.eq_ignore_ascii_case(b"trailers") {
            Self::ConnectionSpecific
        } else {
            self
        }
    }
}

/// Classes of bytes, as bits of [`CLASS`].
const NOT_NAME: u8 = 1;
const NOT_VALUE: u8 = 2;
const SPACE: u8 = 4;

#[inline]
fn has_class(bytes: &[u8], class: u8) -> bool {
    bytes.iter().fold(0, |seen, byte| seen | CLASS[usize::from(*byte)]) & class != 0
}

static CLASS: [u8; 256] = class_table();

/// Names: the token characters of RFC 9110, section 5.6.2, without upper case. Values: anything but
/// what RFC 9113, section 8.2.1, forbids.
const fn class_table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        let is_name = matches!(
            byte,
            b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+'
                | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        let mut class = 0;
        if !is_name {
            class |= NOT_NAME;
        }
        if matches!(byte, b'\0' | b'\r' | b'\n') {
            class |= NOT_VALUE;
        }
        if matches!(byte, b' ' | b'\t') {
            class |= SPACE;
        }
        table[byte as usize] = class;
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

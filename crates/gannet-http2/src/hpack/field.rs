//! Header fields as the layer above sees them: tags, and the arena of one decoded list.

use core::fmt;

use super::kind::FieldKind;

/// What RFC 7541, section 4.1, adds to the length of name and value for each field.
pub const FIELD_OVERHEAD_BYTES: u32 = 32;

/// What the layer above made of a field, computed once when the field enters the dynamic table.
/// Apart from [`FieldTag::ELIDE`] the bits belong to the [`FieldClassifier`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct FieldTag(pub u32);

impl FieldTag {
    /// No tag.
    pub const NONE: Self = Self(0);

    /// With this bit set the tag says everything: the bytes of name and value are not copied into
    /// the [`FieldBlock`], where both read as empty. They still count towards the limits.
    ///
    /// Not for `:method`, `:status`, `:authority`, `host` and `content-length`: the connection
    /// reads their values.
    pub const ELIDE: u32 = 1 << 31;

    /// Whether [`FieldTag::ELIDE`] is set.
    #[inline]
    #[must_use]
    pub const fn is_elided(self) -> bool {
        self.0 & Self::ELIDE != 0
    }
}

/// Gives fields their tags. The tag of a field is computed once and kept for as long as the field
/// lives in a table, so it must depend on name and value alone, and a [`Decoder`] must see the
/// same classifier in every call.
///
/// [`Decoder`]: super::Decoder
pub trait FieldClassifier: Send + Sync {
    /// The tag of one field. Not called for a field of kind [`FieldKind::Malformed`].
    fn classify(&self, name: &[u8], value: &[u8]) -> FieldTag;
}

/// The classifier that tags nothing.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoClassifier;

impl FieldClassifier for NoClassifier {
    fn classify(&self, _name: &[u8], _value: &[u8]) -> FieldTag {
        FieldTag::NONE
    }
}

/// One field of a [`FieldBlock`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// What the field is to HTTP/2.
    pub kind: FieldKind,
    /// What the layer above made of it.
    pub tag: FieldTag,
    /// The name; empty if the tag elides.
    pub name: &'a [u8],
    /// The value; empty if the tag elides.
    pub value: &'a [u8],
    /// The field came as a never-indexed literal, and must leave a proxy as one (RFC 7541,
    /// section 6.2.3). `Debug` hides the value of such a field, and that of `authorization` and the
    /// like, however it came.
    pub sensitive: bool,
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tag.is_elided() {
            return write!(f, "{:?}(tag {:#x})", self.kind, self.tag.0);
        }
        write!(f, "{:?}({}: ", self.kind, self.name.escape_ascii())?;
        match self.sensitive || is_secret(self.name) {
            true => f.write_str("<sensitive>)"),
            false => write!(f, "{})", self.value.escape_ascii()),
        }
    }
}

/// Whether the value of `name` is a secret by its nature, whatever a peer says of it: many a client
/// sends its token as an ordinary literal.
fn is_secret(name: &[u8]) -> bool {
    const SECRETS: [&[u8]; 4] =
        [b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"];
    SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret))
}

/// One decoded header list: an arena to be reused from block to block.
#[derive(Clone, Default)]
pub struct FieldBlock {
    /// Name and value of each field that is not elided, in order and without gaps.
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// 64 bits hold more than any block can make of its indexes.
    list_bytes: u64,
    over_limit: bool,
    stamp: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot {
    start: u32,
    name_len: u32,
    value_len: u32,
    tag: FieldTag,
    kind: FieldKind,
    sensitive: bool,
}

impl FieldBlock {
    /// The fields in the order of the wire.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'_>> + Clone {
        self.slots.iter().map(|slot| self.field_of(slot))
    }

    /// The field at `index`, counted from 0.
    #[inline]
    #[must_use]
    pub fn field(&self, index: usize) -> Option<Field<'_>> {
        self.slots.get(index).map(|slot| self.field_of(slot))
    }

    /// Kind and tag of each field: [`FieldBlock::iter`] for those who need no bytes.
    #[inline]
    pub fn tags(&self) -> impl ExactSizeIterator<Item = (FieldKind, FieldTag)> + Clone + '_ {
        self.slots.iter().map(|slot| (slot.kind, slot.tag))
    }

    /// The number of fields.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no field.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The size of the list by RFC 7541, section 4.1: the bytes of names and values plus
    /// [`FIELD_OVERHEAD_BYTES`] each. Counts elided fields, and those that were dropped because
    /// the block is over its limit; saturates.
    #[inline]
    #[must_use]
    pub fn list_bytes(&self) -> u32 {
        u32::try_from(self.list_bytes).unwrap_or(u32::MAX)
    }

    /// Whether a limit was exceeded. Then the fields are only the beginning of the list.
    #[inline]
    #[must_use]
    pub fn over_limit(&self) -> bool {
        self.over_limit
    }

    /// Empties the block. Keeps its memory for the next list, except what a usual list does not
    /// need (more than [`RETAINED_BYTES_MAX`] bytes or [`RETAINED_FIELDS_MAX`] fields).
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.slots.clear();
        if self.bytes.capacity() > RETAINED_BYTES_MAX {
            self.bytes = Vec::new();
        }
        if self.slots.capacity() > RETAINED_FIELDS_MAX {
            self.slots = Vec::new();
        }
        self.list_bytes = 0;
        self.over_limit = false;
        self.stamp = 0;
    }

    /// Names the contents, if that is not 0: of the blocks that one connection yields, two with the
    /// same stamp are the same list, so that what was made of one needs not be made of the other.
    /// Nor does the connection write such a list again into a block that it is given back with it:
    /// one of another connection's must not be given to it.
    #[inline]
    #[must_use]
    pub fn stamp(&self) -> u32 {
        self.stamp
    }

    /// Gives the list as it is a name that no other list has.
    #[inline]
    pub(crate) fn set_stamp(&mut self, stamp: u32) {
        self.stamp = stamp;
    }

    /// Makes this block a copy of `other`, in its own memory.
    #[inline]
    pub fn copy_from(&mut self, other: &FieldBlock) {
        self.clear();
        self.bytes.extend_from_slice(&other.bytes);
        self.slots.extend_from_slice(&other.slots);
        self.list_bytes = other.list_bytes;
        self.over_limit = other.over_limit;
        self.stamp = other.stamp;
    }

    /// Makes this block a copy of `other` without its elided fields, in its own memory, or in no
    /// more than it takes: for a list that is kept for long.
    pub fn copy_kept_from(&mut self, other: &FieldBlock) {
        self.clear();
        let kept = || other.slots.iter().filter(|slot| !slot.tag.is_elided());
        self.slots.reserve_exact(kept().count());
        self.slots.extend(kept());
        self.bytes.reserve_exact(other.bytes.len());
        self.bytes.extend_from_slice(&other.bytes);
        self.list_bytes = other.list_bytes;
        self.over_limit = other.over_limit;
    }

    /// Whether [`copy_kept_from`](Self::copy_kept_from) `other` would make what this is.
    #[must_use]
    pub fn is_kept_of(&self, other: &FieldBlock) -> bool {
        let kept = other.slots.iter().filter(|slot| !slot.tag.is_elided());
        self.over_limit == other.over_limit
            && self.list_bytes == other.list_bytes
            && self.bytes == other.bytes
            && self.slots.iter().eq(kept)
    }

    /// Appends a field by hand. A tag with [`FieldTag::ELIDE`] drops the bytes. A list beyond 4 GiB
    /// drops the field and marks the block as over its limit.
    pub fn push(&mut self, kind: FieldKind, tag: FieldTag, name: &[u8], value: &[u8]) {
        let bytes = field_bytes(name.len().saturating_add(value.len()));
        if bytes == u32::MAX || !self.admit(bytes, u32::MAX, u32::MAX) {
            self.over_limit = true;
            self.stamp = 0;
        } else {
            self.push_admitted(kind, tag, name, value);
        }
    }

    /// Counts a field of this size; `false` if it is not to be stored. While the limits stay the
    /// same, a list that was over them stays so: neither number goes down.
    #[inline]
    pub(super) fn admit(&mut self, bytes: u32, list_bytes_max: u32, fields_max: u32) -> bool {
        self.stamp = 0;
        self.list_bytes += u64::from(bytes);
        if self.list_bytes > u64::from(list_bytes_max) || self.slots.len() >= fields_max as usize {
            self.over_limit = true;
            return false;
        }
        true
    }

    /// Appends an elided field: only kind and tag. To be called after `admit` only.
    #[inline]
    pub(super) fn push_elided(&mut self, kind: FieldKind, tag: FieldTag) {
        self.slots.push(Slot { start: 0, name_len: 0, value_len: 0, tag, kind, sensitive: false });
    }

    /// Appends a field whose name and value lie apart. To be called after `admit` only.
    #[inline]
    pub(super) fn push_admitted(
        &mut self,
        kind: FieldKind,
        tag: FieldTag,
        name: &[u8],
        value: &[u8],
    ) {
        let start = self.bytes.len();
        if !tag.is_elided() {
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(value);
        }
        self.push_slot(kind, tag, start, name.len(), value.len(), false);
    }

    /// Appends a field that is not elided, and whose value follows its name. To be called after
    /// `admit` only.
    #[inline]
    pub(super) fn push_joined(
        &mut self,
        kind: FieldKind,
        tag: FieldTag,
        name_len: usize,
        joined: &[u8],
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(joined);
        self.push_slot(kind, tag, start, name_len, joined.len().saturating_sub(name_len), false);
    }

    /// The arena, for the decoder to build the next field's name and value at its end. What it
    /// leaves there belongs to no field until [`FieldBlock::push_tail`], or goes by
    /// [`FieldBlock::drop_tail`].
    #[inline]
    pub(super) fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes the bytes from `start` to the end of the arena a field. After `admit` only.
    #[inline]
    pub(super) fn push_tail(
        &mut self,
        kind: FieldKind,
        tag: FieldTag,
        start: usize,
        name_len: usize,
        sensitive: bool,
    ) {
        let value_len = self.bytes.len().saturating_sub(start).saturating_sub(name_len);
        if tag.is_elided() {
            self.bytes.truncate(start);
        }
        self.push_slot(kind, tag, start, name_len, value_len, sensitive);
    }

    /// Drops the bytes from `start` to the end of the arena.
    #[inline]
    pub(super) fn drop_tail(&mut self, start: usize) {
        self.bytes.truncate(start);
    }

    /// `admit` bounds the list to less than 4 GiB, and with it offset and lengths, so that the
    /// casts keep every bit.
    #[inline]
    #[allow(clippy::cast_possible_truncation)]
    fn push_slot(
        &mut self,
        kind: FieldKind,
        tag: FieldTag,
        start: usize,
        name_len: usize,
        value_len: usize,
        sensitive: bool,
    ) {
        let (name_len, value_len) = match tag.is_elided() {
            true => (0, 0),
            false => (name_len as u32, value_len as u32),
        };
        self.slots.push(Slot { start: start as u32, name_len, value_len, tag, kind, sensitive });
    }

    /// `get` and not an index expression: without the path to a panic the compiler drops the
    /// slices where a caller looks at kind and tag only.
    #[inline]
    fn field_of(&self, slot: &Slot) -> Field<'_> {
        let name_start = slot.start as usize;
        let value_start = name_start + slot.name_len as usize;
        let value_end = value_start + slot.value_len as usize;
        Field {
            kind: slot.kind,
            tag: slot.tag,
            name: self.bytes.get(name_start..value_start).unwrap_or_default(),
            value: self.bytes.get(value_start..value_end).unwrap_or_default(),
            sensitive: slot.sensitive,
        }
    }
}

impl fmt::Debug for FieldBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()?;
        match self.over_limit {
            true => f.write_str(" (over limit)"),
            false => Ok(()),
        }
    }
}

/// The capacity, in bytes, that [`FieldBlock::clear`] keeps.
pub const RETAINED_BYTES_MAX: usize = 8 * 1024;

/// The capacity, in fields, that [`FieldBlock::clear`] keeps.
pub const RETAINED_FIELDS_MAX: usize = 128;

/// The size of a field by RFC 7541, section 4.1, from the bytes of name and value; saturates.
#[inline]
pub(super) fn field_bytes(joined_len: usize) -> u32 {
    u32::try_from(joined_len).unwrap_or(u32::MAX).saturating_add(FIELD_OVERHEAD_BYTES)
}

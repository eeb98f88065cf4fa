//! Header blocks to fields (RFC 7541, sections 3 and 6).
//!
//! Strict: whatever the RFC calls a decoding error is one. Bounded: the list by [`Limits`], the
//! table by the size that we announced, integers to 32 bits; strings grow by at most 8/5 over the
//! block, whose length is the caller's to bound.

use core::fmt;

use super::dynamic_table::DynamicTable;
use super::error::HpackError;
use super::field::{FieldBlock, FieldClassifier, FieldTag, field_bytes};
use super::kind::FieldKind;
use super::static_table::{self, STATIC_LEN, StaticField};
use super::{huffman, integer};

/// The bounds on one header list. The fields that exceed them are dropped, see [`Decoder::decode`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The sum of the bytes of all names and values plus 32 for each field (RFC 7541, section 4.1).
    pub header_list_bytes_max: u32,
    /// The number of fields.
    pub fields_max: u32,
}

impl Default for Limits {
    /// 16 KiB and 128 fields.
    fn default() -> Self {
        Self { header_list_bytes_max: 16 * 1024, fields_max: 128 }
    }
}

/// The decoding half of one connection's header compression.
///
/// Give it every header block of the connection in the order of the wire, also those of streams
/// that are already reset: each may change the table.
pub struct Decoder {
    table: DynamicTable<Known>,
    limits: Limits,
    /// The largest table size that the peer may choose.
    table_bytes_max: u32,
    /// The next block must begin with an update to at most this size.
    update_bytes_max: Option<u32>,
    /// The tags of the static table's first entries, those with values, as far as `static_tagged`
    /// has their bits, by index.
    static_tags: [FieldTag; STATIC_TAGS],
    static_tagged: u64,
    /// How often the table changed other than by an insertion: its size was set, or a field larger
    /// than all of it emptied it. Each counts as one insertion in `version`.
    changes: u64,
}

/// The entries 1 to 16 of the static table are those with values.
const STATIC_TAGS: usize = 17;

/// What is known about an entry of the dynamic table.
#[derive(Clone, Copy)]
struct Known {
    tag: FieldTag,
    kind: FieldKind,
    /// The kind by the name alone, for literals that refer to the entry's name.
    name_kind: FieldKind,
}

/// What a literal does beyond carrying a field (sections 6.2.1 to 6.2.3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Literal {
    Indexed,
    NotIndexed,
    NeverIndexed,
}

impl Decoder {
    /// A decoder with an empty table.
    ///
    /// `table_bytes_max` is the limit in force at the first block. On an HTTP/2 connection that is
    /// [`TABLE_BYTES_DEFAULT`], whatever our SETTINGS say, until they are acknowledged.
    ///
    /// [`TABLE_BYTES_DEFAULT`]: super::TABLE_BYTES_DEFAULT
    #[must_use]
    pub fn new(table_bytes_max: u32, limits: Limits) -> Self {
        Self {
            table: DynamicTable::new(table_bytes_max.min(super::TABLE_BYTES_DEFAULT)),
            limits,
            table_bytes_max,
            update_bytes_max: None,
            static_tags: [FieldTag::NONE; STATIC_TAGS],
            static_tagged: 0,
            changes: 0,
        }
    }

    /// Changes the largest table size that the peer may choose: to be called when the peer
    /// acknowledges a SETTINGS frame with our SETTINGS_HEADER_TABLE_SIZE.
    ///
    /// If this is less than the size in force, the peer's next block must begin with an update to
    /// no more than the smallest limit since its last (RFC 7541, section 4.2; RFC 9113, section
    /// 4.3.1).
    pub fn set_table_bytes_max(&mut self, table_bytes_max: u32) {
        self.table_bytes_max = table_bytes_max;
        if table_bytes_max < self.table.size_max() {
            let smallest = self.update_bytes_max.unwrap_or(u32::MAX).min(table_bytes_max);
            self.update_bytes_max = Some(smallest);
        }
    }

    /// Changes the bounds on the lists to come.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.changes += 1;
    }

    /// The bytes in use in the dynamic table (RFC 7541, section 4.1).
    #[must_use]
    pub fn table_bytes(&self) -> u32 {
        self.table.size()
    }

    /// Changes whenever the same block could decode differently: `None` while a size update is due,
    /// otherwise equal as long as the tables are the same. A block that leaves it unchanged is a
    /// function of its bytes, so its result may be remembered under them.
    #[inline]
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        if self.update_bytes_max.is_some() {
            return None;
        }
        Some(self.table.inserted() + self.changes)
    }

    /// The fields in the dynamic table, newest first.
    #[cfg(test)]
    pub(super) fn table_fields(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.table.fields()
    }

    /// Decodes one whole header block (the fragments of HEADERS and CONTINUATION, joined) into
    /// `out`, which is cleared first.
    ///
    /// A list beyond the limits is not an error: the block is decoded to its end, because the table
    /// must stay in step with the peer's, but from the field on that exceeds them nothing is kept,
    /// and [`FieldBlock::over_limit`] says so.
    ///
    /// # Errors
    ///
    /// Every error is a connection error of type COMPRESSION_ERROR. `out` is then empty, and the
    /// decoder is of no further use.
    pub fn decode(
        &mut self,
        block: &[u8],
        out: &mut FieldBlock,
        classifier: &dyn FieldClassifier,
    ) -> Result<(), HpackError> {
        out.clear();
        let result = self.decode_fields(block, out, classifier);
        if result.is_err() {
            out.clear();
        }
        result
    }

    fn decode_fields(
        &mut self,
        block: &[u8],
        out: &mut FieldBlock,
        classifier: &dyn FieldClassifier,
    ) -> Result<(), HpackError> {
        let mut input = block;
        if self.update_bytes_max.is_some() || block.first().is_some_and(|first| is_update(*first)) {
            self.size_updates(&mut input)?;
        }
        while let Some((first, rest)) = input.split_first() {
            input = rest;
            if first & 0x80 != 0 {
                let index = integer::decode(*first, 7, &mut input)?;
                self.indexed(index, out, classifier)?;
                continue;
            }
            let (literal, index) = match first >> 4 {
                4..=7 => (Literal::Indexed, integer::decode(*first, 6, &mut input)?),
                2 | 3 => return Err(HpackError::SizeUpdateNotAtStart),
                1 => (Literal::NeverIndexed, integer::decode(*first, 4, &mut input)?),
                _ => (Literal::NotIndexed, integer::decode(*first, 4, &mut input)?),
            };
            self.literal(literal, index, &mut input, out, classifier)?;
        }
        Ok(())
    }

    /// Section 6.3, and that an update is due after a reduction of the limit.
    #[cold]
    fn size_updates(&mut self, input: &mut &[u8]) -> Result<(), HpackError> {
        let mut required = self.update_bytes_max.take();
        while let Some((first, rest)) = input.split_first()
            && is_update(*first)
        {
            *input = rest;
            let size = integer::decode(*first, 5, input)?;
            if size > self.table_bytes_max {
                return Err(HpackError::SizeUpdateTooLarge);
            }
            if required.take().is_some_and(|smallest| size > smallest) {
                return Err(HpackError::SizeUpdateMissing);
            }
            self.table.resize(size);
            self.changes += 1;
        }
        match required {
            Some(_) => Err(HpackError::SizeUpdateMissing),
            None => Ok(()),
        }
    }

    /// Section 6.1: the hot path.
    #[inline]
    fn indexed(
        &mut self,
        index: u32,
        out: &mut FieldBlock,
        classifier: &dyn FieldClassifier,
    ) -> Result<(), HpackError> {
        let Limits { header_list_bytes_max, fields_max } = self.limits;
        if let Some(age) = index.checked_sub(STATIC_LEN + 1) {
            let entry = self.table.entry(age).ok_or(HpackError::InvalidIndex)?;
            let Known { tag, kind, .. } = entry.meta;
            if !out.admit(entry.size(), header_list_bytes_max, fields_max) {
                return Ok(());
            }
            match tag.is_elided() {
                true => out.push_elided(kind, tag),
                false => out.push_joined(kind, tag, entry.name_len(), self.table.bytes_of(entry)),
            }
            return Ok(());
        }
        let field = static_table::entry(index).ok_or(HpackError::InvalidIndex)?;
        if out.admit(field.size, header_list_bytes_max, fields_max) {
            let tag = self.static_tag(index, field, classifier);
            match tag.is_elided() {
                true => out.push_elided(field.kind, tag),
                false => out.push_admitted(field.kind, tag, field.name, field.value),
            }
        }
        Ok(())
    }

    /// The tag of a static entry, computed at its first use where it has a value. One without is
    /// hardly ever a whole field.
    #[inline]
    fn static_tag(
        &mut self,
        index: u32,
        field: &StaticField,
        classifier: &dyn FieldClassifier,
    ) -> FieldTag {
        let bit = 1_u64.wrapping_shl(index);
        let Some(tag) = self.static_tags.get_mut(index as usize) else {
            return classifier.classify(field.name, field.value);
        };
        if self.static_tagged & bit == 0 {
            *tag = classifier.classify(field.name, field.value);
            self.static_tagged |= bit;
        }
        *tag
    }

    /// Section 6.2. Name and value are built in the arena of `out`, whether or not they stay. Not
    /// inlined, for the sake of the hot path.
    #[inline(never)]
    fn literal(
        &mut self,
        literal: Literal,
        index: u32,
        input: &mut &[u8],
        out: &mut FieldBlock,
        classifier: &dyn FieldClassifier,
    ) -> Result<(), HpackError> {
        let arena = out.arena();
        let start = arena.len();
        let name_kind = self.literal_name(index, input, arena)?;
        let name_len = arena.len() - start;
        let value_len = string(input, arena)?;

        let tail = arena.get(start..).unwrap_or_default();
        let (name, value) = tail.split_at_checked(name_len).unwrap_or_default();
        let kind = name_kind.with_value(value);
        let tag = match kind {
            FieldKind::Malformed => FieldTag::NONE,
            _ => classifier.classify(name, value),
        };
        if literal == Literal::Indexed {
            let inserted = self.table.insert(name, value, Known { tag, kind, name_kind });
            self.changes += u64::from(!inserted);
        }
        let Limits { header_list_bytes_max, fields_max } = self.limits;
        if out.admit(field_bytes(name_len + value_len), header_list_bytes_max, fields_max) {
            out.push_tail(kind, tag, start, name_len, literal == Literal::NeverIndexed);
        } else {
            out.drop_tail(start);
        }
        Ok(())
    }

    /// Appends a literal's name, from the tables or the block, and returns its kind.
    fn literal_name(
        &self,
        index: u32,
        input: &mut &[u8],
        arena: &mut Vec<u8>,
    ) -> Result<FieldKind, HpackError> {
        if index == 0 {
            let length = string(input, arena)?;
            let name = arena.get(arena.len() - length..).unwrap_or_default();
            return Ok(FieldKind::of_name(name));
        }
        if let Some(age) = index.checked_sub(STATIC_LEN + 1) {
            let (name, _, known) = self.table.field(age).ok_or(HpackError::InvalidIndex)?;
            arena.extend_from_slice(name);
            return Ok(known.name_kind);
        }
        // No entry of the static table has a kind that another value would change.
        let field = static_table::entry(index).ok_or(HpackError::InvalidIndex)?;
        arena.extend_from_slice(field.name);
        Ok(field.kind)
    }
}

impl fmt::Debug for Decoder {
    /// Sizes only: the table may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("entries", &self.table.len())
            .field("table_bytes", &self.table.size())
            .field("table_bytes_max", &self.table_bytes_max)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Default for Known {
    fn default() -> Self {
        Self { tag: FieldTag::NONE, kind: FieldKind::Malformed, name_kind: FieldKind::Malformed }
    }
}

/// Whether a representation with this first byte is a size update (section 6.3).
#[inline]
fn is_update(first: u8) -> bool {
    first & 0xe0 == 0x20
}

/// Appends a string literal (section 5.2) and returns its length.
#[inline]
fn string(input: &mut &[u8], out: &mut Vec<u8>) -> Result<usize, HpackError> {
    let (first, rest) = input.split_first().ok_or(HpackError::Truncated)?;
    *input = rest;
    let length = integer::decode(*first, 7, input)? as usize;
    let (text, rest) = input.split_at_checked(length).ok_or(HpackError::Truncated)?;
    *input = rest;
    if first & 0x80 != 0 {
        return huffman::decode(text, out);
    }
    out.extend_from_slice(text);
    Ok(length)
}

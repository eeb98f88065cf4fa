//! Header blocks that came before, byte for byte, while the compression tables stayed the same.
//!
//! Decoding is a function of a block's bytes and the tables. In steady state a client sends the
//! same few bytes for every call of a method, and a server for every reply: those are neither
//! decoded nor judged again, only compared. Blocks with a secret (never-indexed) field are not
//! remembered.

use super::message::Verdict;
use crate::hpack::{Decoder, FieldBlock};

/// Tells one state of a decoder's table from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableState {
    version: u64,
    /// A field that is larger than the table empties it and leaves the version as it was.
    bytes: u32,
}

impl TableState {
    /// `None` while the next block must change the table.
    #[inline]
    pub(super) fn of(decoder: &Decoder) -> Option<TableState> {
        Some(TableState { version: decoder.version()?, bytes: decoder.table_bytes() })
    }
}

/// The last few different blocks.
#[derive(Debug, Default)]
pub(super) struct Memo {
    entries: Vec<Entry>,
    /// The entry to be replaced next.
    next: usize,
    /// Names given to lists so far; see [`FieldBlock::stamp`].
    stamps_given: u32,
}

#[derive(Debug)]
struct Entry {
    /// The decoder's before and after.
    state: TableState,
    block: Vec<u8>,
    fields: FieldBlock,
    verdict: Verdict,
}

impl Memo {
    const ENTRIES_MAX: usize = 4;
    const BLOCK_BYTES_MAX: usize = 64;
    const LIST_BYTES_MAX: u32 = 1024;

    /// Copies what `block` decodes to into `fields`, if that is known.
    #[inline]
    pub(super) fn recall(
        &self,
        state: Option<TableState>,
        block: &[u8],
        fields: &mut FieldBlock,
    ) -> Option<Verdict> {
        let state = state?;
        let known = |entry: &&Entry| entry.state == state && entry.block == block;
        let entry = self.entries.iter().find(known)?;
        fields.copy_from(&entry.fields);
        Some(entry.verdict)
    }

    /// Remembers a block that left the decoder's table as it was.
    pub(super) fn remember(
        &mut self,
        state: TableState,
        block: &[u8],
        fields: &FieldBlock,
        verdict: Verdict,
    ) {
        let small = block.len() <= Self::BLOCK_BYTES_MAX
            && fields.list_bytes() <= Self::LIST_BYTES_MAX
            && !fields.over_limit();
        if !small || fields.iter().any(|field| field.sensitive) {
            return;
        }
        let stamp = self.next_stamp();
        if self.entries.len() < Self::ENTRIES_MAX {
            let (block, mut fields) = (block.to_vec(), fields.clone());
            fields.set_stamp(stamp);
            self.entries.push(Entry { state, block, fields, verdict });
            return;
        }
        let entry = &mut self.entries[self.next];
        self.next = (self.next + 1) % Self::ENTRIES_MAX;
        entry.state = state;
        entry.block.clear();
        entry.block.extend_from_slice(block);
        entry.fields.copy_from(fields);
        entry.fields.set_stamp(stamp);
        entry.verdict = verdict;
    }

    /// Forgets all. Names that were given out stay given.
    pub(super) fn release(&mut self) {
        *self = Memo { stamps_given: self.stamps_given, ..Memo::default() };
    }

    /// A name for a list; 0, which is none, once all were given out.
    fn next_stamp(&mut self) -> u32 {
        let next = self.stamps_given.checked_add(1);
        self.stamps_given = next.unwrap_or(u32::MAX);
        next.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::{Encoder, FieldKind, FieldTag, Indexing, Limits, NoClassifier};

    const STATE: TableState = TableState { version: 1, bytes: 0 };

    fn decode(decoder: &mut Decoder, block: &[u8]) -> FieldBlock {
        let mut fields = FieldBlock::default();
        decoder.decode(block, &mut fields, &NoClassifier).unwrap();
        fields
    }

    #[test]
    fn the_same_bytes_are_not_recalled_once_the_table_changed() {
        let mut encoder = Encoder::new(4096);
        let mut decoder = Decoder::new(4096, Limits::default());
        let mut block = |name: &[u8], value: &[u8]| {
            let mut out = Vec::new();
            encoder.begin_block(&mut out);
            encoder.field(&mut out, name, value, Indexing::Incremental);
            out
        };
        decode(&mut decoder, &block(b"a", b"1"));
        let repeated = block(b"a", b"1");
        let state = TableState::of(&decoder).unwrap();
        let fields = decode(&mut decoder, &repeated);
        assert_eq!(TableState::of(&decoder), Some(state), "an indexed field changes nothing");
        let mut memo = Memo::default();
        memo.remember(state, &repeated, &fields, Verdict::Trailers);

        let mut recalled = FieldBlock::default();
        let verdict = memo.recall(TableState::of(&decoder), &repeated, &mut recalled);
        assert_eq!(verdict, Some(Verdict::Trailers));
        assert_eq!(recalled.field(0), fields.field(0));

        decode(&mut decoder, &block(b"b", b"2"));
        assert_eq!(memo.recall(TableState::of(&decoder), &repeated, &mut recalled), None);
        assert_eq!(decode(&mut decoder, &repeated).field(0).unwrap().name, b"b");
    }

    #[test]
    fn at_most_four_blocks_none_of_them_large_or_secret() {
        let mut memo = Memo::default();
        let mut fields = FieldBlock::default();
        fields.push(FieldKind::Regular, FieldTag::NONE, b"a", b"1");
        for block in 0..10u8 {
            memo.remember(STATE, &[block], &fields, Verdict::Trailers);
        }
        let mut out = FieldBlock::default();
        let known = (0..10u8).filter(|b| memo.recall(Some(STATE), &[*b], &mut out).is_some());
        assert_eq!(known.collect::<Vec<_>>(), [6, 7, 8, 9]);
        memo.remember(STATE, &[0; 65], &fields, Verdict::Trailers);
        assert_eq!(memo.recall(Some(STATE), &[0; 65], &mut out), None);
        let mut encoder = Encoder::new(0);
        let mut secret = Vec::new();
        encoder.begin_block(&mut secret);
        encoder.field(&mut secret, b"authorization", b"x", Indexing::Never);
        let mut decoder = Decoder::new(4096, Limits::default());
        let fields = decode(&mut decoder, &secret);
        memo.remember(STATE, &secret, &fields, Verdict::Trailers);
        assert_eq!(memo.recall(Some(STATE), &secret, &mut out), None);
    }
}

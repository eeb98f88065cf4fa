//! Header blocks that came before, byte for byte, while the compression tables stayed the same.
//!
//! Decoding is a function of a block's bytes and the tables. In steady state a client sends the
//! same few bytes for every call of a method, and a server for every reply: those are neither
//! decoded nor judged again, only compared. Blocks with a secret (never-indexed) field are not
//! remembered.

use super::message::Verdict;
use crate::hpack::FieldBlock;

/// The last few different blocks.
#[derive(Debug, Default)]
pub(super) struct Memo {
    entries: Vec<Entry>,
    /// The entry to be replaced next.
    next: u8,
    /// Names given to lists so far; see [`FieldBlock::stamp`].
    stamps_given: u32,
}

#[derive(Debug)]
struct Entry {
    /// The decoder's before and after, see `Decoder::version`.
    version: u64,
    block: Vec<u8>,
    fields: FieldBlock,
    verdict: Verdict,
}

impl Memo {
    const ENTRIES_MAX: u8 = 4;
    const BLOCK_BYTES_MAX: usize = 64;
    const LIST_BYTES_MAX: u32 = 1024;

    /// Makes `fields` what `block` decodes to, if that is known: nothing needs to be copied where
    /// `fields` has its name already, left there by an earlier stream.
    #[inline]
    pub(super) fn recall(
        &self,
        version: Option<u64>,
        block: &[u8],
        fields: &mut FieldBlock,
    ) -> Option<Verdict> {
        let version = version?;
        let known = |entry: &&Entry| entry.version == version && entry.block == block;
        let entry = self.entries.iter().find(known)?;
        let stamp = entry.fields.stamp();
        if stamp == 0 || fields.stamp() != stamp {
            fields.copy_from(&entry.fields);
        }
        debug_assert!(fields.iter().eq(entry.fields.iter()), "a name stands for one list");
        Some(entry.verdict)
    }

    /// Remembers a block that left the decoder's table as it was.
    pub(super) fn remember(
        &mut self,
        version: u64,
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
        if self.entries.len() < usize::from(Self::ENTRIES_MAX) {
            let (block, mut fields) = (block.to_vec(), fields.clone());
            fields.set_stamp(stamp);
            self.entries.push(Entry { version, block, fields, verdict });
            return;
        }
        let entry = &mut self.entries[usize::from(self.next)];
        self.next = (self.next + 1) % Self::ENTRIES_MAX;
        entry.version = version;
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
    use crate::hpack::{Decoder, Encoder, FieldKind, FieldTag, Indexing, Limits, NoClassifier};

    const VERSION: u64 = 1;

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
        let version = decoder.version().unwrap();
        let fields = decode(&mut decoder, &repeated);
        assert_eq!(decoder.version(), Some(version), "an indexed field changes nothing");
        let mut memo = Memo::default();
        memo.remember(version, &repeated, &fields, Verdict::Trailers);

        let mut recalled = FieldBlock::default();
        let verdict = memo.recall(decoder.version(), &repeated, &mut recalled);
        assert_eq!(verdict, Some(Verdict::Trailers));
        assert_eq!(recalled.field(0), fields.field(0));

        decode(&mut decoder, &block(b"b", b"2"));
        assert_eq!(memo.recall(decoder.version(), &repeated, &mut recalled), None);
        assert_eq!(decode(&mut decoder, &repeated).field(0).unwrap().name, b"b");
    }

    #[test]
    fn a_field_larger_than_the_table_counts_as_a_change() {
        let mut encoder = Encoder::new(4096);
        let mut decoder = Decoder::new(4096, Limits::default());
        let mut block = Vec::new();
        encoder.begin_block(&mut block);
        encoder.field(&mut block, b"a", b"1", Indexing::Incremental);
        decode(&mut decoder, &block);
        let version = decoder.version();
        assert!(decoder.table_bytes() > 0);
        // A literal with incremental indexing and a value of 5,000 bytes.
        let mut oversized = vec![0x40, 1, b'b', 0x7f, 0x89, 0x26];
        oversized.extend(std::iter::repeat_n(b'x', 5_000));
        decode(&mut decoder, &oversized);
        assert_eq!(decoder.table_bytes(), 0, "the table is empty");
        assert_ne!(decoder.version(), version);
    }

    /// Whatever lists are given back with names on them, the right one is recalled.
    #[test]
    fn lists_that_come_back_are_not_taken_for_others() {
        let list = |value: &[u8]| {
            let mut fields = FieldBlock::default();
            fields.push(FieldKind::Regular, FieldTag::NONE, b"a", value);
            fields
        };
        let mut memo = Memo::default();
        let mut given_back = vec![FieldBlock::default(), list(b"by hand"), list(b"0")];
        for round in 0..200_u8 {
            // The fifth in turn takes the place of one that is remembered.
            let block = [round % if round < 100 { 4 } else { 5 }];
            let mut fields = given_back.remove(usize::from(round) * 7 % given_back.len());
            match round % 11 {
                0 => fields.clear(),
                1 => fields.push(FieldKind::Regular, FieldTag::NONE, b"more", b""),
                2 => fields = fields.clone(),
                _ => {}
            }
            if memo.recall(Some(VERSION), &block, &mut fields).is_none() {
                memo.remember(VERSION, &block, &list(&block), Verdict::Trailers);
                assert!(memo.recall(Some(VERSION), &block, &mut fields).is_some());
            }
            assert_eq!((fields.len(), fields.field(0)), (1, list(&block).field(0)));
            given_back.push(fields);
        }
    }

    #[test]
    fn at_most_four_blocks_none_of_them_large_or_secret() {
        let mut memo = Memo::default();
        let mut fields = FieldBlock::default();
        fields.push(FieldKind::Regular, FieldTag::NONE, b"a", b"1");
        for block in 0..10u8 {
            memo.remember(VERSION, &[block], &fields, Verdict::Trailers);
        }
        let mut out = FieldBlock::default();
        let known = (0..10u8).filter(|b| memo.recall(Some(VERSION), &[*b], &mut out).is_some());
        assert_eq!(known.collect::<Vec<_>>(), [6, 7, 8, 9]);
        memo.remember(VERSION, &[0; 65], &fields, Verdict::Trailers);
        assert_eq!(memo.recall(Some(VERSION), &[0; 65], &mut out), None);
        let mut encoder = Encoder::new(0);
        let mut secret = Vec::new();
        encoder.begin_block(&mut secret);
        encoder.field(&mut secret, b"authorization", b"x", Indexing::Never);
        let mut decoder = Decoder::new(4096, Limits::default());
        let fields = decode(&mut decoder, &secret);
        memo.remember(VERSION, &secret, &fields, Verdict::Trailers);
        assert_eq!(memo.recall(Some(VERSION), &secret, &mut out), None);
    }
}

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
    next: usize,
}

#[derive(Debug)]
struct Entry {
    /// The decoder's version before and after.
    version: u64,
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
        version: Option<u64>,
        block: &[u8],
        fields: &mut FieldBlock,
    ) -> Option<Verdict> {
        let version = version?;
        let known = |entry: &&Entry| entry.version == version && entry.block == block;
        let entry = self.entries.iter().find(known)?;
        fields.copy_from(&entry.fields);
        Some(entry.verdict)
    }

    /// Remembers a block that left the decoder at the version it had before.
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
        if self.entries.len() < Self::ENTRIES_MAX {
            let (block, fields) = (block.to_vec(), fields.clone());
            self.entries.push(Entry { version, block, fields, verdict });
            return;
        }
        let entry = &mut self.entries[self.next];
        self.next = (self.next + 1) % Self::ENTRIES_MAX;
        entry.version = version;
        entry.block.clear();
        entry.block.extend_from_slice(block);
        entry.fields.copy_from(fields);
        entry.verdict = verdict;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::{Decoder, Encoder, FieldKind, FieldTag, Indexing, Limits, NoClassifier};

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
    fn at_most_four_blocks_none_of_them_large_or_secret() {
        let mut memo = Memo::default();
        let mut fields = FieldBlock::default();
        fields.push(FieldKind::Regular, FieldTag::NONE, b"a", b"1");
        for block in 0..10u8 {
            memo.remember(1, &[block], &fields, Verdict::Trailers);
        }
        let mut out = FieldBlock::default();
        let known = (0..10u8).filter(|b| memo.recall(Some(1), &[*b], &mut out).is_some());
        assert_eq!(known.collect::<Vec<_>>(), [6, 7, 8, 9]);
        memo.remember(1, &[0; 65], &fields, Verdict::Trailers);
        assert_eq!(memo.recall(Some(1), &[0; 65], &mut out), None);
        let mut encoder = Encoder::new(0);
        let mut secret = Vec::new();
        encoder.begin_block(&mut secret);
        encoder.field(&mut secret, b"authorization", b"x", Indexing::Never);
        let mut decoder = Decoder::new(4096, Limits::default());
        let fields = decode(&mut decoder, &secret);
        memo.remember(1, &secret, &fields, Verdict::Trailers);
        assert_eq!(memo.recall(Some(1), &secret, &mut out), None);
    }
}

//! Where an encoder looks for fields in its dynamic table.

/// Where to look for fields in the table: chains of entries with the same hash, newest first. A
/// chain is never cut, it ends where it leaves the table. Sequence numbers are kept by their low 32
/// bits; one that wrapped around leads to an entry with other bytes, which are compared.
#[derive(Clone)]
pub(super) struct Lookup {
    pub(super) fields: [u32; BUCKETS],
    pub(super) names: [u32; BUCKETS],
    /// Hashes of fields that were not let into the table lately.
    seen: [u32; BUCKETS],
}

/// The next in both chains of an entry.
#[derive(Clone, Copy, Default)]
pub(super) struct Links {
    pub(super) previous_field: u32,
    pub(super) previous_name: u32,
}

#[derive(Clone, Copy)]
pub(super) struct Hashes {
    pub(super) name: u32,
    pub(super) field: u32,
}

impl Lookup {
    pub(super) fn links(&self, hashes: Hashes) -> Links {
        Links {
            previous_field: self.fields[bucket(hashes.field)],
            previous_name: self.names[bucket(hashes.name)],
        }
    }

    pub(super) fn link(&mut self, hashes: Hashes, sequence: u32) {
        self.fields[bucket(hashes.field)] = sequence;
        self.names[bucket(hashes.name)] = sequence;
    }

    pub(super) fn seen_before(&mut self, field_hash: u32) -> bool {
        let place = &mut self.seen[bucket(field_hash)];
        let seen = *place == field_hash;
        *place = field_hash;
        seen
    }
}

impl Default for Lookup {
    fn default() -> Self {
        Self { fields: [0; BUCKETS], names: [0; BUCKETS], seen: [0; BUCKETS] }
    }
}

/// Mixes 8 bytes at a time. Not made to withstand an adversary: collisions cost compression and,
/// because chains are walked [`CHAIN_STEPS_MAX`] steps at most, no time.
pub(super) fn hash(bytes: &[u8], seed: u32) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |state: u64, word: u64| (state.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let mut state = mix(u64::from(seed), bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = mix(state, u64::from_le_bytes(*word));
    }
    let last = rest.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
    low_32_bits(mix(state, last) >> 32)
}

#[inline]
pub(super) fn bucket(hash: u32) -> usize {
    hash as usize % BUCKETS
}

#[inline]
#[allow(clippy::cast_possible_truncation)]
pub(super) fn low_32_bits(sequence: u64) -> u32 {
    sequence as u32
}

/// The number of chains, of either sort. A table of 4,096 bytes has at most 128 entries.
const BUCKETS: usize = 64;

/// How far a chain is followed.
pub(super) const CHAIN_STEPS_MAX: usize = 8;

//! Fields to header blocks (RFC 7541, sections 3 and 6).
//!
//! Two ways to write a field. *Cached* fields are constants that the owner registers up front
//! (`content-type: application/grpc`): while such a field lives in the peer's table, writing it is
//! one index, found without hashing or comparing. All others are looked up in the static table
//! and, if they may be indexed, in the dynamic table.
//!
//! What goes into the table is a policy, since whatever goes in pushes something out:
//!
//! - Cached fields go in when first written, and again after they were pushed out. Only as many are
//!   admitted, in the order of registration, as fill three quarters of the table; in a small table
//!   the others are literals, instead of pushing each other out in turn.
//! - [`Indexing::Incremental`] goes in at first sight. It is for what the caller knows to repeat.
//! - [`Indexing::WhenRepeated`] is for what users put into metadata: it goes in when it is seen the
//!   second time within a short memory and takes no more than a quarter of the table. Values that
//!   differ from call to call (ids, timestamps) therefore never push the constants out.
//!
//! Strings that enter the table are Huffman-coded where that is shorter, as constants are: it is
//! done once. Those that are written anew with each block go as they are: the code would save a
//! fifth of their bytes, and cost both ends more time than those bytes take (a token of 295
//! characters some 5,000 instructions to write).

use core::fmt;
use std::sync::Arc;

use super::cached_block::{CACHED_BLOCKS_MAX, CachedBlock, Encoded, Run};
use super::dynamic_table::DynamicTable;
use super::field::field_bytes;
use super::lookup::{CHAIN_STEPS_MAX, Hashes, Links, Lookup, bucket, hash, low_32_bits};
use super::static_table::{self, Found, STATIC_LEN};
use super::{huffman, integer};

/// The most fields that one encoder caches.
pub const CACHED_FIELDS_MAX: usize = 64;

/// A field registered with [`Encoder::register`]. It means nothing to another encoder, unless that
/// is a clone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CachedField(pub(super) u8);

/// What the peer is to remember of a field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Indexing {
    /// Enters the table at once, if it fits: for fields that are known to repeat.
    Incremental,
    /// Enters the table once it has repeated, if it is small: for fields that may or may not.
    WhenRepeated,
    /// Does not enter the table: for fields that will not repeat. Costs the least time to write.
    WithoutIndexing,
    /// Does not enter the table here or behind any proxy, and is not written as an index even if
    /// it could be: for secrets that could be guessed piecemeal (RFC 7541, section 7.1.3).
    Never,
}

/// The encoding half of one connection's header compression.
///
/// Per header block: [`Encoder::begin_block`], then [`Encoder::cached`] and [`Encoder::field`] in
/// any order. Everything written must reach the peer, blocks in the order in which they were begun,
/// or its table falls out of step.
///
/// A clone shares the bytes of the registered fields. So a server registers its constants once and
/// clones an encoder for each connection.
#[derive(Clone)]
pub struct Encoder {
    table: DynamicTable<Links>,
    /// Our own bound on the table.
    table_bytes_max: u32,
    size_change: Option<SizeChange>,
    cached: Vec<Cached>,
    runs: Vec<Run>,
    /// Made when the first field comes that is not registered.
    lookup: Option<Box<Lookup>>,
}

/// What must be said at the start of the next block: that the table's bound went down to `smallest`
/// and is now `last` (section 4.2).
#[derive(Clone, Copy)]
struct SizeChange {
    smallest: u32,
    last: u32,
}

#[derive(Clone)]
struct Cached {
    /// Sequence number of the entry in the table that was last inserted for this field; 0 if none.
    sequence: u64,
    /// Index of the whole field in the static table; 0 if it is not there.
    static_index: u32,
    /// Index of a static entry with the same name; 0 if there is none.
    static_name: u32,
    hashes: Hashes,
    /// Whether it may enter the table.
    admitted: bool,
    name_len: usize,
    joined_len: usize,
    /// Name and value, then the name as a string literal unless `static_name` replaces it, then the
    /// value as a string literal.
    bytes: Arc<[u8]>,
}

impl Encoder {
    /// An encoder with an empty table, which will hold at most `table_bytes_max` bytes (RFC 7541,
    /// section 4.1), and never more than the peer allows: [`TABLE_BYTES_DEFAULT`] until its
    /// SETTINGS say otherwise.
    ///
    /// [`TABLE_BYTES_DEFAULT`]: super::TABLE_BYTES_DEFAULT
    #[must_use]
    pub fn new(table_bytes_max: u32) -> Self {
        let mut encoder = Self {
            table: DynamicTable::new(super::TABLE_BYTES_DEFAULT),
            table_bytes_max,
            size_change: None,
            cached: Vec::new(),
            runs: Vec::new(),
            lookup: None,
        };
        encoder.set_peer_table_bytes_max(super::TABLE_BYTES_DEFAULT);
        encoder
    }

    /// Follows the peer's SETTINGS_HEADER_TABLE_SIZE. To be called for each such setting received,
    /// in order; the next block begins with the size updates that follow from them, if any.
    pub fn set_peer_table_bytes_max(&mut self, peer_table_bytes_max: u32) {
        let last = peer_table_bytes_max.min(self.table_bytes_max);
        let smallest = self.size_change.map_or(last, |change| change.smallest.min(last));
        self.size_change = Some(SizeChange { smallest, last });
    }

    /// Registers a constant field; the same field again gives the same handle.
    ///
    /// # Panics
    ///
    /// If [`CACHED_FIELDS_MAX`] fields are registered already: registrations are for the constants
    /// of a program. For any others use [`Encoder::try_register`].
    pub fn register(&mut self, name: &[u8], value: &[u8]) -> CachedField {
        self.try_register(name, value).expect("no more than CACHED_FIELDS_MAX registrations")
    }

    /// As [`Encoder::register`]; `None` if [`CACHED_FIELDS_MAX`] fields are registered already.
    pub fn try_register(&mut self, name: &[u8], value: &[u8]) -> Option<CachedField> {
        let known = self.cached.iter().position(|cached| cached.name_and_value() == (name, value));
        let position = known.unwrap_or(self.cached.len());
        if position >= CACHED_FIELDS_MAX {
            return None;
        }
        if known.is_none() {
            // Few, and never more: none of it to spare.
            self.cached.reserve_exact(1);
            self.cached.push(Cached::new(name, value));
            self.admit_cached();
        }
        u8::try_from(position).ok().map(CachedField)
    }

    /// Registers fields that are always written one after the other; the same run again gives the
    /// same handle. `None` for more than [`BLOCK_FIELDS_MAX`] fields, or when there are
    /// [`CACHED_BLOCKS_MAX`] runs already.
    ///
    /// [`BLOCK_FIELDS_MAX`]: super::BLOCK_FIELDS_MAX
    pub fn try_register_block(&mut self, fields: &[CachedField]) -> Option<CachedBlock> {
        let known = self.runs.iter().position(|run| run.fields() == fields);
        let position = known.unwrap_or(self.runs.len());
        if position >= CACHED_BLOCKS_MAX {
            return None;
        }
        if known.is_none() {
            let run = Run::new(fields)?;
            self.runs.reserve_exact(1);
            self.runs.push(run);
        }
        u8::try_from(position).ok().map(CachedBlock)
    }

    /// The bytes in use in the dynamic table (RFC 7541, section 4.1).
    #[must_use]
    pub fn table_bytes(&self) -> u32 {
        self.table.size()
    }

    /// The fields in the dynamic table, newest first.
    #[cfg(test)]
    pub(super) fn table_fields(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.table.fields()
    }

    /// Begins a header block, with the size updates that are due.
    #[inline]
    pub fn begin_block(&mut self, out: &mut Vec<u8>) {
        if let Some(change) = self.size_change.take() {
            self.resize(change, out);
        }
    }

    /// Writes a registered field: as an index while it lives in a table, else as a literal that
    /// enters the table (see the policy in the module's documentation).
    ///
    /// # Panics
    ///
    /// If `field` came from another encoder with more registrations.
    #[inline]
    pub fn cached(&mut self, out: &mut Vec<u8>, field: CachedField) {
        let cached = &self.cached[usize::from(field.0)];
        let age = self.table.inserted() - cached.sequence;
        if cached.static_index != 0 {
            write_index(cached.static_index, out);
        } else if age < u64::from(self.table.len()) {
            write_index(STATIC_LEN + 1 + low_32_bits(age), out);
        } else {
            self.cached_literal(out, field);
        }
    }

    /// Writes a registered run of fields: as [`Encoder::cached`] for each of them, and without
    /// looking at any while the table is as it was the last time.
    ///
    /// # Panics
    ///
    /// As `cached`.
    #[inline]
    pub fn cached_block(&mut self, out: &mut Vec<u8>, block: CachedBlock) {
        match self.runs[usize::from(block.0)].recall(self.table.contents()) {
            Some(encoded) => out.extend_from_slice(encoded),
            None => self.encode_run(out, usize::from(block.0)),
        }
    }

    /// A whole block that is nothing but a registered run; `None` where its bytes are not known, or
    /// something must be said before it.
    #[inline]
    pub(crate) fn known_block(&self, block: CachedBlock) -> Option<Encoded<'_>> {
        let run = self.runs.get(usize::from(block.0)).filter(|_| self.size_change.is_none())?;
        run.recall_padded(self.table.contents())
    }

    #[cold]
    fn encode_run(&mut self, out: &mut Vec<u8>, at: usize) {
        let (start, contents) = (out.len(), self.table.contents());
        let run = self.runs[at].clone();
        for field in run.fields() {
            self.cached(out, *field);
        }
        if self.table.contents() == contents {
            self.runs[at].remember(contents, &out[start..]);
        }
    }

    /// Writes a field.
    ///
    /// Neither name nor value is checked; see [`FieldKind::of`] for how a peer will judge them.
    ///
    /// [`FieldKind::of`]: super::FieldKind::of
    pub fn field(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8], indexing: Indexing) {
        let static_name = match static_table::find(name, value) {
            Found::Field(index) if indexing != Indexing::Never => return write_index(index, out),
            Found::Field(index) | Found::Name(index) => index,
            Found::Nothing => 0,
        };
        let name_hash = hash(name, 0);
        if self.lookup.is_none() {
            self.lookup();
        }
        let (pattern, prefix_bits, hashes) = match indexing {
            Indexing::Never => (0x10, 4, None),
            Indexing::WithoutIndexing => (0, 4, None),
            Indexing::Incremental | Indexing::WhenRepeated => {
                let hashes = Hashes { name: name_hash, field: hash(value, name_hash) };
                if let Some(age) = self.find_field(hashes.field, name, value) {
                    return write_index(STATIC_LEN + 1 + age, out);
                }
                let size = field_bytes(name.len().saturating_add(value.len()));
                match self.enters(indexing, size, hashes) {
                    true => (0x40, 6, Some(hashes)),
                    false => (0, 4, None),
                }
            }
        };
        let name_index = match static_name {
            0 => self.find_name(name_hash, name).map_or(0, |age| STATIC_LEN + 1 + age),
            _ => static_name,
        };
        integer::encode(name_index as usize, prefix_bits, pattern, out);
        let write = if hashes.is_some() { write_string } else { write_plain };
        if name_index == 0 {
            write(name, out);
        }
        write(value, out);
        if let Some(hashes) = hashes {
            self.insert(name, value, hashes);
        }
    }

    #[cold]
    fn resize(&mut self, change: SizeChange, out: &mut Vec<u8>) {
        if change.smallest < self.table.size_max() {
            integer::encode(change.smallest as usize, 5, 0x20, out);
            self.table.resize(change.smallest);
        }
        if change.last != self.table.size_max() {
            integer::encode(change.last as usize, 5, 0x20, out);
            self.table.resize(change.last);
        }
        self.admit_cached();
    }

    /// Decides which registered fields may enter the table.
    fn admit_cached(&mut self) {
        let mut room = self.table.size_max() / 4 * 3;
        for cached in self.cached.iter_mut().filter(|cached| cached.static_index == 0) {
            let rest = room.checked_sub(field_bytes(cached.joined_len));
            cached.admitted = rest.is_some();
            room = rest.unwrap_or(room);
        }
    }

    #[cold]
    fn cached_literal(&mut self, out: &mut Vec<u8>, field: CachedField) {
        let cached = &self.cached[usize::from(field.0)];
        let (pattern, prefix_bits) = if cached.admitted { (0x40, 6) } else { (0, 4) };
        integer::encode(cached.static_name as usize, prefix_bits, pattern, out);
        out.extend_from_slice(cached.bytes.get(cached.joined_len..).unwrap_or_default());
        if cached.admitted {
            // The clone is a reference count, in exchange for borrowing the table.
            let cached = cached.clone();
            let (name, value) = cached.name_and_value();
            self.insert(name, value, cached.hashes);
            self.cached[usize::from(field.0)].sequence = self.table.inserted();
        }
    }

    /// Whether a field that is not in the table is to enter it.
    fn enters(&mut self, indexing: Indexing, size: u32, hashes: Hashes) -> bool {
        match indexing {
            Indexing::Incremental => size <= self.table.size_max(),
            Indexing::WhenRepeated => {
                size <= self.table.size_max() / 4 && self.lookup().seen_before(hashes.field)
            }
            Indexing::WithoutIndexing | Indexing::Never => false,
        }
    }

    /// `name` and `value` fit the table.
    fn insert(&mut self, name: &[u8], value: &[u8], hashes: Hashes) {
        let links = self.lookup.as_ref().map_or(Links::default(), |lookup| lookup.links(hashes));
        if self.table.insert(name, value, links)
            && let Some(lookup) = &mut self.lookup
        {
            lookup.link(hashes, low_32_bits(self.table.inserted()));
        }
    }

    /// The lookup, made at its first use: an encoder that writes registered fields only needs none.
    fn lookup(&mut self) -> &mut Lookup {
        self.lookup.get_or_insert_with(|| {
            let mut lookup = Box::<Lookup>::default();
            // What is in the table was registered. Those that meet in one place hide each other,
            // which costs bytes and no more.
            for cached in self.cached.iter().filter(|cached| cached.sequence != 0) {
                lookup.link(cached.hashes, low_32_bits(cached.sequence));
            }
            lookup
        })
    }

    /// The age of a field in the dynamic table.
    fn find_field(&self, field_hash: u32, name: &[u8], value: &[u8]) -> Option<u32> {
        let mut sequence = self.lookup.as_ref()?.fields[bucket(field_hash)];
        for _ in 0..CHAIN_STEPS_MAX {
            let age = low_32_bits(self.table.inserted()).wrapping_sub(sequence);
            let (entry_name, entry_value, links) = self.table.field(age)?;
            if entry_value == value && entry_name == name {
                return Some(age);
            }
            sequence = links.previous_field;
        }
        None
    }

    /// The age of an entry of the dynamic table with this name.
    fn find_name(&self, name_hash: u32, name: &[u8]) -> Option<u32> {
        let mut sequence = self.lookup.as_ref()?.names[bucket(name_hash)];
        for _ in 0..CHAIN_STEPS_MAX {
            let age = low_32_bits(self.table.inserted()).wrapping_sub(sequence);
            let (entry_name, _, links) = self.table.field(age)?;
            if entry_name == name {
                return Some(age);
            }
            sequence = links.previous_name;
        }
        None
    }
}

impl Cached {
    fn new(name: &[u8], value: &[u8]) -> Self {
        let (static_index, static_name) = match static_table::find(name, value) {
            Found::Field(index) => (index, index),
            Found::Name(index) => (0, index),
            Found::Nothing => (0, 0),
        };
        let mut bytes = [name, value].concat();
        if static_name == 0 {
            write_string(name, &mut bytes);
        }
        write_string(value, &mut bytes);
        let name_hash = hash(name, 0);
        Self {
            sequence: 0,
            static_index,
            static_name,
            hashes: Hashes { name: name_hash, field: hash(value, name_hash) },
            admitted: false,
            name_len: name.len(),
            joined_len: name.len() + value.len(),
            bytes: bytes.into(),
        }
    }

    fn name_and_value(&self) -> (&[u8], &[u8]) {
        let joined = self.bytes.get(..self.joined_len).unwrap_or_default();
        joined.split_at_checked(self.name_len).unwrap_or_default()
    }
}

impl fmt::Debug for Encoder {
    /// Sizes only: the table may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("entries", &self.table.len())
            .field("table_bytes", &self.table.size())
            .field("table_bytes_max", &self.table.size_max())
            .field("cached_fields", &self.cached.len())
            .finish_non_exhaustive()
    }
}

#[inline]
fn write_index(index: u32, out: &mut Vec<u8>) {
    integer::encode(index as usize, 7, 0x80, out);
}

/// Huffman-coded where that is shorter (section 5.2).
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    let coded_len = huffman::encoded_len(text);
    if coded_len < text.len() {
        integer::encode(coded_len, 7, 0x80, out);
        out.reserve(coded_len);
        huffman::encode_reserved(text, out);
    } else {
        write_plain(text, out);
    }
}

/// As it is (section 5.2).
fn write_plain(text: &[u8], out: &mut Vec<u8>) {
    integer::encode(text.len(), 7, 0, out);
    out.extend_from_slice(text);
}

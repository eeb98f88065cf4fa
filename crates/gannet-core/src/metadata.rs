//! [`Metadata`]: the headers and trailers that applications exchange (PROTOCOL-HTTP2,
//! "Custom-Metadata").
//!
//! An ordered multimap in one arena: no map is built, and nothing is kept of the buffers it was
//! read from. Values are kept as they travel, binary ones as base64, so that receiving and sending
//! are copies and only what an application asks for is decoded. Does not bound what a peer may
//! send: the header list limit of the connection does.

mod key;

use std::fmt;

pub use key::{MetadataError, MetadataKey};

use crate::limits::METADATA_BYTES_MAX;
use crate::{base64_lenient, names};

/// An ordered multimap of metadata keys and values.
///
/// Keys are lower case (`[0-9a-z_.-]`). A key that ends in `-bin` has binary values, for
/// [`insert_bin`](Metadata::insert_bin) and [`get_bin`](Metadata::get_bin); any other has values of
/// printable ASCII. Looking up ignores the case of the key asked for. An empty `Metadata` owns no
/// memory.
#[derive(Clone, Default)]
pub struct Metadata {
    /// The name and the value of each entry, one after the other, in the order of `entries`.
    arena: Vec<u8>,
    entries: Vec<Entry>,
}

/// Where an entry's name and value lie: the value follows the name.
#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    /// And, in its top bit, whether the value is a secret.
    name: u32,
    value_bytes: u32,
}

/// See [`Entry::name`]. Lengths are below it: see [`METADATA_BYTES_MAX`].
const SECRET: u32 = 1 << 31;

impl Metadata {
    /// Metadata without entries.
    pub const fn new() -> Metadata {
        Metadata { arena: Vec::new(), entries: Vec::new() }
    }

    /// Metadata without entries, to be lent where there is none.
    pub fn none() -> &'static Metadata {
        static NONE: Metadata = Metadata::new();
        &NONE
    }

    /// How many entries there are; values that a peer joined with commas are one.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the entries weigh against a peer's header list limit: names, values and 32 bytes each
    /// (RFC 7541 4.1).
    pub fn list_bytes(&self) -> usize {
        self.arena.len() + 32 * self.entries.len()
    }

    /// Removes all entries and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
    }

    /// Sets an ASCII value, replacing every value of the key.
    ///
    /// # Errors
    ///
    /// Where the key is malformed, reserved or binary, the value is not printable ASCII, or the
    /// whole would be over [`METADATA_BYTES_MAX`]. Nothing changes then.
    pub fn insert(
        &mut self,
        key: impl AsRef<str>,
        value: impl AsRef<str>,
    ) -> Result<(), MetadataError> {
        let value = ascii_value(key.as_ref(), value.as_ref())?;
        self.replace(key.as_ref(), value)
    }

    /// Adds an ASCII value after those that are there.
    ///
    /// # Errors
    ///
    /// As [`insert`](Metadata::insert).
    pub fn append(
        &mut self,
        key: impl AsRef<str>,
        value: impl AsRef<str>,
    ) -> Result<(), MetadataError> {
        let value = ascii_value(key.as_ref(), value.as_ref())?;
        self.push(key.as_ref().as_bytes(), value)
    }

    /// Sets a binary value, replacing every value of the key, which ends in `-bin`.
    ///
    /// # Errors
    ///
    /// Where the key is malformed, reserved or does not end in `-bin`, or the whole would be over
    /// [`METADATA_BYTES_MAX`]. Nothing changes then.
    pub fn insert_bin(
        &mut self,
        key: impl AsRef<str>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), MetadataError> {
        let text = binary_value(key.as_ref(), value.as_ref())?;
        self.replace(key.as_ref(), &text)
    }

    /// Adds a binary value after those that are there.
    ///
    /// # Errors
    ///
    /// As [`insert_bin`](Metadata::insert_bin).
    pub fn append_bin(
        &mut self,
        key: impl AsRef<str>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), MetadataError> {
        let text = binary_value(key.as_ref(), value.as_ref())?;
        self.push(key.as_ref().as_bytes(), &text)
    }

    /// The first value of an ASCII key; `None` also where that value is not UTF-8.
    pub fn get(&self, key: impl AsRef<str>) -> Option<&str> {
        self.get_all(key).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The first value of a binary key, decoded.
    ///
    /// # Errors
    ///
    /// Where the peer sent something that is not base64.
    pub fn get_bin(&self, key: impl AsRef<str>) -> Result<Option<Vec<u8>>, MetadataError> {
        self.get_all_bin(key).next().transpose()
    }

    /// Every value of a key, in order, as they travel: binary ones are base64.
    pub fn get_all<K: AsRef<str>>(&self, key: K) -> impl Iterator<Item = &[u8]> + use<'_, K> {
        self.pairs()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(key.as_ref().as_bytes()))
            .map(|(_, value)| value)
    }

    /// Every value of a binary key, in order, decoded; those that a peer joined with commas apart.
    ///
    /// # Errors
    ///
    /// For each value that is not base64.
    pub fn get_all_bin<K: AsRef<str>>(
        &self,
        key: K,
    ) -> impl Iterator<Item = Result<Vec<u8>, MetadataError>> + use<'_, K> {
        self.get_all(key).flat_map(|value| value.split(|&byte| byte == b',')).map(|part| {
            base64_lenient::decode(part.trim_ascii()).ok_or(MetadataError::MalformedBase64)
        })
    }

    /// Whether the key has a value.
    pub fn contains(&self, key: impl AsRef<str>) -> bool {
        self.get_all(key).next().is_some()
    }

    /// Removes every value of a key; whether there was one.
    pub fn remove(&mut self, key: impl AsRef<str>) -> bool {
        self.retain(|name, _| !name.eq_ignore_ascii_case(key.as_ref()))
    }

    /// Keeps the entries for which `keep` says so, given key and value as it travels; whether one
    /// was removed.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &[u8]) -> bool) -> bool {
        let before = self.entries.len();
        let mut end = 0;
        let mut kept = 0;
        for index in 0..before {
            let (name, value) = self.pair(self.entries[index]);
            let mut entry = self.entries[index];
            if !keep(name_str(name), value) {
                continue;
            }
            let bytes = entry.bytes();
            let start = entry.start as usize;
            self.arena.copy_within(start..start + bytes, end);
            entry.start = offset(end);
            end += bytes;
            self.entries[kept] = entry;
            kept += 1;
        }
        self.arena.truncate(end);
        self.entries.truncate(kept);
        kept < before
    }

    /// Says that the values that a key has now are secrets: they do not show in
    /// [`Debug`](fmt::Debug), and no header compression remembers them, here or at proxies (RFC
    /// 7541 7.1.3). Those of [`authorization` and the like](names::is_sensitive) always are.
    /// Whether there was a value.
    pub fn set_sensitive(&mut self, key: impl AsRef<str>) -> bool {
        self.mark(|name| name.eq_ignore_ascii_case(key.as_ref().as_bytes()))
    }

    /// As [`set_sensitive`](Metadata::set_sensitive), for all entries.
    pub fn set_all_sensitive(&mut self) {
        self.mark(|_| true);
    }

    fn mark(&mut self, is_meant: impl Fn(&[u8]) -> bool) -> bool {
        let mut any = false;
        for index in 0..self.entries.len() {
            if is_meant(self.pair(self.entries[index]).0) {
                self.entries[index].name |= SECRET;
                any = true;
            }
        }
        any
    }

    /// Keeps the first `len` entries.
    pub fn truncate(&mut self, len: usize) {
        if let Some(entry) = self.entries.get(len) {
            self.arena.truncate(entry.start as usize);
            self.entries.truncate(len);
        }
    }

    /// Every key and value, in order; values as they travel: binary ones are base64.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.pairs().map(|(name, value)| (name_str(name), value))
    }

    /// What is to be sent, in order: every name and value as they travel, without
    /// [reserved](names::is_reserved) names, which a list that was received may have.
    pub fn wire_pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs().filter(|(name, _)| !names::is_reserved(name))
    }

    /// As [`wire_pairs`](Metadata::wire_pairs), and whether each value is a secret.
    pub fn wire_fields(&self) -> impl Iterator<Item = (&[u8], &[u8], bool)> {
        self.fields().filter(|(name, ..)| !names::is_reserved(name))
    }

    /// Adds a received header field, unless it is [the protocol's own](names::is_protocol).
    ///
    /// Never fails for a field that is legal HTTP, whatever its value; whether it was stored. A
    /// field with an empty name or one that is not ASCII (HTTP has neither), and one that would
    /// take the whole over [`METADATA_BYTES_MAX`], are left out.
    pub fn append_wire(&mut self, name: &[u8], value: &[u8]) -> bool {
        let named = !name.is_empty() && name.is_ascii();
        named && !names::is_protocol(name) && self.push(name, value).is_ok()
    }

    /// As [`append_wire`](Metadata::append_wire), for a field of which its peer has said whether it
    /// is [a secret](Metadata::set_sensitive): it came as a never-indexed literal.
    pub fn append_wire_field(&mut self, name: &[u8], value: &[u8], secret: bool) -> bool {
        let stored = self.append_wire(name, value);
        if stored
            && secret
            && let Some(added) = self.entries.last_mut()
        {
            added.name |= SECRET;
        }
        stored
    }

    /// The metadata in a received header list: see [`append_wire`](Metadata::append_wire).
    pub fn from_wire<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Metadata {
        let mut metadata = Metadata::new();
        for (name, value) in fields {
            metadata.append_wire(name, value);
        }
        metadata
    }

    /// Adds all entries of another after those that are there.
    ///
    /// # Errors
    ///
    /// [`MetadataError::TooLarge`]; the entries before that are added.
    pub fn extend_from(&mut self, other: &Metadata) -> Result<(), MetadataError> {
        other.entries.iter().try_for_each(|entry| {
            let (name, value) = other.pair(*entry);
            self.push(name, value)?;
            if let Some(added) = self.entries.last_mut() {
                added.name |= entry.name & SECRET;
            }
            Ok(())
        })
    }

    /// Name, value, and whether that is a secret.
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8], bool)> {
        self.entries.iter().map(|&entry| {
            let (name, value) = self.pair(entry);
            (name, value, entry.name & SECRET != 0 || names::is_sensitive(name))
        })
    }

    fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|&entry| self.pair(entry))
    }

    fn replace(&mut self, key: &str, value: &[u8]) -> Result<(), MetadataError> {
        self.check_room(key.len(), value.len())?;
        self.remove(key);
        self.push(key.as_bytes(), value)
    }

    fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), MetadataError> {
        self.check_room(name.len(), value.len())?;
        self.entries.push(Entry {
            start: offset(self.arena.len()),
            name: offset(name.len()),
            value_bytes: offset(value.len()),
        });
        self.arena.reserve(name.len() + value.len());
        self.arena.extend_from_slice(name);
        self.arena.extend_from_slice(value);
        Ok(())
    }

    /// Empty names and values take no arena, so entries are counted with their 32 bytes.
    fn check_room(&self, name_bytes: usize, value_bytes: usize) -> Result<(), MetadataError> {
        let total = [self.list_bytes(), name_bytes, value_bytes, 32]
            .into_iter()
            .try_fold(0_usize, usize::checked_add);
        match total {
            Some(total) if total <= METADATA_BYTES_MAX => Ok(()),
            _ => Err(MetadataError::TooLarge),
        }
    }

    fn pair(&self, entry: Entry) -> (&[u8], &[u8]) {
        let start = entry.start as usize;
        self.arena[start..start + entry.bytes()].split_at(entry.name_bytes())
    }
}

impl Entry {
    fn name_bytes(self) -> usize {
        (self.name & !SECRET) as usize
    }

    fn bytes(self) -> usize {
        self.name_bytes() + self.value_bytes as usize
    }
}

impl PartialEq for Metadata {
    /// Same keys and values in the same order, as they travel.
    fn eq(&self, other: &Metadata) -> bool {
        self.pairs().eq(other.pairs())
    }
}

impl Eq for Metadata {}

impl fmt::Debug for Metadata {
    /// Escaped, with the values of [secrets](Metadata::set_sensitive) left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for (name, value, secret) in self.fields() {
            let value = if secret { b"(secret)".as_slice() } else { value };
            list.entry(&format_args!("{}: {}", name.escape_ascii(), value.escape_ascii()));
        }
        list.finish()
    }
}

fn ascii_value<'v>(key: &str, value: &'v str) -> Result<&'v [u8], MetadataError> {
    key::check(key)?;
    if key::is_binary(key.as_bytes()) {
        return Err(MetadataError::BinaryKey { key: key.to_owned() });
    }
    if let Some(byte) = value.bytes().find(|byte| !matches!(byte, 0x20..=0x7e)) {
        return Err(MetadataError::Value { key: key.to_owned(), byte });
    }
    // RFC 9113 8.2.1 makes a field with such a value malformed.
    if value.starts_with(' ') || value.ends_with(' ') {
        return Err(MetadataError::Value { key: key.to_owned(), byte: b' ' });
    }
    Ok(value.as_bytes())
}

fn binary_value(key: &str, value: &[u8]) -> Result<Vec<u8>, MetadataError> {
    key::check(key)?;
    if !key::is_binary(key.as_bytes()) {
        return Err(MetadataError::AsciiKey { key: key.to_owned() });
    }
    // Before encoding: base64 only grows.
    if value.len() > METADATA_BYTES_MAX {
        return Err(MetadataError::TooLarge);
    }
    let mut text = Vec::new();
    base64_lenient::encode_into(value, &mut text);
    Ok(text)
}

/// An offset or length in the arena.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("the arena is bounded by METADATA_BYTES_MAX")
}

/// Names are checked to be ASCII when they enter.
fn name_str(name: &[u8]) -> &str {
    std::str::from_utf8(name).unwrap_or_default()
}

#[cfg(test)]
mod tests;

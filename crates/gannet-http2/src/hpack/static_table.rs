//! The static table (RFC 7541, appendix A), and how to find a field in it.

use super::field::FIELD_OVERHEAD_BYTES;
use super::kind::FieldKind;

/// The number of entries; the first index of the dynamic table is one higher.
pub(super) const STATIC_LEN: u32 = 61;

/// One entry. `kind` is what name and value make of it.
pub(super) struct StaticField {
    pub(super) name: &'static [u8],
    pub(super) value: &'static [u8],
    pub(super) kind: FieldKind,
    /// By RFC 7541, section 4.1.
    pub(super) size: u32,
}

/// The entry at a wire index (1 to 61).
#[inline]
pub(super) fn entry(index: u32) -> Option<&'static StaticField> {
    STATIC.get(index.checked_sub(1)? as usize)
}

/// What the static table has for a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// The field, at this index.
    Field(u32),
    /// Its name, at this index.
    Name(u32),
    Nothing,
}

/// Looks a field up: one probe or two of a small hash table.
pub(super) fn find(name: &[u8], value: &[u8]) -> Found {
    let Some(first) = find_name(name) else { return Found::Nothing };
    let mut index = first;
    // Entries with the same name follow each other.
    while let Some(field) = entry(index).filter(|field| field.name == name) {
        if field.value == value {
            return Found::Field(index);
        }
        index += 1;
    }
    Found::Name(first)
}

/// The lowest index with this name.
fn find_name(name: &[u8]) -> Option<u32> {
    let mut slot = name_hash(name);
    loop {
        let index = NAMES[slot];
        let field = entry(u32::from(index))?;
        if field.name == name {
            return Some(u32::from(index));
        }
        slot = (slot + 1) % NAMES.len();
    }
}

/// Names differ in length and a few of their letters.
const fn name_hash(name: &[u8]) -> usize {
    let length = name.len();
    if length == 0 {
        return 0;
    }
    let mix = length * 41 + name[length - 1] as usize * 7 + name[length / 2] as usize * 13;
    (mix + name[0] as usize) % NAME_SLOTS
}

const NAME_SLOTS: usize = 128;

/// Open hash table from name to lowest index; 0 is an empty slot, and most are empty.
static NAMES: [u8; NAME_SLOTS] = name_table();

#[allow(clippy::cast_possible_truncation)]
const fn name_table() -> [u8; NAME_SLOTS] {
    let mut table = [0; NAME_SLOTS];
    let mut index = 0;
    while index < STATIC.len() {
        let name = STATIC[index].name;
        if index == 0 || !same(name, STATIC[index - 1].name) {
            let mut slot = name_hash(name);
            while table[slot] != 0 {
                slot = (slot + 1) % NAME_SLOTS;
            }
            table[slot] = index as u8 + 1;
        }
        index += 1;
    }
    table
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn regular(name: &'static str) -> StaticField {
    of_kind(FieldKind::Regular, name, "")
}

#[allow(clippy::cast_possible_truncation)] // a few bytes
const fn of_kind(kind: FieldKind, name: &'static str, value: &'static str) -> StaticField {
    let size = name.len() as u32 + value.len() as u32 + FIELD_OVERHEAD_BYTES;
    StaticField { name: name.as_bytes(), value: value.as_bytes(), kind, size }
}

static STATIC: [StaticField; STATIC_LEN as usize] = [
    of_kind(FieldKind::Authority, ":authority", ""),
    of_kind(FieldKind::Method, ":method", "GET"),
    of_kind(FieldKind::Method, ":method", "POST"),
    of_kind(FieldKind::Path, ":path", "/"),
    of_kind(FieldKind::Path, ":path", "/index.html"),
    of_kind(FieldKind::Scheme, ":scheme", "http"),
    of_kind(FieldKind::Scheme, ":scheme", "https"),
    of_kind(FieldKind::Status, ":status", "200"),
    of_kind(FieldKind::Status, ":status", "204"),
    of_kind(FieldKind::Status, ":status", "206"),
    of_kind(FieldKind::Status, ":status", "304"),
    of_kind(FieldKind::Status, ":status", "400"),
    of_kind(FieldKind::Status, ":status", "404"),
    of_kind(FieldKind::Status, ":status", "500"),
    regular("accept-charset"),
    of_kind(FieldKind::Regular, "accept-encoding", "gzip, deflate"),
    regular("accept-language"),
    regular("accept-ranges"),
    regular("accept"),
    regular("access-control-allow-origin"),
    regular("age"),
    regular("allow"),
    regular("authorization"),
    regular("cache-control"),
    regular("content-disposition"),
    regular("content-encoding"),
    regular("content-language"),
    of_kind(FieldKind::ContentLength, "content-length", ""),
    regular("content-location"),
    regular("content-range"),
    regular("content-type"),
    of_kind(FieldKind::Cookie, "cookie", ""),
    regular("date"),
    regular("etag"),
    regular("expect"),
    regular("expires"),
    regular("from"),
    of_kind(FieldKind::Host, "host", ""),
    regular("if-match"),
    regular("if-modified-since"),
    regular("if-none-match"),
    regular("if-range"),
    regular("if-unmodified-since"),
    regular("last-modified"),
    regular("link"),
    regular("location"),
    regular("max-forwards"),
    regular("proxy-authenticate"),
    regular("proxy-authorization"),
    regular("range"),
    regular("referer"),
    regular("refresh"),
    regular("retry-after"),
    regular("server"),
    regular("set-cookie"),
    regular("strict-transport-security"),
    of_kind(FieldKind::ConnectionSpecific, "transfer-encoding", ""),
    regular("user-agent"),
    regular("vary"),
    regular("via"),
    regular("www-authenticate"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_and_has_its_kind() {
        for index in 1..=STATIC_LEN {
            let field = entry(index).unwrap();
            assert_eq!(find(field.name, field.value), Found::Field(index));
            assert_eq!(field.kind, FieldKind::of(field.name, field.value), "{index}");
            let Found::Name(first) = find(field.name, b"something else") else { panic!("{index}") };
            assert_eq!(entry(first).unwrap().name, field.name);
            assert!(first <= index);
        }
        assert!(entry(0).is_none());
        assert!(entry(STATIC_LEN + 1).is_none());
    }

    #[test]
    fn other_names_are_not_found() {
        for name in ["", ":", "a", "grpc-timeout", "te", ":protocol", "Accept", "cookies", "agf"] {
            assert_eq!(find(name.as_bytes(), b""), Found::Nothing, "{name}");
        }
    }

    /// Few enough that a lookup is a probe or two, also for a name that is not there.
    #[test]
    fn the_hash_table_spreads() {
        let mut run = 0;
        for slot in NAMES.iter().chain(&NAMES) {
            run = if *slot == 0 { 0 } else { run + 1 };
            assert!(run < 12, "run of {run}");
        }
    }
}

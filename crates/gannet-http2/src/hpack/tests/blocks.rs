//! The arena of fields, and tags.

use core::sync::atomic::{AtomicU32, Ordering};

use super::super::{
    Field, FieldBlock, FieldClassifier, FieldKind, FieldTag, Limits, NoClassifier,
    RETAINED_BYTES_MAX, RETAINED_FIELDS_MAX,
};
use super::{decoder, fields, hex, plain};

/// Tags `a` by the length of its value and elides `e`; counts its calls.
#[derive(Default)]
struct Classifier {
    calls: AtomicU32,
}

impl FieldClassifier for Classifier {
    fn classify(&self, name: &[u8], value: &[u8]) -> FieldTag {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match name {
            b"a" => FieldTag(u32::try_from(value.len()).unwrap()),
            b"e" => FieldTag(FieldTag::ELIDE | 7),
            b":method" => FieldTag(FieldTag::ELIDE | 1),
            _ => FieldTag::NONE,
        }
    }
}

#[test]
fn a_tag_is_computed_once_and_travels_with_the_entry() {
    let classifier = Classifier::default();
    let mut decoder = decoder(4096);
    let mut out = FieldBlock::default();
    // a: bc and e: f enter the table; :method: GET is static.
    let first = hex("400161026263 4001650166 82");
    decoder.decode(&first, &mut out, &classifier).unwrap();
    for block in [hex("bf be 82"), hex("bf be 82")] {
        let tags: Vec<FieldTag> = out.tags().map(|(_, tag)| tag).collect();
        let elide = FieldTag::ELIDE;
        assert_eq!(tags, [FieldTag(2), FieldTag(elide | 7), FieldTag(elide | 1)]);
        assert_eq!(plain(&out), fields(&[("a", "bc"), ("", ""), ("", "")]));
        assert_eq!(out.list_bytes(), 35 + 34 + 42);
        assert_eq!(out.field(1).unwrap().kind, FieldKind::Regular);
        assert_eq!(out.field(2).unwrap().kind, FieldKind::Method);
        assert_eq!(out.field(3), None);
        decoder.decode(&block, &mut out, &classifier).unwrap();
    }
    assert_eq!(classifier.calls.load(Ordering::Relaxed), 3);

    // A literal outside of the table is classified each time; a malformed field never.
    decoder.decode(&hex("0001610162 0001610162"), &mut out, &classifier).unwrap();
    assert_eq!(classifier.calls.load(Ordering::Relaxed), 5);
    decoder.decode(&hex("4001610100 be 0001410162"), &mut out, &classifier).unwrap();
    assert_eq!(classifier.calls.load(Ordering::Relaxed), 5);
    assert!(out.tags().all(|field| field == (FieldKind::Malformed, FieldTag::NONE)));
}

#[test]
fn elided_fields_count_towards_the_limits() {
    let mut decoder = decoder(4096);
    decoder.set_limits(Limits { header_list_bytes_max: 100, fields_max: 128 });
    let mut out = FieldBlock::default();
    decoder.decode(&hex("4001650166 be be"), &mut out, &Classifier::default()).unwrap();
    assert!(out.over_limit());
    assert_eq!(out.len(), 2);
    assert_eq!(out.list_bytes(), 102);
}

#[test]
fn a_block_can_be_built_by_hand() {
    let mut block = FieldBlock::default();
    block.push(FieldKind::Path, FieldTag(3), b":path", b"/x");
    block.push(FieldKind::Regular, FieldTag(FieldTag::ELIDE), b"gone", b"gone");
    block.push(FieldKind::Regular, FieldTag::NONE, b"a", b"");
    let expected = Field {
        kind: FieldKind::Path,
        tag: FieldTag(3),
        name: b":path",
        value: b"/x",
        sensitive: false,
    };
    assert_eq!(block.field(0), Some(expected));
    assert_eq!(plain(&block), fields(&[(":path", "/x"), ("", ""), ("a", "")]));
    assert_eq!(block.list_bytes(), 39 + 40 + 33);
    assert_eq!(block.len(), 3);

    let copy = block.clone();
    block.clear();
    assert!(block.is_empty() && block.list_bytes() == 0 && !block.over_limit());
    assert_eq!(copy.iter().len(), 3);
}

#[test]
fn clearing_keeps_little_memory() {
    let mut block = FieldBlock::default();
    block.push(FieldKind::Regular, FieldTag::NONE, b"name", &[b'v'; 1000]);
    let kept = block.arena().capacity();
    block.clear();
    assert_eq!(block.arena().capacity(), kept);
    for _ in 0..=RETAINED_FIELDS_MAX {
        block.push(FieldKind::Regular, FieldTag::NONE, b"name", &[b'v'; 1000]);
    }
    assert!(block.arena().capacity() > RETAINED_BYTES_MAX);
    block.clear();
    assert_eq!(block.arena().capacity(), 0);
}

#[test]
fn debug_escapes_and_hides() {
    let mut out = FieldBlock::default();
    let block = hex("0001610262ff 100170 0473656372 82");
    decoder(4096).decode(&block, &mut out, &Classifier::default()).unwrap();
    assert_eq!(
        format!("{out:?}"),
        "[Regular(a: b\\xff), Regular(p: <sensitive>), Method(tag 0x80000001)]"
    );
    assert!(out.field(1).unwrap().sensitive);
    let mut decoder = decoder(4096);
    decoder.decode(&hex("40017004 73656372"), &mut out, &NoClassifier).unwrap();
    assert!(!format!("{decoder:?}").contains("secr"));
}

/// Tokens that come as literals to be indexed, and then by the index, as grpc-go sends them.
#[test]
fn debug_hides_secrets_however_they_came() {
    for name in ["authorization", "proxy-authorization", "cookie", "set-cookie"] {
        let mut block = vec![0x40, u8::try_from(name.len()).unwrap()];
        block.extend_from_slice(name.as_bytes());
        block.extend_from_slice(b"\x06abc123\xbe");
        let mut out = FieldBlock::default();
        decoder(4096).decode(&block, &mut out, &NoClassifier).unwrap();
        let value = |at| out.field(at).map(|field| (field.value, field.sensitive));
        assert_eq!((value(0), value(1)), (Some((&b"abc123"[..], false)), value(0)));
        let told = format!("{out:?}");
        assert_eq!(told.matches(&format!("({name}: <sensitive>)")).count(), 2, "{told}");
        assert!(!told.contains("abc123"), "{told}");
    }
}

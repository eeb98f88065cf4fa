//! What the encoder lets into the table, and how it writes what is there.

use super::super::{CACHED_FIELDS_MAX, CachedField, Encoder, Indexing};
use super::{decode, decoder, fields, hex};

const CONTENT_TYPE: (&[u8], &[u8]) = (b"content-type", b"application/grpc");
const STATUS: (&[u8], &[u8]) = (b"grpc-status", b"0");

fn block(encoder: &mut Encoder, write: impl FnOnce(&mut Encoder, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin_block(&mut out);
    write(encoder, &mut out);
    out
}

fn one(encoder: &mut Encoder, name: &str, value: &str, indexing: Indexing) -> Vec<u8> {
    block(encoder, |encoder, out| encoder.field(out, name.as_bytes(), value.as_bytes(), indexing))
}

fn one_cached(encoder: &mut Encoder, field: CachedField) -> Vec<u8> {
    block(encoder, |encoder, out| encoder.cached(out, field))
}

#[test]
fn a_cached_field_becomes_one_byte() {
    let mut encoder = Encoder::new(4096);
    let ok = encoder.register(b":status", b"200");
    let content_type = encoder.register(CONTENT_TYPE.0, CONTENT_TYPE.1);
    let status = encoder.register(STATUS.0, STATUS.1);
    assert_eq!(encoder.register(CONTENT_TYPE.0, CONTENT_TYPE.1), content_type);
    let mut decoder = decoder(4096);
    let lists = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "0")];
    let mut reply = || {
        let reply = block(&mut encoder, |encoder, out| {
            encoder.cached(out, ok);
            encoder.cached(out, content_type);
            encoder.cached(out, status);
        });
        assert_eq!(decode(&mut decoder, &reply), Ok(fields(&lists)));
        reply
    };
    assert_eq!(reply(), hex("88 5f8b1d75d0620d263d4c4d6564 40889acac8b21234da8f0130"));
    assert_eq!(reply(), hex("88 bf be"));
    assert_eq!(reply(), hex("88 bf be"));
}

#[test]
fn a_cached_field_comes_back_after_eviction() {
    let mut encoder = Encoder::new(128);
    let status = encoder.register(STATUS.0, STATUS.1);
    let mut other = encoder.clone();
    assert_eq!(one_cached(&mut encoder, status), hex("3f61 40889acac8b21234da8f0130"));
    assert_eq!(one_cached(&mut encoder, status), hex("be"));
    for value in ["a", "b", "c"] {
        one(&mut encoder, "custom-key", value, Indexing::Incremental);
    }
    assert_eq!(one_cached(&mut encoder, status), hex("40889acac8b21234da8f0130"));
    assert_eq!(one_cached(&mut encoder, status), hex("be"));
    // A clone has a table of its own.
    assert_eq!(one_cached(&mut other, status), hex("3f61 40889acac8b21234da8f0130"));
}

#[test]
fn a_small_table_admits_the_first_registrations() {
    // 128 / 4 * 3 = 96 bytes: two of 44 bytes, not three.
    let mut encoder = Encoder::new(128);
    let cached: Vec<CachedField> =
        [b"0", b"1", b"2"].iter().map(|value| encoder.register(STATUS.0, *value)).collect();
    let mut decoder = decoder(4096);
    for _ in 0..3 {
        for field in &cached {
            decode(&mut decoder, &one_cached(&mut encoder, *field)).unwrap();
        }
    }
    assert_eq!(one_cached(&mut encoder, cached[0]), hex("bf"));
    assert_eq!(one_cached(&mut encoder, cached[1]), hex("be"));
    assert_eq!(one_cached(&mut encoder, cached[2]), hex("00889acac8b21234da8f0132"));

    // Without a table there are literals only; with one again, both come back.
    encoder.set_peer_table_bytes_max(0);
    assert_eq!(one_cached(&mut encoder, cached[0]), hex("20 00889acac8b21234da8f0130"));
    encoder.set_peer_table_bytes_max(100_000);
    assert_eq!(one_cached(&mut encoder, cached[0]), hex("3f61 40889acac8b21234da8f0130"));
    assert_eq!(one_cached(&mut encoder, cached[0]), hex("be"));
}

#[test]
fn registrations_are_bounded() {
    let mut encoder = Encoder::new(4096);
    for number in 0..CACHED_FIELDS_MAX {
        assert!(encoder.try_register(b"n", number.to_string().as_bytes()).is_some());
    }
    assert_eq!(encoder.try_register(b"n", b"more"), None);
    assert!(encoder.try_register(b"n", b"0").is_some());
}

#[test]
fn size_updates_are_said_once() {
    let said = |own: u32, settings: &[u32]| {
        let mut encoder = Encoder::new(own);
        block(&mut encoder, |_, _| ());
        for size in settings {
            encoder.set_peer_table_bytes_max(*size);
        }
        let first = block(&mut encoder, |_, _| ());
        assert_eq!(block(&mut encoder, |_, _| ()), hex(""));
        first
    };
    assert_eq!(said(4096, &[]), hex(""));
    assert_eq!(said(4096, &[4096]), hex(""));
    assert_eq!(said(4096, &[65536]), hex(""));
    assert_eq!(said(100, &[65536, 100]), hex(""));
    assert_eq!(said(4096, &[0]), hex("20"));
    assert_eq!(said(4096, &[30]), hex("3e"));
    assert_eq!(said(4096, &[30, 0]), hex("20"));
    assert_eq!(said(4096, &[30, 0, 4096]), hex("20 3fe11f"));
    assert_eq!(said(4096, &[0, 30]), hex("20 3e"));
    assert_eq!(said(8192, &[8192]), hex("3fe13f"));
    assert_eq!(said(8192, &[8192, 100, 8192]), hex("3f45 3fe13f"));
    assert_eq!(block(&mut Encoder::new(0), |_, _| ()), hex("20"));
    assert_eq!(block(&mut Encoder::new(8192), |_, _| ()), hex(""));
}

#[test]
fn indexing_does_as_it_says() {
    let mut encoder = Encoder::new(4096);
    let mut check = |indexing, block: &str| {
        assert_eq!(one(&mut encoder, "k", "v", indexing), hex(block), "{indexing:?}");
    };
    check(Indexing::Never, "10016b0176");
    check(Indexing::WithoutIndexing, "00016b0176");
    check(Indexing::WhenRepeated, "00016b0176");
    check(Indexing::WhenRepeated, "40016b0176");
    check(Indexing::WhenRepeated, "be");
    check(Indexing::Incremental, "be");
    // The name is there now; the value of a secret still goes out as a literal.
    check(Indexing::WithoutIndexing, "0f2f0176");
    check(Indexing::Never, "1f2f0176");
    // And so it does where the static table has all of it.
    assert_eq!(one(&mut encoder, ":method", "GET", Indexing::Never), hex("12 03474554"));
    assert_eq!(one(&mut encoder, ":method", "GET", Indexing::WithoutIndexing), hex("82"));
}

/// RFC 7541, appendices C.2.3 and C.4.3, have the bytes of both forms.
#[test]
fn only_what_enters_the_table_is_huffman_coded() {
    let mut encoder = Encoder::new(4096);
    let plain = "08 7061 7373 776f 7264 06 7365 6372 6574";
    assert_eq!(
        one(&mut encoder, "password", "secret", Indexing::Never),
        hex(&["10", plain].concat())
    );
    let literal = hex(&["00", plain].concat());
    assert_eq!(one(&mut encoder, "password", "secret", Indexing::WithoutIndexing), literal);
    assert_eq!(one(&mut encoder, "password", "secret", Indexing::WhenRepeated), literal);
    let coded = one(&mut encoder, "password", "secret", Indexing::WhenRepeated);
    assert_eq!(coded[..2], [0x40, 0x80 | 6]);
    assert!(coded.len() < literal.len());
    assert_eq!(decode(&mut decoder(4096), &coded), Ok(fields(&[("password", "secret")])));
    let mut encoder = Encoder::new(4096);
    let coded = one(&mut encoder, "custom-key", "custom-value", Indexing::Incremental);
    assert_eq!(coded, hex("40 88 25a8 49e9 5ba9 7d7f 89 25a8 49e9 5bb8 e8b4 bf"));
}

#[test]
fn values_seen_once_do_not_push_constants_out() {
    let mut encoder = Encoder::new(4096);
    let status = encoder.register(STATUS.0, STATUS.1);
    one_cached(&mut encoder, status);
    for number in 0..1000 {
        let id = format!("{number:032}");
        let block = one(&mut encoder, "x-request-id", &id, Indexing::WhenRepeated);
        assert_eq!(block[0], 0);
    }
    assert_eq!(one_cached(&mut encoder, status), hex("be"));
    // Nor do large ones, repeated or not.
    let large = "v".repeat(1024);
    for _ in 0..9 {
        one(&mut encoder, "x-large", &large, Indexing::WhenRepeated);
    }
    assert_eq!(one_cached(&mut encoder, status), hex("be"));
}

#[test]
fn a_field_that_cannot_fit_leaves_the_table_alone() {
    let mut encoder = Encoder::new(4096);
    let status = encoder.register(STATUS.0, STATUS.1);
    one_cached(&mut encoder, status);
    let large = "v".repeat(4096);
    assert_eq!(one(&mut encoder, "k", &large, Indexing::Incremental)[0], 0);
    assert_eq!(one_cached(&mut encoder, status), hex("be"));
    assert!(!format!("{encoder:?}").contains("grpc-status"));
}

#[test]
fn a_cached_block_is_what_its_fields_are_whatever_happens_to_the_table() {
    let mut blocks = Encoder::new(4_096);
    let mut fields = Encoder::new(4_096);
    let constants: [(&[u8], &[u8]); 3] =
        [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"x-constant", b"value")];
    let mut handles = Vec::new();
    for (name, value) in constants {
        handles.push(blocks.register(name, value));
        assert_eq!(fields.register(name, value), handles[handles.len() - 1]);
    }
    let block = blocks.try_register_block(&handles).unwrap();
    assert_eq!(blocks.try_register_block(&handles), Some(block), "the same again");
    assert_eq!(blocks.try_register_block(&[handles[0]; 9]), None, "too many fields");
    for round in 0..400_u32 {
        match round % 50 {
            // Others push the constants out, or the table shrinks and grows.
            10..20 => {
                let value = format!("{round}").repeat(100);
                for encoder in [&mut blocks, &mut fields] {
                    let out = &mut Vec::new();
                    encoder.field(out, b"filler", value.as_bytes(), Indexing::Incremental);
                }
            }
            30 | 40 => {
                for encoder in [&mut blocks, &mut fields] {
                    encoder.set_peer_table_bytes_max(if round % 50 == 30 { 0 } else { 4_096 });
                }
            }
            _ => {}
        }
        let (mut one, mut other) = (Vec::new(), Vec::new());
        blocks.begin_block(&mut one);
        blocks.cached_block(&mut one, block);
        fields.begin_block(&mut other);
        for handle in &handles {
            fields.cached(&mut other, *handle);
        }
        assert_eq!(one, other, "round {round}");
    }
}

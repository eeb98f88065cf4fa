//! What a correct peer never sends.

use super::super::{Decoder, FieldBlock, FieldTag, HpackError, Limits, NoClassifier};
use super::{decode, decoder, fields, hex};

#[test]
fn each_error_has_its_name() {
    let cases: &[(&str, &str, HpackError)] = &[
        ("index 0", "80", HpackError::InvalidIndex),
        ("index beyond an empty dynamic table", "be", HpackError::InvalidIndex),
        ("index beyond one entry", "4001610162 bf", HpackError::InvalidIndex),
        ("largest index", "ff80ffffff0f", HpackError::InvalidIndex),
        ("name index beyond the tables, indexed", "7e0161", HpackError::InvalidIndex),
        ("name index beyond the tables, not indexed", "0f2f0161", HpackError::InvalidIndex),
        ("name index beyond the tables, never indexed", "1f2f0161", HpackError::InvalidIndex),
        ("index of more than 32 bits", "ffffffffff7f", HpackError::IntegerOverflow),
        ("index with endless zeros", "ff808080808080808000", HpackError::IntegerOverflow),
        ("length of more than 32 bits", "007fffffffff7f", HpackError::IntegerOverflow),
        ("index cut off", "ff", HpackError::Truncated),
        ("index cut off later", "ff80", HpackError::Truncated),
        ("no name", "40", HpackError::Truncated),
        ("name cut off", "400361", HpackError::Truncated),
        ("no value", "400161", HpackError::Truncated),
        ("value cut off", "4001610262", HpackError::Truncated),
        ("huge length", "0001617f80ffffff0e", HpackError::Truncated),
        ("name length cut off", "407f", HpackError::Truncated),
        ("Huffman: EOS", "00016184ffffffff", HpackError::HuffmanEos),
        ("Huffman: EOS amid", "000161861fffffffff07", HpackError::HuffmanEos),
        ("Huffman: a byte of padding", "000161821fff", HpackError::HuffmanPadding),
        ("Huffman: padding of zeros", "0001618118", HpackError::HuffmanPadding),
        ("Huffman: EOS in a name", "0084ffffffff0161", HpackError::HuffmanEos),
        ("size update above the limit", "3fe21f", HpackError::SizeUpdateTooLarge),
        ("size update after a field", "823f00", HpackError::SizeUpdateNotAtStart),
        ("size update cut off", "3f", HpackError::Truncated),
        ("size update of more than 32 bits", "3fffffffff7f", HpackError::IntegerOverflow),
    ];
    for (what, block, error) in cases {
        let mut out = FieldBlock::default();
        out.push(super::super::FieldKind::Regular, FieldTag::NONE, b"left", b"over");
        let result = decoder(4096).decode(&hex(block), &mut out, &NoClassifier);
        assert_eq!(result, Err(*error), "{what}");
        assert!(out.is_empty(), "{what}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn size_updates_follow_the_limit() {
    let mut decoder = decoder(4096);
    assert_eq!(decode(&mut decoder, &hex("4001610162")), Ok(fields(&[("a", "b")])));
    // Up to the limit, at the start, also twice.
    assert_eq!(decode(&mut decoder, &hex("20 3fe11f 82")), Ok(fields(&[(":method", "GET")])));
    assert_eq!(decoder.table_bytes(), 0);
    assert_eq!(decode(&mut decoder, &hex("3fe01f")), Ok(vec![]));

    // A larger limit needs no update; the peer may use it.
    decoder.set_table_bytes_max(8192);
    assert_eq!(decode(&mut decoder, &hex("82")), Ok(fields(&[(":method", "GET")])));
    assert_eq!(decode(&mut decoder, &hex("3fe13f")), Ok(vec![]));
    assert_eq!(decode(&mut decoder, &hex("3fe23f")), Err(HpackError::SizeUpdateTooLarge));
}

#[test]
fn a_reduced_limit_needs_a_size_update() {
    let reduced = |limits: &[u32]| {
        let mut decoder = decoder(4096);
        for limit in limits {
            decoder.set_table_bytes_max(*limit);
        }
        decoder
    };
    let missing = Err(HpackError::SizeUpdateMissing);
    assert_eq!(decode(&mut reduced(&[100]), &hex("82")), missing);
    assert_eq!(decode(&mut reduced(&[100]), &hex("")), missing);
    assert_eq!(decode(&mut reduced(&[100]), &hex("3f45")), Ok(vec![]));
    assert_eq!(decode(&mut reduced(&[100]), &hex("3f46")), Err(HpackError::SizeUpdateTooLarge));
    // Of several limits between two blocks the smallest counts first.
    assert_eq!(decode(&mut reduced(&[0, 4096]), &hex("3fe11f")), missing);
    assert_eq!(decode(&mut reduced(&[0, 4096]), &hex("20 3fe11f")), Ok(vec![]));
    assert_eq!(decode(&mut reduced(&[64, 0, 4096]), &hex("3f21")), missing);
    // Once said it is said.
    let mut decoder = reduced(&[100]);
    assert_eq!(decode(&mut decoder, &hex("3f45")), Ok(vec![]));
    assert_eq!(decode(&mut decoder, &hex("82")), Ok(fields(&[(":method", "GET")])));
}

/// RFC 7541, section 4.4: a name may come from the entry that the new one evicts.
#[test]
fn a_name_may_come_from_the_entry_it_evicts() {
    let mut decoder = decoder(36);
    let block = hex("4002 6162 0163 7e 0178");
    assert_eq!(decode(&mut decoder, &block), Ok(fields(&[("ab", "c"), ("ab", "x")])));
    assert_eq!(decoder.table_bytes(), 35);
    assert_eq!(decode(&mut decoder, &hex("be")), Ok(fields(&[("ab", "x")])));
    assert_eq!(decode(&mut decoder, &hex("bf")), Err(HpackError::InvalidIndex));
}

/// RFC 7541, section 4.4: an entry larger than the table empties it, and is no error.
#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut decoder = decoder(36);
    assert_eq!(decode(&mut decoder, &hex("4001610162")), Ok(fields(&[("a", "b")])));
    let block = hex("40 02 6161 03 626262");
    assert_eq!(decode(&mut decoder, &block), Ok(fields(&[("aa", "bbb")])));
    assert_eq!(decoder.table_bytes(), 0);
    assert_eq!(decode(&mut decoder, &hex("be")), Err(HpackError::InvalidIndex));
}

#[test]
fn a_list_over_its_limit_keeps_the_table_in_step() {
    for limits in [
        Limits { header_list_bytes_max: 2 * 34 + 33, fields_max: 128 },
        Limits { header_list_bytes_max: 1 << 20, fields_max: 2 },
    ] {
        let mut decoder = Decoder::new(4096, limits);
        let mut out = FieldBlock::default();
        // a: b and c: d fit; e: f is dropped, and so is everything after it, but in the table.
        let block = hex("4001610162 4001630164 4001650166 0001670168 be c0 4001690387 82");
        let result = decoder.decode(&block, &mut out, &NoClassifier);
        assert_eq!(result, Err(HpackError::Truncated), "a value cut off is an error still");

        let mut decoder = Decoder::new(4096, limits);
        let block = hex("4001610162 4001630164 4001650166 0001670168 be c0 82");
        assert_eq!(decoder.decode(&block, &mut out, &NoClassifier), Ok(()));
        assert!(out.over_limit());
        assert_eq!(super::plain(&out), fields(&[("a", "b"), ("c", "d")]));
        assert_eq!(out.list_bytes(), 6 * 34 + 42);

        assert_eq!(decoder.decode(&hex("be c0"), &mut out, &NoClassifier), Ok(()));
        assert!(!out.over_limit());
        assert_eq!(super::plain(&out), fields(&[("e", "f"), ("a", "b")]));
    }
}

/// The classic bomb: one large entry, referred to again and again.
#[test]
fn a_bomb_stays_small() {
    let mut decoder = Decoder::new(4096, Limits::default());
    let mut out = FieldBlock::default();
    let mut block = hex("4001617fa11e");
    block.extend([b'v'; 4000]);
    block.extend([0xbe; 100_000]);
    assert_eq!(decoder.decode(&block, &mut out, &NoClassifier), Ok(()));
    assert!(out.over_limit());
    assert_eq!(out.len(), 4);
    assert!(out.list_bytes() > 400_000_000);
    let kept: usize = out.iter().map(|field| field.name.len() + field.value.len()).sum();
    assert!(kept <= 16 * 1024);
}

//! What holds for any fields, any sizes and any bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{
    CachedField, Decoder, Encoder, FieldBlock, FieldKind, Indexing, Limits, NoClassifier, huffman,
};
use super::{LIMITS_WIDE, Plain, plain};

const CONSTANTS: [(&str, &str); 5] = [
    (":status", "200"),
    ("content-type", "application/grpc"),
    ("grpc-status", "0"),
    ("grpc-encoding", "identity"),
    ("x-long", "a constant that is rather longer than the others, so that small tables refuse it"),
];

#[derive(Clone, Debug)]
enum Write {
    Cached(usize),
    Field(Vec<u8>, Vec<u8>, Indexing),
}

fn write() -> impl Strategy<Value = Write> {
    let known = proptest::sample::select(vec![":method", ":path", "te", "k", "grpc-status", "x-a"]);
    let name = prop_oneof![
        4 => known.prop_map(|name| name.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ];
    let value = prop_oneof![
        4 => (0..6_u8).prop_map(|number| vec![b'0' + number; usize::from(number) * 7]),
        2 => vec(any::<u8>(), 0..60),
        1 => vec(b'a'..=b'z', 0..600),
    ];
    let indexing = proptest::sample::select(vec![
        Indexing::Incremental,
        Indexing::WhenRepeated,
        Indexing::WithoutIndexing,
        Indexing::Never,
    ]);
    prop_oneof![
        1 => (0..CONSTANTS.len()).prop_map(Write::Cached),
        3 => (name, value, indexing).prop_map(|(name, value, how)| Write::Field(name, value, how)),
    ]
}

fn table_size() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 1..200_u32, 200..6000_u32, Just(4096), Just(65536)]
}

fn write_block(
    encoder: &mut Encoder,
    cached: &[CachedField],
    writes: &[Write],
) -> (Vec<u8>, Vec<Plain>) {
    let mut out = Vec::new();
    let mut expected = Vec::new();
    encoder.begin_block(&mut out);
    for write in writes {
        match write {
            Write::Cached(number) => {
                encoder.cached(&mut out, cached[*number]);
                let (name, value) = CONSTANTS[*number];
                expected.push((name.into(), value.into(), false));
            }
            Write::Field(name, value, indexing) => {
                encoder.field(&mut out, name, value, *indexing);
                expected.push((name.clone(), value.clone(), *indexing == Indexing::Never));
            }
        }
    }
    (out, expected)
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(
        own_size in table_size(),
        steps in vec((vec(table_size(), 0..3), vec(write(), 0..12)), 1..40),
    ) {
        let mut encoder = Encoder::new(own_size);
        let cached: Vec<CachedField> = CONSTANTS
            .iter()
            .map(|(name, value)| encoder.register(name.as_bytes(), value.as_bytes()))
            .collect();
        let mut decoder = Decoder::new(4096, LIMITS_WIDE);
        let mut fields = FieldBlock::default();
        for (sizes, writes) in steps {
            for size in sizes {
                encoder.set_peer_table_bytes_max(size);
                decoder.set_table_bytes_max(size);
            }
            let (block, expected) = write_block(&mut encoder, &cached, &writes);
            decoder.decode(&block, &mut fields, &NoClassifier).unwrap();
            prop_assert_eq!(plain(&fields), expected);
            prop_assert_eq!(decoder.table_bytes(), encoder.table_bytes());
            prop_assert!(encoder.table_bytes() <= own_size);
            for field in fields.iter() {
                prop_assert_eq!(field.kind, FieldKind::of(field.name, field.value));
            }
        }
    }

    #[test]
    fn any_bytes_are_bounded(
        blocks in vec(vec(block_piece(), 0..60), 1..6),
        table_bytes_max in 0..5000_u32,
        header_list_bytes_max in 0..3000_u32,
        fields_max in 0..40_u32,
    ) {
        let limits = Limits { header_list_bytes_max, fields_max };
        let mut decoder = Decoder::new(table_bytes_max, limits);
        let mut out = FieldBlock::default();
        for block in blocks {
            let result = decoder.decode(&block.concat(), &mut out, &NoClassifier);
            let kept: usize = out.iter().map(|field| field.name.len() + field.value.len()).sum();
            prop_assert!(kept + 32 * out.len() <= header_list_bytes_max as usize);
            prop_assert!(out.len() <= fields_max as usize);
            prop_assert!(out.over_limit() || out.list_bytes() <= header_list_bytes_max);
            prop_assert!(decoder.table_bytes() <= table_bytes_max);
            prop_assert!(result.is_ok() || out.is_empty());
        }
    }

    #[test]
    fn any_bytes_have_a_huffman_code(text in vec(any::<u8>(), 0..300)) {
        let mut code = Vec::new();
        huffman::encode(&text, &mut code);
        prop_assert_eq!(code.len(), huffman::encoded_len(&text));
        prop_assert!(text.len() <= huffman::decoded_len_max(code.len()));
        let mut back = Vec::new();
        prop_assert_eq!(huffman::decode(&code, &mut back), Ok(text.len()));
        prop_assert_eq!(back, text);
    }

    /// A code has one encoding: whatever decodes encodes to the same bytes.
    #[test]
    fn any_huffman_code_is_bounded(code in vec(prop_oneof![any::<u8>(), Just(0xff)], 0..40)) {
        let mut out = Vec::new();
        match huffman::decode(&code, &mut out) {
            Ok(length) => {
                prop_assert!(length == out.len() && length <= huffman::decoded_len_max(code.len()));
                let mut again = Vec::new();
                huffman::encode(&out, &mut again);
                prop_assert_eq!(again, code);
            }
            Err(_) => prop_assert!(out.is_empty()),
        }
    }
}

/// Bytes that get further than random ones: whole fields, and pieces of them.
fn block_piece() -> impl Strategy<Value = Vec<u8>> {
    let string = vec(any::<u8>(), 0..40).prop_map(|text| {
        let mut string = vec![u8::try_from(text.len()).unwrap()];
        string.extend(text);
        string
    });
    let code = vec(b' '..b'~', 0..40).prop_map(|text| {
        let mut string = Vec::new();
        huffman::encode(&text, &mut string);
        string.insert(0, 0x80 | u8::try_from(string.len()).unwrap());
        string
    });
    let string = prop_oneof![string, code].boxed();
    let form = proptest::sample::select(vec![0x00, 0x10, 0x40]);
    prop_oneof![
        8 => (0x81..0xd0_u8).prop_map(|index| vec![index]),
        8 => (form, string.clone(), string.clone())
            .prop_map(|(form, name, value)| [vec![form], name, value].concat()),
        8 => (0x41..0x7f_u8, string).prop_map(|(first, value)| [vec![first], value].concat()),
        1 => (0x20..0x3f_u8).prop_map(|update| vec![update]),
        1 => vec(any::<u8>(), 0..6),
    ]
}

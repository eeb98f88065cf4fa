//! The examples of RFC 7541, appendix C, with the dynamic table after each.

use super::super::integer;
use super::super::{Decoder, Encoder, HpackError, Indexing};
use super::{decode, decoder, fields, hex};

/// One header block: its bytes, its fields and then the dynamic table, newest first, and its size.
struct Example {
    block: &'static str,
    fields: &'static [(&'static str, &'static str)],
    table: &'static [(&'static str, &'static str)],
    table_bytes: u32,
}

/// Appendix C.1, both directions.
#[test]
fn integers() {
    let cases: [(u32, u32, &str); 6] = [
        (10, 5, "0a"),
        (1337, 5, "1f9a0a"),
        (42, 8, "2a"),
        (31, 5, "1f00"),
        (u32::MAX, 7, "7f80ffffff0f"),
        (u32::MAX, 1, "01feffffff0f"),
    ];
    for (value, prefix_bits, bytes) in cases {
        let mut out = Vec::new();
        integer::encode(value as usize, prefix_bits, 0, &mut out);
        assert_eq!(out, hex(bytes));
        let (first, mut rest) = out.split_first().unwrap();
        assert_eq!(integer::decode(*first, prefix_bits, &mut rest), Ok(value));
        assert!(rest.is_empty());
    }
    let overflow = |bytes: &str| {
        let bytes = hex(bytes);
        integer::decode(bytes[0], 7, &mut &bytes[1..])
    };
    assert_eq!(overflow("7f81ffffff0f"), Err(HpackError::IntegerOverflow));
    assert_eq!(overflow("7f808080808000"), Err(HpackError::IntegerOverflow));
    assert_eq!(overflow("7f8080808000"), Ok(127));
    assert_eq!(overflow("7f80808080"), Err(HpackError::Truncated));
}

/// Appendix C.2: one representation each.
#[test]
fn representations() {
    let cases: [(&str, &str, &str, bool, u32); 4] = [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key",
            "custom-header",
            false,
            55,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path", "/sample/path", false, 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password", "secret", true, 0),
        ("82", ":method", "GET", false, 0),
    ];
    for (block, name, value, sensitive, table_bytes) in cases {
        let mut decoder = decoder(4096);
        let expected = vec![(name.into(), value.into(), sensitive)];
        assert_eq!(decode(&mut decoder, &hex(block)), Ok(expected));
        assert_eq!(decoder.table_bytes(), table_bytes);
    }
}

/// Appendices C.3 and C.4 have the same lists and tables, without and with the Huffman code.
#[test]
fn requests() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    decode_all(decoder(4096), &with_blocks(&REQUESTS, plain));
    decode_all(decoder(4096), &REQUESTS);
    encode_all(Encoder::new(4096), &REQUESTS);
}

/// Appendices C.5 and C.6, in a table of 256 bytes.
#[test]
fn responses() {
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
         6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
         54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
         5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
         3d31",
    ];
    decode_all(decoder(256), &with_blocks(&RESPONSES, plain));
    decode_all(decoder(256), &RESPONSES);
    // The examples take the size for agreed; an encoder says so first.
    let mut encoder = Encoder::new(256);
    let mut update = Vec::new();
    encoder.begin_block(&mut update);
    assert_eq!(update, hex("3fe101"));
    // Where the Huffman code saves nothing (307, appendix C.6.2), ours leaves it; either is right.
    let [first, second, third] = RESPONSES;
    let second = Example { block: plain[1], ..second };
    encode_all(encoder, &[first, second, third]);
}

fn with_blocks(examples: &[Example; 3], blocks: [&'static str; 3]) -> Vec<Example> {
    let pairs = examples.iter().zip(blocks);
    pairs.map(|(example, block)| Example { block, ..*example }).collect()
}

fn decode_all(mut decoder: Decoder, examples: &[Example]) {
    for example in examples {
        assert_eq!(decode(&mut decoder, &hex(example.block)), Ok(fields(example.fields)));
        assert_eq!(decoder.table_bytes(), example.table_bytes);
        assert_eq!(decoder.table_fields(), table(example));
    }
}

fn encode_all(mut encoder: Encoder, examples: &[Example]) {
    for example in examples {
        let mut out = Vec::new();
        encoder.begin_block(&mut out);
        for (name, value) in example.fields {
            encoder.field(&mut out, name.as_bytes(), value.as_bytes(), Indexing::Incremental);
        }
        assert_eq!(out, hex(example.block));
        assert_eq!(encoder.table_bytes(), example.table_bytes);
        assert_eq!(encoder.table_fields(), table(example));
    }
}

fn table(example: &Example) -> Vec<(Vec<u8>, Vec<u8>)> {
    example
        .table
        .iter()
        .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()))
        .collect()
}

const REQUESTS: [Example; 3] = [
    Example {
        block: "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        fields: &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
        ],
        table: &[(":authority", "www.example.com")],
        table_bytes: 57,
    },
    Example {
        block: "8286 84be 5886 a8eb 1064 9cbf",
        fields: &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
            ("cache-control", "no-cache"),
        ],
        table: &[("cache-control", "no-cache"), (":authority", "www.example.com")],
        table_bytes: 110,
    },
    Example {
        block: "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        fields: &[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ],
        table: &[
            ("custom-key", "custom-value"),
            ("cache-control", "no-cache"),
            (":authority", "www.example.com"),
        ],
        table_bytes: 164,
    },
];

const RESPONSES: [Example; 3] = [
    Example {
        block: "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
                2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        fields: &[
            (":status", "302"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ],
        table: &[
            ("location", "https://www.example.com"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("cache-control", "private"),
            (":status", "302"),
        ],
        table_bytes: 222,
    },
    Example {
        block: "4883 640e ffc1 c0bf",
        fields: &[
            (":status", "307"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ],
        table: &[
            (":status", "307"),
            ("location", "https://www.example.com"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("cache-control", "private"),
        ],
        table_bytes: 222,
    },
    Example {
        block: "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
                77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
                9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        fields: &[
            (":status", "200"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
            ("location", "https://www.example.com"),
            ("content-encoding", "gzip"),
            ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
        ],
        table: &[
            ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
            ("content-encoding", "gzip"),
            ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ],
        table_bytes: 215,
    },
];

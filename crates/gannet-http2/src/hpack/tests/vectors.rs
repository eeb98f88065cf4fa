//! Against other implementations: `tests/data/hpack_vectors.py` says how the vectors were made, and
//! how to let those implementations decode what our encoder makes of the same lists.

use std::fmt::Write as _;

use super::super::{Decoder, Encoder, FieldBlock, Indexing, NoClassifier};
use super::{LIMITS_WIDE, Plain, decoder, hex, plain};

const VECTORS: &str = include_str!("../../../tests/data/hpack_vectors.txt");

/// A line of the file, or a list with the lines of its fields.
enum Step<'a> {
    Sequence,
    Limit(u32),
    List(Vec<Plain>, Vec<&'a str>),
    /// Encoder, size of its table, and the block of the last list.
    Block(&'a str, u32, Vec<u8>),
}

fn steps() -> Vec<Step<'static>> {
    let mut steps = Vec::new();
    for line in VECTORS.lines() {
        if let Some((name, value)) = line.get(1..).and_then(|rest| rest.split_once('|')) {
            let Some(Step::List(fields, lines)) = steps.last_mut() else { panic!("{line}") };
            fields.push((unescape(name), unescape(value), line.starts_with('!')));
            lines.push(line);
            continue;
        }
        let mut words = line.split(' ');
        let word = words.next().unwrap();
        let mut number = || words.next().unwrap().parse().unwrap();
        steps.push(match word {
            "sequence" => Step::Sequence,
            "limit" => Step::Limit(number()),
            "list" => Step::List(Vec::new(), Vec::new()),
            encoder => Step::Block(encoder, number(), hex(words.next().unwrap_or_default())),
        });
    }
    steps
}

fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.extend(hex(&part[..2]));
        bytes.extend(part[2..].bytes());
    }
    bytes
}

#[test]
fn blocks_of_others_decode() {
    for other in ["python", "nghttp2"] {
        let mut decoder = decoder(4096);
        let mut expected = Vec::new();
        let mut out = FieldBlock::default();
        let mut blocks = 0;
        for step in steps() {
            match step {
                Step::Sequence => decoder = Decoder::new(4096, LIMITS_WIDE),
                Step::Limit(limit) => decoder.set_table_bytes_max(limit),
                Step::List(fields, _) => expected = fields,
                Step::Block(encoder, table_bytes, block) if encoder == other => {
                    decoder.decode(&block, &mut out, &NoClassifier).unwrap();
                    assert_same(&plain(&out), &expected);
                    assert_eq!(decoder.table_bytes(), table_bytes);
                    blocks += 1;
                }
                Step::Block(..) => (),
            }
        }
        assert!(blocks >= 300, "{other}: {blocks}");
    }
}

/// An encoder may treat more fields as sensitive than it was told to, not fewer.
fn assert_same(decoded: &[Plain], expected: &[Plain]) {
    assert_eq!(decoded.len(), expected.len());
    for (decoded, expected) in decoded.iter().zip(expected) {
        assert_eq!((&decoded.0, &decoded.1), (&expected.0, &expected.1));
        assert!(decoded.2 || !expected.2);
    }
}

/// With GANNET_HPACK_DUMP in the environment, writes the blocks to the file that it names.
#[test]
fn our_blocks_come_back() {
    let mut encoder = Encoder::new(4096);
    let mut decoder = decoder(4096);
    let mut dump = String::new();
    let mut sequences = 0;
    for step in steps() {
        match step {
            Step::Sequence => {
                encoder = Encoder::new([4096, 16384, 300][sequences % 3]);
                decoder = Decoder::new(4096, LIMITS_WIDE);
                sequences += 1;
                dump.push_str("sequence\n");
            }
            Step::Limit(limit) => {
                encoder.set_peer_table_bytes_max(limit);
                decoder.set_table_bytes_max(limit);
                writeln!(dump, "limit {limit}").unwrap();
            }
            Step::List(fields, lines) => {
                let block = encode(&mut encoder, &fields);
                let mut out = FieldBlock::default();
                decoder.decode(&block, &mut out, &NoClassifier).unwrap();
                assert_eq!(plain(&out), fields);
                assert_eq!(decoder.table_bytes(), encoder.table_bytes());
                let digits: String = block.iter().map(|byte| format!("{byte:02x}")).collect();
                let table_bytes = encoder.table_bytes();
                let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
                write!(dump, "list\n{lines}gannet {table_bytes} {digits}\n").unwrap();
            }
            Step::Block(..) => (),
        }
    }
    if let Some(path) = std::env::var_os("GANNET_HPACK_DUMP") {
        std::fs::write(path, dump).unwrap();
    }
}

/// Every way to write a field, chosen by its name and place.
fn encode(encoder: &mut Encoder, fields: &[Plain]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin_block(&mut out);
    for (place, (name, value, never)) in fields.iter().enumerate() {
        let indexing = match name.len() % 4 {
            _ if *never => Indexing::Never,
            0 | 1 => Indexing::Incremental,
            2 => Indexing::WhenRepeated,
            _ => Indexing::WithoutIndexing,
        };
        let is_constant = !never && (name == b"content-type" || name == b"te" || place == 0);
        match is_constant.then(|| encoder.try_register(name, value)).flatten() {
            Some(cached) => encoder.cached(&mut out, cached),
            None => encoder.field(&mut out, name, value, indexing),
        }
    }
    out
}

//! Header blocks into a server, new ones and the same again: whatever the engine remembers of them,
//! it must find what a decoder without memory finds.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use arbitrary::Arbitrary;
use gannet_http2::hpack::{Decoder, FieldBlock, Limits, NoClassifier};
use gannet_http2::{Config, Connection, Event, Reason, RecvBuf, SendBuf, Server};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Block {
    Any(Vec<u8>),
    /// A request, and a field that enters the table.
    Entry {
        name: u8,
        len: u16,
    },
    /// A request, and indexed fields.
    Indexed(Vec<u8>),
    SizeUpdate(u16),
    Again(u8),
}

const PREFACE: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
const TABLE_BYTES: u32 = 200;

fuzz_target!(|blocks: Vec<Block>| {
    let mut config = Config::default();
    config.header_table_bytes = TABLE_BYTES;
    config.resets_burst_max = u32::MAX;
    let now = Instant::now();
    let mut decoder = Decoder::new(4096, Limits::default());
    decoder.set_table_bytes_max(TABLE_BYTES);
    let mut engine: Connection<Server> = Connection::new(config, Arc::new(NoClassifier), now);
    let (mut recv, mut out) = (RecvBuf::new(), SendBuf::new());
    recv.extend_from_slice(PREFACE);
    assert!(matches!(engine.next_event(now, &mut recv), Ok(Some(Event::Settings))));
    assert!(matches!(engine.next_event(now, &mut recv), Ok(None)));
    let mut sent: Vec<Vec<u8>> = vec![vec![0x3f, 0x61]]; // the size update that is due
    for (i, block) in (0_u32..).zip(&blocks) {
        let bytes = match bytes_of(block, &sent) {
            bytes if bytes.len() <= 16_384 => bytes,
            _ => continue,
        };
        let head =
            [&u32::try_from(bytes.len()).expect("small").to_be_bytes()[1..], &[1, 5]].concat();
        recv.extend_from_slice(&head);
        recv.extend_from_slice(&(1 + 2 * i).to_be_bytes());
        recv.extend_from_slice(&bytes);
        let mut want = FieldBlock::default();
        let good = decoder.decode(&bytes, &mut want, &NoClassifier).is_ok();
        let mut told = None;
        match engine.next_event(now, &mut recv) {
            Ok(Some(Event::Headers { key, fields, .. })) => {
                assert!(fields.iter().eq(want.iter()), "{fields:?} instead of {want:?}");
                told = Some(key);
            }
            Ok(None) => {}
            Ok(Some(other)) => panic!("{other:?}"),
            Err(error) => {
                assert!(!good, "{error}");
                assert_eq!(error.reason, Reason::COMPRESSION_ERROR);
                return;
            }
        }
        assert!(good, "a broken block was taken for {want:?}");
        if let Some(key) = told {
            engine.forget(key);
        }
        engine.poll_transmit(now, &mut out);
        out.clear();
        sent.push(bytes);
    }
});

fn bytes_of(block: &Block, sent: &[Vec<u8>]) -> Vec<u8> {
    let request = [0x83, 0x86, 0x84];
    match block {
        Block::Any(bytes) => bytes.clone(),
        Block::Entry { name, len } => {
            let len = usize::from(*len % 300);
            let mut bytes = [&request[..], &[0x40, 1, b'a' + name % 4]].concat();
            match u8::try_from(len) {
                Ok(len) if len < 127 => bytes.push(len),
                _ if len < 127 + 128 => {
                    bytes.extend([127, u8::try_from(len - 127).expect("7 bits")]);
                }
                _ => {
                    bytes.extend([127, 0x80 | u8::try_from((len - 127) % 128).expect("7 bits"), 1])
                }
            }
            bytes.resize(bytes.len() + len, b'v');
            bytes
        }
        Block::Indexed(fields) => {
            let indexed = fields.iter().take(8).map(|field| 0x80 | (62 + field % 8));
            request.into_iter().chain(indexed).collect()
        }
        Block::SizeUpdate(size) => {
            let size = size % 260;
            if size < 31 {
                return [&[0x20 | u8::try_from(size).expect("5 bits")], &request[..]].concat();
            }
            let rest = size - 31;
            let low = u8::try_from(rest % 128).expect("7 bits");
            let high = u8::try_from(rest / 128).expect("small");
            let bytes = if high == 0 { vec![0x3f, low] } else { vec![0x3f, 0x80 | low, high] };
            [&bytes, &request[..]].concat()
        }
        Block::Again(back) => sent[sent.len() - 1 - usize::from(*back) % sent.len()].clone(),
    }
}

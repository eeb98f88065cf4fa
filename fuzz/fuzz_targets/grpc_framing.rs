//! Any bytes in any pieces into the reader of length-prefixed messages: it finds what a reader of
//! the whole finds, and holds no more than has arrived.
#![no_main]

use gannet_core::frame::{MessageReader, PREFIX_BYTES};
use libfuzzer_sys::fuzz_target;

const MESSAGE_BYTES_MAX: usize = 1000;

fuzz_target!(|input: &[u8]| {
    let [cut, bytes @ ..] = input else { return };
    let (whole, failed) = naive(bytes);
    let mut reader = MessageReader::new(MESSAGE_BYTES_MAX);
    let mut found = Vec::new();
    for piece in bytes.chunks(usize::from(*cut) + 1) {
        let mut rest = piece;
        loop {
            match reader.next(&mut rest) {
                Ok(Some(message)) => found.push((message.compressed, message.payload.into_owned())),
                Ok(None) => break,
                Err(error) => {
                    assert!(failed, "{error} where there is none");
                    assert_eq!(found, whole);
                    assert_eq!(reader.next(&mut &b"x"[..]).unwrap_err(), error);
                    return;
                }
            }
        }
        assert!(rest.is_empty());
        assert!(reader.buffered_bytes() <= MESSAGE_BYTES_MAX);
    }
    assert!(!failed, "an error was missed");
    assert_eq!(found, whole);
    let used: usize = whole.iter().map(|(_, payload)| PREFIX_BYTES + payload.len()).sum();
    assert_eq!(reader.finish().is_ok(), used == bytes.len());
    assert_eq!(reader.is_mid_message(), used != bytes.len());
});

/// The messages up to the end or the first error, and whether there is one.
fn naive(mut bytes: &[u8]) -> (Vec<(bool, Vec<u8>)>, bool) {
    let mut messages = Vec::new();
    while let Some((prefix, rest)) = bytes.split_at_checked(PREFIX_BYTES) {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if prefix[0] > 1 || length > MESSAGE_BYTES_MAX {
            return (messages, true);
        }
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        messages.push((prefix[0] == 1, payload.to_vec()));
        bytes = rest;
    }
    (messages, false)
}

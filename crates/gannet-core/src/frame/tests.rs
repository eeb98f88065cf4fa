//! Tests of the message reader: any way to cut the same bytes gives the same messages, and memory
//! follows what has arrived.

use proptest::prelude::*;

use super::*;

fn framed(compressed: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = prefix(compressed, payload.len(), usize::MAX).unwrap().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// The messages read, and the outcome of the end or the error before it.
type Read = (Vec<(bool, Vec<u8>)>, Result<(), FrameError>);

/// Feeds `parts` in order.
fn read_all(reader: &mut MessageReader, parts: &[&[u8]]) -> Read {
    let mut messages = Vec::new();
    for part in parts {
        let mut input = *part;
        loop {
            match reader.next(&mut input) {
                Ok(Some(message)) => {
                    messages.push((message.compressed, message.payload.into_owned()));
                }
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
        assert!(input.is_empty(), "None means that the input is used up");
    }
    (messages, reader.finish())
}

#[test]
fn a_whole_message_is_borrowed_and_a_spanning_one_exactly_sized() {
    let mut reader = MessageReader::new(100);
    let bytes = framed(true, b"hello");
    let mut input = bytes.as_slice();
    let message = reader.next(&mut input).unwrap().unwrap();
    assert!(message.compressed && matches!(message.payload, Cow::Borrowed(b"hello")));
    // A cut within the prefix does not cost a copy.
    let (mut head, mut tail) = bytes.split_at(3);
    assert_eq!(reader.next(&mut head), Ok(None));
    assert!(reader.is_mid_message());
    let message = reader.next(&mut tail).unwrap().unwrap();
    assert!(matches!(message.payload, Cow::Borrowed(b"hello")));
    // A cut within the payload does.
    let (mut head, mut tail) = bytes.split_at(7);
    assert_eq!(reader.next(&mut head), Ok(None));
    assert!(reader.is_mid_message());
    let message = reader.next(&mut tail).unwrap().unwrap();
    let Cow::Owned(payload) = message.payload else { panic!("spanned slices") };
    assert_eq!((payload.as_slice(), payload.capacity()), (b"hello".as_slice(), 5));
    assert_eq!(reader.buffered_bytes(), 0);
    assert!(!reader.is_mid_message());
}

#[test]
fn empty_messages_are_messages() {
    let bytes = [framed(false, b""), framed(true, b""), framed(false, b"x")].concat();
    let want = vec![(false, vec![]), (true, vec![]), (false, b"x".to_vec())];
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read_all(&mut MessageReader::new(1), &single), (want.clone(), Ok(())));
    assert_eq!(read_all(&mut MessageReader::new(1), &[&bytes]), (want, Ok(())));
}

#[test]
fn the_limit_holds_before_anything_is_allocated() {
    let mut reader = MessageReader::new(4);
    assert!(reader.next(&mut framed(false, b"1234").as_slice()).unwrap().is_some());
    let too_large = FrameError::TooLarge { message_bytes: 5, message_bytes_max: 4 };
    let bytes = framed(false, b"12345");
    assert_eq!(reader.next(&mut bytes.as_slice()), Err(too_large));
    assert_eq!(reader.buffered_bytes(), 0);
    // It stays failed.
    assert_eq!(reader.next(&mut framed(false, b"1").as_slice()), Err(too_large));
    assert_eq!(reader.finish(), Err(too_large));
    let status = Status::from(too_large);
    assert_eq!(status.code(), Code::ResourceExhausted);
    let told = "a message of 5 bytes is over the receiver's limit of 4 bytes (max_receive_bytes)";
    assert_eq!(status.message(), told);
}

#[test]
fn unknown_flags_are_an_error() {
    for flags in 2..=u8::MAX {
        let mut reader = MessageReader::new(4);
        let error = reader.next(&mut [flags, 0, 0, 0, 0].as_slice()).unwrap_err();
        assert_eq!(error, FrameError::Flags(flags));
        assert_eq!(error.code(), Code::Internal);
    }
}

#[test]
fn an_end_within_a_message_is_an_error() {
    let bytes = framed(false, b"abc");
    for end in 0..=bytes.len() {
        let mut reader = MessageReader::new(4);
        let (_, outcome) = read_all(&mut reader, &[&bytes[..end]]);
        let whole = end == 0 || end == bytes.len();
        assert_eq!(outcome, if whole { Ok(()) } else { Err(FrameError::Truncated) }, "{end}");
    }
    assert_eq!(FrameError::Truncated.code(), Code::Internal);
}

#[test]
fn memory_follows_bytes_and_grows_few_times() {
    let length = 4 * 1024 * 1024;
    let mut reader = MessageReader::new(length);
    let mut head: &[u8] = &prefix(false, length, length).unwrap();
    assert_eq!(reader.next(&mut head), Ok(None));
    assert_eq!(reader.buffered_bytes(), 0, "a declared length alone allocates nothing");
    let chunk = [7; 1000];
    let (mut arrived, mut growths, mut before) = (0, 0, 0);
    let payload = loop {
        let mut input = &chunk[..chunk.len().min(length - arrived)];
        arrived += input.len();
        if let Some(message) = reader.next(&mut input).unwrap() {
            break message.payload.into_owned();
        }
        let buffered = reader.buffered_bytes();
        assert!(buffered <= 2 * arrived + SPANNING_MESSAGE_RESERVE_BYTES && buffered <= length);
        growths += usize::from(buffered != before);
        before = buffered;
    };
    assert_eq!((payload.len(), payload.capacity()), (length, length));
    assert!(growths <= 7, "{growths} growths");
}

#[test]
fn prefixes_are_bounded() {
    assert_eq!(prefix(true, 0x0102_0304, usize::MAX), Ok([1, 1, 2, 3, 4]));
    assert_eq!(prefix(false, 4, 4), Ok([0, 0, 0, 0, 4]));
    let error = FrameError::TooLarge { message_bytes: 5, message_bytes_max: 4 };
    assert_eq!(prefix(false, 5, 4), Err(error));
    let beyond = u32::MAX as usize + 1;
    let error = FrameError::TooLarge { message_bytes: beyond, message_bytes_max: usize::MAX };
    assert_eq!(prefix(false, beyond, usize::MAX), Err(error));
}

/// Cuts `bytes` at the given places, taken modulo what is left.
fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    for cut in cuts {
        let (part, after) = rest.split_at(cut % (rest.len() + 1));
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

proptest! {
    #[test]
    fn any_split_gives_the_same_messages(
        messages in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..8),
        cuts in proptest::collection::vec(0..200_usize, 0..30),
    ) {
        let bytes: Vec<u8> =
            messages.iter().flat_map(|(flag, payload)| framed(*flag, payload)).collect();
        let (got, outcome) = read_all(&mut MessageReader::new(300), &cut(&bytes, &cuts));
        prop_assert_eq!(outcome, Ok(()));
        prop_assert_eq!(got, messages);
    }

    #[test]
    fn any_bytes_read_the_same_however_cut(
        bytes in proptest::collection::vec(prop_oneof![0..2_u8, 0..2_u8, any::<u8>()], 0..200),
        cuts in proptest::collection::vec(0..40_usize, 0..20),
        message_bytes_max in prop_oneof![0..100_usize, Just(usize::MAX)],
    ) {
        let whole = read_all(&mut MessageReader::new(message_bytes_max), &[&bytes]);
        let mut reader = MessageReader::new(message_bytes_max);
        let mut messages = Vec::new();
        let mut arrived = 0;
        let mut outcome = Ok(());
        for mut part in cut(&bytes, &cuts) {
            arrived += part.len();
            while let Some(message) = reader.next(&mut part).unwrap_or_else(|error| {
                outcome = Err(error);
                None
            }) {
                messages.push((message.compressed, message.payload.into_owned()));
            }
            let bound = (2 * arrived + SPANNING_MESSAGE_RESERVE_BYTES).min(message_bytes_max);
            prop_assert!(reader.buffered_bytes() <= bound);
        }
        prop_assert_eq!(reader.finish(), outcome.and(reader.finish()));
        prop_assert_eq!((messages, reader.finish()), whole);
    }
}

#[test]
fn whole_messages_are_taken_as_they_lie() {
    let messages = [&b"one"[..], b"", b"three"];
    let bytes: Vec<u8> = messages.iter().flat_map(|message| framed(false, message)).collect();
    for cut in 0..=bytes.len() {
        let mut reader = MessageReader::new(5);
        let mut input = &bytes[..cut];
        let whole = reader.take_whole(&mut input);
        let want = [0, 8, 13, 23].into_iter().rfind(|end| *end <= cut).unwrap();
        assert_eq!(whole, &bytes[..want], "cut at {cut}");
        assert_eq!(input, &bytes[want..cut]);
        if !input.is_empty() {
            assert_eq!(reader.next(&mut input).unwrap(), None);
            let mut rest = &bytes[cut..];
            assert_eq!(reader.take_whole(&mut rest), b"", "a message is incomplete");
        }
    }
}

#[test]
fn what_needs_a_look_is_not_taken_whole() {
    let mut unknown = framed(false, b"?");
    unknown[0] = 2;
    for bytes in [framed(true, b"squeezed"), unknown, framed(false, &[0; 11])] {
        let mut reader = MessageReader::new(10);
        let mut input = &bytes[..];
        assert_eq!(reader.take_whole(&mut input), b"");
        assert_eq!(input, &bytes);
        let next = reader.next(&mut input);
        assert!(!matches!(next, Ok(Some(message)) if !message.compressed));
    }
}

#[test]
fn a_declared_length_takes_no_kept_storage() {
    let _lease = storage::Lease::new();
    storage::give(Vec::with_capacity(9 << 20));
    let mut reader = MessageReader::new(usize::MAX);
    let mut head = framed(false, &[]);
    head[1..5].copy_from_slice(&(9_u32 << 20).to_be_bytes());
    head.push(7);
    assert!(reader.next(&mut &head[..]).unwrap().is_none());
    assert!(reader.buffered_bytes() <= 70_000, "{} bytes held for 1", reader.buffered_bytes());
}

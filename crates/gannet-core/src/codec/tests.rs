//! Tests of the codecs, alone and erased.

use std::error::Error as _;

use bytes::Bytes;

use super::*;
use crate::{Code, Status};

/// A codec that only has what the trait asks for.
struct Decimal;

impl Codec<u32> for Decimal {
    fn encode(message: &u32, _: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if *message == 13 {
            out.extend_from_slice(b"half of");
            return Err(EncodeError::Codec("unlucky".into()));
        }
        out.extend_from_slice(message.to_string().as_bytes());
        Ok(())
    }

    fn decode(payload: &[u8]) -> Result<u32, DecodeError> {
        let text = std::str::from_utf8(payload).map_err(DecodeError::new)?;
        text.parse().map_err(|error: std::num::ParseIntError| DecodeError::new(error))
    }
}

/// Encodes in both ways and checks that the one is the other with a prefix.
fn encode_both<T>(codec: MessageCodec<T>, message: &T, limit: usize) -> Vec<u8> {
    let mut framed = b"before".to_vec();
    codec.encode_framed(message, limit, &mut framed).unwrap();
    let mut plain = b"before".to_vec();
    codec.encode(message, limit, &mut plain).unwrap();
    let prefix = frame::prefix(false, plain.len() - 6, limit).unwrap();
    assert_eq!(framed[6..], [&prefix, &plain[6..]].concat());
    plain.split_off(6)
}

/// Checks that a message over the limit is refused and leaves nothing behind.
fn refuse_both<T>(codec: MessageCodec<T>, message: &T, limit: usize) -> EncodeError {
    let mut out = b"before".to_vec();
    codec.encode(message, limit, &mut out).unwrap_err();
    let error = codec.encode_framed(message, limit, &mut out).unwrap_err();
    assert_eq!(out, b"before");
    error
}

#[test]
fn the_provided_framing_fills_in_the_prefix() {
    const CODEC: MessageCodec<u32> = MessageCodec::new::<Decimal>();
    assert_eq!(encode_both(CODEC, &1234, 100), b"1234");
    assert_eq!(CODEC.decode(b"1234").unwrap(), 1234);
}

#[test]
fn errors_carry_their_cause_and_code() {
    let codec = MessageCodec::new::<Decimal>();
    let error = refuse_both(codec, &13, 100);
    assert_eq!(error.to_string(), "cannot encode the message: unlucky");
    assert_eq!(error.source().unwrap().to_string(), "unlucky");
    assert_eq!(Status::from(error).code(), Code::Internal);
    let error = codec.decode(b"x").unwrap_err();
    assert!(error.source().unwrap().is::<std::num::ParseIntError>());
    let status = Status::from(error);
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.message(), "cannot decode the message: invalid digit found in string");
    assert!(status.source().unwrap().is::<DecodeError>());
}

#[test]
fn raw_is_the_payload() {
    const CODEC: MethodCodec<Bytes, Vec<u8>> = MethodCodec::new::<Raw>();
    let payload = encode_both(CODEC.request, &Bytes::from_static(b"abc"), 3);
    assert_eq!(CODEC.request.decode(&payload).unwrap(), b"abc".as_slice());
    assert_eq!(CODEC.response.decode(&payload).unwrap(), b"abc");
    let status = Status::from(refuse_both(CODEC.response, &b"abcd".to_vec(), 3));
    assert_eq!(status.code(), Code::ResourceExhausted);
    let told = "cannot send a message of 4 bytes: the limit is 3 bytes (max_send_bytes)";
    assert_eq!(status.message(), told);
}

#[test]
fn a_fresh_buffer_is_allocated_once() {
    let mut out = Vec::new();
    let message = vec![0; 1000];
    Raw::encode_framed(&message, 1000, &mut out).unwrap();
    assert_eq!(out.capacity(), 1005);
}

#[test]
fn erased_codecs_are_small_shared_and_shown() {
    fn check<T: Copy + Send + Sync + 'static>(_: &T) {}
    let codec: MethodCodec<u32, u32> = MethodCodec::new::<Decimal>();
    check(&codec);
    assert_eq!(size_of_val(&codec), 2 * size_of::<[usize; 4]>());
    assert_eq!(format!("{:?}", codec.request), "MessageCodec<u32>");
}

#[cfg(feature = "buffa")]
mod with_buffa {
    use buffa_types::google::protobuf::{ListValue, StringValue};

    use super::*;

    #[test]
    fn round_trips() {
        let codec: MessageCodec<StringValue> = MessageCodec::new::<Buffa>();
        let message = StringValue { value: "hello".into(), ..Default::default() };
        let payload = encode_both(codec, &message, 7);
        assert_eq!(payload, b"\x0a\x05hello");
        assert_eq!(codec.decode(&payload).unwrap(), message);
        assert_eq!(codec.decode(b"").unwrap(), StringValue::default());
        let error = refuse_both(codec, &message, 6);
        assert!(matches!(error, EncodeError::TooLarge { message_bytes: 7, message_bytes_max: 6 }));
    }

    #[test]
    fn a_fresh_buffer_is_allocated_once() {
        let message = StringValue { value: "x".repeat(997), ..Default::default() };
        let mut out = Vec::new();
        Buffa::encode_framed(&message, 1000, &mut out).unwrap();
        assert_eq!((out.len(), out.capacity()), (1005, 1005));
    }

    #[test]
    fn refuses_what_is_not_one_message() {
        // Cut short, a group end without a start, field number 0, wire type 7, bad UTF-8.
        for payload in [b"\x0a\x05hell".as_slice(), b"\x0c", b"\x00", b"\x0f", b"\x0a\x01\xff"] {
            let error = <Buffa as Codec<StringValue>>::decode(payload).unwrap_err();
            assert!(error.source().unwrap().is::<::buffa::DecodeError>(), "{error}");
        }
    }

    #[test]
    fn refuses_trailing_garbage_and_nesting_bombs() {
        let trailing = b"\x0a\x05hello\x07";
        assert!(<Buffa as Codec<StringValue>>::decode(trailing).is_err());
        // A list within a value within a list ...
        let mut payload = Vec::new();
        for _ in 0..200 {
            for tag in [0x32, 0x0a] {
                let mut outer = vec![tag];
                let mut length = payload.len();
                while length > 0x7f {
                    outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                    length >>= 7;
                }
                outer.push(u8::try_from(length).unwrap());
                outer.append(&mut payload);
                payload = outer;
            }
        }
        let error = <Buffa as Codec<ListValue>>::decode(&payload).unwrap_err();
        let cause = error.source().unwrap().downcast_ref::<::buffa::DecodeError>().unwrap();
        assert_eq!(*cause, ::buffa::DecodeError::RecursionLimitExceeded);
        // Groups nest too, in fields that the message does not know.
        let error = <Buffa as Codec<StringValue>>::decode(&[0x13; 10_000]).unwrap_err();
        let cause = error.source().unwrap().downcast_ref::<::buffa::DecodeError>().unwrap();
        assert_eq!(*cause, ::buffa::DecodeError::RecursionLimitExceeded);
    }

    /// As a generated message with a `bytes` field 1 and a `bytes` field 2 behave.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Two {
        first: Bytes,
        second: Bytes,
    }

    impl ::buffa::DefaultInstance for Two {
        fn default_instance() -> &'static Two {
            static DEFAULT: Two = Two { first: Bytes::new(), second: Bytes::new() };
            &DEFAULT
        }
    }

    impl ::buffa::Message for Two {
        fn compute_size(&self, _: &mut ::buffa::SizeCache) -> u32 {
            let fields = [&self.first, &self.second].map(|b| 1 + types::bytes_encoded_len(b));
            u32::try_from(fields.iter().sum::<usize>()).unwrap()
        }

        fn write_to(&self, _: &mut ::buffa::SizeCache, buf: &mut impl ::buffa::EncodeSink) {
            types::put_shared_bytes_field(1, &self.first, buf);
            types::put_shared_bytes_field(2, &self.second, buf);
        }

        fn merge_field(
            &mut self,
            tag: ::buffa::encoding::Tag,
            buf: &mut impl ::bytes::Buf,
            _: ::buffa::DecodeContext<'_>,
        ) -> Result<(), ::buffa::DecodeError> {
            let field = if tag.field_number() == 1 { &mut self.first } else { &mut self.second };
            *field = types::decode_bytes_to_bytes(buf)?;
            Ok(())
        }

        fn clear(&mut self) {
            *self = Two::default();
        }
    }

    use ::buffa::types;

    fn two(first: usize, second: usize) -> Two {
        Two { first: vec![1; first].into(), second: vec![2; second].into() }
    }

    fn is_in(field: &Bytes, payload: &[u8]) -> bool {
        payload.as_ptr_range().contains(&field.as_ptr())
    }

    #[test]
    fn long_fields_are_kept_by_reference_where_they_make_up_the_message() {
        let codec: MessageCodec<Two> = MessageCodec::new::<Buffa>();
        // Field lengths, and which of them lie in the payload afterwards.
        for (first, second, shared) in [
            (100_000, 100, [true, false]),
            (100, 100_000, [false, true]),
            (50_000, 49_990, [true, false]),
            (20_000, 100_000, [false, true]),
            (10_000, 100, [false, false]),
        ] {
            let message = two(first, second);
            let payload = Bytes::from(encode_both(codec, &message, usize::MAX));
            let decoded = codec.decoder()(Payload::Shared(&payload)).unwrap();
            assert_eq!(decoded, message);
            let lie = [&decoded.first, &decoded.second].map(|field| is_in(field, &payload));
            assert_eq!(lie, shared, "{first} and {second} bytes");
            let decoded = codec.decode(&payload).unwrap();
            assert!(!is_in(&decoded.first, &payload) && !is_in(&decoded.second, &payload));
            assert_eq!(decode_cow(codec.decoder(), payload.to_vec().into()).unwrap(), message);
        }
    }

    #[test]
    fn long_fields_are_sent_by_reference() {
        let codec: MessageCodec<Two> = MessageCodec::new::<Buffa>();
        for (first, second, shared) in [
            (100_000, 100, [true, false]),
            (5_000, 100_000, [false, true]),
            (100_000, 100_000, [true, true]),
            (15_000, 15_000, [false, false]),
            (100, 0, [false, false]),
        ] {
            let message = two(first, second);
            let (mut out, mut parts) = (Vec::new(), Parts::default());
            codec.encode_parts(&message, usize::MAX, &mut out, &mut parts).unwrap();
            let copied: usize =
                [first, second].iter().zip(shared).map(|(n, by)| if by { 0 } else { *n }).sum();
            assert!((copied..copied + 20).contains(&out.len()), "{first} and {second} bytes");
            let pieces: Vec<Bytes> = parts.into_pieces(out).collect();
            let mut framed = Vec::new();
            codec.encode_framed(&message, usize::MAX, &mut framed).unwrap();
            assert_eq!(pieces.concat(), framed, "{first} and {second} bytes");
            let by_reference = [&message.first, &message.second]
                .map(|field| pieces.iter().any(|piece| is_in(piece, field)));
            assert_eq!(by_reference, shared, "{first} and {second} bytes");
        }
        let (mut out, mut parts) = (b"before".to_vec(), Parts::default());
        codec.encode_parts(&two(100_000, 0), 99_999, &mut out, &mut parts).unwrap_err();
        assert_eq!((&out[..], parts.is_empty()), (&b"before"[..], true));
    }
}

#[cfg(feature = "prost")]
mod with_prost {
    use super::*;

    // prost implements its trait for String as google.protobuf.StringValue.

    #[test]
    fn round_trips() {
        let codec: MessageCodec<String> = MessageCodec::new::<Prost>();
        let message = "hello".to_owned();
        let payload = encode_both(codec, &message, 7);
        assert_eq!(payload, b"\x0a\x05hello");
        assert_eq!(codec.decode(&payload).unwrap(), message);
        let error = refuse_both(codec, &message, 6);
        assert!(matches!(error, EncodeError::TooLarge { message_bytes: 7, message_bytes_max: 6 }));
    }

    #[test]
    fn refuses_trailing_garbage_and_nesting_bombs() {
        for payload in [b"\x0a\x05hell".as_slice(), b"\x0a\x05hello\x07", &[0x13; 10_000]] {
            let error = <Prost as Codec<String>>::decode(payload).unwrap_err();
            assert!(error.source().unwrap().is::<::prost::DecodeError>(), "{error}");
        }
    }
}

//! What holds for every encoding; bytes of others' encoders, good and bad; the bounds.

use std::io::Write as _;

use super::*;
use crate::codec::Raw;
use crate::{Code, MessageCodec, MessageReader};

/// An application's own: each byte with its bits turned around, behind a number.
struct Inverted;

impl Compressor for Inverted {
    fn encoding(&self) -> Encoding {
        const { Encoding::new("x-inverted") }
    }

    fn compress(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        // Half of it: it compresses runs of pairs only.
        let mut pairs = message.chunks(2).map(|pair| match pair {
            [a, b] if a == b => Ok(!a),
            _ => Err(CompressError::new("not a pair")),
        });
        pairs.try_for_each(|byte| byte.map(|byte| out.push(byte)))
    }

    fn decompress(&self, payload: &[u8], out: &mut Output<'_>) -> Result<(), DecompressError> {
        for byte in payload {
            out.write_all(&[!byte, !byte])?;
        }
        Ok(())
    }
}

fn inflate(
    compressor: &dyn Compressor,
    payload: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>, DecompressError> {
    let mut message = Vec::new();
    compressor.decompress(payload, &mut Output::new(&mut message, bytes_max))?;
    Ok(message)
}

#[test]
fn a_registry_finds_lists_and_replaces() {
    assert!(Compressors::new().is_empty());
    assert_eq!(Compressors::new().accepted(), "identity");
    let all = Compressors::built_in().with(Inverted);
    let known = all.clone().with(Inverted);
    assert!(all.encodings().eq(known.encodings()), "the later one with a name replaces");
    let mine = all.find(b"x-inverted").unwrap();
    assert_eq!(all.codec(mine).unwrap().encoding().name(), "x-inverted");
    assert_eq!(CodecId::from_number(mine.number()), Some(mine));
    assert!(all.find(b"identity").is_none() && all.find(b"X-Inverted").is_none());
    assert!(all.accepted().starts_with("identity,") && all.accepted().ends_with(",x-inverted"));
    for (value, has) in [
        ("identity,x-inverted", true),
        (" br ,\tx-inverted", true),
        ("x-inverted", true),
        ("", false),
        ("x-inverted;q=1", false),
        ("gzip, deflate", false),
    ] {
        assert_eq!(all.listed(value.as_bytes()).has(mine), has, "{value}");
    }
    let listed = all.listed(b"x-inverted");
    assert_eq!(CodecSet::from_bits(listed.bits()), listed);
    assert_eq!(CodecSet::default().and(listed), listed);
    assert!(!Compressors::new().listed(b"x-inverted").has(mine));
}

#[test]
#[should_panic(expected = "identity is no compression")]
fn identity_cannot_be_replaced() {
    struct Identity;
    impl Compressor for Identity {
        fn encoding(&self) -> Encoding {
            Encoding::IDENTITY
        }
        fn compress(&self, _: &[u8], _: &mut Vec<u8>) -> Result<(), CompressError> {
            Ok(())
        }
        fn decompress(&self, _: &[u8], _: &mut Output<'_>) -> Result<(), DecompressError> {
            Ok(())
        }
    }
    let _ = Compressors::new().with(Identity);
}

#[test]
fn an_applications_own_codec_is_bounded_by_its_output() {
    assert_eq!(inflate(&Inverted, &[!7; 50], 100).unwrap(), [7; 100]);
    let error = inflate(&Inverted, &[!7; 50], 99).unwrap_err();
    assert!(matches!(error, DecompressError::TooLarge { message_bytes_max: 99 }), "{error}");
    assert_eq!(error.code(), Code::ResourceExhausted);
    let mut message = Vec::new();
    let mut out = Output::new(&mut message, 10);
    assert!(out.expect(11).is_err() && out.is_empty());
    out.expect(10).unwrap();
    out.append(b"0123456789").unwrap();
    assert!(out.append(b"x").is_err());
    assert_eq!((out.len(), message.capacity()), (10, 10));
}

#[test]
fn messages_travel_compressed_where_that_is_shorter() {
    let codec = MessageCodec::<Vec<u8>>::new::<Raw>();
    let framed = |message: &[u8]| {
        let mut out = b"before".to_vec();
        let message = message.to_vec();
        let told = encode_compressed(codec.framer(), &message, 1000, &Inverted, &mut out);
        (told.map_err(|error| crate::Status::from(error).code()), out)
    };
    let (told, out) = framed(&[1; 100]);
    assert_eq!(told.unwrap(), Some(Compressed::one(50, 100)));
    let mut rest = out.strip_prefix(b"before").unwrap();
    let message = MessageReader::new(1000).next(&mut rest).unwrap().unwrap();
    assert!(message.compressed && rest.is_empty());
    assert_eq!(message.payload, [!1; 50].as_slice());
    let packed = Packed::new(std::sync::Arc::new(Inverted), message.payload.into_owned(), 100);
    let (message, told) = packed.decode(codec.decoder()).unwrap();
    assert_eq!((message, told), (vec![1; 100], Compressed::one(50, 100)));

    assert_eq!(framed(b""), (Ok(None), b"before\0\0\0\0\0".to_vec()), "nothing is not shorter");
    assert_eq!(framed(b"ab"), (Err(Code::Internal), b"before".to_vec()));
    assert_eq!(framed(&[1; 1001]), (Err(Code::ResourceExhausted), b"before".to_vec()));
}

#[cfg(any(feature = "gzip", feature = "zstd"))]
mod built_in {
    use proptest::prelude::*;

    use super::*;

    fn all() -> Vec<std::sync::Arc<dyn Compressor>> {
        let all = Compressors::built_in();
        let found = all.encodings().map(|e| all.find(e.name().as_bytes()).unwrap());
        found.map(|id| std::sync::Arc::clone(all.codec(id).unwrap())).collect()
    }

    fn deflated(compressor: &dyn Compressor, message: &[u8]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        compressor.compress(message, &mut out).unwrap();
        out.split_off(6)
    }

    #[test]
    fn what_is_compressed_comes_out_again_and_contexts_forget() {
        let noise: Vec<u8> =
            (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for compressor in all() {
            // Twice: the second time in used contexts.
            for _ in 0..2 {
                for message in [&b""[..], b"x", &[7; 100_000], &noise] {
                    let packed = deflated(&*compressor, message);
                    let limit = message.len();
                    assert!(inflate(&*compressor, &packed, limit).unwrap() == message);
                    if limit > 0 {
                        let error = inflate(&*compressor, &packed, limit - 1).unwrap_err();
                        assert_eq!(error.code(), Code::ResourceExhausted);
                    }
                }
            }
        }
    }

    #[test]
    fn a_thousandfold_within_the_limit_is_fine_and_a_bomb_stops_at_it() {
        const MIB: usize = 1 << 20;
        for compressor in all() {
            let packed = deflated(&*compressor, &vec![0; 16 * MIB]);
            assert!(packed.len() < 17 * 1024, "{} bytes", packed.len());
            assert_eq!(inflate(&*compressor, &packed, 16 * MIB).unwrap().len(), 16 * MIB);
            let mut message = Vec::new();
            let mut out = Output::new(&mut message, MIB);
            let error = compressor.decompress(&packed, &mut out).unwrap_err();
            assert_eq!(error.code(), Code::ResourceExhausted);
            assert!(message.capacity() <= MIB + 1, "{} bytes held", message.capacity());
        }
    }

    #[test]
    fn memory_follows_what_comes_out() {
        for compressor in all() {
            let packed = deflated(&*compressor, &[1; 3000]);
            let mut message = Vec::new();
            compressor.decompress(&packed, &mut Output::new(&mut message, 1 << 30)).unwrap();
            assert!(message.capacity() <= 6000, "{} bytes held", message.capacity());
        }
    }

    #[test]
    fn cut_short_or_with_more_behind_it_is_corrupt_and_no_byte_may_be_missing() {
        for compressor in all() {
            let packed = deflated(&*compressor, b"hello hello hello hello, gRPC");
            for cut in 0..packed.len() {
                let error = inflate(&*compressor, &packed[..cut], 1000).unwrap_err();
                assert_eq!(error.code(), Code::Internal, "{} cut at {cut}", compressor.encoding());
            }
            for more in [&b"\0"[..], b"garbage that follows"] {
                let error = inflate(&*compressor, &[&packed, more].concat(), 1000).unwrap_err();
                assert_eq!(error.code(), Code::Internal, "{}", compressor.encoding());
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            words in proptest::collection::vec("[a-d]{0,9}", 0..400),
            noise in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let message = [words.concat().into_bytes(), noise].concat();
            for compressor in all() {
                let packed = deflated(&*compressor, &message);
                prop_assert!(inflate(&*compressor, &packed, message.len()).unwrap() == message);
            }
        }

        #[test]
        fn changed_bytes_never_panic_nor_pass_the_limit(
            at in any::<prop::sample::Index>(),
            to in any::<u8>(),
        ) {
            let message = [b"some text ".repeat(20), vec![3; 50]].concat();
            for compressor in all() {
                let mut packed = deflated(&*compressor, &message);
                let at = at.index(packed.len());
                packed[at] = to;
                if let Ok(message) = inflate(&*compressor, &packed, 300) {
                    prop_assert!(message.len() <= 300);
                }
            }
        }
    }
}

/// What Python's zlib, gzip and zstandard made.
#[cfg(any(feature = "gzip", feature = "zstd"))]
mod others {
    use super::*;

    const HELLO: &[u8] = b"hello hello hello hello, gRPC";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
        digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect()
    }

    #[cfg(feature = "gzip")]
    #[test]
    fn gzip() {
        const LEVEL_9: &str =
            "1f8b0800000000000203cb48cdc9c957c840277514d283029c010814c5e21d000000";
        // Text, extra field, name, comment, and a checksum over all that.
        const EVERYTHING: &str = "1f8b081f010203040003050065787472616e616d652e747874006120636f6d6d\
                                  656e7400fbaecb48cdc9c957c840277514d283029c010814c5e21d000000";
        const STORED: &str = "1f8b0800000000000403011d00e2ff68656c6c6f2068656c6c6f2068656c6c6f20\
                              68656c6c6f2c20675250430814c5e21d000000";
        const EMPTY: &str = "1f8b080000000000020303000000000000000000";
        let gzip = Gzip::new();
        let inflate = |payload: &[u8]| inflate(&gzip, payload, 1000);
        for hex in [LEVEL_9, EVERYTHING, STORED] {
            assert_eq!(inflate(&bytes(hex)).unwrap(), HELLO);
        }
        assert_eq!(inflate(&bytes(EMPTY)).unwrap(), b"");
        let members = [LEVEL_9, EMPTY, EVERYTHING].map(bytes).concat();
        assert_eq!(inflate(&members).unwrap(), [HELLO, HELLO].concat(), "RFC 1952 2.2");

        let length = bytes(LEVEL_9).len();
        let changed = |at: usize, to: u8| {
            let mut changed = bytes(LEVEL_9);
            changed[at] = to;
            changed
        };
        let bad = [
            (changed(0, 0), "magic"),
            (changed(2, 7), "method"),
            (changed(3, 0x80), "reserved flag"),
            (changed(3, 0x08), "name without an end"),
            (changed(length - 8, 0), "checksum"),
            (changed(length - 4, 0), "length"),
            (bytes(&EVERYTHING.replacen("fbae", "fbaf", 1)), "checksum of the head"),
            (Vec::new(), "nothing"),
        ];
        for (payload, what) in bad {
            assert_eq!(inflate(&payload).unwrap_err().code(), Code::Internal, "{what}");
        }
    }

    #[cfg(feature = "gzip")]
    #[test]
    fn deflate_is_zlib() {
        // Level 6, stored, a window of 512 bytes, fixed codes.
        let good = [
            "789ccb48cdc9c957c840277514d283029c01a1460a49",
            "7801011d00e2ff68656c6c6f2068656c6c6f2068656c6c6f2068656c6c6f2c2067525043a1460a49",
            "1895cb48cdc9c957c840277514d283029c01a1460a49",
            "7801cb48cdc9c957c840277514d283029c01a1460a49",
        ];
        for hex in good {
            assert_eq!(inflate(&Deflate::new(), &bytes(hex), 1000).unwrap(), HELLO, "{hex}");
        }
        let bad = [
            ("789ccb48cdc9c957c840277514d283029c01a1460a48", "checksum"),
            ("789dcb48cdc9c957c840277514d283029c01a1460a49", "check bits of the head"),
            ("78bb062c0215cb00110a18a48e427a50803300a1460a49", "a dictionary that nobody has"),
            ("cb48cdc9c957c840277514d283029c01", "DEFLATE without zlib's head"),
            ("", "nothing"),
        ];
        for (hex, what) in bad {
            let error = inflate(&Deflate::new(), &bytes(hex), 1000).unwrap_err();
            assert_eq!(error.code(), Code::Internal, "{what}");
        }
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn zstd() {
        const PLAIN: &str = "28b52ffd201d9500006068656c6c6f202c20675250430100994b11";
        const SUMMED: &str = "28b52ffd241d9500006068656c6c6f202c20675250430100994b118c849f34";
        const NO_SIZE: &str = "28b52ffd00009500006068656c6c6f202c20675250430100994b11";
        const STREAMED: &str = "28b52ffd00589500006068656c6c6f202c20675250430100994b11";
        const EMPTY: &str = "28b52ffd2000010000";
        const SKIPPED: &str = "502a4d1803000000616263";
        let zstd = Zstd::new();
        let inflate = |payload: &[u8], max: usize| inflate(&zstd, payload, max);
        for hex in [PLAIN, SUMMED, NO_SIZE, STREAMED] {
            assert_eq!(inflate(&bytes(hex), 29).unwrap(), HELLO, "{hex}");
            assert_eq!(inflate(&bytes(hex), 28).unwrap_err().code(), Code::ResourceExhausted);
        }
        let frames = [PLAIN, SKIPPED, EMPTY, STREAMED].map(bytes).concat();
        assert_eq!(inflate(&frames, 58).unwrap(), [HELLO, HELLO].concat(), "RFC 8878 3");

        let bad = [
            (SUMMED.replace("8c849f34", "8c849f35"), "checksum"),
            (PLAIN.replacen("201d", "201c", 1), "length"),
            (PLAIN.replacen("28b5", "28b6", 1), "magic"),
            // A window of 2 GiB, of which nothing is allocated.
            (NO_SIZE.replacen("0000", "00a8", 1), "window"),
            (String::new(), "nothing"),
        ];
        for (hex, what) in bad {
            assert_eq!(inflate(&bytes(&hex), 1000).unwrap_err().code(), Code::Internal, "{what}");
        }
        // It says that it is long, in 8 bytes, and is refused before anything is done.
        let promise = [&bytes("28b52ffde0")[..], &[0xff; 7], &[0x7f], &[1, 0, 0]].concat();
        assert_eq!(inflate(&promise, 1 << 30).unwrap_err().code(), Code::ResourceExhausted);
    }
}

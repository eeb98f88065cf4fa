//! What kind a field is, however it arrives.

use super::super::{FieldBlock, FieldKind, NoClassifier};
use super::decoder;

fn cases() -> Vec<(&'static [u8], &'static [u8], FieldKind)> {
    use FieldKind::{
        Authority, ConnectionSpecific, ContentLength, Cookie, Host, Malformed, Method, Path,
        Protocol, Regular, Scheme, Status, TeTrailers, UnknownPseudo,
    };
    vec![
        (b":method", b"POST", Method),
        (b":scheme", b"https", Scheme),
        (b":authority", b"", Authority),
        (b":path", b"/a.B/C", Path),
        (b":protocol", b"websocket", Protocol),
        (b":status", b"200", Status),
        (b":status", b"teapot", Status),
        (b":Method", b"POST", UnknownPseudo),
        (b":", b"", UnknownPseudo),
        (b":path", b"/ ", Malformed),
        (b":path", b"/\0", Malformed),
        (b"x", b"", Regular),
        (b"grpc-status", b"0", Regular),
        (b"x", b"a\tb c", Regular),
        (b"x", b"\x01\x7f\x80\xff", Regular),
        (b"!#$%&'*+-.^_`|~09az", b"", Regular),
        (b"content-length", b"12", ContentLength),
        (b"content-length", b" 12", Malformed),
        (b"host", b"a", Host),
        (b"cookie", b"a=b", Cookie),
        (b"te", b"trailers", TeTrailers),
        (b"te", b"Trailers", TeTrailers),
        (b"te", b"", ConnectionSpecific),
        (b"te", b"trailers, gzip", ConnectionSpecific),
        (b"te", b"gzip\n", Malformed),
        (b"connection", b"close", ConnectionSpecific),
        (b"keep-alive", b"", ConnectionSpecific),
        (b"proxy-connection", b"", ConnectionSpecific),
        (b"transfer-encoding", b"chunked", ConnectionSpecific),
        (b"upgrade", b"h2c", ConnectionSpecific),
        (b"", b"", Malformed),
        (b"", b"x", Malformed),
        (b"X", b"", Malformed),
        (b"a b", b"", Malformed),
        (b"a:", b"", Malformed),
        (b"a\0", b"", Malformed),
        (b"\xc3\xa4", b"", Malformed),
        (b"x", b"a\r", Malformed),
        (b"x", b"\na", Malformed),
        (b"x", b"a\0b", Malformed),
        (b"x", b" a", Malformed),
        (b"x", b"a ", Malformed),
        (b"x", b"\ta", Malformed),
        (b"x", b"a\t", Malformed),
        (b"x", b" ", Malformed),
    ]
}

#[test]
fn a_field_has_its_kind() {
    for (name, value, kind) in cases() {
        assert_eq!(FieldKind::of(name, value), kind, "{:?}", (name, value));
        assert_eq!(kind.is_pseudo(), name.starts_with(b":") && kind != FieldKind::Malformed);
    }
}

/// As a literal; then by index; then as a literal that takes its name from the table, where it may
/// stand with a value of another kind.
#[test]
fn a_field_has_its_kind_on_every_way() {
    let mut decoder = decoder(65536);
    let mut out = FieldBlock::default();
    for (name, value, kind) in cases() {
        for first_value in [value, b"trailers", b"\r"] {
            let string = |text: &[u8]| [&[u8::try_from(text.len()).unwrap()], text].concat();
            let block = [
                vec![0x40],
                string(name),
                string(first_value),
                vec![0xbe, 0x7e],
                string(value),
                vec![0xbe],
            ];
            decoder.decode(&block.concat(), &mut out, &NoClassifier).unwrap();
            let kinds: Vec<FieldKind> = out.tags().map(|(kind, _)| kind).collect();
            let first_kind = FieldKind::of(name, first_value);
            assert_eq!(kinds, [first_kind, first_kind, kind, kind], "{:?}", (name, value));
        }
    }
}

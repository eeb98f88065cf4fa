//! Tests of metadata as applications write it and as it comes over the wire.

use proptest::prelude::*;

use super::*;
use crate::{Code, Status};

fn wire(metadata: &Metadata) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    metadata.wire_pairs().map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn keeps_order_and_duplicates() {
    let mut metadata = Metadata::new();
    metadata.append("b", "1").unwrap();
    metadata.append("a", "2").unwrap();
    metadata.append("b", "3").unwrap();
    assert_eq!(metadata.get("b"), Some("1"));
    assert_eq!(metadata.get("B"), Some("1"));
    assert_eq!(metadata.get_all("b").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!(metadata.iter().map(|pair| pair.0).collect::<Vec<_>>(), ["b", "a", "b"]);
    assert_eq!(metadata.list_bytes(), 3 * (2 + 32));
    metadata.insert("b", "4").unwrap();
    assert_eq!(wire(&metadata), [("a".into(), "2".into()), ("b".into(), "4".into())]);
    assert!(metadata.remove("A") && !metadata.remove("a") && !metadata.contains("a"));
    assert_eq!(metadata.len(), 1);
}

#[test]
fn empty_owns_no_memory() {
    let metadata =
        Metadata::from_wire([(b"content-type".as_slice(), b"application/grpc".as_slice())]);
    assert!(metadata.is_empty());
    assert_eq!((metadata.arena.capacity(), metadata.entries.capacity()), (0, 0));
}

#[test]
fn refuses_bad_keys_with_a_reason() {
    let table = [
        ("", "a metadata key is empty"),
        ("X-Id", "metadata key \"X-Id\" has the upper-case letter 'X'; gRPC keys are lower case"),
        (
            "a b",
            "metadata key \"a b\" has the character ' '; allowed are a-z, 0-9, '_', '.' and '-'",
        ),
        (
            "ключ",
            "metadata key \"ключ\" has the character 'к'; allowed are a-z, 0-9, '_', '.' and '-'",
        ),
        ("grpc-status", "metadata key \"grpc-status\" is reserved for gRPC or HTTP itself"),
        (":path", "metadata key \":path\" is reserved for gRPC or HTTP itself"),
        ("te", "metadata key \"te\" is reserved for gRPC or HTTP itself"),
        (
            "token-bin",
            "metadata key \"token-bin\" ends in -bin, so its values are binary: use insert_bin or \
             append_bin, and header_bin of a call",
        ),
    ];
    let mut metadata = Metadata::new();
    for (key, message) in table {
        assert_eq!(metadata.insert(key, "v").unwrap_err().to_string(), message);
        let binary = key.ends_with("-bin");
        assert_eq!(MetadataKey::new(key.to_owned()).is_ok(), binary, "{key}");
        let constant = || MetadataKey::from_static(key);
        assert_eq!(std::panic::catch_unwind(constant).is_ok(), binary, "{key}");
    }
    let error = metadata.append_bin("token", b"v").unwrap_err();
    assert!(error.to_string().contains("does not end in -bin"), "{error}");
    assert!(metadata.is_empty());
}

#[test]
fn refuses_bad_ascii_values() {
    let mut metadata = Metadata::new();
    for (value, byte) in
        [("a\r\nb", b'\r'), ("é", 0xc3), ("\x7f", 0x7f), (" a", b' '), ("a ", b' ')]
    {
        let error = metadata.insert("k", value).unwrap_err();
        assert_eq!(error, MetadataError::Value { key: "k".into(), byte });
        assert_eq!(Status::from(error).code(), Code::Internal);
    }
    metadata.insert("k", "").unwrap();
    metadata.insert("k", "a b~!").unwrap();
    assert_eq!(metadata.get("k"), Some("a b~!"));
}

#[test]
fn a_failed_insert_changes_nothing() {
    let mut metadata = Metadata::new();
    metadata.insert_bin("k-bin", b"old").unwrap();
    let huge = vec![0; METADATA_BYTES_MAX - 100];
    assert_eq!(metadata.insert_bin("k-bin", huge), Err(MetadataError::TooLarge));
    assert_eq!(metadata.get_bin("k-bin").unwrap().unwrap(), b"old");
    let huge = vec![0; METADATA_BYTES_MAX + 1];
    assert_eq!(metadata.append_bin("k-bin", huge), Err(MetadataError::TooLarge));
}

#[test]
fn many_empty_entries_are_bounded_too() {
    let mut metadata = Metadata::new();
    while metadata.append_wire(b"x", b"") {}
    assert!(metadata.len() <= METADATA_BYTES_MAX / 33);
}

#[test]
fn constant_keys_are_accepted() {
    const TRACE: MetadataKey = MetadataKey::from_static("x-trace.id_1-bin");
    let mut metadata = Metadata::new();
    assert!(TRACE.is_binary());
    metadata.insert_bin(&TRACE, [1, 2]).unwrap();
    assert_eq!(metadata.get_bin(TRACE).unwrap().unwrap(), [1, 2]);
    metadata.insert("grpc-retry-pushback-ms", "10").unwrap();
    assert_eq!(metadata.len(), 2);
}

#[test]
fn reads_binary_values_in_every_form() {
    let table: &[(&str, &[&[u8]])] = &[
        ("q6ur", &[b"\xab\xab\xab"]),
        ("AQ==", &[b"\x01"]),
        ("AQ", &[b"\x01"]),
        ("AQ==,AgM", &[b"\x01", b"\x02\x03"]),
        ("AQ, AgM=", &[b"\x01", b"\x02\x03"]),
        ("", &[b""]),
    ];
    for (value, want) in table {
        let metadata = Metadata::from_wire([(b"k-bin".as_slice(), value.as_bytes())]);
        let got: Vec<_> = metadata.get_all_bin("k-bin").map(Result::unwrap).collect();
        assert_eq!(&got, want, "{value:?}");
        assert_eq!(metadata.get_bin("k-bin").unwrap().as_deref(), want.first().copied());
    }
    let metadata = Metadata::from_wire([(b"k-bin".as_slice(), b"!".as_slice())]);
    assert_eq!(metadata.get_bin("k-bin"), Err(MetadataError::MalformedBase64));
    assert_eq!(Metadata::new().get_bin("k-bin"), Ok(None));
}

#[test]
fn receives_whatever_is_legal_http() {
    let fields: &[(&[u8], &[u8])] = &[
        (b":path", b"/a/b"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"grpc-timeout", b"1S"),
        (b"grpc-encoding", b"gzip"),
        (b"", b"no name"),
        (b"n\xff", b"v"),
        (b"user-agent", b"x/1"),
        (b"x~odd!name", b"v"),
        (b"x-latin", b"caf\xe9"),
        (b"x-utf8", "☺".as_bytes()),
    ];
    let metadata = Metadata::from_wire(fields.iter().copied());
    let names: Vec<_> = metadata.iter().map(|pair| pair.0).collect();
    assert_eq!(names, ["user-agent", "x~odd!name", "x-latin", "x-utf8"]);
    assert_eq!(metadata.get("x-latin"), None);
    assert_eq!(metadata.get_all("x-latin").next(), Some(b"caf\xe9".as_slice()));
    assert_eq!(metadata.get("x-utf8"), Some("☺"));
    // What was received can be sent on, but for what the library writes itself.
    let sent: Vec<_> = metadata.wire_pairs().map(|pair| pair.0).collect();
    assert_eq!(sent, [b"x~odd!name".as_slice(), b"x-latin", b"x-utf8"]);
}

#[test]
fn secrets_stay_secrets_wherever_they_go() {
    let mut metadata = Metadata::new();
    metadata.append("a", "1").unwrap();
    metadata.append("x-api-key", "k").unwrap();
    metadata.append("authorization", "t").unwrap();
    let secrets = |metadata: &Metadata| -> Vec<String> {
        let fields = metadata.wire_fields().filter(|(.., secret)| *secret);
        fields.map(|(name, ..)| String::from_utf8(name.to_vec()).unwrap()).collect()
    };
    assert_eq!(secrets(&metadata), ["authorization"]);
    assert!(metadata.set_sensitive("X-Api-Key") && !metadata.set_sensitive("b"));
    assert_eq!(secrets(&metadata), ["x-api-key", "authorization"]);
    assert_eq!(format!("{metadata:?}"), "[a: 1, x-api-key: (secret), authorization: (secret)]");
    assert_eq!((metadata.get("a"), metadata.get("x-api-key")), (Some("1"), Some("k")));
    let mut other = Metadata::new();
    other.append("b", "2").unwrap();
    other.extend_from(&metadata).unwrap();
    other.remove("a");
    assert_eq!(secrets(&other), ["x-api-key", "authorization"]);
    assert_eq!(other.list_bytes(), other.iter().map(|(k, v)| k.len() + v.len() + 32).sum());
    other.set_all_sensitive();
    assert_eq!(secrets(&other).len(), 3);
}

#[test]
fn what_was_added_can_be_taken_back() {
    let mut metadata = Metadata::new();
    metadata.append("a", "1").unwrap();
    metadata.append("b", "2").unwrap();
    let before = metadata.clone();
    metadata.append("c", "3").unwrap();
    metadata.append("", "").unwrap_err();
    metadata.truncate(2);
    assert_eq!(metadata, before);
    metadata.truncate(5);
    metadata.append("d", "4").unwrap();
    assert_eq!(metadata.get("d"), Some("4"));
    metadata.truncate(0);
    assert!(metadata.is_empty() && metadata.list_bytes() == 0);
}

#[test]
fn debug_escapes_and_hides_secrets() {
    let mut metadata = Metadata::new();
    metadata.insert("authorization", "Bearer hunter2").unwrap();
    metadata.append_wire(b"x", b"a\nb");
    assert_eq!(format!("{metadata:?}"), "[authorization: (secret), x: a\\nb]");
}

#[test]
fn clear_and_extend() {
    let mut left = Metadata::new();
    left.insert("a", "1").unwrap();
    let mut right = left.clone();
    right.extend_from(&left).unwrap();
    assert_eq!(right.get_all("a").count(), 2);
    assert_ne!(left, right);
    right.clear();
    assert!(right.is_empty());
    assert_eq!(right, Metadata::default());
}

proptest! {
    #[test]
    fn binary_values_round_trip(values in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..40), 1..5)) {
        let mut metadata = Metadata::new();
        for value in &values {
            metadata.append_bin("k-bin", value).unwrap();
        }
        for (_, text) in metadata.wire_pairs() {
            let unpadded = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
            prop_assert!(text.iter().all(unpadded));
        }
        let back: Vec<_> = metadata.get_all_bin("k-bin").map(Result::unwrap).collect();
        prop_assert_eq!(&back, &values);
        // The same values joined with commas and padded, as other implementations may send them.
        let padded = |value: &Vec<u8>| {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(value)
        };
        let joined = values.iter().map(padded).collect::<Vec<_>>().join(",");
        let metadata = Metadata::from_wire([(b"k-bin".as_slice(), joined.as_bytes())]);
        let back: Vec<_> = metadata.get_all_bin("k-bin").map(Result::unwrap).collect();
        prop_assert_eq!(&back, &values);
    }

    #[test]
    fn agrees_with_a_list_of_pairs(steps in proptest::collection::vec(
        (0..4_u8, "[a-c]{1,2}", "[x-z]{0,3}"), 0..40)) {
        let mut metadata = Metadata::new();
        let mut model: Vec<(String, String)> = Vec::new();
        for (step, key, value) in steps {
            match step {
                0 => {
                    metadata.insert(&key, &value).unwrap();
                    model.retain(|pair| pair.0 != key);
                    model.push((key, value));
                }
                1 => {
                    let had = model.iter().any(|pair| pair.0 == key);
                    prop_assert_eq!(metadata.remove(&key), had);
                    model.retain(|pair| pair.0 != key);
                }
                _ => {
                    metadata.append(&key, &value).unwrap();
                    model.push((key, value));
                }
            }
            prop_assert_eq!(wire(&metadata), model.clone());
        }
    }

    #[test]
    fn any_bytes_are_received(fields in proptest::collection::vec(
        (prop_oneof!["[ -~]{0,8}".prop_map(String::into_bytes), any::<Vec<u8>>()],
         any::<[u8; 12]>()), 0..12)) {
        let pairs = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let metadata = Metadata::from_wire(pairs);
        let want = fields.iter().filter(|(name, _)| {
            !name.is_empty() && name.is_ascii() && !names::is_protocol(name)
        });
        let got = metadata.iter().map(|(name, value)| (name.as_bytes(), value));
        prop_assert!(got.eq(want.map(|(name, value)| (name.as_slice(), value.as_slice()))));
        for (name, _) in metadata.iter() {
            for value in metadata.get_all_bin(name).flatten() {
                prop_assert!(value.len() <= 12);
            }
        }
        let _ = format!("{metadata:?}");
    }
}

//! Tests of statuses as they travel: tables of what peers send, and round trips.

use proptest::prelude::*;

use super::*;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn written(outcome: Result<(), &Status>, metadata: &Metadata) -> Fields {
    let mut fields = Fields::new();
    write(outcome, metadata, |name, value, _| fields.push((name.to_vec(), value.to_vec())));
    fields
}

fn read_fields(http_status: u16, fields: &Fields) -> Result<Metadata, Status> {
    read(http_status, fields.iter().map(|(name, value)| (&name[..], &value[..], false)))
}

fn text(fields: &Fields) -> Vec<String> {
    let line = |(name, value): &(Vec<u8>, Vec<u8>)| {
        format!("{}: {}", name.escape_ascii(), value.escape_ascii())
    };
    fields.iter().map(line).collect()
}

/// Fields from lines such as `grpc-status: 0`.
fn fields(lines: &[&str]) -> Fields {
    let pair = |line: &&str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.as_bytes().to_vec(), value.as_bytes().to_vec())
    };
    lines.iter().map(pair).collect()
}

#[test]
fn reads_ok_and_its_metadata() {
    assert!(read_fields(200, &fields(&["grpc-status: 0"])).unwrap().is_empty());
    let metadata = read_fields(200, &fields(&["x: 1", "grpc-status: 0", "grpc-message: odd"]));
    assert_eq!(metadata.unwrap().get("x"), Some("1"));
}

#[test]
fn what_came_as_a_secret_stays_one() {
    let secret = (&b"x-api-key"[..], &b"abc123"[..], true);
    for status in [b"0", b"7"] {
        let fields = [(&b"grpc-status"[..], &status[..], false), secret, (b"x", b"1", false)];
        let metadata = match read(200, fields) {
            Ok(metadata) => metadata,
            Err(status) => status.metadata().clone(),
        };
        assert_eq!(metadata.get("x-api-key"), Some("abc123"));
        assert_eq!(format!("{metadata:?}"), r"[x-api-key: (secret), x: 1]");
        assert_eq!(
            metadata.wire_fields().map(|(.., secret)| secret).collect::<Vec<_>>(),
            [true, false]
        );
    }
}

#[test]
fn reads_what_peers_send() {
    let table: &[(&[&str], u16, &str)] = &[
        (&["grpc-status: 5", "grpc-message: no such thing"], 200, "NOT_FOUND: no such thing"),
        (&["grpc-status: 5"], 200, "NOT_FOUND"),
        (&["grpc-status: 16", "grpc-message: %E2%98%BA 100%"], 200, "UNAUTHENTICATED: ☺ 100%"),
        (&["grpc-status: 17", "grpc-message: hm"], 200, "UNKNOWN: hm"),
        (&["grpc-status: 17"], 200, "UNKNOWN: grpc-status \"17\" is not a status code"),
        (&["grpc-status: -1"], 200, "UNKNOWN: grpc-status \"-1\" is not a status code"),
        (&["grpc-status: x\n"], 200, "UNKNOWN: grpc-status \"x\\n\" is not a status code"),
        (&["grpc-status: 7", "grpc-status: 0"], 200, "PERMISSION_DENIED"),
        // grpc-status counts whatever the HTTP status says.
        (&["grpc-status: 7"], 503, "PERMISSION_DENIED"),
        (&[], 200, "UNKNOWN: the response ended without grpc-status"),
        (&["grpc-message: lost"], 200, "UNKNOWN: the response ended without grpc-status"),
        (&[], 503, "UNAVAILABLE: the response has HTTP status 503 and no grpc-status"),
        (&[], 404, "UNIMPLEMENTED: the response has HTTP status 404 and no grpc-status"),
    ];
    for (lines, http_status, want) in table {
        let status = read_fields(*http_status, &fields(lines)).unwrap_err();
        assert_eq!(status.to_string(), *want);
        assert_eq!(status.origin(), Origin::Peer);
    }
}

#[test]
fn reads_details_padded_unpadded_or_not_at_all() {
    for (value, want) in [("CAU", b"\x08\x05".as_slice()), ("CAU=", b"\x08\x05"), ("?", b"")] {
        let line = format!("grpc-status-details-bin: {value}");
        let status = read_fields(200, &fields(&["grpc-status: 5", &line, "x: y"])).unwrap_err();
        assert_eq!((status.code(), &*status.details()), (Code::NotFound, want));
        assert_eq!(status.metadata().get("x"), Some("y"));
        assert_eq!(status.metadata().len(), 1);
    }
}

#[test]
fn writes_ok() {
    let mut metadata = Metadata::new();
    assert_eq!(text(&written(Ok(()), &metadata)), ["grpc-status: 0"]);
    metadata.insert("x", "1").unwrap();
    assert_eq!(text(&written(Ok(()), &metadata)), ["grpc-status: 0", "x: 1"]);
}

#[test]
fn writes_a_failure_in_order() {
    let mut own = Metadata::new();
    own.append_wire(b"x", b"1");
    own.append_wire(b"user-agent", b"left out");
    let mut trailing = Metadata::new();
    trailing.insert("y", "2").unwrap();
    let status = Status::resource_exhausted("50% of\n☺")
        .with_details(b"\x08\x08".to_vec())
        .with_metadata(own)
        .with_source("never sent");
    let want = [
        "grpc-status: 8",
        "grpc-message: 50%25 of%0A%E2%98%BA",
        "grpc-status-details-bin: CAg",
        "y: 2",
        "x: 1",
    ];
    assert_eq!(text(&written(Err(&status), &trailing)), want);
}

#[test]
fn a_peers_status_goes_out_only_when_relayed() {
    let lines = ["grpc-status: 7", "grpc-message: secret", "grpc-status-details-bin: CAc", "x: 1"];
    let status = read_fields(200, &fields(&lines)).unwrap_err();
    let hidden = ["grpc-status: 13", "grpc-message: a call that this call depends on failed"];
    assert_eq!(text(&written(Err(&status), &Metadata::new())), hidden);
    assert_eq!(text(&written(Err(&status.relay()), &Metadata::new())), lines);
}

#[test]
fn long_messages_are_cut() {
    let status = Status::internal("☺".repeat(limits::STATUS_MESSAGE_BYTES_MAX));
    let fields = written(Err(&status), &Metadata::new());
    let message = &fields[1].1;
    assert!(message.len() <= limits::STATUS_MESSAGE_BYTES_MAX);
    assert!(message.len() > limits::STATUS_MESSAGE_BYTES_MAX - 9);
    assert!(percent::decode(message).chars().all(|character| character == '☺'));
}

proptest! {
    #[test]
    fn failures_round_trip(
        code in 1..=16_i32,
        message in any::<String>(),
        details in proptest::collection::vec(any::<u8>(), 0..50),
        value in "[!-~]{0,20}",
    ) {
        let mut metadata = Metadata::new();
        metadata.insert("x", &value).unwrap();
        let status = Status::new(Code::from(code), message.clone())
            .with_details(details.clone())
            .with_metadata(metadata.clone());
        let back = read_fields(200, &written(Err(&status), &Metadata::new())).unwrap_err();
        prop_assert_eq!(i32::from(back.code()), code);
        prop_assert!(message.starts_with(back.message()));
        prop_assert!(back.message().len() == message.len() || message.len() > 300);
        prop_assert_eq!(&*back.details(), details);
        prop_assert_eq!(back.metadata(), &metadata);
    }

    #[test]
    fn any_fields_are_read(
        http_status in 0..1000_u16,
        values in proptest::collection::vec(
            (0..5_usize, proptest::collection::vec(any::<u8>(), 0..20)), 0..6),
    ) {
        let names = [names::GRPC_STATUS, names::GRPC_MESSAGE, names::GRPC_STATUS_DETAILS, "x", ""];
        let fields: Fields = values
            .iter()
            .map(|(index, value)| (names[*index].as_bytes().to_vec(), value.clone()))
            .collect();
        let first = fields.iter().find(|(name, _)| name == names::GRPC_STATUS.as_bytes());
        let ok = first.is_some_and(|(_, value)| value == b"0");
        prop_assert_eq!(read_fields(http_status, &fields).is_ok(), ok);
    }
}

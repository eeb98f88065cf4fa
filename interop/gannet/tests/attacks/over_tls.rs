//! Hostile clients under TLS: the attacks of `on_server` once more, what only records can do, and
//! handshakes that do not get on.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use gannet::tls::{Identity, ServerTls};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::crypto::ring::{cipher_suite::TLS13_AES_128_GCM_SHA256, default_provider};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConnectionTrafficSecrets, RootCertStore};

use crate::frames::{call, request, window_update};
use crate::on_server::{attacks, hold, server};
use crate::running::Running;
use crate::wire::Wire;
use crate::{CONNECTION_BYTES, IDLE, KIB, LEFT_BYTES_MAX, alone, attack, catch_up, held_bytes};

/// What TLS may hold besides: records that came and wait, and records that wait to be sent, of
/// 128 KiB each.
const TLS_BYTES: usize = 2 * 128 * KIB;
/// `Config::handshake_timeout`.
const HANDSHAKE: Duration = Duration::from_secs(120);
/// What a handshake that has begun may hold: the connection's task, rustls' state, and the 8 KiB in
/// which it looks for a ClientHello.
const HANDSHAKE_BYTES: usize = 16 * KIB;
/// A ClientHello as long as rustls takes one, 64 KiB, and room to read the next bytes.
const LONG_HELLO_BYTES: usize = 3 * 64 * KIB;

/// The server of `on_server` behind TLS, alone in the process, and what its clients trust.
struct Secure {
    running: Running,
    config: Arc<ClientConfig>,
    /// Given back last.
    _alone: MutexGuard<'static, ()>,
}

impl Secure {
    fn start() -> Secure {
        let alone = alone();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = made.cert.pem();
        let identity = Identity::from_pem(&pem, made.signing_key.serialize_pem()).unwrap();
        let tls = ServerTls::new(identity).unwrap();
        let running = Running::start_on(|listener| listener.tls(tls), server);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let mut provider = default_provider();
        provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
        let config = ClientConfig::builder_with_provider(Arc::new(provider));
        let config = config.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_secret_extraction = true;
        Secure { running, config: Arc::new(config), _alone: alone }
    }

    /// A client that has shaken hands by TLS.
    fn connect(&self) -> Wire {
        Wire::secure(self.running.addr, &self.config, &self.running)
    }

    /// One that does all as it should, on a server that has nothing else to do.
    fn polite(&self) -> Wire {
        catch_up(&self.running);
        let mut wire = self.connect();
        wire.handshake(&self.running);
        wire
    }
}

#[test]
fn hostile_clients_hold_no_more_than_their_bounds_under_tls() {
    let secure = Secure::start();
    hold(&secure.running, attacks(), TLS_BYTES, || secure.connect());
}

/// Frames in records of one byte each: 23 times as many bytes for the attacker, and no more memory.
/// Who sends calls in that way is served.
#[test]
fn records_of_one_byte() {
    let secure = Secure::start();
    let connect = || {
        let mut wire = secure.connect();
        wire.record_bytes = 1;
        wire
    };
    let flood = attack("records of one byte", CONNECTION_BYTES + TLS_BYTES, 20, |_| {
        window_update(0, 1).repeat(4 * KIB / 13)
    });
    hold(&secure.running, vec![flood], 0, connect);
}

/// rustls takes 32 of them in a row (as BoringSSL does), then it ends the connection. There may be
/// more with something between them.
#[test]
fn key_updates() {
    let secure = Secure::start();
    let running = &secure.running;
    let mut polite = secure.polite();
    running.pass(IDLE);
    for silent in [false, true] {
        let mut wire = secure.connect();
        wire.handshake(running);
        let before = held_bytes();
        let mut peak = 0;
        for _ in 0..100 {
            for _ in 0..100 {
                wire.update_keys();
                if !silent {
                    wire.send(b"", running, false);
                }
            }
            wire.send(b"", running, false);
            peak = peak.max(held_bytes().saturating_sub(before));
            wire.read();
        }
        assert!(wire.closed, "it goes on");
        assert!(peak < CONNECTION_BYTES + TLS_BYTES, "{peak} bytes");
        polite.is_served(running, if silent { 3 } else { 1 });
    }
    let asked = request(b"alive", 0, 0);
    for n in 0..200 {
        polite.update_keys();
        let id = 5 + 2 * n;
        // Half a call, so that it is read under two keys.
        let bytes = call("Unary", id, &asked);
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        polite.send(first, running, true);
        polite.update_keys();
        polite.send(rest, running, true);
    }
    polite.is_served(running, 999);
}

/// Records that hold nothing: rustls takes 32 of them in a row (as BoringSSL does). They are no end
/// of what is read.
#[test]
fn empty_records() {
    let secure = Secure::start();
    let running = &secure.running;
    let mut polite = secure.polite();
    polite.is_served(running, 1);
    let mut wire = secure.connect();
    wire.handshake(running);
    let sealer = Rc::new(Sealer::new(&mut wire));
    let empty = |many| (0..many).flat_map(|_| sealer.record(b"")).collect::<Vec<_>>();
    for n in 0..100 {
        let empty = empty(32);
        let call = sealer.record(&call("Unary", 1 + 2 * n, &request(b"alive", 0, 0)));
        wire.read();
        wire.send(&[empty, call].concat(), running, false);
        assert!(wire.read() > 20 && !wire.closed, "{n}: is not served");
    }
    let seals = Rc::clone(&sealer);
    let mut flood = attack("empty records", CONNECTION_BYTES + TLS_BYTES, 30, move |_| {
        (0..2_000).flat_map(|_| seals.record(b"")).collect()
    });
    flood.ends = true;
    let mut faults = Vec::new();
    let mut next = 3;
    let mut serve = || {
        polite.is_served(running, next);
        next += 2;
    };
    let seen = flood.carry_out(&mut wire, running, &mut serve);
    flood.judge(&seen, &mut faults);
    assert!(faults.is_empty(), "{faults:#?}");
    serve();
}

/// Makes records by hand, with the keys of a handshake.
struct Sealer {
    key: LessSafeKey,
    iv: [u8; 12],
    number: Cell<u64>,
}

impl Sealer {
    fn new(wire: &mut Wire) -> Sealer {
        let (number, secrets) = wire.take_tls().dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else { panic!("another") };
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap());
        Sealer { key, iv: iv.as_ref().try_into().unwrap(), number: Cell::new(number) }
    }

    /// A record of application data (RFC 8446 section 5.2).
    fn record(&self, content: &[u8]) -> Vec<u8> {
        let mut nonce = self.iv;
        let number = self.number.replace(self.number.get() + 1).to_be_bytes();
        nonce[4..].iter_mut().zip(number).for_each(|(byte, with)| *byte ^= with);
        let mut sealed = [content, &[23]].concat();
        let length = u16::try_from(sealed.len() + 16).unwrap().to_be_bytes();
        let head = [&[23, 3, 3][..], &length].concat();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(&head), &mut sealed).unwrap();
        [head, sealed].concat()
    }
}

/// A record of the handshake.
fn handshake_record(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[22, 3, 1][..], &length, bytes].concat()
}

/// The head of a ClientHello of so many bytes, which ends within its random bytes.
fn hello(bytes: u32) -> Vec<u8> {
    [&[1][..], &bytes.to_be_bytes()[1..], &[3, 3], &[7; 20]].concat()
}

/// A thousand clients that have begun: each holds little, for as long as a handshake may take, and
/// a client that gets on is served meanwhile.
#[test]
fn a_thousand_handshakes_that_have_begun() {
    const MANY: usize = 1_000;
    let secure = Secure::start();
    let running = &secure.running;
    let mut polite = secure.polite();
    polite.is_served(running, 1);
    running.pass(IDLE);
    let before = held_bytes();
    let begun = handshake_record(&hello(500));
    for said in [&b""[..], &begun[..1], &begun[..begun.len() - 1], &begun] {
        let mut wires = open(running.addr, MANY);
        for wire in &mut wires {
            wire.send(said, running, false);
        }
        let each = held_bytes().saturating_sub(before) / MANY;
        println!("after {} bytes: {each} bytes held each", said.len());
        assert!(each < HANDSHAKE_BYTES, "{each} bytes each");
        let mut other = secure.connect();
        other.handshake(running);
        other.is_served(running, 1);
        running.pass(HANDSHAKE - Duration::from_secs(1));
        assert!(wires.iter_mut().all(|wire| wire.read() == 0 && !wire.closed), "too soon");
        // Who is refused may take two seconds to read why.
        running.pass(Duration::from_secs(2));
        running.pass(Duration::from_secs(3));
        for wire in &mut wires {
            wire.read();
        }
        assert!(wires.iter().all(|wire| wire.closed), "they stay");
        drop((wires, other));
        running.pass(IDLE);
        running.pass(IDLE);
        let left = held_bytes().saturating_sub(before);
        assert!(left < LEFT_BYTES_MAX, "{left} bytes are left");
    }
    polite.is_served(running, 3);
}

fn open(addr: SocketAddr, many: usize) -> Vec<Wire> {
    (0..many).map(|_| Wire::connect(addr)).collect()
}

/// ClientHellos that are announced long, come in small pieces, or never end: what is kept of them
/// is bounded, and whoever goes too far is refused at once, which may take two seconds to be read.
#[test]
fn client_hellos_that_are_long_or_come_in_pieces() {
    let secure = Secure::start();
    let running = &secure.running;
    let mut polite = secure.polite();
    polite.is_served(running, 1);
    let one_by_one = |length: u32, sent: usize| -> Vec<u8> {
        let body = [&hello(length)[..], &vec![7; sent]].concat();
        body.iter().flat_map(|byte| handshake_record(&[*byte])).collect()
    };
    // Who says all of it in such pieces is served.
    let shake = |hello: fn(Vec<u8>) -> Vec<u8>| {
        let mut wire = Wire::secure_saying(running.addr, &secure.config, running, hello);
        wire.handshake(running);
        wire.is_served(running, 1);
    };
    shake(|hello| hello[5..].iter().flat_map(|byte| handshake_record(&[*byte])).collect());
    // 16 MiB, announced and begun; in records of a byte each; records without anything in them.
    let endless = [&hello(0xff_ffff)[..], &[7; 16_000]].concat();
    let cases: [(&str, Vec<u8>, bool); 5] = [
        ("announced too long", handshake_record(&endless).repeat(5), true),
        ("half of it, in pieces of a byte", one_by_one(16_000, 8_000), false),
        ("in more pieces than there is room for", one_by_one(60_000, 50_000), true),
        ("announced too long, in pieces", one_by_one(0xff_ffff, 10_000), true),
        ("empty pieces", handshake_record(b"").repeat(1_000), true),
    ];
    let mut next = 3;
    for (name, bytes, ends) in cases {
        let before = held_bytes();
        let mut wire = Wire::connect(running.addr);
        let mut peak = 0;
        for part in bytes.chunks(10_000) {
            wire.send(part, running, false);
            peak = peak.max(held_bytes().saturating_sub(before));
        }
        println!("{name}: {} bytes, {peak} held", bytes.len());
        assert!(peak < LONG_HELLO_BYTES, "{name}: {peak} bytes");
        polite.is_served(running, next);
        next += 2;
        running.pass(Duration::from_secs(3));
        wire.read();
        assert_eq!(wire.closed, ends, "{name}");
        running.pass(HANDSHAKE);
        running.pass(Duration::from_secs(3));
        wire.read();
        assert!(wire.closed, "{name}: it stays");
    }
}

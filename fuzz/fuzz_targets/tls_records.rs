//! Records of TLS behind a handshake, cut, changed, with others between them: what is read is what
//! the peer wrote, as far as nothing was changed, and then there is an error, never a panic.
#![no_main]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use arbitrary::Arbitrary;
use gannet_transport::Stream;
use gannet_transport::tls::TlsStream;
use libfuzzer_sys::fuzz_target;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig};
use rustls::{ServerConnection, SupportedProtocolVersion, version};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

#[derive(Debug, Arbitrary)]
struct Input {
    old: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    /// The peer writes so much.
    Send(u16),
    /// So many bytes of what the peer wrote arrive.
    Arrive(u16),
    Change {
        at: u16,
        to: u8,
    },
    Insert(Vec<u8>),
    /// A record with a right head.
    Record {
        kind: u8,
        payload: Vec<u8>,
    },
    NewKeys,
    Goodbye,
    /// Nothing more arrives.
    Close,
    Read(u16),
    Write(u16),
    /// The peer reads what was written to it.
    Answer,
}

/// What the pipe holds: a part of it fills.
const PIPE_BYTES: usize = 40_000;

static CONFIGS: LazyLock<[(Arc<ClientConfig>, Arc<ServerConfig>); 2]> =
    LazyLock::new(|| [&version::TLS13, &version::TLS12].map(configs));

fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("it is a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .expect("the provider has it")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A run must not depend on those before it.
    client.resumption = Resumption::disabled();
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("the provider has it")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("key and certificate fit");
    (Arc::new(client), Arc::new(server))
}

/// Both ends, and what is between them.
struct World {
    peer: Connection,
    /// The pipe's far end; `None` once it is closed.
    far: Option<DuplexStream>,
    stream: TlsStream,
    /// What the peer wrote and has not arrived.
    wire: VecDeque<u8>,
    is_changed: bool,
    says_goodbye: bool,
    new_keys: u32,
    sent: usize,
    read: usize,
    written: usize,
    answered: usize,
    is_over: bool,
}

fuzz_target!(|input: Input| {
    let mut world = World::new(input.old);
    for step in &input.steps {
        world.step(step);
    }
    world.arrive(usize::MAX);
    while world.read(5_000) {
        world.arrive(usize::MAX);
    }
    if !world.is_changed && !world.is_over {
        assert_eq!(world.read, world.sent, "nothing is kept back");
    }
});

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Never the same for long, so that bytes at another place are others.
fn byte(at: usize) -> u8 {
    (at % 251) as u8 ^ (at / 251) as u8
}

impl World {
    fn new(old: bool) -> World {
        let (client, server) = &CONFIGS[usize::from(old)];
        let name = "localhost".try_into().expect("it is a name");
        let mut peer = ClientConnection::new(Arc::clone(client), name).expect("a client");
        let mut server = ServerConnection::new(Arc::clone(server)).expect("a server");
        while peer.is_handshaking() || server.is_handshaking() {
            let mut flight = Vec::new();
            peer.write_tls(&mut flight).expect("memory takes all");
            let mut rest = &flight[..];
            while !rest.is_empty() {
                server.read_tls(&mut rest).expect("memory gives all");
                server.process_new_packets().expect("the handshake is right");
            }
            let mut flight = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut flight).expect("memory takes all");
            }
            let mut rest = &flight[..];
            while !rest.is_empty() {
                peer.read_tls(&mut rest).expect("memory gives all");
                peer.process_new_packets().expect("the handshake is right");
            }
        }
        let (near, far) = duplex(PIPE_BYTES);
        let stream = TlsStream::after_handshake(Stream::Pipe(near), server.into());
        World {
            peer: peer.into(),
            far: Some(far),
            stream,
            wire: VecDeque::new(),
            is_changed: false,
            says_goodbye: false,
            new_keys: 0,
            sent: 0,
            read: 0,
            written: 0,
            answered: 0,
            is_over: false,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send(bytes) if !self.says_goodbye => {
                let bytes: Vec<u8> =
                    (0..usize::from(*bytes)).map(|n| byte(self.sent + n)).collect();
                // After an alert it takes nothing.
                self.sent += self.peer.writer().write(&bytes).unwrap_or(0);
                self.flush_peer();
            }
            Step::Send(_) => {}
            Step::Arrive(bytes) => self.arrive(usize::from(*bytes)),
            Step::Change { at, to } => {
                let length = self.wire.len().max(1);
                if let Some(byte) = self.wire.get_mut(usize::from(*at) % length)
                    && *byte != *to
                {
                    *byte = *to;
                    self.is_changed = true;
                }
            }
            Step::Insert(bytes) => self.insert(bytes),
            Step::Record { kind, payload } => {
                let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
                self.insert(&[&[20 + kind % 6, 3, 3], &length[..], payload].concat());
            }
            // Only TLS 1.3 has it, and more than 32 in a row are refused.
            Step::NewKeys => {
                self.new_keys += 1;
                self.is_changed |= self.new_keys > 32;
                let _ = self.peer.refresh_traffic_keys();
                self.flush_peer();
            }
            Step::Goodbye => {
                self.says_goodbye = true;
                self.peer.send_close_notify();
                self.flush_peer();
            }
            Step::Close => {
                self.is_over = true;
                self.far = None;
            }
            Step::Read(bytes) => drop(self.read(usize::from(*bytes))),
            Step::Write(bytes) => {
                let start = self.written;
                let bytes: Vec<u8> = (0..usize::from(*bytes)).map(|n| byte(start + n)).collect();
                let stream = Pin::new(&mut self.stream);
                if let Poll::Ready(Ok(n)) = stream.poll_write(&mut context(), &bytes) {
                    self.written += n;
                }
            }
            Step::Answer => self.answer(),
        }
    }

    fn insert(&mut self, bytes: &[u8]) {
        self.is_changed |= !bytes.is_empty();
        self.wire.extend(bytes);
    }

    fn flush_peer(&mut self) {
        while self.peer.wants_write() {
            self.peer.write_tls(&mut self.wire).expect("memory takes all");
        }
    }

    /// As much as the pipe takes.
    fn arrive(&mut self, bytes: usize) {
        let Some(far) = &mut self.far else { return };
        let bytes: Vec<u8> = self.wire.iter().copied().take(bytes).collect();
        if let Poll::Ready(Ok(n)) = Pin::new(far).poll_write(&mut context(), &bytes) {
            self.wire.drain(..n);
        }
    }

    /// Whether there was something.
    fn read(&mut self, bytes: usize) -> bool {
        let mut storage = vec![0; bytes];
        let mut buf = ReadBuf::new(&mut storage);
        let polled = Pin::new(&mut self.stream).poll_read(&mut context(), &mut buf);
        let filled = buf.filled();
        assert!(filled.iter().enumerate().all(|(n, it)| *it == byte(self.read + n)));
        self.read += filled.len();
        assert!(self.read <= self.sent, "more than was sent");
        match polled {
            Poll::Pending => false,
            Poll::Ready(Ok(())) if filled.is_empty() && bytes > 0 => {
                assert!(self.says_goodbye || self.is_changed, "an end without a goodbye");
                self.is_over = true;
                false
            }
            Poll::Ready(Ok(())) => bytes > 0,
            Poll::Ready(Err(error)) => {
                let is_cut = error.kind() == io::ErrorKind::UnexpectedEof && self.far.is_none();
                assert!(is_cut || self.is_changed, "{error}");
                self.is_changed = true;
                false
            }
        }
    }

    /// The peer reads, which must be what was written unless what it got was changed.
    fn answer(&mut self) {
        let Some(far) = &mut self.far else { return };
        let mut storage = vec![0; PIPE_BYTES];
        let mut buf = ReadBuf::new(&mut storage);
        let Poll::Ready(Ok(())) = Pin::new(far).poll_read(&mut context(), &mut buf) else { return };
        let mut rest = buf.filled();
        while !rest.is_empty() {
            self.peer.read_tls(&mut rest).expect("memory gives all");
            if self.peer.process_new_packets().is_err() {
                assert!(self.is_changed, "what is written is right");
                self.far = None;
                self.is_over = true;
                return;
            }
            let mut storage = [0; 20_000];
            while let Ok(n @ 1..) = self.peer.reader().read(&mut storage) {
                let got = storage[..n].iter().enumerate();
                assert!(got.into_iter().all(|(n, it)| *it == byte(self.answered + n)));
                self.answered += n;
            }
        }
        assert!(self.answered <= self.written);
        self.flush_peer();
    }
}

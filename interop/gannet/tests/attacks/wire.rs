//! The attacker's end of a connection, and whose turn it is.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection};

use crate::frames::{END_HEADERS, HEADERS, call, frame, request};
use crate::running::Running;
use crate::{KIB, stats};

/// Who is attacked, and works when told to.
pub(crate) trait Turns {
    /// Lets time pass.
    fn pass(&self, time: Duration);

    /// Lets what has begun be finished.
    fn settle(&self) {
        self.pass(Duration::ZERO);
    }
}

impl Turns for Running {
    fn pass(&self, time: Duration) {
        Running::pass(self, time);
    }
}

/// A socket, and nothing that minds what goes over it but TLS, where that is spoken.
pub(crate) struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What a record of TLS holds at most.
    pub(crate) record_bytes: usize,
    pub(crate) closed: bool,
    /// Bytes that the socket took.
    pub(crate) sent_bytes: usize,
    /// Allocations of TLS on this end.
    pub(crate) own_allocations: usize,
}

impl Wire {
    fn new(socket: TcpStream) -> Wire {
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        Wire {
            socket,
            tls: None,
            record_bytes: 16 * KIB,
            closed: false,
            own_allocations: 0,
            sent_bytes: 0,
        }
    }

    pub(crate) fn connect(addr: SocketAddr) -> Wire {
        Wire::new(TcpStream::connect(addr).unwrap())
    }

    /// Shakes hands by TLS, too.
    pub(crate) fn secure(addr: SocketAddr, config: &Arc<ClientConfig>, turns: &dyn Turns) -> Wire {
        Wire::secure_saying(addr, config, turns, |hello| hello)
    }

    /// The same, where the ClientHello is said in another way.
    pub(crate) fn secure_saying(
        addr: SocketAddr,
        config: &Arc<ClientConfig>,
        turns: &dyn Turns,
        hello: impl FnOnce(Vec<u8>) -> Vec<u8>,
    ) -> Wire {
        let mut wire = Wire::connect(addr);
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        tls.set_buffer_limit(None);
        let said = hello(unsent(&mut tls));
        wire.write(&said, turns, false);
        wire.tls = Some(Box::new(tls));
        // What comes of the handshake, and the session's tickets behind it.
        for _ in 0..20 {
            let said = wire.tls.as_mut().map(|tls| unsent(tls)).unwrap_or_default();
            wire.write(&said, turns, false);
            wire.read();
        }
        assert!(!wire.closed && !wire.tls.as_ref().unwrap().is_handshaking());
        wire
    }

    /// Tells the keys of TLS, and goes on without it: what is written are records from here on.
    pub(crate) fn take_tls(&mut self) -> ClientConnection {
        *self.tls.take().unwrap()
    }

    /// Has TLS take new keys, and ask the peer to.
    pub(crate) fn update_keys(&mut self) {
        self.tls.as_mut().unwrap().refresh_traffic_keys().unwrap();
    }

    pub(crate) fn accept(listener: &TcpListener, turns: &dyn Turns) -> Wire {
        turns.settle();
        Wire::new(listener.accept().unwrap().0)
    }

    /// As a client.
    pub(crate) fn handshake(&mut self, turns: &dyn Turns) {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        self.send(preface, turns, true);
        self.send(b"\0\0\0\x04\x01\0\0\0\0", turns, true);
        assert!(!self.closed);
    }

    /// As a server, which takes whatever comes.
    pub(crate) fn welcome(&mut self, turns: &dyn Turns) {
        self.send(b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0", turns, true);
        for _ in 0..5 {
            turns.settle();
            self.read();
        }
        assert!(!self.closed);
    }

    /// Writes as much as is taken; how much that was. Of what TLS could not send all, nothing.
    pub(crate) fn send(&mut self, bytes: &[u8], turns: &dyn Turns, reads: bool) -> usize {
        let Some(tls) = &mut self.tls else { return self.write(bytes, turns, reads) };
        let counted = stats().allocations;
        let mut sealed = Vec::new();
        for record in bytes.chunks(self.record_bytes) {
            tls.writer().write_all(record).unwrap();
            sealed.append(&mut unsent(tls));
        }
        sealed.append(&mut unsent(tls));
        self.own_allocations += stats().allocations - counted;
        let sent = self.write(&sealed, turns, reads);
        if sent == sealed.len() { bytes.len() } else { 0 }
    }

    fn write(&mut self, bytes: &[u8], turns: &dyn Turns, reads: bool) -> usize {
        let mut sent = 0;
        // What is not taken after the other side had its turn some times is not taken at all.
        let mut patience = 3;
        while sent < bytes.len() && patience > 0 && !self.closed {
            match self.socket.write(&bytes[sent..]) {
                Ok(written) => (sent, patience) = (sent + written, 3),
                Err(error) if error.kind() == ErrorKind::WouldBlock => patience -= 1,
                Err(_) => self.closed = true,
            }
            turns.settle();
            if reads {
                self.read();
            }
        }
        turns.settle();
        self.sent_bytes += sent;
        sent
    }

    /// Reads all there is; how much that was.
    pub(crate) fn read(&mut self) -> usize {
        self.read_with(|_| ())
    }

    /// As [`read`](Self::read), and shows it.
    pub(crate) fn read_with(&mut self, mut show: impl FnMut(&[u8])) -> usize {
        let (mut buffer, mut came) = ([0; 16 * KIB], 0);
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(read) => {
                    let Some(tls) = &mut self.tls else {
                        came += read;
                        show(&buffer[..read]);
                        continue;
                    };
                    let counted = stats().allocations;
                    let plain = opened(tls, &buffer[..read]);
                    self.own_allocations += stats().allocations - counted;
                    match plain {
                        Some(plain) => {
                            came += plain.len();
                            show(&plain);
                            continue;
                        }
                        None => self.closed = true,
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.closed = true,
            }
            return came;
        }
    }

    /// A call on this stream is answered.
    pub(crate) fn is_served(&mut self, turns: &dyn Turns, id: u32) {
        let asked = request(b"alive", 0, 0);
        self.read();
        self.send(&call("Unary", id, &asked), turns, false);
        let mut came = 0;
        for _ in 0..100 {
            came += self.read();
            if came > 20 {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
            turns.settle();
        }
        panic!("stream {id} is not served: {came} bytes came, closed: {}", self.closed);
    }

    /// What a server answers a stream with: these fields, and the end or not.
    pub(crate) fn fields(id: u32, flags: u8, block: &[u8]) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | flags, id, block)
    }
}

/// What TLS has to send.
fn unsent(tls: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// What these bytes hold, unless TLS is over with them.
fn opened(tls: &mut ClientConnection, mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes).unwrap();
        tls.process_new_packets().ok()?;
        match tls.reader().read_to_end(&mut plain) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => return None,
        }
    }
    Some(plain)
}

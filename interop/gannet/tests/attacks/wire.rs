//! The attacker's end of a connection, and whose turn it is.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::KIB;
use crate::frames::{END_HEADERS, HEADERS, call, frame, request};
use crate::running::Running;

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

/// A socket, and nothing that minds what goes over it.
pub(crate) struct Wire {
    socket: TcpStream,
    pub(crate) closed: bool,
}

impl Wire {
    fn new(socket: TcpStream) -> Wire {
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        Wire { socket, closed: false }
    }

    pub(crate) fn connect(addr: SocketAddr) -> Wire {
        Wire::new(TcpStream::connect(addr).unwrap())
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

    /// Writes as much as is taken; how much that was.
    pub(crate) fn send(&mut self, bytes: &[u8], turns: &dyn Turns, reads: bool) -> usize {
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
                    came += read;
                    show(&buffer[..read]);
                    continue;
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

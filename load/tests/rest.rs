//! The REST scenarios against a small HTTP/1.1 server.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gannet_load::{Length, Options, Scenario, Sizes, measure};

const ANSWER: &str = concat!(
    r#"{"message": "Hello I am up and running received \"hello\" message from you","#,
    r#" "received": true}"#
);

/// A server with a thread for each connection; counts them.
fn serve(answer: &'static str) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&connections);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || converse(&socket.unwrap(), answer));
        }
    });
    (addr, connections)
}

fn converse(mut socket: &TcpStream, answer: &str) {
    socket.set_nodelay(true).unwrap();
    let mut input = BufReader::new(socket);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if input.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        assert!(head.starts_with("POST /hello HTTP/1.1\r\nhost: localhost\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap().trim().parse().unwrap();
        let mut body = vec![0; length];
        input.read_exact(&mut body).unwrap();
        assert_eq!(body, br#"{"message":"hello"}"#);
        let length = answer.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        // In two pieces, as some servers do.
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(answer.as_bytes()).unwrap();
    }
}

fn options(addr: SocketAddr, scenario: Scenario, connections: usize) -> Options {
    Options {
        addr: addr.to_string(),
        tls: None,
        bearer: None,
        scenario,
        connections,
        in_flight: 1,
        sizes: Sizes::default(),
        lockstep: false,
        warm_up: Duration::ZERO,
        length: Length::Calls(200),
    }
}

#[test]
fn connections_are_kept_or_not() {
    for (connections, scenario, opened) in [
        (1, Scenario::Rest, 1),
        (5, Scenario::Rest, 5),
        (1, Scenario::RestConnect, 200),
        (5, Scenario::RestConnect, 200),
    ] {
        let (addr, count) = serve(ANSWER);
        let figures = measure(&options(addr, scenario, connections)).unwrap();
        assert_eq!((figures.calls(), figures.messages()), (200, 200), "{scenario}");
        assert_eq!(count.load(Ordering::SeqCst), opened, "{scenario}, {connections} at a time");
    }
}

#[test]
fn a_wrong_answer_is_told() {
    let (addr, _) = serve(r#"{"message": "Hello"}"#);
    let error = measure(&options(addr, Scenario::Rest, 1)).unwrap_err().to_string();
    assert!(error.contains("a reply differs from the expected one"), "{error}");
    let mut many = options(addr, Scenario::Rest, 1);
    many.in_flight = 2;
    assert!(measure(&many).unwrap_err().to_string().contains("one request in flight"));
}

//! The generator against the server of canned bytes, over sockets: every pair that fits.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use gannet_load::{CannedServer, Length, Options, Reply, Scenario, Sizes, measure};

/// A server until the sender is dropped.
fn serve(reply: &Reply) -> (SocketAddr, mpsc::Sender<()>) {
    let server = CannedServer::bind("127.0.0.1:0", reply).unwrap();
    let addr = server.local_addr().unwrap();
    let (stop, stopped) = mpsc::channel::<()>();
    let wait = move || {
        let _ = stopped.recv();
    };
    std::thread::spawn(move || server.serve(wait, |_| ()).unwrap());
    (addr, stop)
}

fn options(addr: SocketAddr, scenario: Scenario) -> Options {
    Options {
        addr: addr.to_string(),
        tls: None,
        bearer: None,
        scenario,
        connections: 3,
        in_flight: 7,
        sizes: Sizes::default(),
        lockstep: false,
        warm_up: Duration::ZERO,
        length: Length::Calls(50),
    }
}

#[test]
fn the_floor_answers_every_scenario() {
    let hello = || Reply::Hello("hello".to_owned());
    let cases = [
        (Scenario::Unary, hello(), 1),
        (Scenario::Echo, Reply::Echo, 1),
        (Scenario::Bidi, Reply::Echo, 1000),
        (Scenario::LargeStream, Reply::Echo, 16),
        (Scenario::ServerStream, Reply::Stream { messages: 1000, bytes: 16 }, 1000),
    ];
    for (scenario, reply, messages) in cases {
        let (addr, _stop) = serve(&reply);
        let figures = measure(&options(addr, scenario)).unwrap();
        assert_eq!((figures.calls(), figures.messages()), (50, 50 * messages), "{scenario}");
    }
}

#[test]
fn one_connection_blocks_and_many_are_polled_alike() {
    let (addr, _stop) = serve(&Reply::Hello("hello".to_owned()));
    for (connections, in_flight, calls) in [(1, 1, 100), (1, 100, 20_000), (30, 1, 20_000)] {
        let length = Length::Calls(calls);
        let options = Options { connections, in_flight, length, ..options(addr, Scenario::Unary) };
        assert_eq!(measure(&options).unwrap().calls(), calls);
    }
}

#[test]
fn in_lockstep_there_is_one_write_for_all_that_is_in_flight() {
    let lockstep = |addr, scenario| Options { lockstep: true, ..options(addr, scenario) };
    let (addr, _stop) = serve(&Reply::Hello("hello".to_owned()));
    for (connections, in_flight, calls, writes) in [(1, 100, 20_000, 200), (5, 10, 1_000, 100)] {
        let length = Length::Calls(calls);
        let unary = lockstep(addr, Scenario::Unary);
        let figures = measure(&Options { connections, in_flight, length, ..unary }).unwrap();
        assert_eq!(figures.calls(), calls);
        let json = figures.json();
        assert!(json.contains(&format!("\"writes\":{writes}}}")), "{json}");
    }
    let (addr, _stop) = serve(&Reply::Echo);
    for scenario in [Scenario::Echo, Scenario::Bidi, Scenario::LargeStream] {
        assert_eq!(measure(&lockstep(addr, scenario)).unwrap().calls(), 50, "{scenario}");
    }
}

#[test]
fn a_wrong_reply_is_told() {
    let (addr, _stop) = serve(&Reply::Hello("you".to_owned()));
    let error = measure(&options(addr, Scenario::Unary)).unwrap_err().to_string();
    // The first difference is the length in the prefix.
    assert!(error.contains("a reply differs from the expected one at byte 4"), "{error}");
    let (addr, _stop) = serve(&Reply::Stream { messages: 999, bytes: 16 });
    let error = measure(&options(addr, Scenario::ServerStream)).unwrap_err().to_string();
    assert_eq!(error, "a call ended with grpc-status 0 after 999 of 1000 replies");
    let (addr, _stop) = serve(&Reply::Stream { messages: 1001, bytes: 16 });
    let error = measure(&options(addr, Scenario::ServerStream)).unwrap_err().to_string();
    assert_eq!(error, "more than the 1000 replies that are due");
}

#[test]
fn connections_that_fail_do_not_end_the_floor() {
    use std::io::{Read, Write};
    let (addr, _stop) = serve(&Reply::Hello("hello".to_owned()));
    let mut other = std::net::TcpStream::connect(addr).unwrap();
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // It is closed after the server's own preface, by an end or a reset.
    let _ = other.read_to_end(&mut Vec::new());
    assert_eq!(measure(&options(addr, Scenario::Unary)).unwrap().calls(), 50);
}

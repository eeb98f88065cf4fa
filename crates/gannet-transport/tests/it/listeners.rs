//! Listeners and connectors.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use gannet_transport::{Acceptor, Listener, Peer, Stream, TcpOptions, connect_tcp, pipe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The next connection, of a listener without TLS.
pub(crate) async fn accept(acceptor: &mut Acceptor) -> (Stream, Peer) {
    let incoming = acceptor.accept().await.unwrap().unwrap();
    incoming.into_stream().ok().unwrap()
}

fn nodelay(stream: &Stream) -> bool {
    let Stream::Tcp(stream) = stream else { panic!("not TCP") };
    stream.nodelay().unwrap()
}

#[tokio::test]
async fn a_dual_stack_socket_takes_both_families_without_delay() {
    let listener = Listener::tcp("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(listener.to_string(), format!("[::]:{port}"));
    let mut acceptor = listener.into_acceptor().unwrap();
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    for address in [v4, v6] {
        let (client, peer) = connect_tcp(address).await.unwrap();
        assert_eq!(peer.socket_addr(), Some(address));
        let (server, peer) = accept(&mut acceptor).await;
        assert_eq!(peer.socket_addr().unwrap().is_ipv4(), address.is_ipv4());
        assert!(nodelay(&client) && nodelay(&server));
    }
}

#[tokio::test]
async fn only_v6_means_that() {
    let options = TcpOptions::default().only_v6(true);
    // Other programs have ports too: of several, one is free on IPv4, unless the listener has it.
    let leaves_v4_to_others = (0..20).any(|_| {
        let listener = Listener::tcp_with("[::]:0", options.clone()).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    assert!(leaves_v4_to_others);
    let listener = Listener::tcp_with("[::]:0", options).unwrap();
    let port = listener.local_addr().unwrap().port();
    connect_tcp((Ipv6Addr::LOCALHOST, port).into()).await.unwrap();
}

#[test]
fn a_port_in_use_is_refused_by_name_unless_it_is_shared() {
    let first = Listener::tcp("127.0.0.1:0").unwrap();
    let address = first.local_addr().unwrap();
    let error = Listener::tcp(address).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(error.address(), address.to_string());
    let told = format!("cannot listen on {address}: another process or socket uses it");
    assert_eq!(error.to_string(), told);
    let shared = TcpOptions::default().reuse_port(true);
    let first = Listener::tcp_with("127.0.0.1:0", shared.clone()).unwrap();
    let address = first.local_addr().unwrap();
    Listener::tcp_with(address, shared).unwrap();
    assert_eq!(first.another().unwrap().unwrap().local_addr(), Some(address));
}

#[tokio::test]
async fn a_pipe_carries_bytes_and_refuses_when_nobody_listens() {
    let (connector, listener) = pipe();
    let mut acceptor = Listener::from(listener).into_acceptor().unwrap();
    let (mut client, _) = connector.connect().await.unwrap();
    let (mut server, peer) = accept(&mut acceptor).await;
    assert_eq!(peer, Peer::Pipe);
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    server.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"hello");
    let second = connector.clone();
    drop(connector);
    second.connect().await.unwrap();
    drop(second);
    assert!(acceptor.accept().await.unwrap().is_some());
    assert!(acceptor.accept().await.unwrap().is_none(), "nobody can connect any more");
    let (connector, listener) = pipe();
    drop(listener);
    connector.closed().await;
    let refused = connector.connect().await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_pipe_refuses_while_its_gate_does() {
    let (connector, listener) = pipe();
    let gate = listener.gate();
    let mut acceptor = Listener::from(listener).into_acceptor().unwrap();
    connector.connect().await.unwrap();
    gate.set_refusing(true);
    let refused = connector.clone().connect().await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(acceptor.accept().await.unwrap().is_some(), "it came before");
    gate.set_refusing(false);
    connector.connect().await.unwrap();
    assert!(acceptor.accept().await.unwrap().is_some());
    // The gate keeps nothing open.
    drop(connector);
    assert!(acceptor.accept().await.unwrap().is_none());
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_replace_what_is_abandoned_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let first = Listener::unix(&path).unwrap();
    assert_eq!(first.to_string(), format!("unix:{}", path.display()));
    assert_eq!(Listener::unix(&path).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    let mut acceptor = first.into_acceptor().unwrap();
    accept(&mut acceptor).await; // The second listener has knocked to see if anybody is there.
    let (mut client, _) = gannet_transport::connect_unix(&path).await.unwrap();
    let (mut server, peer) = accept(&mut acceptor).await;
    assert_eq!(peer, Peer::Unix(None));
    server.write_all(b"x").await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'x');
    drop(acceptor);
    let mut acceptor = Listener::unix(&path).unwrap().into_acceptor().unwrap();
    gannet_transport::connect_unix(&path).await.unwrap();
    accept(&mut acceptor).await;
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(Listener::unix(&file).is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
}

//! Many streams over a few connections, and many connections.

use std::time::Duration;

use gannet::{Channel, Inbound, Outbound, Server};
use gannet_interop::proto::gannet::interop::v1::{EchoClient, EchoReply, EchoRequest};

use crate::service::{payload, start};
use crate::{full, memory_kib};

/// A call that takes longer than this is stuck.
const PATIENCE: Duration = Duration::from_secs(20);
/// Streams that one connection of these tests may have.
const STREAMS_MAX: u32 = 2_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_streams_over_a_few_connections_are_open_at_once_and_right() {
    let (connections, streams) = if full() { (4, 2_500) } else { (2, 1_000) };
    let mut config = gannet::Http2Config::default();
    config.concurrent_streams_max = STREAMS_MAX;
    let (addr, _) = start(Server::new().http2(config));
    let before = memory_kib("VmRSS");
    let mut open: Vec<(Outbound<EchoRequest>, Inbound<EchoReply>)> = Vec::new();
    for _ in 0..connections {
        let client = EchoClient::new(Channel::new(addr.to_string()).unwrap());
        for _ in 0..streams {
            open.push(client.bidi().await.unwrap());
        }
    }
    // Every stream answers while all the others are open, twice.
    for round in 0..2u32 {
        for (number, (requests, _)) in open.iter_mut().enumerate() {
            requests.send(payload(format!("{round}:{number}").into_bytes())).await.unwrap();
        }
        for (number, (_, replies)) in open.iter_mut().enumerate() {
            let reply = replies.next().await.unwrap().unwrap();
            assert_eq!(reply.payload, format!("{round}:{number}").into_bytes());
        }
    }
    let grown = memory_kib("VmRSS").saturating_sub(before);
    let count = open.len() as u64;
    println!("{count} streams open: {grown} KiB, {} bytes each, both ends", grown * 1024 / count);
    for (requests, mut replies) in open {
        requests.finish();
        assert!(replies.next().await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_at_once_are_all_served() {
    let connections = if full() { 1_000 } else { 100 };
    let (addr, _) = start(Server::new());
    let before = memory_kib("VmRSS");
    let mut clients = Vec::new();
    for number in 0..connections {
        let client = EchoClient::new(Channel::new(addr.to_string()).unwrap());
        let sent = format!("connection {number}").into_bytes();
        assert_eq!(client.unary(payload(sent.clone())).await.unwrap().payload, sent);
        clients.push(client);
    }
    let grown = memory_kib("VmRSS").saturating_sub(before);
    let each = grown * 1024 / connections;
    println!("{connections} connections idle: {grown} KiB, {each} bytes each, both ends");
    for client in &clients {
        assert_eq!(client.unary(payload(b"still".to_vec())).await.unwrap().payload, "still");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_begin_and_end_while_others_pour() {
    let (addr, _) = start(Server::new());
    let client = EchoClient::new(Channel::new(addr.to_string()).unwrap());
    let mut pourers = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let request = EchoRequest { replies: u32::MAX, ..payload(vec![7; 1000]) };
        let mut replies = client.server_stream(request).await.unwrap();
        pourers.spawn(async move { while replies.next().await.unwrap().is_some() {} });
    }
    // On the same connection; each must end, although the queue of the others is never empty.
    for _ in 0..50 {
        let (mut requests, mut replies) = client.bidi().timeout(PATIENCE).await.unwrap();
        requests.send(payload(b"ping".to_vec())).await.unwrap();
        assert_eq!(replies.next().await.unwrap().unwrap().payload, "ping");
        requests.finish();
        assert!(replies.next().await.unwrap().is_none());
        let reply = client.unary(payload(b"one".to_vec())).timeout(PATIENCE).await.unwrap();
        assert_eq!(reply.payload, "one");
    }
}

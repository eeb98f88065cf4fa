//! Messages of 1 MiB and 100 MiB.

use gannet::{Channel, Code, Server};
use gannet_interop::pattern;
use gannet_interop::proto::gannet::interop::v1::EchoClient;

use crate::service::{payload, start};
use crate::{full, memory_kib};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_one_and_of_a_hundred_mib_come_back_whole() {
    let large = if full() { 100 * MIB } else { 20 * MIB };
    let (addr, _) = start(Server::new().max_receive_bytes(large + 100));
    let channel = Channel::builder(addr.to_string()).max_receive_bytes(large + 100);
    let client = EchoClient::new(channel.build().unwrap());
    for bytes in [MIB, large] {
        let sent = pattern(bytes, 7);
        let before = memory_kib("VmRSS");
        let reply = client.unary(payload(sent.clone())).await.unwrap();
        assert!(reply.payload == sent, "{bytes} bytes differ");
        drop((reply, sent));
        println!(
            "{} MiB echoed: resident {before} KiB before, {} KiB after, {} KiB at most",
            bytes / MIB,
            memory_kib("VmRSS"),
            memory_kib("VmHWM"),
        );
    }
}

#[tokio::test]
async fn one_byte_over_the_limit_is_refused_and_the_connection_lives() {
    let (addr, _) = start(Server::new());
    let client = EchoClient::new(Channel::new(addr.to_string()).unwrap());
    let status = client.unary(payload(vec![0; 4 * MIB])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let fits = vec![1; 4 * MIB - 5];
    assert_eq!(client.unary(payload(fits.clone())).await.unwrap().payload.len(), fits.len());
}

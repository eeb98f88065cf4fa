//! Several servers in process behind one channel, each on a wire of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use gannet_client::name::AddressList;
use gannet_client::policy::RoundRobin;
use gannet_client::{Channel, Inbound, Outbound};
use gannet_core::codec::Raw;
use gannet_core::{Code, Metadata};
use gannet_server::{Incoming, Next, Server};
use gannet_testing::example::{ECHO, Echo};
use gannet_testing::{InProcess, Wire, virtual_time};

type Bytes = Vec<u8>;
/// The server's name, and both ends.
type Chat = (String, Outbound<Bytes>, Inbound<Bytes>);

const NAMES: [&str; 3] = ["one", "two", "three"];

/// Three servers that say by a trailer, and with the first message, who they are.
fn three() -> (Channel, Vec<Wire>) {
    let (addresses, wires): (Vec<_>, Vec<_>) = NAMES
        .map(|name| {
            let told = move |mut call: Incoming, next: Next| async move {
                call.headers_mut().insert("x-name", name)?;
                next.run(call).await
            };
            InProcess::serve(Server::new().add(Echo).intercept(told)).wired_address(name)
        })
        .into_iter()
        .unzip();
    let builder = Channel::builder("three").resolver(AddressList::new(addresses));
    (builder.balance(RoundRobin::new).build().unwrap(), wires)
}

fn name_of(headers: &Metadata) -> String {
    headers.get("x-name").unwrap().to_owned()
}

/// Calls so often, one after the other: how often each server was it.
async fn say(channel: &Channel, calls: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..calls {
        let call = channel.unary::<Raw, Bytes, Bytes>(&ECHO.methods[0], b"hi".to_vec());
        let (_, metadata) = call.with_metadata().await.unwrap();
        *counts.entry(name_of(&metadata.headers)).or_default() += 1;
    }
    counts
}

/// A call that stays open.
async fn chat(channel: &Channel) -> Chat {
    let (mut to, mut from) =
        channel.bidi_streaming::<Raw, Bytes, Bytes>(&ECHO.methods[1]).await.unwrap();
    to.send(b"hello".to_vec()).await.unwrap();
    let name = name_of(from.headers().await.unwrap());
    from.next().await.unwrap().unwrap();
    (name, to, from)
}

fn counts(each: &[(&str, usize)]) -> BTreeMap<String, usize> {
    each.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn only_calls_in_flight_on_the_one_that_is_cut_fail_and_the_others_take_over() {
    virtual_time(async {
        let (channel, wires) = three();
        // Time for all to be connected to.
        channel.connect().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut chats = Vec::new();
        for _ in 0..6 {
            chats.push(chat(&channel).await);
        }

        wires[1].set_refusing(true);
        wires[1].cut();
        let mut failed = 0;
        for (name, to, from) in &mut chats {
            let said = to.send(b"still there?".to_vec()).await;
            match from.next().await {
                Ok(heard) => assert_eq!((&**name != "two", heard.is_some()), (true, true)),
                Err(status) => {
                    assert_eq!((&**name, status.code()), ("two", Code::Unavailable), "{said:?}");
                    assert!(status.message().contains("two"), "{status}");
                    failed += 1;
                }
            }
        }
        assert_eq!(failed, 2);
        assert_eq!(say(&channel, 10).await, counts(&[("one", 5), ("three", 5)]));

        // And when it is back, it has its turn again.
        wires[1].set_refusing(false);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(say(&channel, 12).await, counts(&[("one", 4), ("three", 4), ("two", 4)]));
        assert_eq!([0, 1, 2].map(|nth: usize| wires[nth].connections()), [1, 2, 1]);
    });
}

#[test]
fn wires_to_one_server_are_two() {
    virtual_time(async {
        let server = InProcess::serve(Server::new().add(Echo));
        let (one, cut) = server.wired_address("one");
        let (other, whole) = server.wired_address("other");
        let list = AddressList::new([one, other]);
        let channel = Channel::builder("both").resolver(list).build().unwrap();
        cut.set_refusing(true);
        let call = channel.unary::<Raw, Bytes, Bytes>(&ECHO.methods[0], b"hi".to_vec());
        assert_eq!(call.await.unwrap(), b"hi");
        assert_eq!((cut.connections(), whole.connections()), (0, 1));
    });
}

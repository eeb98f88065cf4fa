//! A load balancing policy of one's own, over servers that come and go.
//!
//! Three desks are open, two of them in the caller's zone, and a list tells the channel of them.
//! The policy ([`Nearby`]) has calls go to the least busy desk of the zone; when both are closed,
//! to the third.
//!
//! `balancer` serves on free ports of this host, calls, and exits; an outcome that is not as it
//! should be is an error.

#![allow(clippy::print_stdout, reason = "a program that talks to its user")]

mod nearby;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use gannet::client::name::{Address, AddressList, Endpoint};
use gannet::{Call, Channel, Listener, Result, Server};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use nearby::{Nearby, Zone};
use proto::desk::{Customer, Desk, DeskClient, DeskServer, Served};

/// Generated from `proto/desk.proto` by `build.rs`.
mod proto {
    include!(concat!(env!("OUT_DIR"), "/gannet.rs"));
}

const HOME: Zone = Zone("home");
const AWAY: Zone = Zone("away");

/// Serves whoever comes.
struct Clerk(&'static str);

impl Desk for Clerk {
    async fn serve(&self, _: &mut Call, customer: Customer) -> Result<Served> {
        tokio::time::sleep(Duration::from_millis(customer.milliseconds.into())).await;
        Ok(Served { desk: self.0.to_owned(), ..Default::default() })
    }
}

/// A server; it ends after the calls on it when the sender is dropped.
struct Open {
    address: Address,
    close: oneshot::Sender<()>,
}

fn on_a_port(name: &'static str) -> std::result::Result<Open, Box<dyn std::error::Error>> {
    let listener = Listener::tcp("127.0.0.1:0")?;
    let address = listener.local_addr().ok_or("a TCP listener has an address")?;
    Ok(open(name, Address::tcp(address), listener))
}

fn open(name: &'static str, address: Address, listener: Listener) -> Open {
    let (close, closed) = oneshot::channel::<()>();
    let server = Server::new().add(DeskServer::new(Clerk(name))).serve(listener);
    tokio::spawn(async move {
        let closed = async { drop(closed.await) };
        if let Err(error) = server.shutdown_on(closed, Duration::from_secs(5)).await {
            eprintln!("balancer: {name}: {error}");
        }
    });
    Open { address, close }
}

/// Serves so many customers at the same time; how many at which desk.
async fn customers(channel: &Channel, count: usize) -> Result<BTreeMap<String, usize>> {
    let mut served = JoinSet::new();
    for _ in 0..count {
        let client = DeskClient::new(channel.clone());
        let customer = Customer { milliseconds: 100, ..Default::default() };
        served.spawn(async move { client.serve(customer).wait_for_ready(true).await });
    }
    let mut counts = BTreeMap::new();
    for outcome in served.join_all().await {
        *counts.entry(outcome?.desk).or_default() += 1;
    }
    Ok(counts)
}

/// Calls until both desks of the zone are connected to.
async fn until_home_is_open(channel: &Channel) -> Result<()> {
    let wait = async {
        while customers(channel, 2).await?.keys().ne(["first", "second"]) {}
        Ok(())
    };
    let late = |_| gannet::Status::deadline_exceeded("the desks do not open");
    tokio::time::timeout(Duration::from_secs(30), wait).await.map_err(late)?
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("balancer: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> std::result::Result<(), Box<dyn std::error::Error>> {
    day(on_a_port("first")?, on_a_port("second")?, on_a_port("third")?).await
}

/// All three are open at first.
async fn day(
    first: Open,
    second: Open,
    third: Open,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let near = |desk: &Open| Endpoint::from(desk.address.clone()).attribute(HOME);
    let away = Endpoint::from(third.address.clone()).attribute(AWAY);
    let list = AddressList::new([near(&first), near(&second), away.clone()]);
    let channel =
        Channel::builder("desks").resolver(list.clone()).balance(|| Nearby::new(HOME)).build()?;

    until_home_is_open(&channel).await?;
    let both = customers(&channel, 10).await?;
    println!("ten at once, two desks nearby: {both:?}");
    check(both == counted(&[("first", 5), ("second", 5)]))?;

    drop(first.close);
    list.set([near(&second), away.clone()]);
    // The list is told in a moment.
    while customers(&channel, 2).await?.len() > 1 {}
    let one = customers(&channel, 10).await?;
    println!("one of them is closed: {one:?}");
    check(one == counted(&[("second", 10)]))?;

    list.set([away]);
    while customers(&channel, 1).await?.contains_key("second") {}
    drop(second.close);
    let elsewhere = customers(&channel, 10).await?;
    println!("both are: {elsewhere:?}");
    check(elsewhere == counted(&[("third", 10)]))?;
    drop(third.close);
    Ok(())
}

fn counted(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|(desk, count)| ((*desk).to_owned(), *count)).collect()
}

fn check(is_right: bool) -> std::result::Result<(), &'static str> {
    if is_right { Ok(()) } else { Err("that is not as it should be") }
}

#[cfg(test)]
mod tests {
    use gannet_testing::{InProcess, virtual_time};

    use super::*;

    fn serve(name: &'static str) -> InProcess {
        InProcess::serve(Server::new().add(DeskServer::new(Clerk(name))))
    }

    /// Without a socket, and in no time.
    #[test]
    fn calls_go_where_the_desks_are_open() {
        fn within(name: &'static str) -> Open {
            let server = serve(name);
            let address = server.address(name);
            let (close, closed) = oneshot::channel::<()>();
            tokio::spawn(async move {
                drop(closed.await);
                server.stop(Duration::from_secs(5)).await
            });
            Open { address, close }
        }
        virtual_time(async { day(within("first"), within("second"), within("third")).await })
            .unwrap();
    }

    /// A desk that cannot be reached loses the calls on it; the policy has the others go on, and
    /// comes back by itself.
    #[test]
    fn a_desk_is_cut_off_and_comes_back() {
        virtual_time(async {
            let (near, wire) = serve("first").wired_address("first");
            let far = serve("third").address("third");
            let list = [Endpoint::from(near).attribute(HOME), Endpoint::from(far).attribute(AWAY)];
            let channel = Channel::builder("desks").resolver(AddressList::new(list));
            let channel = channel.balance(|| Nearby::new(HOME)).build().unwrap();
            // Time for both to be connected to.
            channel.connect().unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(customers(&channel, 2).await.unwrap(), counted(&[("first", 2)]));

            let served = tokio::spawn({
                let channel = channel.clone();
                async move { customers(&channel, 2).await }
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
            wire.set_refusing(true);
            wire.cut();
            let lost = served.await.unwrap().unwrap_err();
            assert_eq!(lost.code(), gannet::Code::Unavailable);
            assert!(lost.message().contains("first"), "{lost}");
            assert_eq!(customers(&channel, 2).await.unwrap(), counted(&[("third", 2)]));

            wire.set_refusing(false);
            tokio::time::sleep(Duration::from_secs(10)).await;
            assert_eq!(customers(&channel, 2).await.unwrap(), counted(&[("first", 2)]));
            assert_eq!(wire.connections(), 2);
        });
    }
}

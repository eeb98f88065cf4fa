//! What calls end with that are failed by policies and name resolvers: gRFC A54.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet_client::ChannelState;
use gannet_client::name::AddressList;
use gannet_client::policy::{
    Actions, Event, Failing, Pick, PickArgs, Picker, Policy, Queueing, RoundRobin,
};
use gannet_core::{Code, Status};

use crate::backends::{backend, builder, dead, who};
use crate::peer::unary;

/// Those that say something of what a call asks for.
const FOR_SERVERS: [Code; 7] = [
    Code::InvalidArgument,
    Code::NotFound,
    Code::AlreadyExists,
    Code::FailedPrecondition,
    Code::Aborted,
    Code::OutOfRange,
    Code::DataLoss,
];

#[tokio::test(start_paused = true)]
async fn a_resolver_that_fails_is_unavailable_whatever_it_says() {
    for policy in [true, false] {
        for code in FOR_SERVERS.into_iter().chain([Code::Unauthenticated, Code::Unknown]) {
            let list = AddressList::new([dead("dead")]);
            list.fail(Status::new(code, "no such service"));
            let builder = builder().resolver(list);
            let builder = if policy { builder.balance(RoundRobin::new) } else { builder };
            let status = who(&builder.build().unwrap()).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            let told = format!("cannot connect to test:///backends: {code}: no such service");
            assert_eq!(status.message(), told);
            let source = status.source().expect("the resolver's").downcast_ref::<Status>();
            assert_eq!(source.unwrap().code(), code);
        }
    }
}

/// Fails calls, or drops them.
struct Refuses(Status, bool);

impl Picker for Refuses {
    fn pick(&self, _: &PickArgs<'_>) -> Pick {
        match self.1 {
            true => Pick::Drop(self.0.clone()),
            false => Pick::Fail(self.0.clone()),
        }
    }
}

impl Policy for Refuses {
    fn handle(&mut self, _: Event, _: Instant, actions: &mut Actions) {
        let picker = Refuses(self.0.clone(), self.1);
        actions.update(ChannelState::TransientFailure, Arc::new(picker));
    }
}

#[tokio::test(start_paused = true)]
async fn a_picker_does_not_speak_for_servers_and_names_the_target() {
    for drops in [true, false] {
        let status = async |said: Status| {
            let builder = builder().resolver(AddressList::new([dead("dead")]));
            let channel = builder.balance(move || Refuses(said.clone(), drops)).build().unwrap();
            let patient = unary(&channel, b"").wait_for_ready(true).timeout(Duration::from_secs(1));
            let late = patient.await.unwrap_err();
            let status = who(&channel).await.unwrap_err();
            if drops {
                assert_eq!(late.message(), status.message(), "whatever it waits for");
            } else {
                assert_eq!(late.code(), Code::DeadlineExceeded);
                assert!(late.message().ends_with(status.message()), "{late}");
            }
            status
        };
        for code in FOR_SERVERS {
            let status = status(Status::new(code, "no shard")).await;
            assert_eq!(status.code(), Code::Internal, "{status}");
            let told = format!(
                "test:///backends: the call's pick failed with {code}, which only a server may \
                 end a call with; this is a mistake in the load balancing policy: no shard"
            );
            assert_eq!(status.message(), told);
            assert!(status.source().is_some());
        }
        for code in [Code::Unavailable, Code::PermissionDenied, Code::ResourceExhausted] {
            let status = status(Status::new(code, "no shard")).await;
            assert_eq!(status.code(), code);
            assert_eq!(status.message(), "test:///backends [TRANSIENT_FAILURE]: no shard");
        }
    }
}

/// Publishes SHUTDOWN, which is the channel's to say.
struct Ends(Option<ChannelState>);

impl Policy for Ends {
    fn handle(&mut self, event: Event, _: Instant, actions: &mut Actions) {
        if let Event::Resolved(_) = event {
            match self.0.take() {
                Some(state) => {
                    let failing = Failing(Status::unavailable("it is over"));
                    actions.update(state, Arc::new(failing));
                }
                None => actions.update(ChannelState::Connecting, Arc::new(Queueing)),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_cannot_shut_its_channel_down() {
    let list = AddressList::new([backend("one").address]);
    let ends = || Ends(Some(ChannelState::Shutdown));
    let channel = builder().resolver(list.clone()).balance(ends).build().unwrap();
    let status = who(&channel).await.unwrap_err();
    assert_eq!(status.message(), "test:///backends [TRANSIENT_FAILURE]: it is over");
    assert_eq!(channel.state(), ChannelState::TransientFailure);
    list.set([backend("two").address]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(channel.state(), ChannelState::Connecting, "it goes on");
}

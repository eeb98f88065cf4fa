//! Credentials of calls and of channels, with an interceptor that asks for them to be looked at.

use crate::check::{Outcome, check, expect_status};
use crate::proto::gannet::interop::v1 as pb;
use crate::{GUARD, TOKEN};
use gannet::client::{BearerToken, ChannelBuilder, Next, Outgoing};
use gannet::{Channel, Code};

use super::{Bidi, Client, TIMEOUT, payload};

fn client(channel: Channel) -> Client {
    Client { echo: pb::EchoClient::new(channel.clone()), missing: pb::MissingClient::new(channel) }
}

pub(crate) async fn bearer(builder: ChannelBuilder) -> Outcome {
    let guarded = builder
        .allow_credentials_without_tls(true)
        .intercept(|mut call: Outgoing, next: Next| async move {
            call.metadata_mut().insert(GUARD, "1")?;
            next.run(call).await
        })
        .build()?;
    let (right, wrong) = (BearerToken::new(TOKEN)?, BearerToken::new("open-barley")?);
    let stranger = client(guarded.clone());
    let no_entry = Some("no entry");
    let call = stranger.unary(payload(b"x".to_vec())).await;
    expect_status(call, Code::Unauthenticated, no_entry)?;
    let call = stranger.echo.unary(payload(b"x".to_vec())).timeout(TIMEOUT).credentials(wrong);
    expect_status(call.await, Code::Unauthenticated, no_entry)?;
    let call = stranger.echo.unary(payload(b"x".to_vec())).timeout(TIMEOUT);
    let reply = call.credentials(right.clone()).await?;
    check("payload", reply.payload, b"x".to_vec())?;
    let mut stream = Bidi::start(&stranger, gannet::Metadata::new()).await?;
    expect_status(stream.replies.next().await, Code::Unauthenticated, no_entry)?;

    let friend = client(guarded.with_credentials(right));
    friend.still_works().await?;
    let mut stream = Bidi::start(&friend, gannet::Metadata::new()).await?;
    stream.ping_pong(3, 0).await?;
    stream.finish().await?;
    friend.still_works().await
}

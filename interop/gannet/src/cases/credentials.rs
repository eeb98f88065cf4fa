//! Credentials of calls and of channels, with an interceptor that asks for them to be looked at.

use crate::check::{Outcome, check, expect_status};
use crate::proto::gannet::interop::v1 as pb;
use crate::{GUARD, SUBJECT, TOKEN, tokens};
use gannet::auth::JwtCredentials;
use gannet::client::{BearerToken, ChannelBuilder, Next, Outgoing};
use gannet::{Channel, Code};
use std::time::{Duration, SystemTime};

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

/// Tokens that this client signs.
pub(crate) async fn jwt(builder: ChannelBuilder) -> Outcome {
    let channel = builder.allow_credentials_without_tls(true).build()?;
    let channel = channel.intercepted(|mut call: Outgoing, next: Next| async move {
        call.metadata_mut().insert(GUARD, "jwt")?;
        next.run(call).await
    });
    let client = client(channel);
    let call = || client.echo.unary(payload(b"x".to_vec())).timeout(TIMEOUT);
    for name in tokens::NAMES {
        let credentials = tokens::credentials(name)?;
        for _ in 0..3 {
            let with = call().credentials(credentials.clone()).with_metadata();
            let (reply, metadata) = with.await?;
            check("payload", reply.payload, b"x".to_vec())?;
            check("subject", metadata.trailers.get(SUBJECT), Some(tokens::WHO))?;
        }
    }
    let [rsa, p256, ed25519] = tokens::NAMES;
    let long_ago = SystemTime::now() - Duration::from_secs(7_200);
    let expired = tokens::credentials(rsa)?.clock(move || long_ago);
    let for_others = tokens::credentials(p256)?.audience("https://other.interop");
    let stranger = JwtCredentials::new("https://other.interop", tokens::key(ed25519)?);
    let other_key = tokens::key(p256)?.with_key_id(rsa);
    let other_name = JwtCredentials::new(tokens::ISSUER, other_key).audience(tokens::AUDIENCE);
    for bad in [expired, for_others, stranger.audience(tokens::AUDIENCE), other_name] {
        expect_status(call().credentials(bad).await, Code::Unauthenticated, None)?;
    }
    expect_status(call().await, Code::Unauthenticated, None)?;
    Ok(())
}

//! Metadata both ways: text and binary, repeated keys, with good and bad ends.

use crate::{INITIAL, INITIAL_BIN, TRAILING, TRAILING_BIN, copy_values};
use gannet::{Code, Metadata};

use super::{Bidi, Client, TIMEOUT, payload, with_status};
use crate::check::{Outcome, check, expect_status};

fn sent() -> gannet::Result<Metadata> {
    let mut sent = Metadata::new();
    sent.append(INITIAL, "first value")?;
    sent.append(INITIAL, "second: a=b; c, d")?;
    sent.append(INITIAL, "x".repeat(4000))?;
    sent.append_bin(INITIAL_BIN, [0xab, 0xab, 0xab])?;
    sent.append_bin(INITIAL_BIN, (0..=255u8).collect::<Vec<_>>())?;
    sent.append(TRAILING, "trailing value")?;
    sent.append_bin(TRAILING_BIN, [1])?;
    sent.append_bin(TRAILING_BIN, [1, 2])?;
    sent.append_bin(TRAILING_BIN, [0, 255, 0, 255])?;
    Ok(sent)
}

/// `received` must hold the values of `keys` as they were sent, and no other echoed ones.
fn check_values(received: &Metadata, keys: [&str; 2]) -> Outcome {
    let sent = sent()?;
    for key in [INITIAL, INITIAL_BIN, TRAILING, TRAILING_BIN] {
        let (mut actual, mut expected) = (Metadata::new(), Metadata::new());
        copy_values(received, key, &mut actual)?;
        if keys.contains(&key) {
            copy_values(&sent, key, &mut expected)?;
        }
        check(key, actual, expected)?;
    }
    Ok(())
}

pub(crate) async fn metadata(client: &Client) -> Outcome {
    let call = client.echo.unary(payload(b"x".to_vec())).timeout(TIMEOUT).metadata(sent()?);
    let (_, received) = call.with_metadata().await?;
    check_values(&received.headers, [INITIAL, INITIAL_BIN])?;
    check_values(&received.trailers, [TRAILING, TRAILING_BIN])?;

    let mut stream = Bidi::start(client, sent()?).await?;
    stream.ping_pong(3, 0).await?;
    let mut replies = stream.finish().await?;
    check_values(replies.headers().await?, [INITIAL, INITIAL_BIN])?;
    check_values(replies.trailers().ok_or("no trailers")?, [TRAILING, TRAILING_BIN])
}

pub(crate) async fn metadata_on_error(client: &Client) -> Outcome {
    let call = client.echo.unary(with_status(9, "no")).timeout(TIMEOUT).metadata(sent()?);
    let status = expect_status(call.await, Code::FailedPrecondition, Some("no"))?;
    check_values(status.metadata(), [TRAILING, TRAILING_BIN])
}

pub(crate) async fn early_headers(client: &Client) -> Outcome {
    let mut stream = Bidi::start(client, sent()?).await?;
    let headers = stream.replies.headers().await?.clone();
    check_values(&headers, [INITIAL, INITIAL_BIN])?;
    let replies = stream.finish().await?;
    check_values(replies.trailers().ok_or("no trailers")?, [TRAILING, TRAILING_BIN])
}

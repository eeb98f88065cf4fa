//! The cases, as gRPC's interop-test-descriptions has them.

use std::time::Duration;

use gannet::{Code, Metadata, Outbound};
use gannet_interop::check::{Outcome, check, expect_status};
use gannet_interop::official::{ECHO_INITIAL, ECHO_TRAILING, zeros};
use gannet_interop::proto::grpc::testing::{
    EchoStatus, Empty, ResponseParameters, SimpleRequest, StreamingInputCallRequest,
    StreamingOutputCallRequest, StreamingOutputCallResponse,
};

use crate::Client;

pub(crate) const LARGE_REQUEST_BYTES: usize = 271_828;
pub(crate) const LARGE_RESPONSE_BYTES: i32 = 314_159;
/// grpc-java's own case.
const VERY_LARGE_REQUEST_BYTES: usize = 10 * 1024 * 1024;
const VERY_LARGE_RESPONSE_BYTES: i32 = 10;
const REQUEST_BYTES: [usize; 4] = [27_182, 8, 1_828, 45_904];
const RESPONSE_BYTES: [i32; 4] = [31_415, 9, 2_653, 58_979];
/// Milliseconds of the case that lets its deadline pass.
const SLEEPING_SERVER_MS: u64 = 1;
/// Two megabytes in all, more than waits anywhere.
const SLOWLY_READ: usize = 2_000;
const SLOWLY_READ_BYTES: i32 = 1_030;
const SLOWLY_READ_PAUSE: Duration = Duration::from_millis(2);
const SPECIAL: &str =
    "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n";

pub(crate) async fn empty_unary(client: &Client) -> Outcome {
    let reply = client.test.empty_call(Empty::default()).metadata(client.metadata()).await?;
    check("reply", reply, Empty::default())
}

pub(crate) fn large_request() -> SimpleRequest {
    SimpleRequest {
        response_size: LARGE_RESPONSE_BYTES,
        payload: Some(zeros(LARGE_REQUEST_BYTES)).into(),
        ..Default::default()
    }
}

pub(crate) async fn large_unary(client: &Client) -> Outcome {
    let reply = client.test.unary_call(large_request()).metadata(client.metadata()).await?;
    check(
        "payload",
        reply.payload.as_option(),
        Some(&zeros(usize::try_from(LARGE_RESPONSE_BYTES)?)),
    )
}

pub(crate) async fn very_large_request(client: &Client) -> Outcome {
    let request = SimpleRequest {
        response_size: VERY_LARGE_RESPONSE_BYTES,
        payload: Some(zeros(VERY_LARGE_REQUEST_BYTES)).into(),
        ..Default::default()
    };
    let reply = client.test.unary_call(request).metadata(client.metadata()).await?;
    let payload = zeros(usize::try_from(VERY_LARGE_RESPONSE_BYTES)?);
    check("payload", reply.payload.as_option(), Some(&payload))
}

pub(crate) async fn client_streaming(client: &Client) -> Outcome {
    let call = client.test.streaming_input_call().metadata(client.metadata());
    let (mut requests, reply) = call.await?;
    for bytes in REQUEST_BYTES {
        let payload = Some(zeros(bytes)).into();
        requests.send(StreamingInputCallRequest { payload, ..Default::default() }).await?;
    }
    requests.finish();
    check("aggregated_payload_size", reply.await?.aggregated_payload_size, 74_922)
}

pub(crate) async fn server_streaming(client: &Client) -> Outcome {
    let request = StreamingOutputCallRequest {
        response_parameters: RESPONSE_BYTES.map(parameters).into(),
        ..Default::default()
    };
    let call = client.test.streaming_output_call(request).metadata(client.metadata());
    let mut replies = call.await?;
    for bytes in RESPONSE_BYTES {
        check_reply(replies.next().await?, bytes)?;
    }
    check("after the last reply", replies.next().await?, None)
}

/// As many messages as the C++ client's case of this name asks for, and as long; it waits ten
/// times as long for each.
pub(crate) async fn slow_consumer(client: &Client) -> Outcome {
    let request = StreamingOutputCallRequest {
        response_parameters: vec![parameters(SLOWLY_READ_BYTES); SLOWLY_READ],
        ..Default::default()
    };
    let call = client.test.streaming_output_call(request).metadata(client.metadata());
    let mut replies = call.await?;
    for _ in 0..SLOWLY_READ {
        check_reply(replies.next().await?, SLOWLY_READ_BYTES)?;
        tokio::time::sleep(SLOWLY_READ_PAUSE).await;
    }
    check("after the last reply", replies.next().await?, None)
}

pub(crate) async fn ping_pong(client: &Client) -> Outcome {
    let call = client.test.full_duplex_call().metadata(client.metadata());
    let (mut requests, mut replies) = call.await?;
    for (request_bytes, reply_bytes) in REQUEST_BYTES.into_iter().zip(RESPONSE_BYTES) {
        requests.send(ping(request_bytes, reply_bytes)).await?;
        check_reply(replies.next().await?, reply_bytes)?;
    }
    requests.finish();
    check("after the last reply", replies.next().await?, None)
}

pub(crate) async fn half_duplex(client: &Client) -> Outcome {
    let call = client.test.half_duplex_call().metadata(client.metadata());
    let (mut requests, mut replies) = call.await?;
    for bytes in RESPONSE_BYTES {
        requests.send(ping(0, bytes)).await?;
    }
    requests.finish();
    for bytes in RESPONSE_BYTES {
        check_reply(replies.next().await?, bytes)?;
    }
    check("after the last reply", replies.next().await?, None)
}

pub(crate) async fn empty_stream(client: &Client) -> Outcome {
    let call = client.test.full_duplex_call().metadata(client.metadata());
    let (requests, mut replies) = call.await?;
    requests.finish();
    check("replies", replies.next().await?, None)
}

pub(crate) async fn custom_metadata(client: &Client) -> Outcome {
    const INITIAL: &str = "test_initial_metadata_value";
    let mut sent = client.metadata();
    sent.append(ECHO_INITIAL, INITIAL)?;
    sent.append_bin(ECHO_TRAILING, [0xab, 0xab, 0xab])?;

    let call = client.test.unary_call(large_request()).metadata(sent.clone());
    let (_, received) = call.with_metadata().await?;
    check_echoed(&received.headers, &received.trailers)?;

    let call = client.test.full_duplex_call().metadata(sent);
    let (mut requests, mut replies) = call.await?;
    requests.send(ping(LARGE_REQUEST_BYTES, LARGE_RESPONSE_BYTES)).await?;
    requests.finish();
    let headers = replies.headers().await?.clone();
    check_reply(replies.next().await?, LARGE_RESPONSE_BYTES)?;
    check("after the last reply", replies.next().await?, None)?;
    return check_echoed(&headers, replies.trailers().ok_or("no trailers")?);

    fn check_echoed(headers: &Metadata, trailers: &Metadata) -> Outcome {
        check(ECHO_INITIAL, headers.get(ECHO_INITIAL), Some(INITIAL))?;
        let binary = trailers.get_all_bin(ECHO_TRAILING).next().ok_or("no binary trailer")??;
        check(ECHO_TRAILING, &*binary, [0xab, 0xab, 0xab])
    }
}

pub(crate) async fn status_code_and_message(client: &Client) -> Outcome {
    const MESSAGE: &str = "test status message";
    let request = SimpleRequest { response_status: status(MESSAGE).into(), ..Default::default() };
    let outcome = client.test.unary_call(request).metadata(client.metadata()).await;
    expect_status(outcome, Code::Unknown, Some(MESSAGE))?;

    let call = client.test.full_duplex_call().metadata(client.metadata());
    let (mut requests, mut replies) = call.await?;
    let response_status = status(MESSAGE).into();
    requests.send(StreamingOutputCallRequest { response_status, ..Default::default() }).await?;
    requests.finish();
    expect_status(replies.next().await, Code::Unknown, Some(MESSAGE)).map(drop)
}

pub(crate) async fn special_status_message(client: &Client) -> Outcome {
    let request = SimpleRequest { response_status: status(SPECIAL).into(), ..Default::default() };
    let outcome = client.test.unary_call(request).metadata(client.metadata()).await;
    expect_status(outcome, Code::Unknown, Some(SPECIAL)).map(drop)
}

pub(crate) async fn unimplemented_method(client: &Client) -> Outcome {
    let call = client.test.unimplemented_call(Empty::default()).metadata(client.metadata());
    expect_status(call.await, Code::Unimplemented, None).map(drop)
}

pub(crate) async fn unimplemented_service(client: &Client) -> Outcome {
    let call = client.missing.unimplemented_call(Empty::default()).metadata(client.metadata());
    expect_status(call.await, Code::Unimplemented, None).map(drop)
}

pub(crate) async fn cancel_after_begin(client: &Client) -> Outcome {
    let call = client.test.streaming_input_call().metadata(client.metadata());
    let (requests, reply) = call.await?;
    drop(requests);
    expect_status(reply.await, Code::Cancelled, None).map(drop)
}

pub(crate) async fn cancel_after_first_response(client: &Client) -> Outcome {
    let call = client.test.full_duplex_call().metadata(client.metadata());
    let (mut requests, mut replies) = call.await?;
    requests.send(ping(REQUEST_BYTES[0], RESPONSE_BYTES[0])).await?;
    check_reply(replies.next().await?, RESPONSE_BYTES[0])?;
    drop(requests);
    expect_status(replies.next().await, Code::Cancelled, None).map(drop)
}

pub(crate) async fn timeout_on_sleeping_server(client: &Client) -> Outcome {
    let call = client.test.full_duplex_call().metadata(client.metadata());
    let opened = call.timeout(Duration::from_millis(SLEEPING_SERVER_MS)).await;
    let (mut requests, mut replies) = match opened {
        Ok(streams) => streams,
        Err(late) => {
            return expect_status(Err::<(), _>(late), Code::DeadlineExceeded, None).map(drop);
        }
    };
    // The deadline may have passed already: the replies tell.
    let _: Result<(), _> = requests.send(ping(REQUEST_BYTES[0], RESPONSE_BYTES[0])).await;
    let ended = wait_for_the_end(&requests, &mut replies).await;
    expect_status(ended, Code::DeadlineExceeded, None).map(drop)
}

/// Reads replies until the call ends; the requests stay open meanwhile.
async fn wait_for_the_end(
    _open: &Outbound<StreamingOutputCallRequest>,
    replies: &mut gannet::Inbound<StreamingOutputCallResponse>,
) -> gannet::Result<()> {
    while replies.next().await?.is_some() {}
    Ok(())
}

pub(crate) fn ping(request_bytes: usize, reply_bytes: i32) -> StreamingOutputCallRequest {
    StreamingOutputCallRequest {
        response_parameters: vec![parameters(reply_bytes)],
        payload: Some(zeros(request_bytes)).into(),
        ..Default::default()
    }
}

fn parameters(size: i32) -> ResponseParameters {
    ResponseParameters { size, ..Default::default() }
}

fn status(message: &str) -> Option<EchoStatus> {
    Some(EchoStatus { code: 2, message: message.to_owned(), ..Default::default() })
}

pub(crate) fn check_reply(reply: Option<StreamingOutputCallResponse>, bytes: i32) -> Outcome {
    let reply = reply.ok_or("the stream ended early")?;
    let payload = zeros(usize::try_from(bytes)?);
    check("payload", reply.payload.as_option(), Some(&payload))
}

//! The cases with compressed messages.

use gannet::Code;
use gannet::compression::Encoding;
use gannet_interop::check::{Outcome, check, expect_status};
use gannet_interop::official::zeros;
use gannet_interop::proto::grpc::testing::{
    BoolValue, ResponseParameters, SimpleRequest, SimpleResponse, StreamingInputCallRequest,
    StreamingOutputCallRequest,
};

use crate::Client;
use crate::cases::{LARGE_RESPONSE_BYTES, check_reply, large_request};

const STREAM_BYTES: [usize; 2] = [27_182, 45_904];
const REPLY_BYTES: [i32; 2] = [31_415, 92_653];

/// First a probe whether the server looks at all: it says that it is compressed, and is not.
pub(crate) async fn client_unary(client: &Client) -> Outcome {
    let request = |compressed| SimpleRequest {
        expect_compressed: Some(bool_value(compressed)).into(),
        ..large_request()
    };
    let probe = client.test.unary_call(request(true)).metadata(client.metadata());
    expect_status(probe.await, Code::InvalidArgument, None)?;
    for (compressed, encoding) in [(true, Encoding::GZIP), (false, Encoding::IDENTITY)] {
        let call = client.test.unary_call(request(compressed)).compress(encoding);
        check_payload(&call.metadata(client.metadata()).await?)?;
    }
    Ok(())
}

/// With the same probe.
pub(crate) async fn client_streaming(client: &Client) -> Outcome {
    let request = |compressed, bytes| StreamingInputCallRequest {
        payload: Some(zeros(bytes)).into(),
        expect_compressed: Some(bool_value(compressed)).into(),
        ..Default::default()
    };
    let call = client.test.streaming_input_call().metadata(client.metadata());
    let (mut requests, reply) = call.await?;
    // The server may have ended the call already: the reply tells.
    let _: Result<(), _> = requests.send(request(true, STREAM_BYTES[0])).await;
    requests.finish();
    expect_status(reply.await, Code::InvalidArgument, None)?;

    let call = client.test.streaming_input_call().metadata(client.metadata());
    let (mut requests, reply) = call.compress(Encoding::GZIP).await?;
    requests.send(request(true, STREAM_BYTES[0])).await?;
    requests.send(request(false, STREAM_BYTES[1])).uncompressed().await?;
    requests.finish();
    check("aggregated_payload_size", reply.await?.aggregated_payload_size, 73_086)
}

pub(crate) async fn server_unary(client: &Client) -> Outcome {
    for compressed in [true, false] {
        let request = SimpleRequest {
            response_compressed: Some(bool_value(compressed)).into(),
            ..large_request()
        };
        let call = client.test.unary_call(request).metadata(client.metadata());
        let (reply, metadata) = call.with_metadata().await?;
        check_payload(&reply)?;
        check("compressed", metadata.compressed.messages, u64::from(compressed))?;
    }
    Ok(())
}

pub(crate) async fn server_streaming(client: &Client) -> Outcome {
    let parameters = |(compressed, size)| ResponseParameters {
        size,
        compressed: Some(bool_value(compressed)).into(),
        ..Default::default()
    };
    let request = StreamingOutputCallRequest {
        response_parameters: [(true, REPLY_BYTES[0]), (false, REPLY_BYTES[1])]
            .map(parameters)
            .into(),
        ..Default::default()
    };
    let call = client.test.streaming_output_call(request).metadata(client.metadata());
    let mut replies = call.await?;
    for bytes in REPLY_BYTES {
        check_reply(replies.next().await?, bytes)?;
        check("compressed replies so far", replies.compressed().messages, 1)?;
    }
    check("after the last reply", replies.next().await?, None)
}

fn check_payload(reply: &SimpleResponse) -> Outcome {
    let wanted = zeros(usize::try_from(LARGE_RESPONSE_BYTES)?);
    check("payload", reply.payload.as_option(), Some(&wanted))
}

fn bool_value(value: bool) -> BoolValue {
    BoolValue { value, ..Default::default() }
}

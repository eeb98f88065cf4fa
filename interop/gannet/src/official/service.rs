//! The service of gRPC's official interop cases.

use std::time::Duration;

use gannet::compression::Encoding;
use gannet::{Call, Code, Inbound, Outbound, Result, Status};

use super::orca::{self, Load};
use super::{ECHO_INITIAL, ECHO_TRAILING, zeros};
use crate::copy_values;
use crate::proto::grpc::testing::{
    BoolValue, EchoStatus, Empty, Payload, SimpleRequest, SimpleResponse,
    StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse, TestService,
};

/// Enough for `very_large_request`; the default is 4 MiB.
pub const RECEIVE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The service.
#[derive(Debug)]
pub struct Service {
    /// Tells this process from others.
    id: String,
    load: Load,
}

impl Service {
    /// One that tells its load to clients that ask.
    pub fn new(load: Load) -> Service {
        Service { id: format!("gannet {}", std::process::id()), load }
    }
}

impl TestService for Service {
    async fn empty_call(&self, call: &mut Call, _: Empty) -> Result<Empty> {
        echo_metadata(call)?;
        Ok(Empty::default())
    }

    async fn unary_call(&self, call: &mut Call, request: SimpleRequest) -> Result<SimpleResponse> {
        echo_metadata(call)?;
        let came_compressed = call.request_compressed().messages > 0;
        check_compressed(request.expect_compressed.as_option(), came_compressed)?;
        if request.response_compressed.as_option().is_some_and(|wanted| wanted.value) {
            call.compress(Encoding::GZIP);
        }
        obey(request.response_status.as_option())?;
        if let Some(asked) = request.orca_per_query_report.as_option() {
            orca::report(call, asked)?;
        }
        let payload = Some(payload(request.response_size)?).into();
        let server_id = if request.fill_server_id { self.id.clone() } else { String::new() };
        Ok(SimpleResponse { payload, server_id, ..Default::default() })
    }

    async fn cacheable_unary_call(
        &self,
        call: &mut Call,
        request: SimpleRequest,
    ) -> Result<SimpleResponse> {
        self.unary_call(call, request).await
    }

    async fn streaming_output_call(
        &self,
        call: &mut Call,
        request: StreamingOutputCallRequest,
        mut replies: Outbound<StreamingOutputCallResponse>,
    ) -> Result<()> {
        echo_metadata(call)?;
        let mut wanted = request.response_parameters.iter().map(|each| each.compressed.as_option());
        if wanted.any(|wanted| wanted.is_some_and(|wanted| wanted.value)) {
            call.compress(Encoding::GZIP);
        }
        answer(&request, &mut replies).await?;
        obey(request.response_status.as_option())
    }

    async fn streaming_input_call(
        &self,
        call: &mut Call,
        mut requests: Inbound<StreamingInputCallRequest>,
    ) -> Result<StreamingInputCallResponse> {
        echo_metadata(call)?;
        let (mut bytes, mut compressed) = (0, 0);
        while let Some(request) = requests.next().await? {
            let sum = requests.compressed().messages;
            let came_compressed = std::mem::replace(&mut compressed, sum) < sum;
            check_compressed(request.expect_compressed.as_option(), came_compressed)?;
            bytes += request.payload.as_option().map_or(0, |payload| payload.body.len());
        }
        let aggregated_payload_size = i32::try_from(bytes).unwrap_or(i32::MAX);
        Ok(StreamingInputCallResponse { aggregated_payload_size, ..Default::default() })
    }

    async fn full_duplex_call(
        &self,
        call: &mut Call,
        mut requests: Inbound<StreamingOutputCallRequest>,
        mut replies: Outbound<StreamingOutputCallResponse>,
    ) -> Result<()> {
        echo_metadata(call)?;
        let mut load = None;
        while let Some(request) = requests.next().await? {
            if let Some(asked) = request.orca_oob_report.as_option() {
                if load.is_none() {
                    load = Some(self.load.control().await);
                }
                load.iter().for_each(|load| load.set(asked));
            }
            answer(&request, &mut replies).await?;
            obey(request.response_status.as_option())?;
        }
        Ok(())
    }

    async fn half_duplex_call(
        &self,
        call: &mut Call,
        mut requests: Inbound<StreamingOutputCallRequest>,
        mut replies: Outbound<StreamingOutputCallResponse>,
    ) -> Result<()> {
        echo_metadata(call)?;
        let mut all = Vec::new();
        while let Some(request) = requests.next().await? {
            all.push(request);
        }
        for request in all {
            answer(&request, &mut replies).await?;
            obey(request.response_status.as_option())?;
        }
        Ok(())
    }
}

/// Sends back the two keys that the case `custom_metadata` sends.
fn echo_metadata(call: &mut Call) -> Result<()> {
    let sent = call.metadata().clone();
    copy_values(&sent, ECHO_INITIAL, &mut call.headers_mut())?;
    copy_values(&sent, ECHO_TRAILING, call.trailers_mut())
}

async fn answer(
    request: &StreamingOutputCallRequest,
    replies: &mut Outbound<StreamingOutputCallResponse>,
) -> Result<()> {
    for wanted in &request.response_parameters {
        if let Ok(micros @ 1..) = u64::try_from(wanted.interval_us) {
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
        let payload = Some(payload(wanted.size)?).into();
        let reply = StreamingOutputCallResponse { payload, ..Default::default() };
        if wanted.compressed.as_option().is_some_and(|wanted| wanted.value) {
            replies.send(reply).await?;
        } else {
            replies.send(reply).uncompressed().await?;
        }
    }
    Ok(())
}

/// A request that was to be compressed, or was not to be, and is otherwise, is refused.
fn check_compressed(expected: Option<&BoolValue>, came_compressed: bool) -> Result<()> {
    match expected {
        Some(expected) if expected.value != came_compressed => {
            let told = format!("expect_compressed: {}", expected.value);
            Err(Status::invalid_argument(told))
        }
        _ => Ok(()),
    }
}

fn payload(bytes: i32) -> Result<Payload> {
    let bytes = usize::try_from(bytes)
        .map_err(|_| Status::invalid_argument(format!("a payload of {bytes} bytes")))?;
    Ok(zeros(bytes))
}

fn obey(status: Option<&EchoStatus>) -> Result<()> {
    match status {
        Some(asked) if asked.code != 0 => {
            Err(Status::new(Code::from(asked.code), asked.message.clone()))
        }
        _ => Ok(()),
    }
}

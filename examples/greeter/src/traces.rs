//! Traces of calls: each process sends the spans it has recorded to a collector, by OTLP over gRPC,
//! which is one more service that Gannet calls.
//!
//! The SDK gathers spans and hands them over from a thread of its own: every five seconds, by the
//! 512, and at the end. What a collector does not take within some seconds is lost, and told.

mod otlp;

use std::fmt;
use std::time::Duration;

use gannet::Channel;
use gannet::client::TargetError;
use gannet_otel::Tracing;
use gannet_otel::opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};

use crate::Failure;
use crate::proto::opentelemetry::proto::collector::trace::v1::TraceServiceClient;

/// How long a collector may take for some spans, from where it cannot be reached, too.
const EXPORT_TIME_MAX: Duration = Duration::from_secs(4);
/// How long the last spans may take: those on their way, and what has come since.
const FINISH_TIME_MAX: Duration = Duration::from_secs(10);

/// What records spans of this process; without a collector there is none.
pub(crate) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends to the collector at this target, for a process of this name.
    pub(crate) fn to(collector: Option<&str>, instance: &str) -> Result<Traces, TargetError> {
        let Some(collector) = collector else { return Ok(Traces(None)) };
        let client = TraceServiceClient::new(Channel::new(collector)?);
        let resource = Resource::builder()
            .with_service_name("greeter")
            .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()));
        let exporter = Exporter { client, collector: collector.to_owned(), resource: Vec::new() };
        let provider = SdkTracerProvider::builder().with_resource(resource.build());
        Ok(Traces(Some(provider.with_batch_exporter(exporter).build())))
    }

    /// What follows calls, which tells servers of their traces as W3C has it.
    pub(crate) fn tracing(&self) -> Option<Tracing> {
        let provider = self.0.as_ref()?;
        Some(Tracing::new(provider).propagator(TraceContextPropagator::new()))
    }

    /// Sends what is left, once all calls have ended.
    pub(crate) async fn finish(self) -> Result<(), Failure> {
        let Some(provider) = self.0 else { return Ok(()) };
        // It blocks until the SDK's thread is done.
        let finished = move || provider.shutdown_with_timeout(FINISH_TIME_MAX);
        Ok(tokio::task::spawn_blocking(finished).await??)
    }
}

/// Hands spans to the collector.
struct Exporter {
    client: TraceServiceClient,
    collector: String,
    resource: Vec<otlp::Attribute>,
}

impl SpanExporter for Exporter {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let request = otlp::request(self.resource.clone(), spans);
        // The SDK's thread is outside the runtime, and may block: `wait` needs none.
        let call = self.client.export(request).wait_for_ready(true).timeout(EXPORT_TIME_MAX);
        let told = match call.wait() {
            Ok(reply) => match reply.partial_success.as_option() {
                Some(refused) if refused.rejected_spans > 0 => {
                    format!("{} spans refused: {}", refused.rejected_spans, refused.error_message)
                }
                _ => return Ok(()),
            },
            Err(status) => status.to_string(),
        };
        // The SDK keeps errors to itself.
        eprintln!("traces for {}: {told}", self.collector);
        Err(OTelSdkError::InternalFailure(told))
    }

    fn set_resource(&mut self, resource: &Resource) {
        let attributes = resource.iter().map(|(key, value)| otlp::attribute(key.as_str(), value));
        self.resource = attributes.collect();
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("collector", &self.collector).finish_non_exhaustive()
    }
}

//! Observers for the gate to count: what a call costs that somebody follows.

use std::sync::Arc;

use clap::ValueEnum;
use gannet::observe::CallObserver;
use gannet_otel::opentelemetry::Context;
use gannet_otel::prometheus::Prometheus;
use gannet_otel::{Metrics, Tracing};
use gannet_tracing::Spans;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};

/// Who follows calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Observe {
    /// OpenTelemetry's metrics (gRFC A66), with the SDK and Prometheus' reader behind them.
    Metrics,
    /// OpenTelemetry's traces (gRFC A72): every call is recorded, and nothing is exported.
    Traces,
    /// Spans of the crate `tracing`, in a registry that nobody reads.
    Spans,
}

impl Observe {
    /// What follows calls; for a process' whole life.
    ///
    /// # Errors
    /// The SDK's, and where there is a subscriber of spans already.
    pub fn observer(self) -> Result<Arc<dyn CallObserver>, Box<dyn std::error::Error>> {
        Ok(match self {
            Observe::Metrics => {
                // It ends with its last clone, and what it measures with it.
                let prometheus: &'static Prometheus =
                    Box::leak(Box::new(Prometheus::new("count")?));
                Arc::new(Metrics::new(prometheus.provider()))
            }
            Observe::Traces => {
                let provider = SdkTracerProvider::builder().with_span_processor(Discard);
                let tracing = Tracing::new(&provider.build());
                Arc::new(tracing.propagator(TraceContextPropagator::new()))
            }
            Observe::Spans => {
                tracing::subscriber::set_global_default(tracing_subscriber::registry())?;
                Arc::new(Spans::new())
            }
        })
    }
}

/// Drops spans once they have ended.
#[derive(Debug)]
struct Discard;

impl SpanProcessor for Discard {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
        Ok(())
    }
}

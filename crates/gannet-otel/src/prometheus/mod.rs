//! What was counted, in the text that Prometheus reads, and an address to fetch it from.
//!
//! ```no_run
//! use gannet_otel::Metrics;
//! use gannet_otel::prometheus::{Endpoint, Prometheus};
//!
//! # async fn example(server: gannet_server::Server) -> Result<(), Box<dyn std::error::Error>> {
//! let prometheus = Prometheus::new("greeter")?;
//! let server = server.observe(Metrics::new(prometheus.provider()));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9464").await?;
//! tokio::spawn(Endpoint::new(prometheus).serve(listener));
//! # Ok(()) }
//! ```
//!
//! Names are those that OpenTelemetry's rules for Prometheus make of them:
//! `grpc.server.call.duration` is `grpc_server_call_duration_seconds`, a histogram with `_bucket`,
//! `_sum` and `_count`; what is counted ends in `_total`; labels are `grpc_method` and so on, and
//! `otel_scope_name` tells who has counted. `target_info` tells of the service.
//!
//! This does no TLS and asks for no credentials: listen where only those who may read it come.

mod endpoint;

use std::fmt;

use ::prometheus::{Registry, TextEncoder};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::{MeterProviderBuilder, SdkMeterProvider};

pub use endpoint::Endpoint;

/// A provider of meters, and what they have measured so far.
///
/// Its clones share both.
#[derive(Clone)]
pub struct Prometheus {
    registry: Registry,
    provider: SdkMeterProvider,
}

impl Prometheus {
    /// Measures for a service of this name: the label `service_name` of `target_info`.
    ///
    /// # Errors
    ///
    /// The SDK's, which has none for a service of any name.
    pub fn new(service: &str) -> Result<Prometheus, OTelSdkError> {
        let service = service.to_owned();
        Prometheus::with(|provider| {
            provider.with_resource(Resource::builder().with_service_name(service).build())
        })
    }

    /// Measures with a provider that `configure` makes ready: its resource, views, and further
    /// readers, that send the same elsewhere.
    ///
    /// # Errors
    ///
    /// The SDK's.
    pub fn with(
        configure: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder,
    ) -> Result<Prometheus, OTelSdkError> {
        let registry = Registry::new();
        let reader =
            opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
        let provider = configure(SdkMeterProvider::builder().with_reader(reader)).build();
        Ok(Prometheus { registry, provider })
    }

    /// For [`Metrics`](crate::Metrics), and for meters of the application's own.
    pub fn provider(&self) -> &SdkMeterProvider {
        &self.provider
    }

    /// What was measured so far, in version 0.0.4 of Prometheus' text format. It is as long as
    /// there are combinations of labels, which the SDK bounds (2,000 for each instrument).
    ///
    /// # Errors
    ///
    /// The encoder's: what was measured cannot be told in this format.
    pub fn text(&self) -> Result<String, impl std::error::Error + Send + Sync + use<>> {
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text).map(|()| text)
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").finish_non_exhaustive()
    }
}

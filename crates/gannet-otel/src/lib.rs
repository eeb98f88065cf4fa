//! OpenTelemetry for Gannet: metrics as gRFC A66 has them, traces as gRFC A72 does, under the names
//! that every gRPC library uses.
//!
//! [`Metrics`] and [`Tracing`] are observers, each for servers and channels alike:
//!
//! ```
//! use gannet_otel::{GrpcTraceBin, Metrics, Tracing};
//! use opentelemetry_sdk::{
//!     metrics::SdkMeterProvider, propagation::TraceContextPropagator, trace::SdkTracerProvider,
//! };
//!
//! # fn example(server: gannet_server::Server) -> Result<(), gannet_client::TargetError> {
//! // With readers and exporters, as the application likes.
//! let (meters, tracers) = (SdkMeterProvider::default(), SdkTracerProvider::default());
//! let metrics = Metrics::new(&meters);
//! let tracing = Tracing::new(&tracers).propagator(TraceContextPropagator::new());
//!
//! let server = server.observe(metrics.clone()).observe(tracing.clone());
//! let channel = gannet_client::Channel::builder("localhost:50051")
//!     .observe(metrics)
//!     .observe(tracing)
//!     .build()?;
//! # Ok(()) }
//! ```
//!
//! Only OpenTelemetry's API is needed here; which SDK there is behind it, the application decides.
//! Nothing is global: what is not given is not used.
//!
//! The feature `prometheus` brings an SDK along, and an address from which Prometheus fetches what
//! was counted.
//!
//! The feature `bound` makes metrics cheaper, by handles of instruments whose labels the SDK has
//! looked up once for a method. OpenTelemetry calls them experimental, and `opentelemetry_sdk` has
//! them; with another SDK, which may not, nothing is counted.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `metrics` | what is counted, and under which names |
//! | `tracing` | which spans there are, and what they hold |
//! | `propagation` | how a trace goes on in another process |
//! | `prometheus` | what was counted, as Prometheus reads it, over HTTP (feature `prometheus`) |

mod metrics;
#[cfg(feature = "prometheus")]
pub mod prometheus;
mod propagation;
mod tracing;

pub use metrics::Metrics;
/// The API of this version, whose types are this crate's, too.
pub use opentelemetry;
pub use propagation::GrpcTraceBin;
pub use tracing::Tracing;

use opentelemetry::InstrumentationScope;

/// Who measures.
fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("grpc-rust-gannet")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

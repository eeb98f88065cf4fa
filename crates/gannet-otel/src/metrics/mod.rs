//! [`Metrics`]: what gRFC A66 counts, A96 for retries, and A94 for connections.
//!
//! | instrument | what of | labels |
//! | --- | --- | --- |
//! | `grpc.client.attempt.started` | `{attempt}`, counted | method, target |
//! | `grpc.client.attempt.duration` | s | method, target, status |
//! | `grpc.client.attempt.sent_total_compressed_message_size` | By | method, target, status |
//! | `grpc.client.attempt.rcvd_total_compressed_message_size` | By | method, target, status |
//! | `grpc.client.call.duration` | s | method, target, status |
//! | `grpc.client.call.retries` | `{retry}`, where asked for | method, target |
//! | `grpc.client.call.transparent_retries` | likewise | method, target |
//! | `grpc.client.call.retry_delay` | s, where asked for | method, target |
//! | `grpc.server.call.started` | `{call}`, counted | method |
//! | `grpc.server.call.duration` | s | method, status |
//! | `grpc.server.call.sent_total_compressed_message_size` | By | method, status |
//! | `grpc.server.call.rcvd_total_compressed_message_size` | By | method, status |
//! | `grpc.subchannel.connection_attempts_succeeded` | `{attempt}`, where asked for | target |
//! | `grpc.subchannel.connection_attempts_failed` | likewise | target |
//! | `grpc.subchannel.open_connections` | `{connection}`, up and down, likewise | target |
//! | `grpc.subchannel.disconnections` | `{disconnection}`, likewise | target, why where asked for |
//!
//! The last four are A94's. Hedges are not counted (`grpc.client.call.hedges`), as there are none.

mod client;
#[cfg_attr(feature = "bound", path = "handles/bound.rs")]
#[cfg_attr(not(feature = "bound"), path = "handles/by_labels.rs")]
mod handles;
mod instruments;
mod series;
mod server;
mod subchannels;

use std::fmt;
use std::sync::Arc;

use gannet_transport::observe::{
    CallObserver, ClientCallObserver, ClientCallStart, ConnectionEvent, ServerCallObserver,
    ServerCallStart,
};
use opentelemetry::StringValue;
use opentelemetry::metrics::MeterProvider;

use instruments::{Instruments, Retries, method, target};
use series::{ClientSeries, Remembered, Series};
use subchannels::Subchannels;

/// Counts calls: see the crate. Cheap to clone, and clones share the instruments.
#[derive(Clone)]
#[must_use = "it counts what it observes"]
pub struct Metrics {
    instruments: Arc<Instruments>,
    retries: Option<Arc<Retries>>,
    subchannels: Option<Subchannels>,
    tells_disconnect_errors: bool,
    target_filter: Option<Filter>,
    method_filter: Option<Filter>,
    /// Of a server's methods, by their addresses; those that it has not are at 0.
    server: Arc<Remembered<usize, Series>>,
    /// Of a channel's methods, by their addresses and that of the channel's target.
    client: Arc<Remembered<(usize, usize), Counted>>,
}

/// What is counted of a channel's method.
struct Counted {
    series: Arc<ClientSeries>,
    /// Its address stays that of no other.
    _target: Arc<str>,
}

type Filter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// A label's value where the true one is not to be told.
const OTHER: &str = "other";

impl Metrics {
    /// Counts with the meters of `provider`.
    pub fn new(provider: &dyn MeterProvider) -> Metrics {
        let instruments = Arc::new(Instruments::new(&provider.meter_with_scope(crate::scope())));
        Metrics {
            instruments,
            retries: None,
            subchannels: None,
            tells_disconnect_errors: false,
            target_filter: None,
            method_filter: None,
            server: Arc::default(),
            client: Arc::default(),
        }
    }

    /// Counts retries, too (gRFC A96), which is experimental in gRPC: `grpc.client.call.retries`,
    /// `grpc.client.call.transparent_retries` and `grpc.client.call.retry_delay`, of calls that
    /// have any.
    pub fn with_retries(mut self, provider: &dyn MeterProvider) -> Metrics {
        self.retries = Some(Arc::new(Retries::new(&provider.meter_with_scope(crate::scope()))));
        self
    }

    /// Counts connections of channels, too (gRFC A94), which is experimental in gRPC:
    /// `grpc.subchannel.connection_attempts_succeeded`, `….connection_attempts_failed`,
    /// `….open_connections` and `….disconnections`.
    pub fn with_subchannels(mut self, provider: &dyn MeterProvider) -> Metrics {
        self.subchannels = Some(Subchannels::new(&provider.meter_with_scope(crate::scope())));
        self
    }

    /// Tells of disconnections why, too, in A94's optional label `grpc.disconnect_error`: one of
    /// some twenty words. Only where [they are counted](Self::with_subchannels).
    pub fn with_disconnect_errors(mut self) -> Metrics {
        self.tells_disconnect_errors = true;
        self
    }

    /// Tells the target of a channel only where `filter` says so, and `other` in its place: for
    /// programs that have channels to very many. It is asked once for a channel's method, and at
    /// each change of a connection where [those are counted](Self::with_subchannels). By default
    /// all are told.
    pub fn target_filter(
        mut self,
        filter: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Metrics {
        self.target_filter = Some(Arc::new(filter));
        self.client = Arc::default();
        self
    }

    /// Tells methods that a server does not have, `pkg.Service/Method`, where `filter` says so. By
    /// default they are `other`, as a client could make up as many as it likes.
    pub fn method_filter(
        mut self,
        filter: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Metrics {
        self.method_filter = Some(Arc::new(filter));
        self
    }

    fn target(&self, target: &Arc<str>) -> StringValue {
        match &self.target_filter {
            Some(filter) if !filter(target) => OTHER.into(),
            _ => Arc::clone(target).into(),
        }
    }

    fn client_series(&self, call: &ClientCallStart<'_>) -> Arc<ClientSeries> {
        let key = (std::ptr::from_ref(call.method).addr(), Arc::as_ptr(call.target).addr());
        let counted = self.client.get(key, || {
            let name = full_name(call.method.path).into();
            let labels = vec![method(&name), target(&self.target(call.target))];
            let attempts = Series::new(&self.instruments.attempt_started, labels);
            let series = Arc::new(ClientSeries::new(attempts));
            Counted { series, _target: Arc::clone(call.target) }
        });
        Arc::clone(&counted.series)
    }

    fn server_series(&self, call: &ServerCallStart<'_>) -> Arc<Series> {
        let series = |name: StringValue| {
            Series::new(&self.instruments.server_call_started, vec![method(&name)])
        };
        if let Some(method) = call.method {
            let key = std::ptr::from_ref(method).addr();
            return self.server.get(key, || series(full_name(method.path).into()));
        }
        let path = call.path();
        let name = full_name(&path);
        match &self.method_filter {
            // Whoever calls could make up as many as it likes: none is kept.
            Some(filter) if filter(name) => Arc::new(series(name.to_owned().into())),
            _ => self.server.get(0, || series(OTHER.into())),
        }
    }
}

impl CallObserver for Metrics {
    fn client_call(&self, call: &ClientCallStart<'_>) -> Option<Box<dyn ClientCallObserver>> {
        let instruments = Arc::clone(&self.instruments);
        let retries = self.retries.as_ref().map(Arc::clone);
        Some(client::follow(instruments, retries, self.client_series(call), call.at))
    }

    fn server_call(&self, call: &ServerCallStart<'_>) -> Option<Arc<dyn ServerCallObserver>> {
        let series = self.server_series(call);
        Some(server::follow(Arc::clone(&self.instruments), series, call.at))
    }

    fn connection(&self, event: &ConnectionEvent<'_>) {
        if let Some(subchannels) = &self.subchannels {
            let target = target(&self.target(event.target));
            subchannels.count(event.change, target, self.tells_disconnect_errors);
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("retries", &self.retries.is_some()).finish_non_exhaustive()
    }
}

/// A path without its first slash: `pkg.Service/Method`.
fn full_name(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

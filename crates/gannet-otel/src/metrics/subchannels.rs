//! What is counted of a channel's connections (gRFC A94). Seldom, so labels are told each time.

use gannet_transport::observe::{ConnectionChange, Disconnect};
use opentelemetry::metrics::{Counter, Meter, UpDownCounter};
use opentelemetry::{Key, KeyValue};

/// `grpc.disconnect_error`.
const DISCONNECT_ERROR: Key = Key::from_static_str("grpc.disconnect_error");

/// The instruments. Cheap to clone.
#[derive(Clone)]
pub(super) struct Subchannels {
    succeeded: Counter<u64>,
    failed: Counter<u64>,
    open: UpDownCounter<i64>,
    disconnections: Counter<u64>,
}

impl Subchannels {
    pub(super) fn new(meter: &Meter) -> Subchannels {
        let counter = |name, unit, told| {
            meter.u64_counter(name).with_unit(unit).with_description(told).build()
        };
        let open = meter.i64_up_down_counter("grpc.subchannel.open_connections");
        Subchannels {
            succeeded: counter(
                "grpc.subchannel.connection_attempts_succeeded",
                "{attempt}",
                "Attempts to connect that succeeded",
            ),
            failed: counter(
                "grpc.subchannel.connection_attempts_failed",
                "{attempt}",
                "Attempts to connect that failed",
            ),
            open: open
                .with_unit("{connection}")
                .with_description("Connections that are open")
                .build(),
            disconnections: counter(
                "grpc.subchannel.disconnections",
                "{disconnection}",
                "How often connections that were in use became disconnected",
            ),
        }
    }

    pub(super) fn count(&self, change: ConnectionChange<'_>, target: KeyValue, tells_why: bool) {
        let target = &[target];
        match change {
            ConnectionChange::Opened => {
                self.succeeded.add(1, target);
                self.open.add(1, target);
            }
            ConnectionChange::Failed(_) => self.failed.add(1, target),
            ConnectionChange::Closed(why) => {
                self.open.add(-1, target);
                self.disconnected(tells_why.then_some(why), target);
            }
            _ => {}
        }
    }

    fn disconnected(&self, why: Option<Disconnect>, [target]: &[KeyValue; 1]) {
        let why = why.map(|why| KeyValue::new(DISCONNECT_ERROR, why.label()));
        let labels: Vec<_> = [target.clone()].into_iter().chain(why).collect();
        self.disconnections.add(1, &labels);
    }
}

//! Reports of the server's load, of one call and out of band: gRFC A51.
//!
//! What is reported is what the clients of the cases ask for; nothing is measured.

use std::sync::Arc;
use std::time::Duration;

use super::{LOAD_REPORT, load_report};
use crate::proto::grpc::testing::TestOrcaReport;
use crate::proto::xds::data::orca::v3::OrcaLoadReport;
use crate::proto::xds::service::orca::v3::{OpenRcaService, OrcaLoadReportRequest};
use gannet::{Call, Outbound, Result, Status, buffa::Message};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The shortest time between two reports: the others' interop servers have it too.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The load that is reported out of band. One call at a time decides what it is.
#[derive(Clone, Debug, Default)]
pub struct Load {
    report: Arc<std::sync::Mutex<OrcaLoadReport>>,
    control: Arc<Mutex<()>>,
}

/// The right to change the report, until it is dropped.
#[derive(Debug)]
pub(super) struct Control {
    load: Load,
    _held: OwnedMutexGuard<()>,
}

impl Load {
    /// Waits until no other call has it.
    pub(super) async fn control(&self) -> Control {
        Control { load: self.clone(), _held: Arc::clone(&self.control).lock_owned().await }
    }

    fn report(&self) -> OrcaLoadReport {
        self.report.lock().expect("nothing panics while it is held").clone()
    }
}

impl Control {
    pub(super) fn set(&self, asked: &TestOrcaReport) {
        *self.load.report.lock().expect("nothing panics while it is held") = load_report(asked);
    }
}

/// The report of one call goes with its trailers.
pub(super) fn report(call: &mut Call, asked: &TestOrcaReport) -> Result<()> {
    Ok(call.trailers_mut().append_bin(LOAD_REPORT, load_report(asked).encode_to_vec())?)
}

impl OpenRcaService for Load {
    async fn stream_core_metrics(
        &self,
        _: &mut Call,
        request: OrcaLoadReportRequest,
        mut replies: Outbound<OrcaLoadReport>,
    ) -> Result<()> {
        let interval = match request.report_interval.as_option() {
            Some(asked) => Duration::try_from(asked.clone())
                .map_err(|error| Status::invalid_argument(format!("report_interval: {error}")))?,
            None => INTERVAL_MIN,
        };
        let mut ticks = tokio::time::interval(interval.max(INTERVAL_MIN));
        loop {
            ticks.tick().await;
            replies.send(self.report()).await?;
        }
    }
}

//! What the programs of gRPC's official interop cases share.

pub mod orca;
pub mod service;

use crate::proto::grpc::testing::{Payload, TestOrcaReport};
use crate::proto::xds::data::orca::v3::OrcaLoadReport;

/// The request key whose value comes back as a response header.
pub const ECHO_INITIAL: &str = "x-grpc-test-echo-initial";
/// The request key whose value comes back as a trailer.
pub const ECHO_TRAILING: &str = "x-grpc-test-echo-trailing-bin";
/// The trailer with the load that one call reports: gRFC A51.
pub const LOAD_REPORT: &str = "endpoint-load-metrics-bin";

/// A payload of so many zero bytes.
pub fn zeros(bytes: usize) -> Payload {
    Payload { body: vec![0; bytes].into(), ..Default::default() }
}

/// The report that carries what `asked` asks for.
pub fn load_report(asked: &TestOrcaReport) -> OrcaLoadReport {
    OrcaLoadReport {
        cpu_utilization: asked.cpu_utilization,
        mem_utilization: asked.memory_utilization,
        request_cost: asked.request_cost.clone(),
        utilization: asked.utilization.clone(),
        ..Default::default()
    }
}

/// One name with its value, as load reports have them.
pub fn measured<M: FromIterator<(String, f64)>>(name: &str, value: f64) -> M {
    std::iter::once((name.to_owned(), value)).collect()
}

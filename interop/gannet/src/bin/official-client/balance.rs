//! Cases of load balancing: what a policy would look at, read from the calls themselves.

use std::time::Duration;

use gannet::buffa::Message;
use gannet::{Inbound, Outbound};
use gannet_interop::check::{Outcome, check};
use gannet_interop::official::{LOAD_REPORT, load_report, measured, zeros};
use gannet_interop::proto::grpc::testing::{
    SimpleRequest, StreamingOutputCallRequest, StreamingOutputCallResponse, TestOrcaReport,
};
use gannet_interop::proto::xds::data::orca::v3::OrcaLoadReport;
use gannet_interop::proto::xds::service::orca::v3::OrcaLoadReportRequest;

use crate::Client;
use crate::cases::{check_reply, ping};

/// Calls that one server must answer.
const PICKS: u32 = 100;
/// How often the server is asked to report.
const REPORT_SECONDS: i64 = 1;
/// By when a report must have come.
const REPORT_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) async fn pick_first_unary(client: &Client) -> Outcome {
    let mut first = None;
    for _ in 0..PICKS {
        let request = SimpleRequest {
            response_size: 1,
            payload: Some(zeros(1)).into(),
            fill_server_id: true,
            ..Default::default()
        };
        let reply = client.test.unary_call(request).metadata(client.metadata()).await?;
        if reply.server_id.is_empty() {
            return Err("the server does not say who it is".into());
        }
        let first = first.get_or_insert_with(|| reply.server_id.clone());
        check("server_id", &reply.server_id, &*first)?;
    }
    Ok(())
}

pub(crate) async fn orca_per_rpc(client: &Client) -> Outcome {
    let asked = TestOrcaReport {
        cpu_utilization: 0.8210,
        memory_utilization: 0.5847,
        request_cost: measured("cost", 3456.32),
        utilization: measured("util", 0.30499),
        ..Default::default()
    };
    let request =
        SimpleRequest { orca_per_query_report: Some(asked.clone()).into(), ..Default::default() };
    let call = client.test.unary_call(request).metadata(client.metadata());
    let (_, received) = call.with_metadata().await?;
    let mut reports = received.trailers.get_all_bin(LOAD_REPORT);
    let report = reports.next().ok_or_else(|| format!("no trailer {LOAD_REPORT}"))??;
    check("load report", OrcaLoadReport::decode_from_slice(&report)?, load_report(&asked))
}

pub(crate) async fn orca_oob(client: &Client) -> Outcome {
    let asked = |cpu_utilization, memory_utilization, util| TestOrcaReport {
        cpu_utilization,
        memory_utilization,
        utilization: measured("util", util),
        ..Default::default()
    };
    let interval = gannet::buffa_types::google::protobuf::Duration {
        seconds: REPORT_SECONDS,
        ..Default::default()
    };
    let request =
        OrcaLoadReportRequest { report_interval: Some(interval).into(), ..Default::default() };
    let mut reports = client.load.stream_core_metrics(request).metadata(client.metadata()).await?;
    let call = client.test.full_duplex_call().metadata(client.metadata());
    let (mut requests, mut replies) = call.await?;
    for asked in [asked(0.8210, 0.5847, 0.30499), asked(0.29309, 0.2, 0.2039)] {
        let wanted = load_report(&asked);
        tell(&mut requests, &mut replies, asked).await?;
        let seen = wait_for(&mut reports, &wanted);
        let seen = tokio::time::timeout(REPORT_TIMEOUT, seen).await;
        seen.map_err(|_| format!("no report {wanted:?} in time"))??;
    }
    requests.finish();
    check("after the last reply", replies.next().await?, None)
}

/// Tells the server what to report from now on.
async fn tell(
    requests: &mut Outbound<StreamingOutputCallRequest>,
    replies: &mut Inbound<StreamingOutputCallResponse>,
    asked: TestOrcaReport,
) -> Outcome {
    let request = StreamingOutputCallRequest { orca_oob_report: Some(asked).into(), ..ping(0, 1) };
    requests.send(request).await?;
    check_reply(replies.next().await?, 1)
}

/// Reads reports until one is as it should be: those before it may be older.
async fn wait_for(reports: &mut Inbound<OrcaLoadReport>, wanted: &OrcaLoadReport) -> Outcome {
    while let Some(report) = reports.next().await? {
        if report == *wanted {
            return Ok(());
        }
    }
    Err("the reports ended".into())
}

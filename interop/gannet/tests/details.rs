//! All ten messages of `google/rpc/error_details.proto`: attached to a status by a handler, and
//! read back by their types from what the call ends with.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fmt::Debug;

use gannet::rpc::{
    BadRequest, DebugInfo, Help, LocalizedMessage, PreconditionFailure, QuotaFailure, RequestInfo,
    ResourceInfo, bad_request, help, precondition_failure, quota_failure,
};
use gannet::{Call, Channel, Code, Detail, Listener, Result, Server, Status};
use gannet_interop::proto::grpctest::{
    Grpctest, GrpctestClient, GrpctestServer, Message, MessageResponse,
};

const NAMES: [&str; 10] = [
    "ErrorInfo",
    "RetryInfo",
    "DebugInfo",
    "QuotaFailure",
    "PreconditionFailure",
    "BadRequest",
    "RequestInfo",
    "ResourceInfo",
    "Help",
    "LocalizedMessage",
];

/// Fails each call with this status.
struct Failing(Status);

impl Grpctest for Failing {
    async fn get_server_response(&self, _: &mut Call, _: Message) -> Result<MessageResponse> {
        Err(self.0.clone())
    }
}

/// Whether a detail is in a status, or is not.
type Check = Box<dyn Fn(&Status, bool)>;

/// Details one after the other, each with what must be read where it is.
struct Details {
    each: Vec<Status>,
    all: Status,
    checks: Vec<Check>,
}

impl Details {
    fn and<D: Detail + Debug + PartialEq + 'static>(mut self, detail: D) -> Details {
        self.each.push(Status::aborted("once").with_detail(&detail));
        self.all = self.all.with_detail(&detail);
        self.checks.push(Box::new(move |status, is_there| {
            let expected = is_there.then_some(&detail);
            assert_eq!(status.detail::<D>().as_ref(), expected, "{}", D::TYPE_URL);
        }));
        self
    }
}

/// Each with something in all of its fields.
fn details() -> Details {
    let none = Details { each: vec![], all: Status::aborted("all"), checks: vec![] };
    let (info, retry) = gannet_interop::details(10);
    let localized = LocalizedMessage {
        locale: "de-CH".into(),
        message: "Der Name fehlt \u{263a}".into(),
        ..Default::default()
    };
    let precondition = precondition_failure::Violation {
        r#type: "TOS".into(),
        subject: "example.com".into(),
        description: "not accepted".into(),
        ..Default::default()
    };
    let field = bad_request::FieldViolation {
        field: "name".into(),
        description: "missing".into(),
        reason: "NAME_MISSING".into(),
        localized_message: Some(localized.clone()).into(),
        ..Default::default()
    };
    let link = help::Link {
        description: "how to".into(),
        url: "https://example.com/help".into(),
        ..Default::default()
    };
    none.and(info)
        .and(retry)
        .and(DebugInfo {
            stack_entries: vec!["inner".into(), "outer".into()],
            detail: "at the end".into(),
            ..Default::default()
        })
        .and(QuotaFailure { violations: vec![quota()], ..Default::default() })
        .and(PreconditionFailure { violations: vec![precondition], ..Default::default() })
        .and(BadRequest { field_violations: vec![field], ..Default::default() })
        .and(RequestInfo {
            request_id: "17".into(),
            serving_data: "kept".into(),
            ..Default::default()
        })
        .and(ResourceInfo {
            resource_type: "table".into(),
            resource_name: "birds".into(),
            owner: "project:sea".into(),
            description: "read only".into(),
            ..Default::default()
        })
        .and(Help { links: vec![link.clone(), link], ..Default::default() })
        .and(localized)
}

fn quota() -> quota_failure::Violation {
    quota_failure::Violation {
        subject: "clientip:192.0.2.1".into(),
        description: "too many".into(),
        api_service: "example.com".into(),
        quota_metric: "example.com/calls".into(),
        quota_id: "calls-per-minute".into(),
        quota_dimensions: std::iter::once(("region".into(), "north".into())).collect(),
        quota_value: 10,
        future_quota_value: Some(0),
        ..Default::default()
    }
}

/// What a call to a server that fails like this ends with.
async fn over_the_wire(status: Status) -> Status {
    let listener = Listener::tcp("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let server = Server::new().add(GrpctestServer::new(Failing(status))).serve(listener);
    let serving = tokio::spawn(server.into_future());
    let client = GrpctestClient::new(Channel::builder(target).build().unwrap());
    let came = client.get_server_response(Message::default()).await.unwrap_err();
    serving.abort();
    assert_eq!(came.code(), Code::Aborted, "{came}");
    came
}

#[tokio::test]
async fn all_details_alone_and_together() {
    let details = details();
    for (nth, status) in details.each.into_iter().enumerate() {
        let came = over_the_wire(status).await;
        assert_eq!(came.message(), "once");
        for (other, check) in details.checks.iter().enumerate() {
            check(&came, other == nth);
        }
    }
    let came = over_the_wire(details.all).await;
    assert_eq!(came.message(), "all");
    details.checks.iter().for_each(|check| check(&came, true));
    let types = NAMES.map(|name| format!("type.googleapis.com/google.rpc.{name}"));
    assert!(came.packed_details().map(|detail| detail.type_url).eq(types), "{came:?}");
}

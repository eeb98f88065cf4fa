//! Spans as OTLP has them.

use std::time::{SystemTime, UNIX_EPOCH};

use gannet_otel::opentelemetry::trace::{self as api, SpanId};
use gannet_otel::opentelemetry::{
    Array, InstrumentationScope, KeyValue as ApiKeyValue, StringValue, TraceFlags,
    Value as ApiValue,
};
use opentelemetry_sdk::trace::SpanData;

use crate::proto::opentelemetry::proto::collector::trace::v1 as proto;
use proto::any_value::Value;
use proto::{AnyValue, KeyValue, SpanKind, StatusCode};

/// An attribute, of whatever has some.
pub(super) type Attribute = KeyValue;

/// It is known whether the parent is in another process.
const FLAG_HAS_IS_REMOTE: u32 = 0x100;
/// It is.
const FLAG_IS_REMOTE: u32 = 0x200;

/// All spans of one process, by who has recorded them.
pub(super) fn request(
    resource: Vec<Attribute>,
    spans: Vec<SpanData>,
) -> proto::ExportTraceServiceRequest {
    let mut scopes: Vec<(InstrumentationScope, Vec<proto::Span>)> = Vec::new();
    for span in spans {
        let scope = span.instrumentation_scope.clone();
        match scopes.iter_mut().find(|(known, _)| *known == scope) {
            Some((_, of_scope)) => of_scope.push(converted(span)),
            None => scopes.push((scope, vec![converted(span)])),
        }
    }
    let scope_spans = scopes.into_iter().map(|(scope, spans)| {
        let version = scope.version().unwrap_or_default().to_owned();
        let scope = proto::InstrumentationScope {
            name: scope.name().to_owned(),
            version,
            ..Default::default()
        };
        proto::ScopeSpans { scope: scope.into(), spans, ..Default::default() }
    });
    let resource = proto::Resource { attributes: resource, ..Default::default() };
    let of_process = proto::ResourceSpans {
        resource: resource.into(),
        scope_spans: scope_spans.collect(),
        ..Default::default()
    };
    proto::ExportTraceServiceRequest { resource_spans: vec![of_process], ..Default::default() }
}

fn converted(span: SpanData) -> proto::Span {
    let context = span.span_context;
    let parent = match span.parent_span_id {
        SpanId::INVALID => Vec::new(),
        parent => parent.to_bytes().to_vec(),
    };
    proto::Span {
        trace_id: context.trace_id().to_bytes().to_vec().into(),
        span_id: context.span_id().to_bytes().to_vec().into(),
        trace_state: context.trace_state().header(),
        parent_span_id: parent.into(),
        name: span.name.into_owned(),
        kind: kind(&span.span_kind).into(),
        start_time_unix_nano: nanos(span.start_time),
        end_time_unix_nano: nanos(span.end_time),
        attributes: attributes(&span.attributes),
        dropped_attributes_count: span.dropped_attributes_count,
        dropped_events_count: span.events.dropped_count,
        events: span.events.events.iter().map(event).collect(),
        dropped_links_count: span.links.dropped_count,
        links: span.links.links.iter().map(link).collect(),
        status: status(span.status).into(),
        flags: flags(context.trace_flags(), span.parent_span_is_remote),
        ..Default::default()
    }
}

fn flags(flags: TraceFlags, is_remote: bool) -> u32 {
    let remote = if is_remote { FLAG_IS_REMOTE } else { 0 };
    u32::from(flags.to_u8()) | FLAG_HAS_IS_REMOTE | remote
}

fn kind(kind: &api::SpanKind) -> SpanKind {
    match kind {
        api::SpanKind::Internal => SpanKind::SPAN_KIND_INTERNAL,
        api::SpanKind::Server => SpanKind::SPAN_KIND_SERVER,
        api::SpanKind::Client => SpanKind::SPAN_KIND_CLIENT,
        api::SpanKind::Producer => SpanKind::SPAN_KIND_PRODUCER,
        api::SpanKind::Consumer => SpanKind::SPAN_KIND_CONSUMER,
    }
}

fn status(status: api::Status) -> proto::Status {
    let (code, message) = match status {
        api::Status::Unset => (StatusCode::STATUS_CODE_UNSET, String::new()),
        api::Status::Ok => (StatusCode::STATUS_CODE_OK, String::new()),
        api::Status::Error { description } => {
            (StatusCode::STATUS_CODE_ERROR, description.into_owned())
        }
    };
    proto::Status { code: code.into(), message, ..Default::default() }
}

fn event(event: &api::Event) -> proto::Event {
    proto::Event {
        time_unix_nano: nanos(event.timestamp),
        name: event.name.clone().into_owned(),
        attributes: attributes(&event.attributes),
        dropped_attributes_count: event.dropped_attributes_count,
        ..Default::default()
    }
}

fn link(link: &api::Link) -> proto::Link {
    let context = &link.span_context;
    proto::Link {
        trace_id: context.trace_id().to_bytes().to_vec().into(),
        span_id: context.span_id().to_bytes().to_vec().into(),
        trace_state: context.trace_state().header(),
        attributes: attributes(&link.attributes),
        dropped_attributes_count: link.dropped_attributes_count,
        flags: flags(context.trace_flags(), context.is_remote()),
        ..Default::default()
    }
}

fn attributes(attributes: &[ApiKeyValue]) -> Vec<Attribute> {
    attributes.iter().map(|one| attribute(one.key.as_str(), &one.value)).collect()
}

/// An attribute of this name.
pub(super) fn attribute(key: &str, value: &ApiValue) -> Attribute {
    let value = match value {
        ApiValue::Bool(value) => Value::Truth(*value),
        ApiValue::I64(value) => Value::Integer(*value),
        ApiValue::F64(value) => Value::Number(*value),
        ApiValue::String(value) => Value::Text(value.as_str().to_owned()),
        ApiValue::Array(array) => Value::Array(Box::new(values(array))),
        // What later versions add is told as it shows itself.
        other => Value::Text(other.to_string()),
    };
    KeyValue { key: key.to_owned(), value: any(value).into(), ..Default::default() }
}

fn values(array: &Array) -> proto::ArrayValue {
    let values = match array {
        Array::Bool(values) => values.iter().map(|value| any(Value::Truth(*value))).collect(),
        Array::I64(values) => values.iter().map(|value| any(Value::Integer(*value))).collect(),
        Array::F64(values) => values.iter().map(|value| any(Value::Number(*value))).collect(),
        Array::String(values) => {
            let text = |value: &StringValue| value.as_str().to_owned();
            values.iter().map(|value| any(Value::Text(text(value)))).collect()
        }
        other => vec![any(Value::Text(other.to_string()))],
    };
    proto::ArrayValue { values, ..Default::default() }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value), ..Default::default() }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

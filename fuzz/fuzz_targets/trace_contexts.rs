//! Headers that tell a server of its caller's trace, W3C's and `grpc-trace-bin`, whole, changed or
//! made up: what is read is what they say, as a reader that is written apart has it, and what the
//! next process is told says the same once more. Nothing is read of what says nothing.
#![no_main]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arbitrary::Arbitrary;
use gannet_core::{Metadata, MethodDescriptor, MethodKind};
use gannet_http2::hpack::{Decoder, Encoder, FieldBlock, Indexing, Limits, NoClassifier};
use gannet_otel::{GrpcTraceBin, Tracing};
use gannet_transport::Peer;
use gannet_transport::observe::{AttemptStart, CallObserver, ClientCallStart, ServerCallStart};
use libfuzzer_sys::fuzz_target;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::noop::NoopTracerProvider;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry::{Context, SpanId, TraceFlags, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;

#[derive(Debug, Arbitrary)]
struct Input {
    binary: bool,
    headers: Vec<Header>,
}

#[derive(Debug, Arbitrary)]
enum Header {
    Any(Vec<u8>, Vec<u8>),
    Parent(Vec<u8>),
    /// In the right form, and then changed.
    Written {
        version: u8,
        trace: u128,
        span: u64,
        flags: u8,
        change: Option<(u8, u8)>,
    },
    State(Vec<u8>),
    Members(Vec<(String, String)>),
    /// What the bytes of `grpc-trace-bin` are, and whether their base64 is padded.
    Bytes(Vec<u8>, bool),
    Packed {
        trace: u128,
        span: u64,
        flags: u8,
        change: Option<(u8, u8)>,
    },
    Text(Vec<u8>),
}

impl Header {
    fn field(&self) -> (Vec<u8>, Vec<u8>) {
        let named = |name: &str, value: Vec<u8>| (name.as_bytes().to_vec(), value);
        match self {
            Header::Any(name, value) => (name.clone(), value.clone()),
            Header::Parent(value) => named(PARENT, value.clone()),
            Header::Written { version, trace, span, flags, change } => {
                let text = format!("{version:02x}-{trace:032x}-{span:016x}-{flags:02x}");
                named(PARENT, changed(text.into_bytes(), *change))
            }
            Header::State(value) => named(STATE, value.clone()),
            Header::Members(members) => {
                let members = members.iter().map(|(key, value)| format!("{key}={value}"));
                named(STATE, members.collect::<Vec<_>>().join(",").into_bytes())
            }
            Header::Bytes(bytes, is_padded) => named(PACKED, base64(bytes, *is_padded)),
            Header::Packed { trace, span, flags, change } => {
                let parts = [&[0, 0][..], &trace.to_be_bytes(), &[1], &span.to_be_bytes()];
                let bytes = [&parts.concat()[..], &[2, *flags]].concat();
                named(PACKED, base64(&changed(bytes, *change), false))
            }
            Header::Text(value) => named(PACKED, value.clone()),
        }
    }
}

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
const PACKED: &str = "grpc-trace-bin";
static METHOD: MethodDescriptor = MethodDescriptor::new("/f.F/F", MethodKind::Unary);

fn changed(mut bytes: Vec<u8>, change: Option<(u8, u8)>) -> Vec<u8> {
    if let Some((at, to)) = change {
        let at = usize::from(at) % bytes.len();
        bytes[at] = to;
    }
    bytes
}

fuzz_target!(|input: Input| {
    let fields: Vec<_> = input.headers.iter().map(Header::field).collect();
    let Some(block) = block(fields.iter().map(|(name, value)| (&name[..], &value[..]))) else {
        return;
    };
    let read = read(&block, input.binary);
    let due = if input.binary { packed(&fields) } else { parent(&fields) };
    let ids = |span: &SpanContext| (span.trace_id(), span.span_id(), span.trace_flags());
    match due {
        Due::Exactly(due) => assert_eq!(read.as_ref().map(ids), due),
        Due::AtMost(due) => assert!(read.is_none() || read.as_ref().map(ids) == due),
    }
    if let Some(span) = read {
        assert!(span.is_remote() && span.is_valid());
        goes_on(&span, input.binary);
    }
});

/// The block that a request's headers would be; none of what is over its limits.
fn block<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<FieldBlock> {
    let (mut encoder, mut bytes) = (Encoder::new(0), Vec::new());
    encoder.begin_block(&mut bytes);
    fields.for_each(|(name, value)| {
        encoder.field(&mut bytes, name, value, Indexing::WithoutIndexing);
    });
    let limits = Limits { header_list_bytes_max: 16 << 10, fields_max: 128 };
    let mut block = FieldBlock::default();
    Decoder::new(0, limits).decode(&bytes, &mut block, &NoClassifier).ok()?;
    (!block.over_limit()).then_some(block)
}

/// A propagator, and what it has made of a call's headers.
#[derive(Clone, Debug)]
struct Probe {
    inner: Arc<dyn TextMapPropagator + Send + Sync>,
    seen: Arc<Mutex<Option<SpanContext>>>,
}

impl Probe {
    fn new(is_binary: bool) -> Probe {
        let inner: Arc<dyn TextMapPropagator + Send + Sync> = match is_binary {
            true => Arc::new(GrpcTraceBin::new()),
            false => Arc::new(TraceContextPropagator::new()),
        };
        Probe { inner, seen: Arc::default() }
    }
}

impl TextMapPropagator for Probe {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        self.inner.inject_context(cx, injector);
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let read = self.inner.extract_with_context(cx, extractor);
        for key in extractor.keys() {
            let all = extractor.get_all(key).expect("it is there");
            assert_eq!(extractor.get(key), all.first().copied());
        }
        let span = Some(read.span().span_context().clone()).filter(SpanContext::is_valid);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = span;
        read
    }

    fn fields(&self) -> FieldIter<'_> {
        self.inner.fields()
    }
}

/// What a server's call makes of these headers.
fn read(block: &FieldBlock, is_binary: bool) -> Option<SpanContext> {
    let probe = Probe::new(is_binary);
    let seen = Arc::clone(&probe.seen);
    let tracing = Tracing::new(&NoopTracerProvider::new()).propagator(probe);
    let start = ServerCallStart::new(Ok(&METHOD), &Peer::Pipe, None, Instant::now(), block);
    assert!(tracing.server_call(&start).is_some());
    seen.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A client's call within this span tells the next server of it. Spans of no provider are their
/// parents.
fn goes_on(span: &SpanContext, is_binary: bool) {
    let _current = Context::new().with_remote_span_context(span.clone()).attach();
    let tracing = Tracing::new(&NoopTracerProvider::new()).propagator(Probe::new(is_binary));
    let (target, now) = (Arc::from("f"), Instant::now());
    let call = tracing.client_call(&ClientCallStart::new(&METHOD, &target, now));
    let call = call.expect("it is followed");
    let mut metadata = Metadata::new();
    // Of an attempt before this one.
    metadata.append(PARENT, "00-old").expect("it is a header");
    metadata.append(STATE, "old=1").expect("it is a header");
    call.attempt(&AttemptStart::new(0, false, None, now), &mut metadata);
    let block = block(metadata.wire_pairs()).expect("it fits");
    let again = read(&block, is_binary).expect("it is ours");
    let ids = |span: &SpanContext| (span.trace_id(), span.span_id(), span.trace_flags());
    assert_eq!(ids(&again), ids(span));
    if !is_binary {
        assert_eq!(metadata.get_all(PARENT).count(), 1);
        let printable = |text: &str| text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        // What is no header is not sent.
        if printable(&span.trace_state().header()) {
            let state = |span: &SpanContext| span.trace_state().header().trim().to_owned();
            assert_eq!(state(&again), state(span));
        }
    }
}

type Ids = Option<(TraceId, SpanId, TraceFlags)>;

enum Due {
    Exactly(Ids),
    /// Or nothing: versions to come have rules to come.
    AtMost(Ids),
}

/// The first of this name that is text.
fn first<'a>(fields: &'a [(Vec<u8>, Vec<u8>)], name: &str) -> Option<&'a str> {
    let mut named = fields.iter().filter(|(own, _)| own == name.as_bytes());
    named.find_map(|(_, value)| std::str::from_utf8(value).ok())
}

/// W3C's Trace Context, section 3.2, of version 0.
fn parent(fields: &[(Vec<u8>, Vec<u8>)]) -> Due {
    let Some(text) = first(fields, PARENT) else { return Due::Exactly(None) };
    let parts: Vec<&str> = text.trim().split('-').collect();
    let hex = |part: &str, digits: usize| {
        let is_hex = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (part.len() == digits && is_hex).then(|| u128::from_str_radix(part, 16).ok()).flatten()
    };
    let ids = |trace: &str, span: &str, flags: &str| {
        let (trace, span) = (hex(trace, 32)?, hex(span, 16)?);
        let span = u64::try_from(span).expect("it has 16 digits");
        let flags = TraceFlags::new(u8::try_from(hex(flags, 2)?).expect("it has two"))
            & TraceFlags::SAMPLED;
        let ids = (TraceId::from(trace), SpanId::from(span), flags);
        (trace != 0 && span != 0).then_some(ids)
    };
    match parts[..] {
        ["00", trace, span, flags] => match ids(trace, span, flags) {
            Some(ids) => Due::Exactly(Some(ids)),
            None => lenient(&parts),
        },
        _ => lenient(&parts),
    }
}

/// OpenTelemetry reads more than there should be: fields that are shorter, or have a sign.
fn lenient(parts: &[&str]) -> Due {
    let [_, trace, span, flags, ..] = parts[..] else { return Due::Exactly(None) };
    let ids = || {
        let trace = TraceId::from_hex(trace).ok()?;
        let span = SpanId::from_hex(span).ok()?;
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        let is_valid = trace != TraceId::INVALID && span != SpanId::INVALID;
        is_valid.then_some((trace, span, flags))
    };
    Due::AtMost(ids())
}

/// OpenCensus' BinaryEncoding of version 0, as gRFC A72 has it.
fn packed(fields: &[(Vec<u8>, Vec<u8>)]) -> Due {
    let bytes = first(fields, PACKED).and_then(unbased);
    let ids = bytes.and_then(|bytes| {
        let ([0, 0], rest) = bytes.split_first_chunk()? else { return None };
        let (trace, rest) = rest.split_first_chunk()?;
        let ([1], rest) = rest.split_first_chunk()? else { return None };
        let (span, rest) = rest.split_first_chunk()?;
        let [2, flags] = rest else { return None };
        let (trace, span) = (TraceId::from_bytes(*trace), SpanId::from_bytes(*span));
        let is_valid = trace != TraceId::INVALID && span != SpanId::INVALID;
        is_valid.then_some((trace, span, TraceFlags::new(*flags) & TraceFlags::SAMPLED))
    });
    Due::Exactly(ids)
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8], is_padded: bool) -> Vec<u8> {
    let mut text = Vec::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        let digit = |n: usize| DIGITS[(bits >> (18 - 6 * n)) as usize & 63];
        text.extend((0..=chunk.len()).map(digit));
        let padding = if is_padded { 3 - chunk.len() } else { 0 };
        text.extend(std::iter::repeat_n(b'=', padding));
    }
    text
}

/// All of the padding, a part or none; the bits that are left over must be 0.
fn unbased(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if digits.len() % 4 == 1 || padding > digits.len().next_multiple_of(4) - digits.len() {
        return None;
    }
    let mut bits = Vec::new();
    for digit in digits.bytes() {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        bits.extend((0..6).rev().map(|bit| (value >> bit & 1) as u8));
    }
    let bytes = bits.chunks_exact(8);
    if bytes.remainder().contains(&1) {
        return None;
    }
    Some(bytes.map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect())
}

//! How a trace goes on in another process: metadata as OpenTelemetry's propagators read and write
//! it, and the format that gRPC used before them (gRFC A72, "Propagator Wire Format").

use std::cell::OnceCell;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gannet_core::Metadata;
use gannet_transport::observe::ServerCallStart;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceState};
use opentelemetry::{Context, SpanId, TraceFlags, TraceId};

/// Binary values travel without padding, and are read with and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The metadata of a client's call, for propagators to write to. What they write takes the place of
/// what was there, and is not sent where it is nothing: as W3C's does with each `tracestate`, which
/// is mostly empty and had then better not be sent.
pub(crate) struct Outgoing<'a>(pub(crate) &'a mut Metadata);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        self.0.remove(key);
        if value.is_empty() {
            return;
        }
        // What a propagator writes that is no header, is not sent. Binary values come as base64, as
        // they travel.
        if key.ends_with("-bin") {
            self.0.append_wire(key.as_bytes(), value.as_bytes());
        } else {
            let _ = self.0.append(key.to_ascii_lowercase(), value);
        }
    }
}

/// The headers of a server's call, for propagators to read. Binary values are base64.
///
/// Of several fields of a name the first is read, but for W3C's: lists are all of them, in order,
/// and more than one parent is none, as nobody knows which is right.
pub(crate) struct Incoming<'a> {
    call: &'a ServerCallStart<'a>,
    /// Those of [`LISTS`] that came in several fields.
    joined: [OnceCell<String>; LISTS.len()],
}

/// The headers that W3C has as lists (Trace Context 3.3, Baggage 3.1).
const LISTS: [&str; 2] = ["tracestate", "baggage"];
const PARENT: &str = "traceparent";

impl<'a> Incoming<'a> {
    pub(crate) fn new(call: &'a ServerCallStart<'a>) -> Incoming<'a> {
        Incoming { call, joined: Default::default() }
    }

    fn values(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.call.header(key).filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// Of a header that came in several fields.
    #[cold]
    fn several(&self, key: &str, first: &'a str) -> Option<&str> {
        if key.eq_ignore_ascii_case(PARENT) {
            return None;
        }
        match LISTS.iter().position(|name| name.eq_ignore_ascii_case(key)) {
            Some(at) => Some(self.joined[at].get_or_init(|| {
                let values: Vec<_> = self.values(key).collect();
                values.join(",")
            })),
            None => Some(first),
        }
    }
}

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.values(key);
        let first = values.next()?;
        match values.next() {
            None => Some(first),
            Some(_) => self.several(key, first),
        }
    }

    fn keys(&self) -> Vec<&str> {
        // Of values that are no text there is nothing to get.
        let fields = self.call.headers().filter(|(_, value)| std::str::from_utf8(value).is_ok());
        fields.filter_map(|(name, _)| std::str::from_utf8(name).ok()).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let values: Vec<_> = self.values(key).collect();
        (!values.is_empty()).then_some(values)
    }
}

/// The propagator of gRPC's OpenCensus plugins: the header `grpc-trace-bin`, which holds trace,
/// span and flags in 29 bytes, in OpenCensus' binary format. For services that talk to such; others
/// had better use W3C's.
///
/// What that format permits is read: fields in any order, flags that are not there (not sampled),
/// and behind them fields that nobody knows yet.
///
/// The format has no `tracestate`. Where a propagator before this one has read that of the same
/// trace, it stays, so that W3C's and this one together pass on what W3C's alone would.
///
/// It works with any carrier of text, where the value is base64.
#[derive(Clone, Debug)]
pub struct GrpcTraceBin {
    fields: [String; 1],
}

/// The header.
const NAME: &str = "grpc-trace-bin";
const VERSION: u8 = 0;
/// Version, then three fields, each behind its number: 16 bytes of trace, 8 of span, flags.
const BYTES: usize = 29;

impl GrpcTraceBin {
    /// The propagator.
    pub fn new() -> GrpcTraceBin {
        GrpcTraceBin { fields: [NAME.to_owned()] }
    }
}

impl Default for GrpcTraceBin {
    fn default() -> GrpcTraceBin {
        GrpcTraceBin::new()
    }
}

impl TextMapPropagator for GrpcTraceBin {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let span = cx.span();
        if span.span_context().is_valid() {
            injector.set(NAME, BASE64.encode(write(span.span_context())));
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let bytes = extractor.get(NAME).and_then(|value| BASE64.decode(value).ok());
        match bytes.as_deref().and_then(read) {
            Some(span) => cx.with_remote_span_context(with_state_of(cx, span)),
            None => cx.clone(),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

/// With the `tracestate` of what was read before, if that is of the same trace.
fn with_state_of(cx: &Context, span: SpanContext) -> SpanContext {
    let before = cx.span();
    let before = before.span_context();
    if !before.is_remote() || before.trace_id() != span.trace_id() {
        return span;
    }
    let state = before.trace_state().clone();
    SpanContext::new(span.trace_id(), span.span_id(), span.trace_flags(), true, state)
}

fn write(span: &SpanContext) -> [u8; BYTES] {
    let mut bytes = [VERSION; BYTES];
    bytes[2..18].copy_from_slice(&span.trace_id().to_bytes());
    bytes[18] = 1;
    bytes[19..27].copy_from_slice(&span.span_id().to_bytes());
    bytes[27] = 2;
    bytes[28] = span.trace_flags().to_u8();
    bytes
}

/// The version, then fields in any order up to the end or the first that is unknown, as how long
/// that is, is unknown too.
fn read(bytes: &[u8]) -> Option<SpanContext> {
    let (&VERSION, mut rest) = bytes.split_first()? else { return None };
    let (mut trace, mut span, mut flags) =
        (TraceId::INVALID, SpanId::INVALID, TraceFlags::NOT_SAMPLED);
    while let Some((&field, value)) = rest.split_first() {
        rest = match field {
            0 => {
                let (value, rest) = value.split_first_chunk()?;
                trace = TraceId::from_bytes(*value);
                rest
            }
            1 => {
                let (value, rest) = value.split_first_chunk()?;
                span = SpanId::from_bytes(*value);
                rest
            }
            2 => {
                let (value, rest) = value.split_first()?;
                flags = TraceFlags::new(*value) & TraceFlags::SAMPLED;
                rest
            }
            _ => break,
        };
    }
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn span() -> SpanContext {
        let (trace, span) = (TraceId::from_bytes([0xab; 16]), SpanId::from_bytes([0xcd; 8]));
        SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default())
    }

    #[test]
    fn grpc_trace_bin_is_as_opencensus_has_it() {
        let mut expected = vec![0, 0];
        expected.extend([0xab; 16]);
        expected.push(1);
        expected.extend([0xcd; 8]);
        expected.extend([2, 1]);
        assert_eq!(write(&span()).as_slice(), expected);
        assert_eq!(read(&expected), Some(span()));
        for wrong in [0, 1, 18] {
            let mut bytes = expected.clone();
            bytes[wrong] ^= 0x40;
            assert_eq!(read(&bytes), None, "byte {wrong}");
        }
        for short in (0..27).chain([28]) {
            assert_eq!(read(&expected[..short]), None, "{short} bytes");
        }
        assert_eq!(read(&[&*expected, &[0]].concat()), None);
        let mut nobody = expected;
        nobody[19..27].fill(0);
        assert_eq!(read(&nobody), None, "a span of zeros is none");
    }

    /// BinaryEncoding.md of opencensus-specs: fields of one version come in any order, options have
    /// a default, and the first unknown field is the end of what is read.
    #[test]
    fn grpc_trace_bin_is_read_as_far_as_the_format_permits() {
        let (trace, id) = ([&[0], &[0xab; 16][..]].concat(), [&[1], &[0xcd; 8][..]].concat());
        let bytes = |parts: &[&[u8]]| [&[0], &*parts.concat()].concat();
        let unsampled = SpanContext::new(
            span().trace_id(),
            span().span_id(),
            TraceFlags::NOT_SAMPLED,
            true,
            TraceState::default(),
        );
        assert_eq!(read(&bytes(&[&trace, &id])), Some(unsampled.clone()), "27 bytes");
        assert_eq!(read(&bytes(&[&id, &[2, 1], &trace])), Some(span()), "another order");
        assert_eq!(read(&bytes(&[&trace, &id, &[2, 0xfe]])), Some(unsampled.clone()));
        assert_eq!(read(&bytes(&[&trace, &id, &[2, 1], &[3, 9, 9]])), Some(span()));
        assert_eq!(read(&bytes(&[&trace, &id, &[66, 2, 1]])), Some(unsampled));
        assert_eq!(read(&bytes(&[&trace, &[3], &id])), None, "behind an unknown field");
        for missing in [&[&*trace, &[2, 1]][..], &[&*id, &[2, 1]], &[&[2, 1]], &[]] {
            assert_eq!(read(&bytes(missing)), None, "{missing:02x?}");
        }
    }

    #[test]
    fn it_goes_through_any_carrier() {
        let propagator = GrpcTraceBin::new();
        assert_eq!(propagator.fields().collect::<Vec<_>>(), ["grpc-trace-bin"]);
        let mut carrier = HashMap::new();
        let cx = Context::new().with_remote_span_context(span());
        propagator.inject_context(&cx, &mut carrier);
        let came = propagator.extract_with_context(&Context::new(), &carrier);
        assert_eq!(*came.span().span_context(), span());
        let mut nothing = HashMap::new();
        propagator.inject_context(&Context::new(), &mut nothing);
        assert!(nothing.is_empty());
        carrier.insert("grpc-trace-bin".to_owned(), "not base64!".to_owned());
        let came = propagator.extract_with_context(&Context::new(), &carrier);
        assert!(!came.span().span_context().is_valid());
    }

    #[test]
    fn what_is_written_takes_the_place_of_what_was_there() {
        let mut metadata = Metadata::new();
        metadata.append("traceparent", "old").unwrap();
        metadata.append("traceparent", "older").unwrap();
        Outgoing(&mut metadata).set("traceparent", "new".to_owned());
        Outgoing(&mut metadata).set("no header", "x".to_owned());
        Outgoing(&mut metadata).set("Baggage", "a=b".to_owned());
        let cx = Context::new().with_remote_span_context(span());
        GrpcTraceBin::new().inject_context(&cx, &mut Outgoing(&mut metadata));
        assert_eq!(metadata.get_bin(NAME).unwrap().as_deref(), Some(&write(&span())[..]));
        let keys: Vec<_> = metadata.iter().map(|(key, _)| key.to_owned()).collect();
        assert_eq!(keys, ["traceparent", "baggage", NAME]);
        assert_eq!(metadata.get("traceparent"), Some("new"));
    }
}

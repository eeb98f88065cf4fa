//! What of a trace goes through a server that calls on: W3C's `tracestate` and `baggage`.

use std::sync::{Arc, Mutex};

use gannet_otel::{GrpcTraceBin, Tracing};
use gannet_transport::observe::{CallObserver, ServerCallObserver, ServerCallStart};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::peer::unary;
use crate::service::{Test, serve};

/// Writes down the headers that have come.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(String, String)>>>);

impl CallObserver for Heard {
    fn server_call(&self, call: &ServerCallStart<'_>) -> Option<Arc<dyn ServerCallObserver>> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers = call.headers().map(|(name, value)| (text(name), text(value)));
        self.0.lock().unwrap().extend(headers);
        None
    }
}

impl Heard {
    fn all(&self, name: &str) -> Vec<String> {
        let heard = self.0.lock().unwrap();
        heard.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }
}

/// Calls a server that calls on, both of which are traced with W3C's two propagators and `more`;
/// what the second one hears.
async fn through(more: impl Fn(Tracing) -> Tracing, headers: &[(&str, &str)]) -> Heard {
    let provider = SdkTracerProvider::builder().build();
    let w3c = Tracing::new(&provider).propagator(TraceContextPropagator::new());
    let tracing = more(w3c.propagator(BaggagePropagator::new()));
    let heard = Heard::default();
    let inner = serve(
        Test::default(),
        |server| server.observe(heard.clone()),
        |channel| channel.observe(tracing.clone()),
    );
    let outer = Test { channel: Some(inner) };
    let channel = serve(outer, |server| server.observe(tracing.clone()), |channel| channel);
    let mut call = unary(&channel, b"call");
    for (key, value) in headers {
        call = match *key {
            "grpc-trace-bin" => call.header_bin(key, binary(value)),
            _ => call.header(key, value),
        };
    }
    call.await.unwrap();
    heard
}

/// As `grpc-trace-bin` has a trace whose bytes, and those of its span, are all the same.
fn binary(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    [&[0, 0][..], &[byte(0); 16], &[1], &[byte(2); 8], &[2, 1]].concat()
}

const PARENT: (&str, &str) =
    ("traceparent", "00-abababababababababababababababab-cdcdcdcdcdcdcdcd-01");

#[tokio::test]
async fn a_trace_goes_on_with_its_state_and_its_baggage() {
    let heard =
        through(|it| it, &[PARENT, ("tracestate", "a=1,b=2"), ("baggage", "user=ada,city=London")])
            .await;
    assert!(heard.all("traceparent")[0].starts_with("00-abababababababababababababababab-"));
    assert_eq!(heard.all("tracestate"), ["a=1,b=2"]);
    let mut baggage: Vec<String> =
        heard.all("baggage").iter().flat_map(|all| all.split(',')).map(str::to_owned).collect();
    baggage.sort();
    assert_eq!(baggage, ["city=London", "user=ada"]);
}

#[tokio::test]
async fn lists_that_came_in_several_fields_are_read_in_order() {
    let heard = through(
        |it| it,
        &[
            PARENT,
            ("tracestate", "a=1"),
            ("baggage", "user=ada"),
            ("tracestate", ""),
            ("tracestate", "b=2 , c=3"),
            ("baggage", "city=London"),
        ],
    )
    .await;
    assert_eq!(heard.all("tracestate"), ["a=1,b=2,c=3"]);
    let baggage = heard.all("baggage");
    assert_eq!(baggage.len(), 1, "{baggage:?}");
    assert!(baggage[0].contains("user=ada") && baggage[0].contains("city=London"), "{baggage:?}");
}

#[tokio::test]
async fn nothing_is_sent_of_lists_that_are_empty() {
    for headers in [&[PARENT][..], &[PARENT, ("tracestate", "")], &[]] {
        let heard = through(|it| it, headers).await;
        assert_eq!(heard.all("traceparent").len(), 1);
        assert_eq!(heard.all("tracestate"), [""; 0]);
        assert_eq!(heard.all("baggage"), [""; 0]);
    }
}

#[tokio::test]
async fn of_two_parents_none_is_read() {
    let other = ("traceparent", "00-efefefefefefefefefefefefefefefef-cdcdcdcdcdcdcdcd-01");
    let heard = through(|it| it, &[PARENT, other, ("tracestate", "a=1")]).await;
    let [parent] = &heard.all("traceparent")[..] else { panic!("not one parent") };
    assert!(!parent.contains("abab") && !parent.contains("efef"), "a trace of its own: {parent}");
    assert_eq!(heard.all("tracestate"), [""; 0], "it belongs to a parent");
}

#[tokio::test]
async fn the_state_of_a_trace_stays_where_grpcs_own_header_tells_of_the_trace_too() {
    let both = |it: Tracing| it.propagator(GrpcTraceBin::new());
    let state = ("tracestate", "a=1,b=2");
    // The same span by both, and another of the same trace by the one that counts.
    for same in ["abcd", "abef"] {
        let heard = through(both, &[PARENT, state, ("grpc-trace-bin", same)]).await;
        assert_eq!(heard.all("tracestate"), ["a=1,b=2"], "{same}");
        assert!(heard.all("traceparent")[0].contains(&"ab".repeat(16)));
        assert_eq!(heard.all("grpc-trace-bin").len(), 1);
    }
    let heard = through(both, &[PARENT, state, ("grpc-trace-bin", "efcd")]).await;
    assert_eq!(heard.all("tracestate"), [""; 0], "the state of another trace");
    assert!(heard.all("traceparent")[0].contains(&"ef".repeat(16)));
}

//! h2's client asks, our server answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use differential::{Announce, Driver, Exchange, Plan, compare, send_all};
use gannet_http2::hpack::NoClassifier;
use gannet_http2::{Connection, Event, FieldWriter, Reason, Server, StreamKey};
use h2::client::SendRequest;
use http::HeaderMap;
use tokio::io::DuplexStream;

#[tokio::test]
async fn h2_asks_and_gannet_answers() {
    compare(0, ask, serve).await;
}

async fn ask(io: DuplexStream, settings: Announce, exchanges: Vec<Exchange>) {
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(settings.window)
        .initial_connection_window_size(settings.connection_window)
        .max_frame_size(settings.frame)
        .header_table_size(settings.table)
        .enable_push(false)
        .handshake::<_, Bytes>(io)
        .await
        .expect("handshake");
    let connection = tokio::spawn(connection);
    let tasks: Vec<_> =
        exchanges.into_iter().map(|one| tokio::spawn(exchange(sender.clone(), one))).collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    drop(sender);
    connection.await.expect("no panic").expect("the connection ends well");
}

async fn exchange(sender: SendRequest<Bytes>, exchange: Exchange) {
    let mut sender = sender.ready().await.expect("ready");
    let mut request = http::Request::post("http://test/diff")
        .header("x-plan", exchange.plan.name())
        .header("x-id", exchange.id);
    for (name, value) in &exchange.metadata {
        request = request.header(name, value);
    }
    let request = request.body(()).expect("a request");
    let (response, mut body) = sender.send_request(request, false).expect("sent");
    let cut = exchange.plan == Plan::Cancel;
    let upload = tokio::spawn({
        let exchange = exchange.clone();
        async move {
            let half = exchange.body.len() / if cut { 2 } else { 1 };
            for chunk in exchange.body[..half].chunks(exchange.chunk) {
                send_all(&mut body, Bytes::copy_from_slice(chunk)).await?;
            }
            if cut {
                body.send_reset(h2::Reason::CANCEL);
            } else if exchange.request_trailers {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-end", "1".parse().expect("a value"));
                body.send_trailers(trailers)?;
            } else {
                body.send_data(Bytes::new(), true)?;
            }
            Ok::<_, h2::Error>(())
        }
    });
    let result = receive(response, &exchange).await;
    match exchange.plan {
        Plan::Cancel => {}
        Plan::Reset => {
            let error = result.expect_err("reset");
            assert_eq!(error.reason(), Some(h2::Reason::INADEQUATE_SECURITY), "{exchange:?}");
        }
        _ => {
            result.unwrap_or_else(|error| panic!("{exchange:?}: {error}"));
        }
    }
    // A head that ended the stream stops the upload.
    let uploaded = upload.await.expect("no panic");
    if matches!(exchange.plan, Plan::Unary | Plan::Echo | Plan::EchoNoTrailers) {
        uploaded.expect("all is taken");
    }
}

async fn receive(
    response: h2::client::ResponseFuture,
    exchange: &Exchange,
) -> Result<(), h2::Error> {
    let response = response.await?;
    assert_eq!(response.status(), 200);
    check_metadata(response.headers(), exchange);
    let mut body = response.into_body();
    let mut got = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        got.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await?;
    match exchange.plan {
        Plan::Unary | Plan::Echo => {
            assert!(got == exchange.body, "the body of {exchange:?}");
            let trailers = trailers.expect("trailers");
            assert_eq!(trailers["grpc-status"], "0");
            check_metadata(&trailers, exchange);
        }
        Plan::EchoNoTrailers => {
            assert!(got == exchange.body, "the body of {exchange:?}");
            assert!(trailers.is_none());
        }
        _ => assert!(got.is_empty() && trailers.is_none()),
    }
    Ok(())
}

fn check_metadata(got: &HeaderMap, exchange: &Exchange) {
    for (name, value) in &exchange.metadata {
        assert_eq!(got[name.as_str()].as_bytes(), value.as_bytes(), "{exchange:?}");
    }
}

/// A call at our server.
struct Call {
    plan: Plan,
    metadata: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

async fn serve(io: DuplexStream, settings: Announce) {
    let now = Instant::now();
    let engine: Connection<Server> =
        Connection::new(settings.config(), Arc::new(NoClassifier), now);
    let mut driver = Driver::new(engine, io);
    let mut calls: HashMap<StreamKey, Call> = HashMap::new();
    loop {
        driver.flush().await;
        if !driver.read().await {
            break;
        }
        while let Some(step) = next(&mut driver, &mut calls) {
            act(&mut driver.engine, &mut calls, step);
        }
    }
    assert_eq!(driver.engine.open_streams(), 0);
}

/// What an event asks for.
enum Step {
    Nothing,
    Started(StreamKey),
    Body(StreamKey, Vec<u8>),
    Ended(StreamKey, Vec<u8>),
    Gone(StreamKey),
}

fn next(driver: &mut Driver<Server>, calls: &mut HashMap<StreamKey, Call>) -> Option<Step> {
    let event = driver.engine.next_event(Instant::now(), &mut driver.recv);
    Some(match event.expect("h2 is a correct peer")? {
        Event::Headers { key, fields, end_stream } => {
            assert!(!end_stream);
            let find = |name: &[u8]| fields.iter().find(|f| f.name == name).map(|f| f.value);
            assert_eq!(find(b":path"), Some(&b"/diff"[..]));
            let plan = Plan::parse(find(b"x-plan").expect("a plan"));
            let metadata = fields
                .iter()
                .filter(|f| f.name.starts_with(b"x-") || f.name.starts_with(b"accept-"))
                .filter(|f| f.name != b"x-plan" && f.name != b"x-id")
                .map(|f| (f.name.to_vec(), f.value.to_vec()))
                .collect();
            calls.insert(key, Call { plan, metadata, body: Vec::new() });
            Step::Started(key)
        }
        Event::Data { key, payload, end_stream: false } => Step::Body(key, payload.to_vec()),
        Event::Data { key, payload, end_stream: true } => Step::Ended(key, payload.to_vec()),
        Event::Trailers { key, fields } => {
            assert!(fields.iter().any(|field| field.name == b"x-end"));
            Step::Ended(key, Vec::new())
        }
        Event::Reset { key, .. } => Step::Gone(key),
        _ => Step::Nothing,
    })
}

fn act(engine: &mut Connection<Server>, calls: &mut HashMap<StreamKey, Call>, step: Step) {
    let (key, bytes, ended) = match step {
        Step::Nothing => return,
        Step::Gone(key) => {
            calls.remove(&key);
            return engine.forget(key);
        }
        Step::Started(key) => (key, Vec::new(), false),
        Step::Body(key, bytes) => (key, bytes, false),
        Step::Ended(key, bytes) => (key, bytes, true),
    };
    engine.release(key, bytes.len());
    let Some(call) = calls.get_mut(&key) else { return };
    let started = !ended && bytes.is_empty();
    let metadata = call.metadata.clone();
    let head = |w: &mut FieldWriter<'_>| {
        w.field(b":status", b"200");
        metadata.iter().for_each(|(name, value)| w.field(name, value));
    };
    let trailers = |w: &mut FieldWriter<'_>| {
        w.field_indexed(b"grpc-status", b"0");
        metadata.iter().for_each(|(name, value)| w.field(name, value));
    };
    match call.plan {
        Plan::Unary => {
            call.body.extend_from_slice(&bytes);
            if ended {
                engine.respond_unary(key, head, &call.body, trailers).expect("open");
                calls.remove(&key);
            }
        }
        Plan::Echo | Plan::EchoNoTrailers => {
            if started {
                engine.send_headers(key, false, head).expect("open");
            }
            let plain_end = ended && call.plan == Plan::EchoNoTrailers;
            engine.send_data_shared(key, bytes.into(), plain_end).expect("open");
            if ended && !plain_end {
                engine.send_trailers(key, trailers).expect("open");
            }
            if ended {
                engine.forget(key);
                calls.remove(&key);
            }
        }
        Plan::HeadOnly => {
            engine.send_headers(key, true, head).expect("open");
            engine.forget(key);
            calls.remove(&key);
        }
        Plan::Reset => {
            engine.reset(key, Reason::INADEQUATE_SECURITY);
            engine.forget(key);
            calls.remove(&key);
        }
        Plan::Cancel => {}
    }
}

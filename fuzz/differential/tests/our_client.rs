//! Our client asks, h2's server answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use differential::{Announce, Driver, Exchange, Plan, compare, send_all};
use gannet_http2::hpack::{FieldBlock, NoClassifier};
use gannet_http2::{Client, Connection, Event, FieldWriter, Reason, StreamKey};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::DuplexStream;

#[tokio::test]
async fn gannet_asks_and_h2_answers() {
    compare(1000, ask, serve).await;
}

/// A call of ours.
struct Call {
    exchange: Exchange,
    sent: usize,
    finished: bool,
    got: Vec<u8>,
}

async fn ask(io: DuplexStream, settings: Announce, mut exchanges: Vec<Exchange>) {
    let engine: Connection<Client> =
        Connection::new(settings.config(), Arc::new(NoClassifier), Instant::now());
    let mut driver = Driver::new(engine, io);
    let mut calls: HashMap<StreamKey, Call> = HashMap::new();
    driver.flush().await;
    while !exchanges.is_empty() || !calls.is_empty() {
        while driver.engine.is_established() && driver.engine.can_open().is_ok() {
            let Some(exchange) = exchanges.pop() else { break };
            let key = open(&mut driver.engine, &exchange);
            calls.insert(key, Call { exchange, sent: 0, finished: false, got: Vec::new() });
        }
        calls.retain(|key, call| upload(&mut driver.engine, *key, call));
        driver.flush().await;
        while driver.engine.poll_drained().is_some() {}
        if calls.is_empty() && exchanges.is_empty() {
            break;
        }
        let can_open = driver.engine.is_established() && driver.engine.can_open().is_ok();
        if !(can_open && !exchanges.is_empty() || can_go_on(&driver.engine, &calls)) {
            assert!(driver.read().await, "the server went away");
        }
        while next(&mut driver, &mut calls) {}
    }
    driver.engine.goaway(Reason::NO_ERROR, b"done");
    driver.flush().await;
    assert!(driver.engine.is_finished());
}

fn open(engine: &mut Connection<Client>, exchange: &Exchange) -> StreamKey {
    let request = |w: &mut FieldWriter<'_>| {
        w.field(b":method", b"POST");
        w.field(b":scheme", b"http");
        w.field(b":authority", b"test");
        w.field_indexed(b":path", b"/diff");
        w.field(b"x-plan", exchange.plan.name().as_bytes());
        for (name, value) in &exchange.metadata {
            w.field(name.as_bytes(), value.as_bytes());
        }
    };
    engine.open(false, request).expect("may open")
}

/// Some call has more to send and room to queue it.
fn can_go_on(engine: &Connection<Client>, calls: &HashMap<StreamKey, Call>) -> bool {
    calls.iter().any(|(key, call)| {
        !call.finished && engine.queued_bytes(*key).is_some_and(|queued| queued < QUEUE_BYTES_MAX)
    })
}

const QUEUE_BYTES_MAX: usize = 64 << 10;

/// Sends the next piece; false when the call is cancelled.
fn upload(engine: &mut Connection<Client>, key: StreamKey, call: &mut Call) -> bool {
    let cancels = call.exchange.plan == Plan::Cancel;
    let all = call.exchange.body.len() / if cancels { 2 } else { 1 };
    if call.finished || engine.queued_bytes(key).is_none_or(|queued| queued >= QUEUE_BYTES_MAX) {
        return true;
    }
    let end = all.min(call.sent + call.exchange.chunk);
    let piece = call.exchange.body.slice(call.sent..end);
    let sent = if call.exchange.id.is_multiple_of(2) {
        engine.send_data(key, &piece, false)
    } else {
        engine.send_data_shared(key, piece, false)
    };
    if sent.is_err() {
        call.finished = true; // ended by the server
        return true;
    }
    call.sent = end;
    if end < all {
        return true;
    }
    call.finished = true;
    if cancels {
        engine.forget(key);
        return false;
    }
    if call.exchange.request_trailers {
        engine.send_trailers(key, |w| w.field(b"x-end", b"1")).expect("open");
    } else {
        engine.send_data(key, b"", true).expect("open");
    }
    true
}

/// Handles one event; false when there is none.
fn next(driver: &mut Driver<Client>, calls: &mut HashMap<StreamKey, Call>) -> bool {
    let event = driver.engine.next_event(Instant::now(), &mut driver.recv);
    let (key, ended) = match event.expect("h2 is a correct peer") {
        None => return false,
        Some(Event::Headers { key, fields, end_stream }) => {
            let call = &calls[&key];
            check_metadata(fields, &call.exchange);
            assert_eq!(end_stream, call.exchange.plan == Plan::HeadOnly);
            (key, end_stream)
        }
        Some(Event::Data { key, payload, end_stream }) => {
            let call = calls.get_mut(&key).expect("a call");
            call.got.extend_from_slice(payload);
            assert!(!end_stream || call.exchange.plan == Plan::EchoNoTrailers);
            let len = payload.len();
            driver.engine.release(key, len);
            (key, end_stream)
        }
        Some(Event::Trailers { key, fields }) => {
            let call = &calls[&key];
            assert!(matches!(call.exchange.plan, Plan::Unary | Plan::Echo));
            assert!(fields.iter().any(|f| f.name == b"grpc-status" && f.value == b"0"));
            check_metadata(fields, &call.exchange);
            (key, true)
        }
        Some(Event::Reset { key, reason, remote, .. }) => {
            assert!(remote);
            let call = calls.remove(&key).expect("a call");
            assert_eq!(call.exchange.plan, Plan::Reset, "{reason}");
            assert_eq!(reason, Reason::INADEQUATE_SECURITY);
            driver.engine.forget(key);
            return true;
        }
        Some(_) => return true,
    };
    if ended {
        let call = calls.remove(&key).expect("a call");
        if call.exchange.plan == Plan::HeadOnly {
            assert!(call.got.is_empty());
        } else {
            assert!(call.got == call.exchange.body, "the body of {:?}", call.exchange);
        }
        driver.engine.forget(key);
    }
    true
}

fn check_metadata(fields: &FieldBlock, exchange: &Exchange) {
    for (name, value) in &exchange.metadata {
        let mut found = fields.iter().filter(|field| field.name == name.as_bytes());
        assert!(found.any(|field| field.value == value.as_bytes()), "{name} {fields:?}");
    }
}

async fn serve(io: DuplexStream, settings: Announce) {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(settings.window)
        .initial_connection_window_size(settings.connection_window)
        .max_frame_size(settings.frame)
        .max_concurrent_streams(settings.streams)
        .handshake::<_, Bytes>(io)
        .await
        .expect("handshake");
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if error.is_io() => break, // the client is done and has closed
            Err(error) => panic!("gannet is a correct peer: {error}"),
        };
        tokio::spawn(async move {
            let plan = Plan::parse(request.headers()["x-plan"].as_bytes());
            let result = answer(plan, request, respond).await;
            if let Err(error) = result {
                assert_eq!(plan, Plan::Cancel, "{error}");
            }
        });
    }
}

async fn answer(
    plan: Plan,
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let metadata: Vec<(HeaderName, HeaderValue)> = request
        .headers()
        .iter()
        .filter(|(name, _)| name.as_str() != "x-plan")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut response = http::Response::new(());
    response.headers_mut().extend(metadata.clone());
    let mut trailers: HeaderMap = metadata.into_iter().collect();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut body = request.into_body();
    match plan {
        Plan::Reset => respond.send_reset(h2::Reason::INADEQUATE_SECURITY),
        Plan::HeadOnly => drop(respond.send_response(response, true)?),
        Plan::Unary => {
            let mut all = Vec::new();
            while let Some(chunk) = next_chunk(&mut body).await? {
                all.extend_from_slice(&chunk);
            }
            body.trailers().await?;
            let mut stream = respond.send_response(response, false)?;
            send_all(&mut stream, all.into()).await?;
            stream.send_trailers(trailers)?;
        }
        Plan::Echo | Plan::EchoNoTrailers => {
            let mut stream = respond.send_response(response, false)?;
            while let Some(chunk) = next_chunk(&mut body).await? {
                send_all(&mut stream, chunk).await?;
            }
            body.trailers().await?;
            if plan == Plan::Echo {
                stream.send_trailers(trailers)?;
            } else {
                stream.send_data(Bytes::new(), true)?;
            }
        }
        Plan::Cancel => {
            while next_chunk(&mut body).await?.is_some() {}
            panic!("a cancelled body came to its end");
        }
    }
    Ok(())
}

async fn next_chunk(body: &mut h2::RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let Some(chunk) = body.data().await.transpose()? else { return Ok(None) };
    body.flow_control().release_capacity(chunk.len())?;
    Ok(Some(chunk))
}

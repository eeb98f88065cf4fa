//! gRFC A94: what is counted of a channel's connections, where that is asked for.

use std::future::IntoFuture;
use std::time::Duration;

use gannet_http2::Reason;
use gannet_otel::Metrics;

use crate::metrics::Meters;
use crate::peer::{Peers, unary};

#[tokio::test(start_paused = true)]
async fn connections_are_counted_where_that_is_asked_for() {
    let meters = Meters::new();
    let all = Metrics::new(&meters.provider).with_disconnect_errors();
    let all = all.with_subchannels(&meters.provider);
    let (channel, mut peers) = Peers::with(|builder| builder.observe(all));
    for reason in [Some(Reason::NO_ERROR), None] {
        let call = unary(&channel, b"hello").into_future();
        let (called, mut peer) = tokio::join!(call, async {
            let mut peer = peers.accept().await;
            peer.echo().await;
            peer
        });
        called.unwrap();
        let read = meters.read();
        assert_eq!(read["grpc.subchannel.open_connections"].points[""].1, 1.0);
        if let Some(reason) = reason {
            peer.conn.goaway(reason, b"");
            peer.flush().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(peer);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(peers);
    unary(&channel, b"hello").await.unwrap_err();
    let read = meters.read();
    let of = |name: &str, labels: &str| {
        let counted = &read[&format!("grpc.subchannel.{name}")];
        (counted.unit.clone(), counted.points[labels])
    };
    let unit = str::to_owned;
    assert_eq!(of("connection_attempts_succeeded", ""), (unit("{attempt}"), (2, 0.0)));
    assert_eq!(of("connection_attempts_failed", ""), (unit("{attempt}"), (1, 0.0)));
    assert_eq!(of("open_connections", ""), (unit("{connection}"), (0, 0.0)));
    let one = (unit("{disconnection}"), (1, 0.0));
    assert_eq!(of("disconnections", "disconnect_error=GOAWAY NO_ERROR"), one);
    assert_eq!(of("disconnections", "disconnect_error=unknown"), one);
}

#[tokio::test(start_paused = true)]
async fn why_connections_end_is_told_where_that_is_asked_for() {
    let meters = Meters::new();
    let plain = Metrics::new(&meters.provider).with_subchannels(&meters.provider);
    let (channel, mut peers) = Peers::with(|builder| builder.observe(plain));
    let (called, peer) = tokio::join!(unary(&channel, b"hello").into_future(), async {
        let mut peer = peers.accept().await;
        peer.echo().await;
        peer
    });
    called.unwrap();
    drop(channel);
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(peer);
    let read = meters.read();
    assert_eq!(read["grpc.subchannel.disconnections"].points[""].0, 1, "no other label");
    assert_eq!(read["grpc.subchannel.open_connections"].points[""].1, 0.0);
}

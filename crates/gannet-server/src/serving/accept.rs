//! Accepting connections on one listener, and seeing them to their end.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gannet_http2::{Config, Connection, Upkeep};
use gannet_transport::{
    Acceptor, CloseReason, Command, Driver, Handshake, Incoming, Peer, Queue, Stream,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use super::{Phase, ServeError, wait_until};
use crate::Server;
use crate::head::Classifier;
use crate::side::{Finished, Rules, ServerSide};

/// Pause after the first failed accept in a row; it doubles up to the maximum.
const BACKOFF_MIN: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How long connections that were cut off may take to say so to their peers.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the connections of a server are made with.
#[derive(Debug)]
pub(crate) struct Host {
    rules: Arc<Rules>,
    classifier: Arc<Classifier>,
    http2: Arc<Config>,
    upkeep: Arc<Upkeep>,
    connections: Arc<Semaphore>,
}

impl Host {
    pub(crate) fn new(server: &mut Server) -> Host {
        let rules = server.rules();
        Host {
            classifier: Arc::new(Classifier::new(
                Arc::clone(&rules.router),
                rules.compressors.clone(),
            )),
            rules,
            http2: Arc::new(server.http2.clone()),
            upkeep: Arc::new(server.upkeep.upkeep()),
            connections: Arc::new(Semaphore::new(server.connections_max)),
        }
    }

    /// Has the system notice a peer that is gone, besides keepalive (gRFC A18).
    fn tune(&self, stream: &Stream) {
        if let Some(keepalive) = &self.upkeep.keepalive {
            stream.set_user_timeout(keepalive.timeout);
        }
    }

    fn driver(
        &self,
        stream: Stream,
        peer: Peer,
        queue: Arc<Queue<Finished>>,
    ) -> Driver<ServerSide> {
        let now = Instant::now().into_std();
        let classifier = Arc::clone(&self.classifier);
        let mut conn = Connection::new(Arc::clone(&self.http2), classifier, now);
        conn.keep_up_with(Arc::clone(&self.upkeep), fastrand::f64(), now);
        let rules = Arc::clone(&self.rules);
        let side = ServerSide::new(rules, peer, Arc::clone(&queue), &mut conn);
        Driver::new(stream, conn, side, queue)
    }
}

/// The connections of one accept loop.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    queues: HashMap<Id, Arc<Queue<Finished>>>,
}

/// What the next connection waits for, kept while other things happen.
#[derive(Default)]
struct Next {
    permit: Option<OwnedSemaphorePermit>,
    backoff: Duration,
}

/// Accepts until the server shuts down or nobody can connect any more; then waits for what is open.
/// Dropped, it drops its connections.
pub(crate) async fn accept_loop(
    mut acceptor: Acceptor,
    host: Arc<Host>,
    mut phase: watch::Receiver<Phase>,
) -> Result<(), ServeError> {
    let mut connections = Connections::default();
    let mut next = Next::default();
    while let Some(accepted) =
        next_connection(&mut acceptor, &host, &mut phase, &mut connections, &mut next).await
    {
        match accepted {
            Ok(Some(incoming)) => {
                let Some(permit) = next.permit.take() else { continue };
                next.backoff = Duration::ZERO;
                connections.start(&host, incoming, permit, &phase);
            }
            Ok(None) => break,
            Err(error) if Acceptor::is_exhaustion(&error) => {
                next.backoff = (next.backoff * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
            }
            Err(_) => {}
        }
    }
    drop(acceptor);
    connections.finish(&mut phase).await;
    Ok(())
}

/// The next connection or accept error; `None` when the server shuts down.
async fn next_connection(
    acceptor: &mut Acceptor,
    host: &Host,
    phase: &mut watch::Receiver<Phase>,
    connections: &mut Connections,
    next: &mut Next,
) -> Option<io::Result<Option<Incoming>>> {
    let mut accepted = pin!(async {
        if next.permit.is_none() {
            next.permit = Arc::clone(&host.connections).acquire_owned().await.ok();
        }
        if !next.backoff.is_zero() {
            tokio::time::sleep(next.backoff).await;
        }
        acceptor.accept().await
    });
    let mut shutdown = pin!(phase.wait_for(|phase| *phase != Phase::Serving));
    poll_fn(|cx| {
        if shutdown.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        while let Poll::Ready(Some(ended)) = connections.tasks.poll_join_next_with_id(cx) {
            let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
            connections.queues.remove(&id);
        }
        accepted.as_mut().poll(cx).map(Some)
    })
    .await
}

/// A connection with its place among those that are admitted. Not an `async` block, which would
/// hold the driver twice: as captured, and as awaited.
struct Admitted {
    driver: Driver<ServerSide>,
    _permit: OwnedSemaphorePermit,
}

impl Future for Admitted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Why a connection ended matters to its calls, and they were told.
        Pin::new(&mut self.driver).poll(cx).map(|reason| self.driver.side().tell_end(&reason))
    }
}

/// A connection that starts with a handshake: as much time as HTTP/2's has, and none once the
/// server shuts down. Peers that fail it were told by it.
async fn shake_hands(
    host: Arc<Host>,
    incoming: (Handshake, Peer),
    queue: Arc<Queue<Finished>>,
    permit: OwnedSemaphorePermit,
    mut phase: watch::Receiver<Phase>,
) {
    let (handshake, peer) = incoming;
    let shaken = {
        let mut shaking = pin!(tokio::time::timeout(host.http2.handshake_timeout, handshake));
        let mut leaving = pin!(phase.wait_for(|phase| *phase != Phase::Serving));
        poll_fn(|cx| {
            if leaving.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            shaking.as_mut().poll(cx).map(Some)
        })
        .await
    };
    let failed = |error| host.rules.tell_end(&peer, &CloseReason::Io(error));
    match shaken {
        None => {}
        Some(Err(_)) => failed(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the client took more than {:?} to shake hands", host.http2.handshake_timeout),
        )),
        Some(Ok(Err(error))) => failed(error),
        Some(Ok(Ok((stream, peer)))) => {
            let driver = host.driver(stream, peer, queue);
            Admitted { driver, _permit: permit }.await;
        }
    }
}

impl Connections {
    fn start(
        &mut self,
        host: &Arc<Host>,
        incoming: Incoming,
        permit: OwnedSemaphorePermit,
        phase: &watch::Receiver<Phase>,
    ) {
        host.tune(incoming.stream());
        let queue = Arc::new(Queue::new());
        let peer = incoming.peer().clone();
        let task = match incoming.into_stream() {
            Ok((stream, peer)) => {
                let driver = host.driver(stream, peer, Arc::clone(&queue));
                self.tasks.spawn(Admitted { driver, _permit: permit })
            }
            Err(handshake) => {
                let (host, queue) = (Arc::clone(host), Arc::clone(&queue));
                let shaking = shake_hands(host, (handshake, peer), queue, permit, phase.clone());
                self.tasks.spawn(shaking)
            }
        };
        self.queues.insert(task.id(), queue);
    }

    /// Waits for the connections: without a limit while the server serves, and within the grace
    /// period once it drains.
    async fn finish(&mut self, phase: &mut watch::Receiver<Phase>) {
        let draining = {
            let mut shutdown = pin!(phase.wait_for(|phase| *phase != Phase::Serving));
            let mut ended = pin!(self.join());
            poll_fn(|cx| {
                if let Poll::Ready(phase) = shutdown.as_mut().poll(cx) {
                    return Poll::Ready(Some(phase.map(|phase| *phase)));
                }
                ended.as_mut().poll(cx).map(|()| None)
            })
            .await
        };
        let Some(phase) = draining else { return };
        if let Ok(Phase::Draining { until }) = phase {
            self.tell(|| Command::Drain);
            if wait_until(until, self.join()).await {
                return;
            }
        }
        self.tell(|| Command::Abort);
        wait_until(Instant::now() + FAREWELL, self.join()).await;
        self.tasks.shutdown().await;
    }

    fn tell(&self, command: impl Fn() -> Command<Finished>) {
        for queue in self.queues.values() {
            queue.push(command());
        }
    }

    async fn join(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Tokio adds 96 bytes to a task and rounds it up to a multiple of 128: a few bytes more may
    /// take 128 more of each connection.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_connections_task_fits_17_times_128_bytes() {
        let task = size_of::<Admitted>() + 96;
        assert!(task <= 17 * 128, "{task}");
    }

    #[tokio::test]
    async fn sockets_have_the_keepalives_timeout() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let of = async |mut server: Server| {
            let _client = tokio::net::TcpStream::connect(address).await.unwrap();
            let stream = Stream::Tcp(listener.accept().await.unwrap().0);
            Host::new(&mut server).tune(&stream);
            let Stream::Tcp(socket) = &stream else { unreachable!("it is TCP") };
            socket2::SockRef::from(socket).tcp_user_timeout().unwrap()
        };
        assert_eq!(of(Server::new()).await, Some(Duration::from_secs(20)));
        let server = Server::new().keepalive_timeout(Duration::from_millis(1_500));
        assert_eq!(of(server).await, Some(Duration::from_millis(1_500)));
        let off = of(Server::new().keepalive_time(Duration::MAX)).await;
        assert!(off.is_none_or(|timeout| timeout.is_zero()), "{off:?}");
    }
}

//! [`Wire`]: what lies between a channel and a server in process, and can be cut, stalled and
//! slowed down.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use gannet_transport::{Listener, PipeConnector, PipeGate, Stream, pipe};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::faults::mixed;

/// Bytes that are carried at once.
const PIECE_BYTES_MAX: usize = 16 << 10;
/// Bytes that may be under way in one direction of a connection, 16 MiB.
const UNDER_WAY_BYTES_MAX: u32 = 16 << 20;
/// What a piece takes besides its bytes, so that small ones have a bound, too.
const PIECE_COST_BYTES: usize = 64;

/// The connections of a channel, from [`InProcess::wired`](crate::InProcess::wired), or those to
/// one of its addresses, from [`InProcess::wired_address`](crate::InProcess::wired_address).
///
/// ```
/// # use std::time::Duration;
/// # use gannet_testing::{InProcess, example::{ECHO, Echo}};
/// # use gannet_core::{Code, codec::Raw};
/// # use gannet_server::Server;
/// # gannet_testing::virtual_time(async {
/// let (channel, wire) = InProcess::serve(Server::new().add(Echo)).wired();
/// let say = || channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], b"hi".to_vec());
/// say().await.unwrap();
///
/// wire.set_latency(Duration::from_millis(40));
/// let started = tokio::time::Instant::now();
/// say().await.unwrap();
/// assert_eq!(started.elapsed(), Duration::from_millis(80), "there and back");
///
/// wire.cut();
/// wire.set_refusing(true);
/// assert_eq!(say().await.unwrap_err().code(), Code::Unavailable);
/// wire.set_refusing(false);
/// say().wait_for_ready(true).await.unwrap();
/// assert_eq!(wire.connections(), 2);
/// # });
/// ```
///
/// What it is told holds at once for all connections, and for those that come. Clones are the same.
#[derive(Clone)]
pub struct Wire(Arc<Shared>);

struct Shared {
    gate: PipeGate,
    state: watch::Sender<State>,
    connections: AtomicU64,
    carried: [AtomicU64; 2],
    cuts: Mutex<Option<(Rng, Range<u64>)>>,
}

#[derive(Clone, Default)]
struct State {
    /// Grows with each cut.
    cuts: u64,
    is_stalled: [bool; 2],
    latency: Duration,
    /// Bytes a second; 0: as fast as can be.
    rate: u64,
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

impl Wire {
    /// The way to `server` through a wire.
    pub(crate) fn to(server: PipeConnector) -> (PipeConnector, Wire) {
        let (connector, listener) = pipe();
        let wire = Wire(Arc::new(Shared {
            gate: listener.gate(),
            state: watch::Sender::new(State::default()),
            connections: AtomicU64::new(0),
            carried: Default::default(),
            cuts: Mutex::new(None),
        }));
        let held = wire.clone();
        tokio::spawn(async move { held.accept(Listener::from(listener), server).await });
        (connector, wire)
    }

    /// Cuts all connections that there are: both ends see in a moment that they are lost, and calls
    /// on them end with UNAVAILABLE. The channel may make others: see
    /// [`set_refusing`](Self::set_refusing).
    pub fn cut(&self) {
        self.0.state.send_modify(|state| state.cuts += 1);
    }

    /// Cuts each connection that is made from now on when it has carried so many bytes, there and
    /// back, which chance chooses for each from this range, up to its end, by this seed. `0..1`
    /// cuts at once. In place of what was said before.
    ///
    /// # Panics
    /// Where the range is empty.
    pub fn cut_within(&self, seed: u64, bytes: Range<u64>) {
        assert!(!bytes.is_empty(), "a connection cannot be cut within no bytes: {bytes:?}");
        *self.0.cuts.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Rng::with_seed(mixed(seed, 0)), bytes));
    }

    /// Whether new connections are refused, as on a port that nobody listens on. Those that there
    /// are stay: see [`cut`](Self::cut).
    pub fn set_refusing(&self, on: bool) {
        self.0.gate.set_refusing(on);
    }

    /// Whether nothing arrives in this direction, while the connection stays: as of a peer that
    /// does not read, or a network that swallows what it is given.
    pub fn set_stalled(&self, direction: Direction, on: bool) {
        self.0.state.send_modify(|state| state.is_stalled[direction as usize] = on);
    }

    /// How long bytes are under way that are sent from now on, in each direction: a round trip
    /// takes twice that (at first: no time). In whole milliseconds, which is what timers have.
    ///
    /// Up to 16 MiB are under way in each direction of a connection, where each read of it, of 16
    /// KiB at most, counts for 64 bytes more than it has. What is sent beyond that waits with its
    /// sender, and is under way from when there is room.
    pub fn set_latency(&self, latency: Duration) {
        self.0.state.send_modify(|state| state.latency = latency);
    }

    /// How many bytes a second arrive, in each direction of each connection (at first, and with 0:
    /// as many as come: 16 MiB in the time of one [latency](Self::set_latency)). What is sent
    /// faster waits, from 16 MiB on with its sender.
    pub fn set_rate(&self, bytes_per_second: u64) {
        self.0.state.send_modify(|state| state.rate = bytes_per_second);
    }

    /// How many connections were made so far, whether they still are or not. One that was refused
    /// is none.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// How many bytes have arrived in this direction, on all connections so far: HTTP/2, and TLS
    /// where there is some.
    pub fn carried_bytes(&self, direction: Direction) -> u64 {
        self.0.carried[direction as usize].load(Ordering::SeqCst)
    }

    async fn accept(self, listener: Listener, server: PipeConnector) {
        // Registering a pipe with the runtime cannot fail.
        let Ok(mut acceptor) = listener.into_acceptor() else { return };
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = acceptor.accept() => accepted,
                // Without a listener, who connects from now on is refused.
                () = server.closed() => return,
            };
            let Ok(Some(incoming)) = accepted else { return };
            let Ok((stream, _)) = incoming.into_stream() else { return };
            // It came before, and is none of those that there are.
            if self.0.gate.is_refusing() {
                continue;
            }
            let Ok((to_server, _)) = server.connect().await else { return };
            self.0.connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(self.clone().carry(stream, to_server));
        }
    }

    /// Carries what two streams have for each other, until one ends or they are cut.
    async fn carry(self, client: Stream, server: Stream) {
        let mut cut = self.0.state.subscribe();
        let begun_at = cut.borrow_and_update().cuts;
        let limit = self.limit();
        let left = AtomicU64::new(limit);
        let (from_client, to_client) = tokio::io::split(client);
        let (from_server, to_server) = tokio::io::split(server);
        let there = self.pump(from_client, to_server, Direction::ToServer, &left);
        let back = self.pump(from_server, to_client, Direction::ToClient, &left);
        let both = async { tokio::join!(there, back) };
        tokio::select! {
            biased;
            _ = both => {}
            _ = cut.wait_for(|state| state.cuts != begun_at) => {}
            () = self.used_up(&left) => {}
        }
    }

    /// After how many bytes the connection is cut.
    fn limit(&self) -> u64 {
        let mut cuts = self.0.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.as_mut().map_or(u64::MAX, |(random, bytes)| random.u64(bytes.clone()))
    }

    /// Ready when the connection has carried what it may.
    async fn used_up(&self, left: &AtomicU64) {
        let mut state = self.0.state.subscribe();
        while left.load(Ordering::SeqCst) > 0 {
            // Whoever uses it up changes the state.
            let _ = state.changed().await;
        }
    }

    async fn pump(
        &self,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
        direction: Direction,
        left: &AtomicU64,
    ) {
        // Bounded by the room that each piece takes.
        let (pieces, under_way) = mpsc::unbounded_channel();
        let taken = self.take(from, pieces);
        let put = self.put(to, under_way, direction, left);
        // An end that is lost is seen by the other task, too.
        let _ = tokio::join!(taken, put);
    }

    /// Reads, and says when each piece arrives.
    async fn take(
        &self,
        mut from: impl AsyncRead + Unpin,
        pieces: mpsc::UnboundedSender<Piece>,
    ) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(UNDER_WAY_BYTES_MAX as usize));
        let mut buffer = vec![0; PIECE_BYTES_MAX];
        let most = u32::try_from(PIECE_BYTES_MAX + PIECE_COST_BYTES).unwrap_or(UNDER_WAY_BYTES_MAX);
        loop {
            // Nobody closes it.
            let Ok(mut free) = Arc::clone(&room).acquire_many_owned(most).await else { break };
            let bytes = from.read(&mut buffer).await?;
            let arrives = Instant::now() + self.0.state.borrow().latency;
            let taken = free.split(bytes + PIECE_COST_BYTES);
            let piece = Piece { arrives, bytes: buffer[..bytes].to_vec(), _room: taken };
            if bytes == 0 || pieces.send(piece).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Writes what arrives, when it does.
    async fn put(
        &self,
        mut to: impl AsyncWrite + Unpin,
        mut pieces: mpsc::UnboundedReceiver<Piece>,
        direction: Direction,
        left: &AtomicU64,
    ) -> io::Result<()> {
        let mut state = self.0.state.subscribe();
        while let Some(whole) = pieces.recv().await {
            tokio::time::sleep_until(whole.arrives).await;
            let mut piece = &whole.bytes[..];
            while !piece.is_empty() {
                // The sender of the state is `self`'s.
                let is_open = |state: &State| !state.is_stalled[direction as usize];
                let _ = state.wait_for(is_open).await;
                let rate = state.borrow().rate;
                let now = self.portion(piece.len(), rate, left);
                if now == 0 {
                    return Ok(());
                }
                if rate > 0 {
                    tokio::time::sleep(time_of(now, rate)).await;
                }
                to.write_all(&piece[..now]).await?;
                self.0.carried[direction as usize].fetch_add(now as u64, Ordering::SeqCst);
                piece = &piece[now..];
            }
        }
        to.shutdown().await
    }

    /// How much of so many bytes may be carried at once; 0 where the connection has no more.
    fn portion(&self, bytes: usize, rate: u64, left: &AtomicU64) -> usize {
        // A slow wire carries no more than what it does in a tenth of a second.
        let step = usize::try_from((rate / 10).max(1)).unwrap_or(usize::MAX);
        let bytes = if rate > 0 { bytes.min(step) } else { bytes };
        let mut taken = 0;
        let take = |left: u64| {
            taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes);
            Some(left - taken as u64)
        };
        // It always takes something.
        let _ = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        if left.load(Ordering::SeqCst) == 0 {
            self.0.state.send_modify(|_| {});
        }
        taken
    }
}

/// Bytes under way.
struct Piece {
    arrives: Instant,
    bytes: Vec<u8>,
    /// What it takes of the room that there is, until it is written.
    _room: Option<OwnedSemaphorePermit>,
}

fn time_of(bytes: usize, rate: u64) -> Duration {
    Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / rate)
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

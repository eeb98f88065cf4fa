//! gannet-http2 against the `h2` crate: the same exchanges with each of the two as client and the
//! other as server, over an in-memory pipe. The tests are in `tests/`; here is what both share.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gannet_http2::{Config, Connection, RecvBuf, Role, SendBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// What one exchange does. Travels in the field `x-plan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The server reads all, then answers with the same.
    Unary,
    /// The server sends back what comes, as it comes.
    Echo,
    /// As `Echo`, with END_STREAM on the last DATA instead of trailers.
    EchoNoTrailers,
    /// One HEADERS with END_STREAM.
    HeadOnly,
    /// The server resets.
    Reset,
    /// The client resets after half of its body.
    Cancel,
}

impl Plan {
    pub const ALL: [Plan; 6] =
        [Plan::Unary, Plan::Echo, Plan::EchoNoTrailers, Plan::HeadOnly, Plan::Reset, Plan::Cancel];

    pub fn name(self) -> String {
        format!("{self:?}")
    }

    pub fn parse(text: &[u8]) -> Plan {
        let found = Plan::ALL.into_iter().find(|plan| plan.name().as_bytes() == text);
        found.expect("a plan")
    }
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub id: usize,
    pub plan: Plan,
    pub body: Bytes,
    pub chunk: usize,
    pub request_trailers: bool,
    /// Sent in the request, and sent back in the response and in the trailers.
    pub metadata: Vec<(String, String)>,
}

/// SplitMix64.
#[derive(Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.number() % from.len() as u64).expect("small")]
    }
}

/// Runs one connection for each seed: `ask` on the one end of a pipe and `serve` on the other, with
/// what each of them announces.
pub async fn compare<A, S>(
    first_seed: u64,
    ask: impl Fn(DuplexStream, Announce, Vec<Exchange>) -> A,
    serve: impl Fn(DuplexStream, Announce) -> S,
) where
    A: Future<Output = ()>,
    S: Future<Output = ()> + Send + 'static,
{
    for seed in seeds(first_seed) {
        let mut rng = Rng(seed);
        let (servers, clients) = (Announce::random(&mut rng), Announce::random(&mut rng));
        let exchanges = exchanges(&mut rng, 12, servers.window.min(clients.window));
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let server = tokio::spawn(serve(far, servers));
        let asked = tokio::time::timeout(Duration::from_secs(60), ask(near, clients, exchanges));
        asked.await.unwrap_or_else(|_| panic!("seed {seed} stalls: {servers:?} {clients:?}"));
        let served = tokio::time::timeout(Duration::from_secs(10), server);
        served.await.expect("the server ends").expect("no panic");
    }
}

/// Sends through h2 as its flow control allows; gives up where the stream has ended.
pub async fn send_all(
    stream: &mut h2::SendStream<Bytes>,
    mut data: Bytes,
) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else { break };
        let part = data.split_to(room?.min(data.len()));
        stream.send_data(part, false)?;
    }
    Ok(())
}

/// The seeds of one test, 60 connections unless GANNET_DIFF_SEEDS says otherwise.
fn seeds(first: u64) -> std::ops::Range<u64> {
    let count = std::env::var("GANNET_DIFF_SEEDS").ok().and_then(|text| text.parse().ok());
    first..first + count.unwrap_or(60)
}

/// What one side announces.
#[derive(Clone, Copy, Debug)]
pub struct Announce {
    pub window: u32,
    pub connection_window: u32,
    pub frame: u32,
    pub table: u32,
    pub streams: u32,
}

impl Announce {
    pub fn random(rng: &mut Rng) -> Self {
        Announce {
            window: rng.pick(&[100, 5000, 65_535, 1 << 20]),
            connection_window: rng.pick(&[65_535, 200_000, 1 << 20]),
            frame: rng.pick(&[16_384, 20_000, 1 << 20]),
            table: rng.pick(&[0, 100, 4096, 16_384]),
            streams: rng.pick(&[1, 3, 100]),
        }
    }

    pub fn config(self) -> Config {
        let mut config = Config::default();
        config.stream_window_bytes = self.window;
        config.connection_window_bytes = self.connection_window;
        config.frame_bytes_max = self.frame;
        config.header_table_bytes = self.table;
        config.encoder_table_bytes_max = 16_384;
        config.concurrent_streams_max = self.streams;
        config
    }
}

fn exchanges(rng: &mut Rng, count: usize, window: u32) -> Vec<Exchange> {
    let body_max = (window as usize * 50).min(300_000);
    (0..count)
        .map(|id| {
            let len = rng.pick(&[0, 1, 100, 10_000, 100_000, 300_000]).min(body_max);
            let metadata = (0..rng.pick(&[0, 1, 3, 10]))
                .map(|i| {
                    let len = rng.pick(&[0, 1, 20, 500]);
                    let value = (0..len).map(|_| rng.pick(&['a', '~', '0', '%', 'Z'])).collect();
                    let name = rng.pick(&["x-repeats", "x-other", "accept-language", "x-long"]);
                    (format!("{name}-{i}"), value)
                })
                .collect();
            Exchange {
                id,
                plan: rng.pick(&Plan::ALL),
                body: (0..len).map(|i| (i * 7 + id + (i >> 8)).to_le_bytes()[0]).collect(),
                chunk: rng.pick(&[1000, 16_384, 100_000, 300_000]),
                request_trailers: rng.pick(&[false, true]),
                metadata,
            }
        })
        .collect()
}

/// One of our engines on its end of the pipe.
pub struct Driver<R: Role> {
    pub engine: Connection<R>,
    pub recv: RecvBuf,
    out: SendBuf,
    io: DuplexStream,
}

impl<R: Role> Driver<R> {
    pub fn new(engine: Connection<R>, io: DuplexStream) -> Self {
        Driver { engine, recv: RecvBuf::new(), out: SendBuf::new(), io }
    }

    /// Sends all there is; the pipe is large enough never to be full.
    pub async fn flush(&mut self) {
        loop {
            self.engine.poll_transmit(Instant::now(), &mut self.out);
            let mut bytes = Vec::new();
            self.out.copy_to(&mut bytes);
            self.out.clear();
            if bytes.is_empty() || self.io.write_all(&bytes).await.is_err() {
                break;
            }
            self.engine.check_invariants();
        }
    }

    /// Waits for bytes; false at the end.
    pub async fn read(&mut self) -> bool {
        let spare = self.recv.spare_mut();
        let n = self.io.read(spare).await.unwrap_or(0);
        self.recv.commit(n);
        n > 0
    }
}

/// Never full: the windows of all exchanges together are smaller.
const PIPE_BYTES: usize = 64 << 20;

//! How quick calls fare beside slow ones on the same connection, and how many cores one connection
//! can use: a server and its client in one process, over TCP.
//!
//! Prints the latency of quick calls alone and beside calls that compute, and how many of those are
//! answered each second with one in flight and with as many as there are cores.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use gannet::server::{Dispatch, MethodOptions};
use gannet::{Call, Channel, Listener, Result, Server};
use gannet_interop::proto::neighbours::{
    Done, Neighbours, NeighboursClient, NeighboursServer, Work,
};

/// Measures slow and quick calls on one connection.
#[derive(Parser)]
struct Args {
    /// How long a slow call computes, µs.
    #[arg(long, default_value_t = 2_000)]
    micros: u32,
    /// Slow calls in flight beside the quick ones.
    #[arg(long, default_value_t = 1)]
    slow_in_flight: usize,
    /// Pause between two quick calls, ms.
    #[arg(long, default_value_t = 1)]
    pause_millis: u64,
    /// How long each measurement takes, seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Threads of the server's own; 0: the runtime, with 2 workers.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Where slow calls run, instead of where the server sends them by itself.
    #[arg(long)]
    dispatch: Option<Place>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Place {
    Inline,
    Spawn,
    Compute,
    Blocking,
}

struct Service;

impl Neighbours for Service {
    async fn busy(&self, _: &mut Call, work: Work) -> Result<Done> {
        let until = Instant::now() + Duration::from_micros(u64::from(work.micros));
        while Instant::now() < until {
            black_box(until);
        }
        Ok(Done::default())
    }

    async fn quick(&self, _: &mut Call, _: Work) -> Result<Done> {
        Ok(Done::default())
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> std::result::Result<(), AnyError> {
    let args = Args::parse();
    let (told, addr) = std::sync::mpsc::channel();
    let (threads, dispatch) = (args.threads, args.dispatch);
    std::thread::spawn(move || serve(threads, dispatch, &told));
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    client.block_on(measure(&args, addr.recv()?))
}

fn serve(
    threads: usize,
    dispatch: Option<Place>,
    told: &std::sync::mpsc::Sender<String>,
) -> std::result::Result<(), AnyError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = Listener::tcp("127.0.0.1:0")?;
        told.send(listener.local_addr().ok_or("no address")?.to_string())?;
        let mut server = Server::new().add(NeighboursServer::new(Service)).threads(threads);
        if let Some(place) = dispatch {
            let dispatch = match place {
                Place::Inline => Dispatch::Inline,
                Place::Spawn => Dispatch::Spawn,
                Place::Compute => Dispatch::Compute,
                Place::Blocking => Dispatch::Blocking,
            };
            server = server
                .method("/neighbours.Neighbours/Busy", MethodOptions::new().dispatch(dispatch));
        }
        server.serve(listener).await?;
        Ok(())
    })
}

async fn measure(args: &Args, addr: String) -> std::result::Result<(), AnyError> {
    let client = NeighboursClient::new(Channel::builder(addr).build()?);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let time = Duration::from_secs(args.seconds);
    let pause = Duration::from_millis(args.pause_millis);
    let work = Work { micros: args.micros, ..Default::default() };

    quick_calls(&client, pause, Duration::from_millis(300)).await?;
    let alone = quick_calls(&client, pause, time).await?;
    println!("quick calls alone:          {alone}");
    let slow = Slow::start(&client, &work, args.slow_in_flight);
    let beside = quick_calls(&client, pause, time).await?;
    println!(
        "beside {} slow in flight:    {beside}; {:.0} slow calls/s",
        args.slow_in_flight,
        slow.stop().await? / time.as_secs_f64()
    );
    for in_flight in [1, cores, 4 * cores] {
        let slow = Slow::start(&client, &work, in_flight);
        tokio::time::sleep(time).await;
        let per_second = slow.stop().await? / time.as_secs_f64();
        let busy = per_second * f64::from(args.micros) / 1e6;
        println!("{in_flight} slow in flight: {per_second:.0} calls/s, {busy:.2} cores busy");
    }
    Ok(())
}

/// Calls that compute, so many at a time, until they are stopped.
struct Slow {
    stopped: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Result<()>>>,
}

impl Slow {
    fn start(client: &NeighboursClient, work: &Work, in_flight: usize) -> Slow {
        let stopped = Arc::new(AtomicBool::new(false));
        let made = Arc::new(AtomicU64::new(0));
        let tasks = (0..in_flight).map(|_| {
            let (client, work) = (client.clone(), work.clone());
            let (stopped, made) = (Arc::clone(&stopped), Arc::clone(&made));
            tokio::spawn(async move {
                while !stopped.load(Ordering::Relaxed) {
                    client.busy(work.clone()).await?;
                    made.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        });
        let tasks = tasks.collect();
        Slow { stopped, made, tasks }
    }

    /// How many were answered.
    async fn stop(self) -> std::result::Result<f64, AnyError> {
        let made = self.made.load(Ordering::Relaxed);
        self.stopped.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await??;
        }
        Ok(f64::from(u32::try_from(made)?))
    }
}

/// Latencies, sorted.
struct Latencies(Vec<Duration>);

async fn quick_calls(
    client: &NeighboursClient,
    pause: Duration,
    time: Duration,
) -> Result<Latencies> {
    let mut latencies = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        let began = Instant::now();
        client.quick(Work::default()).await?;
        latencies.push(began.elapsed());
        tokio::time::sleep(pause).await;
    }
    latencies.sort();
    Ok(Latencies(latencies))
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |share: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
            let index = (self.0.len() as f64 * share) as usize;
            self.0.get(index).map_or(0, Duration::as_micros)
        };
        let (count, p50, p99, p999) = (self.0.len(), at(0.5), at(0.99), at(0.999));
        write!(f, "{count} calls, p50 {p50} µs, p99 {p99} µs, p99.9 {p999} µs")
    }
}

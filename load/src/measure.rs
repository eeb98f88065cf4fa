//! A run from its first connection to its figures: open, warm up, measure.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};

use crate::connection::resolve;
use crate::fleet::{Fleet, Target, Until};
use crate::link::Speaker;
use crate::rest::{Connections, Rest};
use crate::scenario::{Scenario, Sizes};
use crate::script::Script;
use crate::session::Session;
use crate::tally::{Counts, Latencies, Pace, Tally};
use crate::trust::Trust;

/// A run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's address.
    pub addr: String,
    /// With TLS, whom it trusts.
    pub tls: Option<Trust>,
    /// The token that every call has, which has to be a header's value.
    pub bearer: Option<String>,
    /// What to do.
    pub scenario: Scenario,
    /// Connections, at least 1.
    pub connections: usize,
    /// Calls in flight on each connection, at least 1.
    pub in_flight: usize,
    /// Of messages.
    pub sizes: Sizes,
    /// All replies must have come before the next requests are sent, in one write.
    pub lockstep: bool,
    /// Calls that are made and not counted, for so long.
    pub warm_up: Duration,
    /// When the run ends. Scenarios that hold take no notice.
    pub length: Length,
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// After exactly so many calls.
    Calls(u64),
    /// When the time is over; what is under way then does not count.
    Time(Duration),
}

/// The figures of a run; those after the warm-up only.
#[derive(Debug)]
pub struct Figures {
    counts: Counts,
    elapsed: Duration,
    cpu: Duration,
    /// p50, p99 and p99.9 in µs.
    latencies: [f64; 3],
}

/// With little more than this on its way, one connection can wait in its read: neither side can
/// come to wait for the other to read.
const BLOCKING_BYTES_MAX: usize = 32 << 10;

/// Makes calls and measures.
///
/// # Errors
/// Where a connection fails, or a reply is not what it should be.
pub fn measure(options: &Options) -> io::Result<Figures> {
    match prepare(options)? {
        Prepared::Rpc(mut fleet, mut tally) => figures(&mut fleet, options, &mut tally),
        Prepared::Rest(mut fleet, mut tally) => figures(&mut fleet, options, &mut tally),
    }
}

/// Opens all connections and streams of a scenario that holds, calls `opened`, and keeps them, with
/// every PING answered, until `wait` has returned.
///
/// # Errors
/// As [`measure`].
pub fn hold(
    options: &Options,
    opened: impl FnOnce() -> io::Result<()>,
    wait: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let Prepared::Rpc(mut fleet, mut tally) = prepare(options)? else {
        return Err(io::Error::other("REST has nothing to hold"));
    };
    let in_flight = options.in_flight.max(1);
    tally.left = (options.connections.max(1) * in_flight) as u64;
    fleet.run(Until::Done, &mut tally)?;
    opened()?;
    let hold = fleet.hold()?;
    hold.until(wait);
    fleet.run(Until::Told(&hold), &mut tally)
}

enum Prepared {
    Rpc(Fleet<Session>, Tally),
    Rest(Fleet<Rest>, Tally),
}

/// Opens the connections, and waits until each is ready.
fn prepare(options: &Options) -> io::Result<Prepared> {
    raise_descriptor_limit();
    let target = Target { addr: resolve(&options.addr)?, trust: options.tls.clone() };
    let connections = options.connections.max(1);
    let in_flight = options.in_flight.max(1);
    let mut tally = Tally { latencies: Some(Latencies::new()?), ..Tally::default() };
    if options.lockstep {
        tally.pace = Pace::Waits;
    }
    let Some(plan) = options.scenario.plan(options.sizes)? else {
        let kind = match options.scenario {
            Scenario::RestConnect => Connections::PerRequest,
            _ => Connections::Kept,
        };
        if in_flight > 1 {
            return Err(io::Error::other("HTTP/1.1 has one request in flight on a connection"));
        }
        if target.trust.is_some() {
            return Err(io::Error::other("REST is called without TLS only"));
        }
        let fleet = Fleet::open(target, connections, true, || Rest::new(kind))?;
        return Ok(Prepared::Rest(fleet, tally));
    };
    let script = Arc::new(Script::new(plan, options.bearer.as_deref()));
    let plan = &script.plan;
    let sent = script.request.len() * plan.outstanding.min(plan.requests) as usize;
    let received = script.reply.len() * plan.replies as usize;
    let blocks = in_flight.saturating_mul(sent.max(received)) <= BLOCKING_BYTES_MAX;
    let blocks = blocks && !options.scenario.holds();
    let speaker = || Session::new(Arc::clone(&script), in_flight);
    let mut fleet = Fleet::open(target, connections, blocks, speaker)?;
    fleet.run(Until::Ready, &mut tally)?;
    Ok(Prepared::Rpc(fleet, tally))
}

fn figures<S: Speaker>(
    fleet: &mut Fleet<S>,
    options: &Options,
    tally: &mut Tally,
) -> io::Result<Figures> {
    if !options.warm_up.is_zero() {
        tally.left = u64::MAX;
        fleet.run(Until::Time(Instant::now() + options.warm_up), tally)?;
    }
    let until = match options.length {
        Length::Calls(calls) => {
            // None of the warm-up's calls shall count.
            tally.left = 0;
            fleet.run(Until::Done, tally)?;
            tally.left = calls;
            Until::Done
        }
        Length::Time(time) => {
            tally.left = u64::MAX;
            Until::Time(Instant::now() + time)
        }
    };
    let before = tally.counts;
    tally.latencies.iter_mut().for_each(Latencies::clear);
    let (begun, cpu_before) = (Instant::now(), cpu()?);
    fleet.run(until, tally)?;
    let (elapsed, cpu) = (begun.elapsed(), cpu()?.saturating_sub(cpu_before));
    let latency = |quantile| tally.latencies.as_ref().map_or(0.0, |all| all.at_quantile(quantile));
    let latencies = [0.5, 0.99, 0.999].map(latency);
    Ok(Figures { counts: tally.counts.since(before), elapsed, cpu, latencies })
}

impl Figures {
    /// Calls that were answered rightly.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.counts.calls
    }

    /// Messages received.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.counts.messages
    }

    /// One JSON object. Times are in seconds but for the latencies (µs) of whole calls; `cpu_s` is
    /// this process' own.
    #[must_use]
    pub fn json(&self) -> String {
        let Counts { calls, messages, reads, writes, bytes_in, bytes_out } = self.counts;
        let (elapsed, cpu) = (self.elapsed.as_secs_f64(), self.cpu.as_secs_f64());
        let [p50, p99, p999] = self.latencies;
        let mut out = String::new();
        let _ = write!(
            out,
            "{{\"calls\":{calls},\"messages\":{messages},\"elapsed_s\":{elapsed:.6},\
             \"cpu_s\":{cpu:.6},\"bytes_in\":{bytes_in},\"bytes_out\":{bytes_out},\
             \"p50_us\":{p50:.1},\"p99_us\":{p99:.1},\"p999_us\":{p999:.1},\
             \"reads\":{reads},\"writes\":{writes}}}"
        );
        out
    }
}

/// The processor time of this process, its own and the kernel's for it.
fn cpu() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let times = [usage.user_time(), usage.system_time()];
    let parts = times.map(|time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    });
    Ok(parts[0] + parts[1])
}

/// As many open sockets as the system allows; where it allows too few, opening them tells.
pub(crate) fn raise_descriptor_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

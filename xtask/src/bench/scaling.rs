//! `cargo xtask bench --scaling`: what a second core brings to 64 tasks that call over one channel.
//!
//! A client and the canned server share one core, then two. With a core for each side one would
//! measure two cores always. So the ideal is known: twice the calls, whatever the server's part is.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use super::Args;
use super::programs::{self, Program, Role, release};
use super::results::median;
use super::runner::{self, cores, create, write};
use super::serving::Serving;
use super::{json, table};
use crate::exec::{self, Result};

/// Those that can be told to compute between calls.
const PROGRAMS: [&str; 2] = ["gannet", "tonic"];
const IN_FLIGHT: [u32; 2] = [64, 512];
/// Rounds of a computation, each of a nanosecond or two, that a task makes before each call.
const WORK: [u32; 4] = [0, 1_000, 5_000, 20_000];
/// A core, and two, as `taskset` calls them.
const CORES: [(&str, &str); 2] = [("0", "1"), ("0,1", "2")];
/// How often two threads take turns, to learn how far their cores are from each other.
const TURNS: u32 = 200_000;
/// Looks for the other's turn before a core is given away: some microseconds.
const SPINS: u32 = 100;

/// Rate, and CPU of the client for each call, on one core and on two.
type Cell = [[Vec<f64>; 2]; CORES.len()];

/// Measures, prints, and saves where that is wanted.
pub(super) fn run(args: &Args) -> Result {
    if cores() < 2 || exec::find("taskset").is_none() {
        return Err("two cores and `taskset` are needed to tell what a second core brings".into());
    }
    let wanted = if args.peers.is_empty() {
        PROGRAMS.map(str::to_owned).to_vec()
    } else {
        args.peers.clone()
    };
    if let Some(other) = wanted.iter().find(|name| !PROGRAMS.contains(&name.as_str())) {
        return Err(format!(
            "--peers {other}: only {} can be told to compute",
            PROGRAMS.join(", ")
        ));
    }
    let (programs, missing) = programs::build(&[Role::Client], &wanted)?;
    if let Some((name, reason)) = missing.first() {
        return Err(format!("{name}: {reason}"));
    }
    let seconds = args.seconds.unwrap_or(if args.quick { 0.5 } else { 1.5 });
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 5 }).max(1);
    let mut cells: BTreeMap<(usize, usize, usize), Cell> = BTreeMap::new();
    let mut handovers = Vec::new();
    for _ in 0..rounds {
        handovers.push(handover_ns());
        for (at, in_flight) in IN_FLIGHT.into_iter().enumerate() {
            for (step, work) in WORK.into_iter().enumerate() {
                for (which, program) in programs.iter().enumerate() {
                    let cell = cells.entry((at, step, which)).or_default();
                    for (place, samples) in CORES.into_iter().zip(cell) {
                        let figures = measure(program, place, in_flight, work, seconds)?;
                        samples.iter_mut().zip(figures).for_each(|(all, one)| all.push(one));
                    }
                }
            }
        }
    }
    let mut lines = vec![head()];
    lines.extend(cells.into_iter().map(|((at, step, which), cell)| {
        line(IN_FLIGHT[at], WORK[step], &programs[which].name, cell)
    }));
    let origin = runner::origin(args);
    let (least, most) = handovers
        .iter()
        .fold((f64::MAX, 0.0_f64), |(least, most), ns| (least.min(*ns), most.max(*ns)));
    let text = format!(
        "{}, {}.\n\n    {}\n\n\
         From core to core a word in memory took {least:.0} to {most:.0} ns.\n\n{}",
        origin.date,
        origin.cpu,
        origin.command,
        table::aligned(&lines)
    );
    println!("{text}");
    match &args.save {
        None => Ok(()),
        Some(name) => {
            let folder = exec::root().join("bench/results");
            create(&folder)?;
            let page = format!("# What a second core brings to one channel\n\n{text}");
            write(&folder.join(format!("{name}.md")), &page)
        }
    }
}

/// Calls per second, and µs of CPU that the client has for each.
fn measure(
    program: &Program,
    (list, threads): (&str, &str),
    in_flight: u32,
    work: u32,
    seconds: f64,
) -> Result<[f64; 2]> {
    let on = |words: &[std::ffi::OsString]| {
        let mut command = Command::new("taskset");
        command.args(["-c", list]).args(words);
        command
    };
    let mut canned = on(&[release("canned-server").into()]);
    canned.args(["--addr", "127.0.0.1:0", "--reply", "hello"]);
    let serving = Serving::start(canned)?;
    let mut client = on(program.words());
    client.args(["--addr", serving.addr(), "--mode", "unary", "--threads", threads]);
    client.args(["--in-flight", &in_flight.to_string(), "--work", &work.to_string()]);
    client.args(["--seconds", &seconds.to_string(), "--warm-up-seconds", "0.3"]);
    let said = json::numbers(&exec::output(&mut client)?)?;
    serving.end()?;
    let of = |name: &str| said.get(name).copied().ok_or_else(|| format!("no {name} was told"));
    let calls = of("calls")?;
    if calls < 1.0 {
        return Err("not one call was made".into());
    }
    Ok([calls / of("elapsed_s")?, of("cpu_s")? * 1e6 / calls])
}

/// How long it takes until another thread sees what one has written, ns. It is what cores that work
/// on the same calls pay for each place in memory that both use.
fn handover_ns() -> f64 {
    let turn = AtomicU32::new(0);
    let wait_for = |value: u32| {
        while !(0..SPINS).any(|_| turn.load(Ordering::Acquire) == value) {
            // The other thread may wait for this very core.
            thread::yield_now();
        }
    };
    let started = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..TURNS {
                wait_for(2 * n + 1);
                turn.store(2 * n + 2, Ordering::Release);
            }
        });
        for n in 0..TURNS {
            turn.store(2 * n + 1, Ordering::Release);
            wait_for(2 * n + 2);
        }
    });
    started.elapsed().as_secs_f64() * 1e9 / f64::from(2 * TURNS)
}

fn head() -> Vec<String> {
    let words = [
        "in flight",
        "work",
        "client",
        "calls/s, one core",
        "two cores",
        "times",
        "CPU µs/call, one core",
        "two cores ",
    ];
    words.map(str::to_owned).to_vec()
}

fn line(in_flight: u32, work: u32, program: &str, cell: Cell) -> Vec<String> {
    let middle = |mut samples: Vec<f64>| median(&mut samples).unwrap_or(f64::NAN);
    let [[rate_one, cpu_one], [rate_two, cpu_two]] = cell.map(|place| place.map(middle));
    vec![
        in_flight.to_string(),
        work.to_string(),
        program.to_owned(),
        format!("{rate_one:.0}"),
        format!("{rate_two:.0}"),
        format!("{:.2}", rate_two / rate_one),
        format!("{cpu_one:.2}"),
        format!("{cpu_two:.2}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_cell_for_each_head_and_the_ratio_of_medians() {
        let one = [vec![100.0, 400.0, 110.0], vec![1.0]];
        let two = [vec![220.0, 900.0, 10.0], vec![1.5]];
        let cells = line(64, 0, "gannet", [one, two]);
        assert_eq!(cells.len(), head().len());
        assert_eq!(cells[3..6], ["110".to_owned(), "220".to_owned(), "2.00".to_owned()]);
    }

    #[test]
    fn a_word_takes_some_time_from_thread_to_thread() {
        assert!(handover_ns() > 0.0);
    }

    #[test]
    fn a_program_that_cannot_compute_is_refused() {
        let args = Args { peers: vec!["grpc-go".into()], ..Args::default() };
        let told = run(&args).unwrap_err();
        assert!(told.contains("grpc-go") || told.contains("two cores"), "{told}");
    }
}

//! Echoes messages of a MiB over bare TCP: what this machine's sockets can do, and so the ceiling
//! of the large rows. Reads and writes are as large as Gannet's largest, and go on beside each
//! other on either side: a thread reads messages, another one writes those that are whole.
//!
//! `raw-tcp --addr A` serves, says `listening on A`, and ends when its input does. `raw-tcp
//! --connect A --in-flight N --seconds S` calls over one connection, and prints figures as the
//! load generator does.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const MESSAGE_BYTES: usize = 1 << 20;
/// What one read or write takes at most.
const BUFFER_BYTES: usize = 256 << 10;
/// Whole messages of a connection that wait to be written; beyond that, nothing more is read.
const MESSAGES_QUEUED_MAX: usize = 8;

fn main() -> Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1).map(String::as_str)
    };
    match (flag("--addr"), flag("--connect")) {
        (Some(addr), None) => serve(addr),
        (None, Some(addr)) => {
            let in_flight = flag("--in-flight").unwrap_or("8").parse()?;
            let seconds = flag("--seconds").unwrap_or("3").parse()?;
            call(addr, in_flight, Duration::try_from_secs_f64(seconds)?)
        }
        _ => Err("either --addr or --connect".into()),
    }
}

fn serve(addr: &str) -> Result {
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            thread::spawn(move || echo(&socket));
        }
    });
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

/// Each message goes back when all of it is there, as that of a unary call does, while the next
/// ones come in. Storage goes round: the writer gives back what it has written.
fn echo(mut socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let writer = socket.try_clone()?;
    let (whole, to_write) = mpsc::sync_channel(MESSAGES_QUEUED_MAX);
    let (written, storage) = mpsc::channel();
    thread::spawn(move || write_all(&writer, &to_write, &written));
    loop {
        let mut message: Vec<u8> = storage.try_recv().unwrap_or_else(|_| vec![0; MESSAGE_BYTES]);
        for part in message.chunks_mut(BUFFER_BYTES) {
            socket.read_exact(part)?;
        }
        if whole.send(message).is_err() {
            return Ok(());
        }
    }
}

/// Writes messages until there are no more, or the peer takes none.
fn write_all(mut socket: &TcpStream, messages: &Receiver<Vec<u8>>, written: &Sender<Vec<u8>>) {
    for message in messages {
        for part in message.chunks(BUFFER_BYTES) {
            if socket.write_all(part).is_err() {
                return;
            }
        }
        // The reader may have ended.
        let _ = written.send(message);
    }
}

fn call(addr: &str, in_flight: usize, time: Duration) -> Result {
    let mut socket = TcpStream::connect(addr)?;
    socket.set_nodelay(true)?;
    let mut writer = socket.try_clone()?;
    let (begin, begun) = mpsc::channel::<()>();
    thread::spawn(move || {
        let message = vec![b'x'; MESSAGE_BYTES];
        while begun.recv().is_ok() {
            for part in message.chunks(BUFFER_BYTES) {
                if writer.write_all(part).is_err() {
                    return;
                }
            }
        }
    });
    let (start, cpu_before) = (Instant::now(), cpu_seconds()?);
    let mut under_way = VecDeque::new();
    let mut latencies = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    for _ in 0..in_flight.max(1) {
        under_way.push_back(Instant::now());
        begin.send(())?;
    }
    while start.elapsed() < time {
        let mut left = MESSAGE_BYTES;
        while left > 0 {
            let most = left.min(buffer.len());
            let n = socket.read(&mut buffer[..most])?;
            if n == 0 || buffer[..n].iter().any(|byte| *byte != b'x') {
                return Err("a wrong or a missing reply".into());
            }
            left -= n;
        }
        latencies.extend(under_way.pop_front().map(|begun: Instant| begun.elapsed()));
        under_way.push_back(Instant::now());
        begin.send(())?;
    }
    let (elapsed, cpu) = (start.elapsed(), cpu_seconds()? - cpu_before);
    print(&mut latencies, elapsed, cpu);
    Ok(())
}

fn print(latencies: &mut [Duration], elapsed: Duration, cpu: f64) {
    latencies.sort_unstable();
    let count = latencies.len();
    let at = |share: f64| {
        let rank = ((count as f64 * share).ceil() as usize).clamp(1, count.max(1));
        latencies.get(rank - 1).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    };
    println!(
        "{{\"calls\":{count},\"messages\":{count},\"elapsed_s\":{:.6},\"cpu_s\":{cpu:.6},\
         \"p50_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1}}}",
        elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999),
    );
}

/// This process' own time and the kernel's for it: fields 14 and 15 of proc(5)'s `stat`, in
/// hundredths of a second.
fn cpu_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = text.rsplit_once(')').ok_or("no name in /proc/self/stat")?.1;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next().ok_or("too few fields")?.parse::<f64>().map_err(Box::from);
    let both: Result<f64> = ticks().and_then(|user| Ok(user + ticks()?));
    Ok(both? / 100.0)
}

//! The frame of a server program.
//!
//! `PROGRAM --addr 127.0.0.1:0 --threads N`: says `listening on ADDR` once connections are
//! accepted, and ends when its standard input does. Programs that speak TLS do so with
//! `--tls-cert FILE --tls-key FILE`, both in PEM.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::flags::Flags;
use crate::{Result, runtime};

/// What a server program was told.
#[derive(Clone, Debug)]
pub struct Args {
    /// Where to listen.
    pub addr: SocketAddr,
    /// Single-threaded runtimes of the stack's own, where it has such a mode; 0 without the flag.
    pub runtimes: usize,
    /// With TLS, who the server is.
    pub tls: Option<Identity>,
}

/// A certificate and its key, in PEM files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, and those between it and its authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The flags of a program that speaks TLS.
pub const TLS: [&str; 2] = ["tls-cert", "tls-key"];

impl Args {
    /// Listens, and says so.
    pub async fn listen(&self) -> Result<TcpListener> {
        let listener = TcpListener::bind(self.addr).await?;
        announce(listener.local_addr()?);
        Ok(listener)
    }
}

/// Says where the server listens. To be called once it does.
pub fn announce(addr: SocketAddr) {
    println!("listening on {addr}");
}

/// Runs `serve` until standard input ends.
///
/// `modes` are the names of further flags that the program knows: `runtimes`, those of [`TLS`], or
/// none.
pub fn run<F, S>(modes: &[&str], serve: F) -> ExitCode
where
    F: FnOnce(Args) -> S,
    S: Future<Output = Result<()>>,
{
    match try_run(modes, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot serve: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_run<F, S>(modes: &[&str], serve: F) -> Result<()>
where
    F: FnOnce(Args) -> S,
    S: Future<Output = Result<()>>,
{
    let flags = Flags::parse(&[&["addr", "threads"], modes].concat())?;
    let addr = flags.value("addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let tls = match TLS.map(|flag| flags.text(flag).map(PathBuf::from)) {
        [Some(cert), Some(key)] => Some(Identity { cert, key }),
        [None, None] => None,
        _ => return Err("--tls-cert and --tls-key go together".into()),
    };
    let args = Args { addr, runtimes: flags.value("runtimes", 0)?, tls };
    let runtime = runtime(flags.value("threads", 1)?)?;
    let ended = end_of_input();
    let served = runtime.block_on(async {
        tokio::select! {
            served = serve(args) => served,
            _ = ended => Ok(()),
        }
    });
    runtime.shutdown_background();
    served
}

/// Ready when standard input has ended. A thread of its own reads it, which never wakes before.
fn end_of_input() -> oneshot::Receiver<()> {
    let (end, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = end.send(());
    });
    ended
}

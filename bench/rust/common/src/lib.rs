//! What the programs of the benchmark share, so that they differ in nothing but their stack.
//!
//! A server program is [`server::run`] around a function that serves; a client program is
//! [`client::run`] with an implementation of [`client::Client`]. Flags, runtimes, the line on
//! standard output, the end, the clocks and the figures are here.

pub mod client;
mod flags;
mod histogram;
pub mod server;

use tokio::runtime::{Builder, Runtime};

/// The largest message that every program accepts, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Any error; the programs only print it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// What everything here returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the service answers to `message`.
pub fn greeting(message: &str) -> String {
    format!("Hello I am up and running received \"{message}\" message from you")
}

/// The hello world's reply with this text as it is on the wire, for servers without a codec: the
/// length of the message, field 1 with the text, field 2 with `true`.
pub fn hello_reply(text: &str) -> Result<Vec<u8>> {
    let message = [&[0x0a, u8::try_from(text.len())?], text.as_bytes(), &[0x10, 0x01]].concat();
    let head = [0, 0, 0, 0, u8::try_from(message.len())?];
    Ok([&head[..], &message].concat())
}

/// The body of a payload that is sent because so many bytes are wanted.
pub fn body(bytes: u32) -> Vec<u8> {
    vec![b'x'; bytes as usize]
}

/// A runtime with so many worker threads; 0 is the single-threaded flavour.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = match threads {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if threads > 0 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()
}

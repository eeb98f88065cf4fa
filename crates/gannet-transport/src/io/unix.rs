//! Unix domain sockets.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream as StdStream};
use std::path::Path;

use tokio::net::UnixStream;

use super::{Peer, Stream};

/// Binds and listens on `path`. A socket file that nobody listens on any more is replaced.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    if path.as_os_str().is_empty() {
        // Linux would take a name of its own choice, which no client knows.
        let problem = "the path of the socket is missing";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Connects to the socket at `path`.
///
/// # Errors
/// As the operating system says; the caller names the target.
///
/// # Cancel safety
/// Dropping the future abandons the attempt.
pub async fn connect_unix(path: &Path) -> io::Result<(Stream, Peer)> {
    let stream = UnixStream::connect(path).await?;
    Ok((Stream::Unix(stream), Peer::Unix(Some(path.to_owned()))))
}

/// Connects to a Unix socket in the abstract namespace, by its name without the NUL before it.
///
/// # Errors
/// As the system says; `InvalidInput` where the name is too long.
///
/// # Cancel safety
/// Dropping the future abandons the attempt.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub async fn connect_unix_abstract(name: &[u8]) -> io::Result<(Stream, Peer)> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    // Tokio takes a path that begins with a NUL for such a name.
    let path = [b"\0", name].concat();
    let stream = UnixStream::connect(OsStr::from_bytes(&path)).await?;
    Ok((Stream::Unix(stream), Peer::Unix(None)))
}

fn is_abandoned(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    is_socket
        && StdStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

//! Our server, a process of its own, so that what it uses can be told from what our client does.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use gannet::compression::Compressors;
use gannet::tls::{Identity, ServerTls};
use gannet::{Call, Channel, Listener, Result, Server};
use gannet_interop::check::Outcome;
use gannet_interop::echo::Echo;
use gannet_interop::official::orca::Load;
use gannet_interop::official::service::Service;
use gannet_interop::plain::Hello;
use gannet_interop::process::Usage;
use gannet_interop::proto::gannet::interop::v1::EchoServer;
use gannet_interop::proto::grpc::testing::TestServiceServer;
use gannet_interop::proto::grpctest::GrpctestServer;
use gannet_interop::proto::soak::{Ask, Figures, Soak, SoakClient, SoakServer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{Error, RunArgs};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// How long a connection is used, in milliseconds
    #[arg(long)]
    max_connection_age_ms: u64,
    /// With server1.pem and server1.key: listens with TLS, too
    #[arg(long)]
    certificates: Option<PathBuf>,
}

/// How long calls may go on when the server ends.
const GRACE: Duration = Duration::from_secs(20);
/// How long it may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// Serves until its input ends.
pub(crate) async fn serve(args: ServeArgs) -> Outcome {
    let echo = Echo::default();
    let plain = Listener::tcp("127.0.0.1:0")?;
    let mut told = format!("listening on {}", plain.local_addr().ok_or("no address")?.port());
    let mut server = Server::new()
        .compressors(Compressors::built_in())
        .max_connection_age(Duration::from_millis(args.max_connection_age_ms))
        .add(SoakServer::new(Measures { echo: echo.clone() }))
        .add(EchoServer::new(echo))
        .add(TestServiceServer::new(Service::new(Load::default())))
        .add(GrpctestServer::new(Hello));
    if let Some(folder) = args.certificates {
        let identity =
            Identity::from_pem_files(folder.join("server1.pem"), folder.join("server1.key"))?;
        let tls = Listener::tcp("127.0.0.1:0")?;
        told = format!("{told} {}", tls.local_addr().ok_or("no address")?.port());
        server = server.listen(tls.tls(ServerTls::new(identity)?));
    }
    println!("{told}");
    let ended = async {
        let mut nothing = Vec::new();
        let _ = tokio::io::stdin().read_to_end(&mut nothing).await;
    };
    Ok(server.serve(plain).shutdown_on(ended, GRACE).await?)
}

struct Measures {
    echo: Echo,
}

impl Soak for Measures {
    async fn measure(&self, _: &mut Call, _: Ask) -> Result<Figures> {
        let calls = self.echo.calls();
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        Ok(Figures {
            tasks: u64::try_from(tasks).unwrap_or(u64::MAX),
            started: calls.started(),
            running: calls.running(),
            ..Default::default()
        })
    }
}

/// The server's process.
pub(crate) struct Ours {
    child: Child,
    pid: u32,
    pub(crate) port: u16,
    pub(crate) tls_port: Option<u16>,
    asks: SoakClient,
}

impl Ours {
    pub(crate) async fn start(args: &RunArgs) -> Result<Ours, Error> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve");
        command.arg(format!("--max-connection-age-ms={}", args.max_connection_age_ms));
        if let Some(folder) = &args.certificates {
            command.arg("--certificates").arg(folder);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Not in the group of the terminal: what interrupts the soak is not for its server.
        let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START_MAX, lines.next_line()).await??;
        let line = line.unwrap_or_default();
        let ports = line.strip_prefix("listening on ").ok_or("our server did not start")?;
        let mut ports = ports.split(' ').map(str::parse);
        let (port, tls_port) = (ports.next().ok_or("no port")??, ports.next().transpose()?);
        let pid = child.id().ok_or("our server has ended")?;
        let asks = SoakClient::new(Channel::new(format!("127.0.0.1:{port}"))?);
        Ok(Ours { child, pid, port, tls_port, asks })
    }

    /// What it says of itself.
    pub(crate) async fn measure(&self) -> Result<Figures> {
        self.asks.measure(Ask::default()).timeout(START_MAX).await
    }

    /// What the system says of it.
    pub(crate) fn usage(&self) -> std::io::Result<Usage> {
        Usage::of(self.pid)
    }

    /// Lets it end by itself.
    pub(crate) async fn stop(mut self) -> Outcome {
        drop(self.asks);
        drop(self.child.stdin.take());
        let status = tokio::time::timeout(2 * GRACE, self.child.wait()).await??;
        if status.success() { Ok(()) } else { Err(format!("our server ended: {status}").into()) }
    }
}

//! Authentication on both sides.
//!
//! The server's interceptor looks at the bearer token of each call before its request is decoded,
//! and leaves for the handler who calls. The client has its token as call credentials, which are
//! sent over TLS only, and an interceptor that tells what calls came to.
//!
//! `auth` serves on a free port of this host, with a certificate that it makes itself, calls the
//! server as several people, and exits; an outcome that is not as it should be is an error.

#![allow(clippy::print_stdout, reason = "a program that talks to its user")]

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gannet::client::{Answer, BearerToken, CallDefaults, ChannelBuilder, Outgoing};
use gannet::server::{Handled, Incoming};
use gannet::tls::{ClientTls, Identity, Roots, ServerTls};
use gannet::{Call, Channel, Code, Listener, Outbound, Result, Server, Status, client, server};

use proto::diary::{Diary, DiaryClient, DiaryServer, Entry, ReadRequest, Written};

/// Generated from `proto/diary.proto` by `build.rs`.
mod proto {
    include!(concat!(env!("OUT_DIR"), "/gannet.rs"));
}

/// Who calls, as the server's interceptor found out.
#[derive(Debug, PartialEq, Eq)]
struct User(String);

/// Knows everybody by their tokens. In earnest, a token would be verified.
struct Door {
    users: HashMap<&'static str, &'static str>,
}

impl server::Interceptor for Door {
    async fn intercept(&self, mut call: Incoming, next: server::Next) -> Result<Handled> {
        let token = call.metadata().get("authorization").and_then(|it| it.strip_prefix("Bearer "));
        let Some(user) = token.and_then(|token| self.users.get(token)) else {
            call.trailers_mut().insert("www-authenticate", "Bearer")?;
            return Err(Status::unauthenticated("this diary opens with a token that it knows"));
        };
        call.extensions_mut().insert(User((*user).to_owned()));
        next.run(call).await
    }
}

/// All diaries, by their owners.
#[derive(Default)]
struct Shelf {
    entries: Mutex<HashMap<String, Vec<Entry>>>,
}

/// The caller; there is one, as the door has let the call in.
fn caller(call: &Call) -> Result<String> {
    let user = call.extensions().get::<User>();
    user.map(|user| user.0.clone()).ok_or_else(|| Status::internal("nobody is at the door"))
}

impl Diary for Shelf {
    async fn write(&self, call: &mut Call, entry: Entry) -> Result<Written> {
        let owner = caller(call)?;
        let mut all = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.entry(owner.clone()).or_default();
        own.push(entry);
        let entries = u32::try_from(own.len()).unwrap_or(u32::MAX);
        Ok(Written { owner, entries, ..Default::default() })
    }

    async fn read(&self, call: &mut Call, _: ReadRequest, mut to: Outbound<Entry>) -> Result<()> {
        let owner = caller(call)?;
        let own = {
            let all = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            all.get(&owner).cloned().unwrap_or_default()
        };
        for entry in own {
            to.send(entry).await?;
        }
        Ok(())
    }
}

/// Tells what each call came to, and how long it took.
struct Told;

impl client::Interceptor for Told {
    async fn intercept(&self, call: Outgoing, next: client::Next) -> Result<Answer> {
        let (path, started) = (call.method().path, Instant::now());
        let tell = move |outcome: Option<&Status>| {
            let code = outcome.map_or(Code::Ok, Status::code);
            println!("  {path}: {code} after {:?}", started.elapsed());
        };
        let mut answer = next.run(call).await.inspect_err(|status| tell(Some(status)))?;
        answer.observe_end(move |outcome| tell(outcome.err()));
        Ok(answer)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("auth: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // What an authority would have issued.
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = issued.cert.pem();
    let identity = Identity::from_pem(&certificate, issued.signing_key.serialize_pem())?;
    let listener = Listener::tcp("127.0.0.1:0")?.tls(ServerTls::new(identity)?);
    let port = listener.local_addr().ok_or("no address")?.port();
    let target = format!("localhost:{port}");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        let users = HashMap::from([("t0ken-of-ada", "ada"), ("t0ken-of-ben", "ben")]);
        let server = Server::new().intercept(Door { users });
        let server = server.add(DiaryServer::new(Shelf::default()));
        server.serve(listener).shutdown_on(stopped, Duration::from_secs(5)).await
    });

    let tls = ClientTls::builder().roots(Roots::from_pem(certificate)?).build()?;
    let channel = Channel::builder(&target)
        .tls(tls)
        .method("diary.Diary", CallDefaults::new().timeout(Duration::from_secs(10)))
        .intercept(Told)
        .build()?;
    diaries(&channel).await?;
    strangers(&channel).await?;
    in_the_open(Channel::builder(&target)).await?;

    let _ = stop.send(());
    served.await??;
    Ok(())
}

/// Two people with a connection in common, each with a diary of their own.
async fn diaries(channel: &Channel) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let [ada, ben] = ["t0ken-of-ada", "t0ken-of-ben"].map(BearerToken::new);
    let ada = DiaryClient::new(channel.with_credentials(ada?));
    let ben = DiaryClient::new(channel.with_credentials(ben?));
    for (client, owner, text) in
        [(&ada, "ada", "Wrote a program."), (&ben, "ben", "Slept."), (&ada, "ada", "It runs.")]
    {
        let entry = Entry { text: text.to_owned(), ..Default::default() };
        let written = client.write(entry).await?;
        println!("{} has {} entries now", written.owner, written.entries);
        assert_eq!(written.owner, owner, "the token says who it is");
    }
    let mut entries = ada.read(ReadRequest::default()).await?;
    let mut texts = Vec::new();
    while let Some(entry) = entries.next().await? {
        println!("ada reads: {}", entry.text);
        texts.push(entry.text);
    }
    assert_eq!(texts, ["Wrote a program.", "It runs."], "ben's entry is not hers");
    Ok(())
}

/// Without a token, and with one that nobody has.
async fn strangers(channel: &Channel) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let client = DiaryClient::new(channel.clone());
    let unknown = BearerToken::new("t0ken-of-eve")?;
    for refused in [
        client.write(Entry::default()).await,
        client.write(Entry::default()).credentials(unknown).await,
    ] {
        let status = refused.err().ok_or("a stranger has a diary")?;
        println!("a stranger: {status}");
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.metadata().get("www-authenticate"), Some("Bearer"));
    }
    Ok(())
}

/// Without TLS a token is not sent.
async fn in_the_open(
    builder: ChannelBuilder,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let channel = builder.credentials(BearerToken::new("t0ken-of-ada")?).build()?;
    let refused = DiaryClient::new(channel).write(Entry::default()).await;
    let status = refused.err().ok_or("the token was sent for everybody to read")?;
    println!("in the open: {status}");
    assert_eq!(status.code(), Code::Unauthenticated);
    Ok(())
}

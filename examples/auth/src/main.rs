//! Authentication on both sides.
//!
//! An issuer signs JSON Web Tokens that say who somebody is and what they may do. The server's
//! interceptor looks at the token of each call before its request is decoded, and leaves for the
//! handler who calls. A client has its token as call credentials, which are sent over TLS only:
//! given to it, kept fresh in a file by somebody else, or signed by the client itself. An
//! interceptor of the client tells what calls came to.
//!
//! `auth` serves on a free port of this host, with a certificate that it makes itself, calls the
//! server as several people, and exits; an outcome that is not as it should be is an error.

#![allow(clippy::print_stdout, reason = "a program that talks to its user")]

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gannet::auth::{Claims, JwtAuth, JwtCredentials, JwtValidator, Keys, SigningKey, TokenFile};
use gannet::client::{Answer, BearerToken, CallDefaults, ChannelBuilder, Outgoing};
use gannet::tls::{ClientTls, Identity, Roots, ServerTls};
use gannet::{Call, Channel, Code, Listener, Outbound, Result, Server, Status, client};
use serde_json::json;

use proto::diary::{Diary, DiaryClient, DiaryServer, Entry, ReadRequest, Written};

/// Generated from `proto/diary.proto` by `build.rs`.
mod proto {
    include!(concat!(env!("OUT_DIR"), "/gannet.rs"));
}

/// Who issues tokens, and for whom.
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://diary.example";
/// A program that signs its own.
const ROBOT: &str = "robot";

type Error = Box<dyn std::error::Error>;

/// Says who people are. In earnest, another program.
struct Issuer {
    key: SigningKey,
}

impl Issuer {
    /// With a new key of this name.
    fn new(key_id: &str) -> std::result::Result<Issuer, Error> {
        Ok(Issuer { key: new_key()?.with_key_id(key_id) })
    }

    /// A token that says who `who` is, for so many seconds from now on.
    fn token(&self, who: &str, scope: &str, seconds: i64) -> std::result::Result<String, Error> {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        let (iat, exp) = (now.min(now + seconds), now + seconds);
        Ok(self.key.sign(&json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": who, "scope": scope, "iat": iat, "exp": exp,
        }))?)
    }
}

/// P-256, and so ES256.
fn new_key() -> std::result::Result<SigningKey, Error> {
    Ok(SigningKey::from_pem(rcgen::KeyPair::generate()?.serialize_pem())?)
}

/// Asks everybody for a token, and those who write for the scope that lets them.
fn door(keys: &Keys, robot: &SigningKey) -> std::result::Result<JwtAuth, Error> {
    let validator = JwtValidator::builder()
        .issuer(ISSUER, keys.clone())
        // It speaks for nobody but itself.
        .issuer(ROBOT, robot.key_set())
        .audience(AUDIENCE)
        .build()?;
    Ok(JwtAuth::new(validator)
        .require_scope_on("/diary.Diary/Write", "write")
        .on_refusal(|call, why| println!("  refused {}: {why}", call.method().path)))
}

/// All diaries, by their owners.
#[derive(Default)]
struct Shelf {
    entries: Mutex<HashMap<String, Vec<Entry>>>,
}

/// The caller; there is one, as the door has let the call in.
fn caller(call: &Call) -> Result<String> {
    let claims = call.extensions().get::<Claims>();
    let subject = claims.and_then(Claims::subject).map(str::to_owned);
    subject.ok_or_else(|| Status::internal("nobody is at the door"))
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

async fn run() -> std::result::Result<(), Error> {
    // What an authority would have issued.
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = issued.cert.pem();
    let identity = Identity::from_pem(&certificate, issued.signing_key.serialize_pem())?;
    let listener = Listener::tcp("127.0.0.1:0")?.tls(ServerTls::new(identity)?);
    let port = listener.local_addr().ok_or("no address")?.port();
    let target = format!("localhost:{port}");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();

    let (issuer, robot) = (Issuer::new("spring")?, new_key()?);
    let keys = Keys::new(issuer.key.key_set());
    let server = Server::new().intercept(door(&keys, &robot)?);
    let server = server.add(DiaryServer::new(Shelf::default()));
    let served = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        server.serve(listener).shutdown_on(stopped, Duration::from_secs(5)).await
    });

    let tls = ClientTls::builder().roots(Roots::from_pem(certificate)?).build()?;
    let channel = Channel::builder(&target)
        .tls(tls)
        .method("diary.Diary", CallDefaults::new().timeout(Duration::from_secs(10)))
        .intercept(Told)
        .build()?;
    diaries(&channel, &issuer).await?;
    by_itself(&channel, robot).await?;
    strangers(&channel, &issuer).await?;
    rotation(&channel, &keys, &issuer).await?;
    in_the_open(Channel::builder(&target), &issuer).await?;

    let _ = stop.send(());
    served.await??;
    Ok(())
}

/// Two people with a connection in common, each with a diary of their own.
async fn diaries(channel: &Channel, issuer: &Issuer) -> std::result::Result<(), Error> {
    let token = |who| BearerToken::new(issuer.token(who, "read write", 60)?).map_err(Error::from);
    let ada = DiaryClient::new(channel.with_credentials(token("ada")?));
    let ben = DiaryClient::new(channel.with_credentials(token("ben")?));
    for (client, owner, text) in
        [(&ada, "ada", "Wrote a program."), (&ben, "ben", "Slept."), (&ada, "ada", "It runs.")]
    {
        let written = client.write(entry(text)).await?;
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

fn entry(text: &str) -> Entry {
    Entry { text: text.to_owned(), ..Default::default() }
}

/// A program that has a key of its own signs a token when it needs one.
async fn by_itself(channel: &Channel, key: SigningKey) -> std::result::Result<(), Error> {
    let credentials = JwtCredentials::new(ROBOT, key).audience(AUDIENCE).claim("scope", "write");
    let client = DiaryClient::new(channel.with_credentials(credentials));
    let written = client.write(entry("Beep.")).await?;
    println!("{} has {} entries now", written.owner, written.entries);
    assert_eq!(written.owner, ROBOT);
    Ok(())
}

/// Those who are not let in: they are told little, and the server's log has why.
async fn strangers(channel: &Channel, issuer: &Issuer) -> std::result::Result<(), Error> {
    let client = DiaryClient::new(channel.clone());
    let status = client.write(Entry::default()).await.err().ok_or("a stranger has a diary")?;
    assert_eq!(status.metadata().get("www-authenticate"), Some("Bearer"));
    let somebody = Issuer::new("spring")?;
    for (token, code) in [
        (issuer.token("ada", "write", -600)?, Code::Unauthenticated),
        (somebody.token("ada", "write", 60)?, Code::Unauthenticated),
        (issuer.token("ada", "read", 60)?, Code::PermissionDenied),
    ] {
        let refused = client.write(Entry::default()).credentials(BearerToken::new(token)?).await;
        let status = refused.err().ok_or("whoever calls themselves ada has her diary")?;
        println!("a stranger: {status}");
        assert_eq!(status.code(), code);
    }
    Ok(())
}

/// Another key signs from now on. The token is in a file, which is replaced as well.
async fn rotation(
    channel: &Channel,
    keys: &Keys,
    issuer: &Issuer,
) -> std::result::Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("token");
    std::fs::write(&path, issuer.token("ada", "write", 600)?)?;
    let file = TokenFile::new(&path);
    let client = DiaryClient::new(channel.with_credentials(file.clone()));
    client.write(entry("Spring.")).await?;

    let issuer = Issuer::new("summer")?;
    keys.set(issuer.key.key_set());
    let status = client.write(entry("Still spring?")).await.err().ok_or("the old key is good")?;
    assert_eq!(status.code(), Code::Unauthenticated);
    std::fs::write(&path, issuer.token("ada", "write", 600)?)?;
    // By itself it would look within a minute.
    file.reload().await?;
    let written = client.write(entry("Summer.")).await?;
    println!("{} has {} entries now", written.owner, written.entries);
    Ok(())
}

/// Without TLS a token is not sent.
async fn in_the_open(builder: ChannelBuilder, issuer: &Issuer) -> std::result::Result<(), Error> {
    let token = BearerToken::new(issuer.token("ada", "write", 60)?)?;
    let channel = builder.credentials(token).build()?;
    let refused = DiaryClient::new(channel).write(Entry::default()).await;
    let status = refused.err().ok_or("the token was sent for everybody to read")?;
    println!("in the open: {status}");
    assert_eq!(status.code(), Code::Unauthenticated);
    Ok(())
}

#[cfg(test)]
mod tests {
    use gannet::codec::Buffa;
    use gannet_testing::{Authority, InProcess, TestCall, replies};

    use super::*;

    /// The handler sees who calls by what the door left, which a test can leave, too.
    #[tokio::test(start_paused = true)]
    async fn a_handler_needs_to_know_who_calls() {
        let (to, _) = replies::<Buffa, Entry>();
        let request = ReadRequest::default();
        let read = Shelf::default().read(&mut TestCall::new(), request, to).await;
        assert_eq!(read.unwrap_err().code(), Code::Internal);
    }

    /// Over TLS, in this process.
    #[tokio::test(start_paused = true)]
    async fn each_has_a_diary_and_strangers_have_none() {
        let (issuer, robot) = (Issuer::new("spring").unwrap(), new_key().unwrap());
        let keys = Keys::new(issuer.key.key_set());
        let server = Server::new().intercept(door(&keys, &robot).unwrap());
        let server = server.add(DiaryServer::new(Shelf::default()));
        let authority = Authority::new();
        let server = InProcess::serve_tls(server, authority.server_tls("localhost"));
        let channel = server.builder().tls(authority.client_tls()).build().unwrap();
        diaries(&channel, &issuer).await.unwrap();
        by_itself(&channel, robot).await.unwrap();
        strangers(&channel, &issuer).await.unwrap();
        rotation(&channel, &keys, &issuer).await.unwrap();
    }
}

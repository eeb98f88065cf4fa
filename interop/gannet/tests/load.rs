//! The load generator against our server, in each of its scenarios, and our client against the
//! server of canned bytes.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use gannet::tls::{Identity, ServerTls};
use gannet::{Call, Channel, Inbound, Listener, Outbound, Result, Server};
use gannet_interop::plain::{Echoes, Hello};
use gannet_interop::proto::bench::{Count, Echo, EchoClient, EchoServer, Payload, Want};
use gannet_interop::proto::grpctest::{
    Grpctest, GrpctestClient, GrpctestServer, Message, MessageResponse,
};
use gannet_load::{CannedServer, Figures, Length, Options, Reply, Scenario, Sizes, Trust};

/// What the server's handlers saw.
#[derive(Default)]
struct Seen {
    calls: AtomicU64,
    messages: AtomicU64,
}

#[derive(Clone)]
struct Service(Arc<Seen>);

impl Service {
    fn begin(&self) {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
    }

    fn message(&self) {
        self.0.messages.fetch_add(1, Ordering::SeqCst);
    }
}

impl Grpctest for Service {
    async fn get_server_response(
        &self,
        call: &mut Call,
        request: Message,
    ) -> Result<MessageResponse> {
        self.begin();
        Hello.get_server_response(call, request).await
    }
}

impl Echo for Service {
    async fn unary(&self, call: &mut Call, request: Payload) -> Result<Payload> {
        self.begin();
        Echoes.unary(call, request).await
    }

    async fn server_stream(
        &self,
        call: &mut Call,
        want: Want,
        replies: Outbound<Payload>,
    ) -> Result<()> {
        self.begin();
        Echoes.server_stream(call, want, replies).await
    }

    async fn client_stream(&self, call: &mut Call, requests: Inbound<Payload>) -> Result<Count> {
        self.begin();
        Echoes.client_stream(call, requests).await
    }

    async fn bidi_stream(
        &self,
        _: &mut Call,
        mut requests: Inbound<Payload>,
        mut replies: Outbound<Payload>,
    ) -> Result<()> {
        self.begin();
        while let Some(request) = requests.next().await? {
            self.message();
            replies.send(request).await?;
        }
        Ok(())
    }
}

/// A certificate for `localhost` that is its own authority: for the server, and for its clients.
fn certificate() -> (ServerTls, Trust) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let identity = Identity::from_pem(&pem, made.signing_key.serialize_pem()).unwrap();
    (ServerTls::new(identity).unwrap(), Trust::from_pem(pem.as_bytes()).unwrap())
}

/// A server that counts what its handlers see.
fn start(tls: Option<ServerTls>) -> (SocketAddr, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let service = Service(Arc::clone(&seen));
    let server =
        Server::new().add(GrpctestServer::new(service.clone())).add(EchoServer::new(service));
    (run(server, tls), seen)
}

/// A server on a thread of its own, for as long as the test runs.
fn run(server: Server, tls: Option<ServerTls>) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = gannet_interop::plain::runtime(0).unwrap();
        runtime.block_on(async {
            let listener = Listener::tcp("127.0.0.1:0").unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let listener = match tls {
                Some(tls) => listener.tls(tls),
                None => listener,
            };
            server.serve(listener).await.unwrap();
        });
    });
    told.recv().unwrap()
}

fn options(addr: SocketAddr, scenario: Scenario) -> Options {
    Options {
        addr: addr.to_string(),
        tls: None,
        bearer: None,
        scenario,
        connections: 1,
        in_flight: 1,
        sizes: Sizes::default(),
        lockstep: false,
        warm_up: Duration::ZERO,
        length: Length::Calls(0),
    }
}

/// Makes exactly `calls` calls without and with TLS, and holds the figures against what the server
/// saw.
fn measure(calls: u64, change: impl Fn(&mut Options), scenario: Scenario) -> Figures {
    let measure = |tls: Option<(ServerTls, Trust)>| {
        let (tls, trust) = tls.unzip();
        let (addr, seen) = start(tls);
        let mut options = options(addr, scenario);
        options.tls = trust;
        options.length = Length::Calls(calls);
        change(&mut options);
        let figures = gannet_load::measure(&options).unwrap();
        assert_eq!(figures.calls(), calls);
        assert_eq!(seen.calls.load(Ordering::SeqCst), calls);
        figures
    };
    let plain = measure(None);
    let figures = measure(Some(certificate()));
    assert_eq!(figures.messages(), plain.messages(), "under TLS");
    figures
}

#[test]
fn unary_calls_over_one_connection() {
    let figures = measure(5_001, |options| options.in_flight = 100, Scenario::Unary);
    assert_eq!(figures.messages(), 5_001);
}

#[test]
fn unary_calls_over_many_connections() {
    let change = |options: &mut Options| (options.connections, options.in_flight) = (50, 20);
    let figures = measure(5_001, change, Scenario::Unary);
    assert_eq!(figures.messages(), 5_001);
}

#[test]
fn large_messages_there_and_back() {
    let change = |options: &mut Options| (options.connections, options.in_flight) = (2, 8);
    let figures = measure(40, change, Scenario::Echo);
    assert_eq!(figures.messages(), 40);
}

#[test]
fn streams_of_small_messages_from_the_server() {
    let figures = measure(20, |options| options.in_flight = 4, Scenario::ServerStream);
    assert_eq!(figures.messages(), 20_000);
}

#[test]
fn streams_of_large_and_of_empty_messages_from_the_server() {
    for bytes in [300_000, 0] {
        let change = |options: &mut Options| {
            options.in_flight = 3;
            options.sizes = Sizes { bytes: Some(bytes), messages: Some(20), outstanding: None };
        };
        assert_eq!(measure(6, change, Scenario::ServerStream).messages(), 120, "{bytes} bytes");
    }
}

#[test]
fn streams_both_ways() {
    for (scenario, calls, messages) in [(Scenario::Bidi, 12, 500), (Scenario::LargeStream, 4, 5)] {
        let change = |options: &mut Options| {
            (options.connections, options.in_flight) = (2, 3);
            options.sizes.messages = Some(messages);
        };
        let figures = measure(calls, change, scenario);
        assert_eq!(figures.messages(), calls * u64::from(messages), "{scenario}");
    }
}

#[test]
fn calls_of_the_warm_up_do_not_count() {
    let (addr, seen) = start(None);
    let mut options = options(addr, Scenario::Unary);
    options.warm_up = Duration::from_millis(1);
    options.length = Length::Calls(100);
    let figures = gannet_load::measure(&options).unwrap();
    assert_eq!((figures.calls(), figures.messages()), (100, 100));
    assert!(seen.calls.load(Ordering::SeqCst) > 100, "nothing warmed up");
    options.length = Length::Time(Duration::from_millis(1));
    let figures = gannet_load::measure(&options).unwrap().json();
    assert!(figures.starts_with("{\"calls\":") && figures.ends_with('}'), "{figures}");
}

#[test]
fn everything_is_open_while_it_is_held() {
    let (tls, trust) = certificate();
    for (tls, trust) in [(None, None), (Some(tls), Some(trust))] {
        let (addr, seen) = start(tls);
        everything_is_held(Options { tls: trust, ..options(addr, Scenario::Idle) }, &seen);
    }
}

fn everything_is_held(mut options: Options, seen: &Arc<Seen>) {
    options.connections = 40;
    let count = || seen.calls.load(Ordering::SeqCst);
    let (opened, wait) = mpsc::channel();
    let ready = || {
        assert_eq!(count(), 40);
        opened.send(()).map_err(std::io::Error::other)
    };
    gannet_load::hold(&options, ready, move || wait.recv().unwrap()).unwrap();

    options.scenario = Scenario::OpenStreams;
    (options.connections, options.in_flight) = (5, 200);
    let (opened, wait) = mpsc::channel();
    let ready = || {
        assert_eq!((count(), seen.messages.load(Ordering::SeqCst)), (1_040, 1_000));
        opened.send(()).map_err(std::io::Error::other)
    };
    gannet_load::hold(&options, ready, move || wait.recv().unwrap()).unwrap();
}

#[test]
fn who_is_not_trusted_is_not_called() {
    let (tls, trust) = certificate();
    let (addr, _) = start(Some(tls));
    let call = |addr, trust: &Trust, scenario| {
        let options = Options { tls: Some(trust.clone()), ..options(addr, scenario) };
        gannet_load::measure(&options).unwrap_err().to_string()
    };
    let told = call(addr, &certificate().1, Scenario::Unary);
    assert!(told.contains("invalid peer certificate"), "{told}");
    let told = call(start(None).0, &trust, Scenario::Unary);
    assert!(told.contains("corrupt message"), "{told}");
    let told = call(addr, &trust, Scenario::Rest);
    assert_eq!(told, "REST is called without TLS only");
}

#[test]
fn what_the_server_refuses_is_said() {
    let (addr, _) = start(None);
    let mut too_many = options(addr, Scenario::Unary);
    too_many.in_flight = 100_000;
    let error = gannet_load::measure(&too_many).unwrap_err().to_string();
    assert!(error.contains("streams a connection, and 100000 are asked for"), "{error}");

    let mut unknown = options(run(Server::new(), None), Scenario::Unary);
    unknown.length = Length::Calls(1);
    let error = gannet_load::measure(&unknown).unwrap_err().to_string();
    assert_eq!(error, "a call ended with grpc-status 12 after 0 of 1 replies");
}

/// A server of canned bytes, until the sender is dropped; and a channel to it.
fn canned(reply: &Reply) -> (Channel, mpsc::Sender<()>) {
    let server = CannedServer::bind("127.0.0.1:0", reply).unwrap();
    let addr = server.local_addr().unwrap().to_string();
    let (stop, stopped) = mpsc::channel::<()>();
    let wait = move || {
        let _ = stopped.recv();
    };
    std::thread::spawn(move || server.serve(wait, |error| panic!("{error}")).unwrap());
    (Channel::builder(&addr).build().unwrap(), stop)
}

#[tokio::test]
async fn our_client_gets_the_canned_greeting() {
    let (channel, _stop) = canned(&Reply::Hello("you".to_owned()));
    let client = GrpctestClient::new(channel);
    let calls = (0..500).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            let request = Message { message: "you".to_owned(), ..Default::default() };
            client.get_server_response(request).await.unwrap()
        })
    });
    for call in calls.collect::<Vec<_>>() {
        let reply = call.await.unwrap();
        assert_eq!(reply.message, "Hello I am up and running received \"you\" message from you");
        assert!(reply.received);
    }
}

#[tokio::test]
async fn our_client_gets_its_own_messages_back() {
    let (channel, _stop) = canned(&Reply::Echo);
    let client = EchoClient::new(channel);
    let body: Vec<u8> = gannet_interop::pattern(1 << 20, 7);
    for _ in 0..5 {
        let request = Payload { body: body.clone().into(), ..Default::default() };
        assert!(client.unary(request).await.unwrap().body == body);
    }
}

#[tokio::test]
async fn our_client_gets_a_canned_stream() {
    let (channel, _stop) = canned(&Reply::Stream { messages: 300, bytes: 5_000 });
    let mut replies = EchoClient::new(channel).server_stream(Want::default()).await.unwrap();
    let mut count = 0;
    while let Some(payload) = replies.next().await.unwrap() {
        assert_eq!(payload.body, vec![b'x'; 5_000]);
        count += 1;
    }
    assert_eq!(count, 300);
}

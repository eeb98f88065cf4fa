//! The driver with a small client side of the test's own against a small server side: what a
//! [`Side`] can rely on.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gannet_http2::hpack::NoClassifier;
use gannet_http2::{Client, Config, Connection, Event, Server, StreamKey};
use gannet_transport::{
    CallShared, CloseReason, Command, Driver, Progress, Queue, Side, Stream, Turn, pipe,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::listeners::accept;

type Told = Arc<Mutex<Vec<String>>>;

/// Answers every request with its own body.
#[derive(Default)]
pub(crate) struct Echo {
    bodies: HashMap<StreamKey, Vec<u8>>,
    done: Vec<StreamKey>,
    /// How much came.
    events: Arc<AtomicUsize>,
}

impl Side for Echo {
    type Role = Server;
    type Command = ();

    fn command(&mut self, _: &mut Turn<'_, Server>, (): ()) {}

    fn call_asks(&mut self, _: &mut Turn<'_, Server>, _: &Arc<CallShared>) {}

    fn event(&mut self, _: Instant, event: Event<'_>) {
        self.events.fetch_add(1, Ordering::SeqCst);
        match event {
            Event::Headers { key, end_stream, .. } => {
                self.bodies.insert(key, Vec::new());
                self.done.extend(end_stream.then_some(key));
            }
            Event::Data { key, payload, end_stream } => {
                self.bodies.get_mut(&key).unwrap().extend_from_slice(payload);
                self.done.extend(end_stream.then_some(key));
            }
            _ => {}
        }
    }

    fn run(&mut self, _: &mut Turn<'_, Server>) -> Progress {
        Progress::Done
    }

    fn settle(&mut self, turn: &mut Turn<'_, Server>) {
        for key in self.done.drain(..) {
            let body = self.bodies.remove(&key).unwrap();
            turn.conn.release(key, body.len());
            let head = |w: &mut gannet_http2::FieldWriter<'_>| w.field(b":status", b"200");
            turn.conn.respond_unary(key, head, &body, |w| w.field(b"end", b"1")).unwrap();
        }
    }

    fn transmitted(&mut self, _: &mut Turn<'_, Server>) {}

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn handle_deadlines(&mut self, _: &mut Turn<'_, Server>) {}

    fn is_busy(&self) -> bool {
        !self.bodies.is_empty()
    }

    fn closed(&mut self, _: &CloseReason) {}
}

/// Sends a body, and hands the answer to whoever asked.
struct Ask {
    body: Vec<u8>,
    answer: oneshot::Sender<Vec<u8>>,
}

struct Asking {
    waiting: Vec<Ask>,
    asked: HashMap<StreamKey, (Vec<u8>, oneshot::Sender<Vec<u8>>)>,
    done: Vec<StreamKey>,
    told: Told,
    deadline: Option<Instant>,
    deadlines: Arc<AtomicUsize>,
    /// The most streams that were opened in one turn.
    opened_max: Arc<AtomicUsize>,
}

impl Side for Asking {
    type Role = Client;
    type Command = Ask;

    fn command(&mut self, _: &mut Turn<'_, Client>, ask: Ask) {
        self.waiting.push(ask);
    }

    fn call_asks(&mut self, _: &mut Turn<'_, Client>, _: &Arc<CallShared>) {}

    fn event(&mut self, _: Instant, event: Event<'_>) {
        match event {
            Event::Data { key, payload, .. } => {
                self.asked.get_mut(&key).unwrap().0.extend_from_slice(payload);
            }
            Event::Trailers { key, .. } => self.done.push(key),
            _ => {}
        }
    }

    fn run(&mut self, turn: &mut Turn<'_, Client>) -> Progress {
        let before = self.asked.len();
        while turn.conn.can_open().is_ok()
            && let Some(ask) = self.waiting.pop()
        {
            let key = turn.conn.open(false, |w| {
                w.field(b":method", b"POST");
                w.field(b":scheme", b"http");
                w.field(b":path", b"/");
            });
            let key = key.unwrap();
            turn.conn.send_data(key, &ask.body, true).unwrap();
            self.asked.insert(key, (Vec::new(), ask.answer));
        }
        self.opened_max.fetch_max(self.asked.len() - before, Ordering::SeqCst);
        Progress::Done
    }

    fn settle(&mut self, turn: &mut Turn<'_, Client>) {
        for key in self.done.drain(..) {
            let (body, answer) = self.asked.remove(&key).unwrap();
            turn.conn.release(key, body.len());
            turn.conn.forget(key);
            let _ = answer.send(body);
        }
    }

    fn transmitted(&mut self, _: &mut Turn<'_, Client>) {}

    fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn handle_deadlines(&mut self, turn: &mut Turn<'_, Client>) {
        assert!(turn.now >= self.deadline.unwrap());
        self.deadlines.fetch_add(1, Ordering::SeqCst);
        self.deadline = self.deadline.map(|at| at + Duration::from_millis(100));
    }

    fn is_busy(&self) -> bool {
        !self.asked.is_empty()
    }

    fn closed(&mut self, reason: &CloseReason) {
        self.asked.clear();
        self.told.lock().unwrap().push(reason.to_string());
    }
}

pub(crate) struct World {
    queue: Arc<Queue<Ask>>,
    told: Told,
    deadlines: Arc<AtomicUsize>,
    opened_max: Arc<AtomicUsize>,
    /// How often the client's driver was polled.
    polls: Arc<AtomicUsize>,
    /// And the server's.
    server_polls: Arc<AtomicUsize>,
    client: JoinHandle<CloseReason>,
    server: JoinHandle<CloseReason>,
    server_queue: Arc<Queue<()>>,
}

/// The client's end of a connection and the server's.
async fn ends() -> (Stream, Stream) {
    let (connector, listener) = pipe();
    let mut acceptor = gannet_transport::Listener::from(listener).into_acceptor().unwrap();
    let (client, _) = connector.connect().await.unwrap();
    let (server, _) = accept(&mut acceptor).await;
    (client, server)
}

async fn world(deadline: Option<Duration>) -> World {
    let (client, server) = ends().await;
    world_over(client, server, deadline)
}

/// A client's and a server's driver over these two ends.
pub(crate) fn world_over(client: Stream, server: Stream, deadline: Option<Duration>) -> World {
    let now = tokio::time::Instant::now().into_std();
    let (queue, server_queue) = (Arc::new(Queue::new()), Arc::new(Queue::new()));
    let (told, deadlines) = (Told::default(), Arc::new(AtomicUsize::new(0)));
    let opened_max = Arc::new(AtomicUsize::new(0));
    let side = Asking {
        waiting: Vec::new(),
        asked: HashMap::new(),
        done: Vec::new(),
        told: Arc::clone(&told),
        deadline: deadline.map(|after| now + after),
        deadlines: Arc::clone(&deadlines),
        opened_max: Arc::clone(&opened_max),
    };
    let conn = Connection::new(Config::default(), Arc::new(NoClassifier), now);
    let (client, polls) = counted(Driver::new(client, conn, side, Arc::clone(&queue)));
    let echo = echo_with(server, Config::default(), Echo::default(), Arc::clone(&server_queue));
    let (server, server_polls) = counted(echo);
    World { queue, told, deadlines, opened_max, polls, server_polls, client, server, server_queue }
}

/// Runs a driver and counts how often it is polled.
fn counted<S: Side + Send + 'static>(
    mut driver: Driver<S>,
) -> (JoinHandle<CloseReason>, Arc<AtomicUsize>)
where
    Driver<S>: Send,
{
    let polls = Arc::new(AtomicUsize::new(0));
    let polled = Arc::clone(&polls);
    let task = tokio::spawn(poll_fn(move |cx| {
        polled.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut driver).poll(cx)
    }));
    (task, polls)
}

pub(crate) async fn ask(
    world: &World,
    body: Vec<u8>,
) -> Result<Vec<u8>, oneshot::error::RecvError> {
    let (answer, answered) = oneshot::channel();
    world.queue.push(Command::Side(Ask { body, answer }));
    answered.await
}

#[tokio::test(start_paused = true)]
async fn commands_wake_a_sleeping_connection() {
    let world = world(None).await;
    for n in 0..100_u8 {
        assert_eq!(ask(&world, vec![n; 100]).await.unwrap(), vec![n; 100]);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(ask(&world, vec![7; 900_000]).await.unwrap(), vec![7; 900_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_many_threads_are_all_answered() {
    let world = Arc::new(world(None).await);
    let tasks: Vec<_> = (0..50_u8)
        .map(|n| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                for round in 0..40 {
                    let body = vec![n; 1 + round * 100];
                    assert_eq!(ask(&world, body.clone()).await.unwrap(), body);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// A woken task goes first on tokio's multi-thread runtime; the connection must not write for each.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn commands_of_many_tasks_leave_together() {
    let world = Arc::new(world(None).await);
    let tasks = tokio::spawn(async move {
        // The connection sleeps once this is answered and the other tasks have had their turn.
        ask(&world, vec![0]).await.unwrap();
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let asking = |_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { ask(&world, vec![1]).await.unwrap() })
        };
        let tasks: Vec<_> = (0..100).map(asking).collect();
        for task in tasks {
            task.await.unwrap();
        }
        world.opened_max.load(Ordering::SeqCst)
    });
    assert_eq!(tasks.await.unwrap(), 100);
}

/// Who calls alone does not go to the end of the line, for which tokio wakes another thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_lone_caller_is_served_at_once_until_others_come() {
    let world = Arc::new(world(None).await);
    let tasks = tokio::spawn(async move {
        for _ in 0..20 {
            ask(&world, vec![0]).await.unwrap();
        }
        let before = world.polls.load(Ordering::SeqCst);
        for _ in 0..100 {
            ask(&world, vec![0]).await.unwrap();
        }
        let polls = world.polls.load(Ordering::SeqCst) - before;
        assert!(polls <= 220, "{polls} polls for 100 commands and 100 answers");
        for _ in 0..2 {
            let asking = |_| {
                let world = Arc::clone(&world);
                tokio::spawn(async move { ask(&world, vec![1]).await.unwrap() })
            };
            let tasks: Vec<_> = (0..100).map(asking).collect();
            for task in tasks {
                task.await.unwrap();
            }
        }
        world.opened_max.load(Ordering::SeqCst)
    });
    assert_eq!(tasks.await.unwrap(), 100, "those of the second hundred leave together");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_both_sides_cleanly() {
    let world = world(None).await;
    ask(&world, vec![1]).await.unwrap();
    world.server_queue.push(Command::Drain);
    assert!(matches!(world.server.await.unwrap(), CloseReason::Finished));
    assert!(matches!(world.client.await.unwrap(), CloseReason::Finished));
    assert_eq!(world.told.lock().unwrap().len(), 1, "told once");
    assert!(world.queue.is_closed());
    let (answer, answered) = oneshot::channel();
    world.queue.push(Command::Side(Ask { body: vec![], answer }));
    assert!(answered.await.is_err(), "a command after the end is dropped");
}

#[tokio::test(start_paused = true)]
async fn an_abort_and_a_drop_tell_the_side_once() {
    let first = world(None).await;
    ask(&first, vec![1]).await.unwrap();
    first.queue.push(Command::Abort);
    assert!(matches!(first.client.await.unwrap(), CloseReason::Aborted));
    assert_eq!(*first.told.lock().unwrap(), ["the connection was closed from this side"]);
    let second = world(None).await;
    ask(&second, vec![1]).await.unwrap();
    second.client.abort();
    assert!(second.client.await.is_err());
    assert_eq!(second.told.lock().unwrap().len(), 1);
    assert!(second.queue.is_closed());
}

#[tokio::test(start_paused = true)]
async fn deadlines_of_the_side_come_in_time_and_again() {
    let world = world(Some(Duration::from_millis(100))).await;
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(world.deadlines.load(Ordering::SeqCst), 10);
}

/// The client's end of a connection on which nothing was said, and the server's driver.
async fn echo_server() -> (Stream, JoinHandle<CloseReason>) {
    let (client, server) = ends().await;
    (client, tokio::spawn(echo_over(server)))
}

/// A server's driver over this end.
pub(crate) fn echo_over(stream: Stream) -> Driver<Echo> {
    echo_with(stream, Config::default(), Echo::default(), Arc::new(Queue::new()))
}

fn echo_with(stream: Stream, config: Config, side: Echo, queue: Arc<Queue<()>>) -> Driver<Echo> {
    let now = tokio::time::Instant::now().into_std();
    let conn = Connection::new(config, Arc::new(NoClassifier), now);
    Driver::new(stream, conn, side, queue)
}

#[tokio::test(start_paused = true)]
async fn what_is_no_http2_is_told_so_and_closed() {
    let (mut client, server) = echo_server().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut client, &mut bytes).await.unwrap();
    drop(client);
    let reason = server.await.unwrap();
    assert!(matches!(reason, CloseReason::Protocol(_)), "{reason}");
}

/// A client that was not told what it asked for, and its server.
async fn stuffed() -> (Stream, JoinHandle<CloseReason>) {
    let (mut client, server) = echo_server().await;
    stuff(&mut client).await;
    (client, server)
}

/// Sends PINGs and reads no answer until the server takes no more.
pub(crate) async fn stuff(client: &mut Stream) {
    stuff_by(client, 100).await;
}

const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingping";

/// The same, so many in one go.
async fn stuff_by(client: &mut Stream, count: usize) {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
    client.write_all(preface).await.unwrap();
    let pings = PING.repeat(count);
    let one_second = Duration::from_secs(1);
    while tokio::time::timeout(one_second, client.write_all(&pings)).await.is_ok() {}
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_loses_its_connection() {
    let (_client, server) = stuffed().await;
    let reason = server.await.unwrap();
    let CloseReason::Io(error) = &reason else { panic!("{reason}") };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{reason}");
}

/// What was read already waits like the rest, however often the connection is woken meanwhile.
#[tokio::test(start_paused = true)]
async fn a_full_socket_stops_what_was_read_too() {
    const SEND_BUFFER_BYTES_MAX: usize = 4 << 10;
    let (mut client, stream) = ends().await;
    let (side, queue) = (Echo::default(), Arc::new(Queue::new()));
    let events = Arc::clone(&side.events);
    let seen = || events.load(Ordering::SeqCst);
    let mut config = Config::default();
    config.send_buffer_bytes_max = SEND_BUFFER_BYTES_MAX;
    tokio::spawn(echo_with(stream, config, side, Arc::clone(&queue)));
    stuff_by(&mut client, 3_500).await;
    let before = seen();
    for _ in 0..200 {
        queue.push(Command::Side(()));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(seen(), before);
    // All that lies in the socket, at once.
    let mut some = vec![0; 1 << 20];
    let there = tokio::io::AsyncReadExt::read(&mut client, &mut some).await.unwrap();
    let held = (before * PING.len()).saturating_sub(there);
    assert!(held <= 2 * SEND_BUFFER_BYTES_MAX, "{held} bytes of answers are held");
    let goes_on = async {
        while seen() == before {
            tokio::io::AsyncReadExt::read_exact(&mut client, &mut [0; 100]).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), goes_on).await.expect("it goes on");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_keeps_it() {
    let (mut client, server) = stuffed().await;
    for _ in 0..20 {
        let mut some = [0; 1700];
        tokio::io::AsyncReadExt::read_exact(&mut client, &mut some).await.unwrap();
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert!(!server.is_finished());
    }
}

/// One at most in the process looks whether storage lies unused: which, depends on the other tests
/// here, whose connections may be that one as well.
#[tokio::test(start_paused = true)]
async fn idle_connections_are_not_woken_for_others_storage() {
    let worlds = [world(None).await, world(None).await];
    gannet_core::storage::give(Vec::with_capacity(1 << 20));
    for world in &worlds {
        ask(world, vec![1]).await.unwrap();
    }
    let mut polls = Vec::new();
    for _ in 0..600 {
        // Another connection is busy with long messages.
        let used = gannet_core::storage::take(1 << 20).unwrap_or(Vec::with_capacity(1 << 20));
        gannet_core::storage::give(used);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let all = worlds.iter().flat_map(|world| [&world.polls, &world.server_polls]);
        polls.push(all.map(|polls| polls.load(Ordering::SeqCst)).collect::<Vec<_>>());
    }
    let mut woken: Vec<_> = polls[599].iter().zip(&polls[0]).map(|(to, from)| to - from).collect();
    woken.sort_unstable();
    assert!(woken[2] <= 2, "idle connections were polled {woken:?} times in 10 minutes");
}

//! A connection over a real socket, in real time, that keeps memory and gives it back: roused by
//! the thread for that, as outside of tests, but after a shorter time.

use std::future::poll_fn;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use gannet_http2::hpack::NoClassifier;
use gannet_http2::{Config, Event, Keepalive, Server, Upkeep};
use tokio::runtime::Runtime;

use super::*;
use crate::call::CallShared;
use crate::rouser::Rouser;

/// Something went wrong if it takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// Of which the first PING is due long after that.
const KEEPALIVE: Keepalive = Keepalive {
    time: Duration::from_secs(7_200),
    timeout: Duration::from_secs(20),
    without_calls: true,
};

/// Has a call whenever it is told, which ends at once.
#[derive(Default)]
struct Brief {
    has_call: bool,
    calls: usize,
    releases: usize,
    goaways: usize,
    /// What the peer does before the next write.
    before_write: Option<Box<dyn FnOnce() + Send>>,
    /// Where other threads push a command while each of so many rounds is under way.
    pushed: Option<(Arc<Queue<()>>, usize)>,
}

impl Side for Brief {
    type Role = Server;
    type Command = ();

    fn command(&mut self, _: &mut Turn<'_, Server>, (): ()) {
        self.has_call = true;
        self.calls += 1;
    }

    fn call_asks(&mut self, _: &mut Turn<'_, Server>, _: &Arc<CallShared>) {}

    fn event(&mut self, _: Instant, event: Event<'_>) {
        self.goaways += usize::from(matches!(event, Event::GoAway { .. }));
    }

    fn run(&mut self, turn: &mut Turn<'_, Server>) -> Progress {
        if let Some((queue, left @ 1..)) = &mut self.pushed {
            *left -= 1;
            queue.push(Command::Side(()));
            // Something to write for it.
            turn.conn.ping([0; 8]);
        }
        Progress::Done
    }

    fn settle(&mut self, _: &mut Turn<'_, Server>) {
        self.has_call = false;
        if let Some(act) = self.before_write.take() {
            act();
        }
    }

    fn transmitted(&mut self, _: &mut Turn<'_, Server>) {}

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn handle_deadlines(&mut self, _: &mut Turn<'_, Server>) {}

    fn is_busy(&self) -> bool {
        self.has_call
    }

    fn release(&mut self) {
        self.releases += 1;
    }

    fn closed(&mut self, _: &CloseReason) {}
}

/// A connection, in a runtime of its own.
struct World {
    driver: Driver<Brief>,
    queue: Arc<Queue<()>>,
    runtime: Runtime,
    client: TcpStream,
}

impl World {
    fn new(rouser: &'static Rouser) -> World {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // The preface, SETTINGS, and the acknowledgement of those of the server.
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        client.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        let queue = Arc::new(Queue::new());
        let in_runtime = runtime.enter();
        let io = Stream::Tcp(tokio::net::TcpStream::from_std(server).unwrap());
        let now = Instant::now();
        let mut conn = Connection::new(Config::default(), Arc::new(NoClassifier), now);
        let mut upkeep = Upkeep::default();
        upkeep.keepalive = Some(KEEPALIVE);
        conn.keep_up_with(Arc::new(upkeep), 0.5, now);
        let mut driver = Driver::new(io, conn, Brief::default(), Arc::clone(&queue));
        drop(in_runtime);
        driver.rest = Rest::looked_after_by(rouser);
        let mut world = World { driver, queue, runtime, client };
        // Its SETTINGS leave once the client's preface is there.
        world.drive_until("no pause", |driver| {
            driver.side.releases > 0 && !driver.conn.awaits_preface() && driver.send.is_empty()
        });
        world
    }

    fn drive_until(&mut self, what: &str, is: impl Fn(&Driver<Brief>) -> bool) {
        let driver = &mut self.driver;
        let driven = poll_fn(|cx| {
            assert!(Pin::new(&mut *driver).poll(cx).is_pending(), "the connection has ended");
            if is(driver) { Poll::Ready(()) } else { Poll::Pending }
        });
        let driven = async { tokio::time::timeout(LIMIT, driven).await };
        self.runtime.block_on(driven).unwrap_or_else(|_| panic!("{what}"));
    }

    /// Has calls until the connection counts as busy, and keeps its memory.
    fn make_busy(&mut self) {
        for calls in self.driver.side.calls + 1..=20 {
            self.queue.push(Command::Side(()));
            self.drive_until("no call", |driver| {
                driver.slept && driver.side.calls == calls && driver.send.is_empty()
            });
            if self.driver.rest.next().is_some() {
                return;
            }
        }
        panic!("it is not busy");
    }
}

fn wait_for_end_of_thread(rouser: &Rouser) {
    let start = Instant::now();
    while rouser.has_thread() {
        assert!(start.elapsed() < LIMIT, "the thread goes on");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_idle_connection_is_roused_to_give_its_memory_back_and_then_there_is_no_thread() {
    static ROUSER: Rouser = Rouser::new(Duration::from_millis(50));
    let mut world = World::new(&ROUSER);
    assert!(!ROUSER.has_thread());
    for _ in 0..2 {
        world.make_busy();
        let releases = world.driver.side.releases;
        assert!(world.driver.rest.is_noted);
        assert_eq!(world.driver.rest_deadline(), None, "no timer");
        assert!(!world.driver.alarm.is_armed(), "nor one for what is hours away");
        world.drive_until("nothing was given back", |driver| driver.side.releases > releases);
        assert_eq!(world.driver.side.releases, releases + 1);
        assert!(!world.driver.rest.is_noted && world.driver.rest.next().is_none());
        assert!(world.driver.alarm.is_armed(), "nobody else looks any more");
        wait_for_end_of_thread(&ROUSER);
    }
}

#[test]
fn runtimes_share_the_thread_and_one_that_is_gone_does_no_harm() {
    static ROUSER: Rouser = Rouser::new(Duration::from_millis(50));
    let (mut gone, mut stays) = (World::new(&ROUSER), World::new(&ROUSER));
    gone.make_busy();
    assert!(gone.driver.rest.is_noted);
    // As a channel does, something else knows the queue, in which lies the waker of a task that is
    // no more.
    let queue = Arc::clone(&gone.queue);
    drop(gone);
    stays.make_busy();
    let releases = stays.driver.side.releases;
    stays.drive_until("nothing was given back", |driver| driver.side.releases > releases);
    wait_for_end_of_thread(&ROUSER);
    assert!(queue.take_roused());
}

/// In how many polls a connection does what callers on other threads ask of it while it runs, one
/// thing in each of so many rounds.
fn polls_for(rounds: usize, gathers: bool) -> usize {
    static ROUSER: Rouser = Rouser::new(Duration::from_millis(50));
    let mut world = World::new(&ROUSER);
    world.driver.gathers = gathers;
    world.driver.side.pushed = Some((Arc::clone(&world.queue), rounds));
    let mut polls = 0;
    // Two, so that it is not alone.
    world.queue.push(Command::Side(()));
    world.queue.push(Command::Side(()));
    let driver = &mut world.driver;
    let driven = poll_fn(|cx| {
        polls += 1;
        assert!(Pin::new(&mut *driver).poll(cx).is_pending(), "the connection has ended");
        let is_done = driver.slept && driver.side.calls == rounds + 2;
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    });
    let driven = async { tokio::time::timeout(LIMIT, driven).await };
    world.runtime.block_on(driven).expect("not all was done");
    polls
}

#[test]
fn a_connection_that_has_written_lets_callers_on_other_threads_gather() {
    let (goes_on, gathers) = (polls_for(6, false), polls_for(6, true));
    assert!(goes_on <= 2, "{goes_on}: on one thread nobody asks meanwhile, so it goes on");
    assert!(gathers >= 4, "{gathers}: it ran on for what came one by one");
}

const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// DATA of a stream that nobody opened.
const DATA_OF_NONE: [u8; 9] = [0, 0, 0, 0, 0, 0, 0, 0, 9];

/// The end of a connection that has something to write, and whose client sends `words` and resets
/// it between the read and that write. Also how many GOAWAY frames were seen.
fn end_after(words: Vec<u8>) -> (CloseReason, usize) {
    static ROUSER: Rouser = Rouser::new(Duration::from_millis(50));
    let World { mut driver, queue, runtime, mut client } = World::new(&ROUSER);
    driver.side.before_write = Some(Box::new(move || {
        client.write_all(&words).unwrap();
        // The server's SETTINGS are unread: that makes a reset of it.
        drop(client);
    }));
    queue.push(Command::Drain);
    let ended = async { tokio::time::timeout(LIMIT, &mut driver).await };
    let reason = runtime.block_on(ended).expect("the connection goes on");
    assert!(driver.side.before_write.is_none(), "the client did not close");
    (reason, driver.side.goaways)
}

#[test]
fn what_a_peer_said_before_it_reset_the_connection_is_heard() {
    let (reason, goaways) = end_after(GOAWAY.to_vec());
    assert_eq!(goaways, 1, "{reason}");
    assert!(matches!(reason, CloseReason::Finished), "{reason}");

    let (reason, goaways) = end_after([GOAWAY.as_slice(), &DATA_OF_NONE].concat());
    assert_eq!(goaways, 1, "{reason}");
    assert!(matches!(reason, CloseReason::Protocol(_)), "{reason}");
}

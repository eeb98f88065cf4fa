//! What a name stands for, and the resolver that finds it out: the real ones, [`Dns`] with a zone
//! of its own, or an [`AddressList`].

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gannet_core::Status;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::world::now;
use crate::name::{
    Address, AddressList, AnyResolver, Asks, Dns, Endpoint, Listener, Resolution, Updates,
};
use crate::policy::{BackoffConfig, RESOLVE_INTERVAL_MIN};

/// What somebody finds who looks.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// Each of these may come twice.
    These(Vec<SocketAddr>),
    Nothing,
    Fails,
    /// It comes when nobody waits for it any more, and is an error.
    Hangs,
}

/// Who was told what.
type Told = Result<Resolution, Status>;

pub(super) struct Names {
    zone: Arc<Mutex<Zone>>,
    /// In place of the zone.
    list: Option<AddressList>,
    resolver: Arc<dyn AnyResolver>,
    pub(super) told: mpsc::UnboundedReceiver<Told>,
    tell: mpsc::UnboundedSender<Told>,
    asks: Arc<Asks>,
    task: Option<JoinHandle<()>>,
}

struct Zone {
    answer: Answer,
    takes: Duration,
    lookups: usize,
    /// Before this nobody may look.
    rests_until: Option<Instant>,
    failures: i32,
    /// Since when nobody has looked, although it was asked for.
    asked: Option<Instant>,
}

/// How long a lookup takes to which nobody answers.
const HANGS: Duration = Duration::from_secs(75);
/// How long a resolver that is asked may rest: its longest backoff, spread by a fifth, and one
/// lookup that is not answered.
const REST_MAX: Duration = Duration::from_secs(144 + 20);

impl Zone {
    /// Somebody looks: not too early.
    fn looked(&mut self) {
        let now = now();
        let early =
            self.rests_until.map(|at| at.saturating_duration_since(now)).unwrap_or_default();
        assert!(early.is_zero(), "resolved again {early:?} too early; {} failures", self.failures);
        self.lookups += 1;
        self.asked = None;
        let is_found = matches!(&self.answer, Answer::These(some) if !some.is_empty());
        self.rests_until = Some(if is_found {
            self.failures = 0;
            now + self.takes + RESOLVE_INTERVAL_MIN
        } else {
            self.failures += 1;
            let least =
                if self.failures == 1 { 1.0 } else { 1.6_f64.powi(self.failures - 1) * 0.79 };
            now + Duration::from_secs_f64(least.min(120.0 * 0.79))
        });
    }
}

impl Names {
    pub(super) fn new(is_list: bool) -> Names {
        let zone = Arc::new(Mutex::new(Zone {
            answer: Answer::Nothing,
            takes: Duration::ZERO,
            lookups: 0,
            rests_until: None,
            failures: 0,
            asked: None,
        }));
        let list = is_list.then(|| AddressList::new(Vec::<Endpoint>::new()));
        let resolver: Arc<dyn AnyResolver> = match &list {
            Some(list) => Arc::new(list.clone()),
            None => Arc::new(dns(&zone)),
        };
        let (tell, told) = mpsc::unbounded_channel();
        Names { zone, list, resolver, told, tell, asks: Arc::default(), task: None }
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name stands for something else; `takes` a lookup.
    pub(super) fn set(&self, answer: Answer, takes: Duration) {
        let mut zone = self.zone();
        (zone.answer, zone.takes) = (answer, takes);
    }

    /// The same, where it is a list.
    pub(super) fn set_list(&self, endpoints: Vec<Endpoint>) {
        self.list.as_ref().expect("it is a list").set(endpoints);
    }

    pub(super) fn fail_list(&self) {
        self.list.as_ref().expect("it is a list").fail(Status::unavailable("no list"));
    }

    pub(super) fn is_list(&self) -> bool {
        self.list.is_some()
    }

    pub(super) fn lookups(&self) -> usize {
        self.zone().lookups
    }

    pub(super) fn start(&mut self) {
        // Each time anew: what is paced is one watch.
        self.zone().rests_until = None;
        self.zone().failures = 0;
        self.asks = Arc::default();
        let updates = Updates::new(Arc::new(Teller(self.tell.clone())), Arc::clone(&self.asks));
        self.task = Some(tokio::spawn(Arc::clone(&self.resolver).watch(updates)));
    }

    pub(super) fn stop(&mut self) {
        self.task.take().expect("it runs").abort();
        while self.told.try_recv().is_ok() {}
        self.zone().asked = None;
    }

    pub(super) fn ask(&self) {
        self.asks.ask();
        let mut zone = self.zone();
        zone.asked = zone.asked.or(Some(now()));
    }

    /// The application has reset the backoff: who rests after an error, or until it may look again,
    /// looks at once.
    pub(super) fn hurry(&self) {
        self.asks.hurry();
        let mut zone = self.zone();
        (zone.rests_until, zone.failures) = (None, 0);
    }

    /// What was asked for so far has been answered.
    pub(super) fn answered(&self) {
        self.zone().asked = None;
    }

    /// Who asks is heard, in time.
    pub(super) fn check(&self) {
        let asked = self.zone().asked.filter(|_| self.list.is_none());
        assert!(asked.is_none_or(|at| now() <= at + REST_MAX), "nobody resolves the name");
    }
}

fn dns(zone: &Arc<Mutex<Zone>>) -> Dns {
    let zone = Arc::clone(zone);
    Dns::looking_up("svc", 1, RESOLVE_INTERVAL_MIN, BackoffConfig::default(), move |_, _| {
        let mut zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
        zone.looked();
        let (answer, takes) = (zone.answer.clone(), zone.takes);
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            match answer {
                Answer::These(addresses) => Ok(addresses),
                Answer::Nothing => Ok(Vec::new()),
                Answer::Fails => Err(io::Error::other("no such name")),
                Answer::Hangs => {
                    tokio::time::sleep(HANGS).await;
                    Err(io::Error::other("no server answers"))
                }
            }
        })
    })
}

struct Teller(mpsc::UnboundedSender<Told>);

impl Listener for Teller {
    fn told(&self, names: Told) {
        // The world may have ended.
        let _ = self.0.send(names);
    }
}

/// The address of a server by its number.
pub(super) fn numbered(n: usize) -> SocketAddr {
    let byte = |n: usize| u8::try_from(n % 256).unwrap_or(0);
    SocketAddr::from(([10, byte(n / 65_536), byte(n / 256), byte(n)], 1))
}

/// The number of the server at an address.
pub(super) fn number_of(address: &Address) -> usize {
    match address.socket_addr() {
        Some(SocketAddr::V4(addr)) => {
            let [_, a, b, c] = addr.ip().octets();
            usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
        }
        _ => panic!("{address} is not of this world"),
    }
}

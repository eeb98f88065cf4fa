//! The table of methods, and how calls of each are run.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use gannet_core::compression::{CodecId, Compressors, Encoding};
use gannet_core::{MethodDescriptor, Status, limits};

use crate::intercept::{Chain, Layer};
use crate::{MethodOptions, Service};

/// Where calls of a method run. Without an override that is decided by how long its polls take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dispatch {
    /// On the connection's own task: the cheapest, for handlers that never compute for long.
    Inline,
    /// In a task of its own on the runtime.
    Spawn,
    /// On threads that the server keeps for handlers that compute, one for each core, so that the
    /// threads that serve connections stay free for others. A method whose polls prove long goes
    /// there by itself.
    ///
    /// The handler still lives in the runtime of its connection: what it spawns, its timers and its
    /// sockets belong there.
    Compute,
    /// On a thread of the runtime's blocking pool: for handlers that block.
    Blocking,
}

/// Mean poll time from which calls leave the connection's task.
const PROMOTE_ABOVE: Duration = Duration::from_micros(50);
/// A poll that takes less is short.
const SHORT_POLL: Duration = Duration::from_micros(25);
/// Short polls in a row after which calls run inline again. Many, as a method that is slow now and
/// then does more harm inline than quick calls of it cost elsewhere.
const SHORT_POLLS_UNTIL_INLINE: u32 = 512;
/// Short polls in a row after which a method that runs inline counts as steady.
const SHORT_POLLS_UNTIL_STEADY: u32 = 64;
/// Weight of one poll in the mean, as a shift: 1/8.
const MEAN_SHIFT: u32 = 3;

/// All methods of all services of a server.
pub(crate) struct Router {
    methods: Vec<Method>,
    by_path: HashMap<&'static [u8], u32>,
}

/// One method.
pub(crate) struct Method {
    pub(crate) service: Arc<dyn Service>,
    /// The method's place in the service's descriptor.
    pub(crate) index: usize,
    pub(crate) descriptor: &'static MethodDescriptor,
    pub(crate) receive_bytes_max: usize,
    pub(crate) send_bytes_max: usize,
    /// How long a call may take.
    pub(crate) timeout: Option<Duration>,
    dispatch: Option<Dispatch>,
    /// With what responses are compressed, where the client takes it.
    pub(crate) compress: Option<CodecId>,
    /// Where interceptors wrap its calls.
    pub(crate) chain: Option<Arc<Chain>>,
    pub(crate) cost: Cost,
}

/// What a server does with its methods.
pub(crate) struct Plan {
    pub(crate) services: Vec<Arc<dyn Service>>,
    pub(crate) options: Vec<(String, MethodOptions)>,
    /// Each for a method, a service, or all.
    pub(crate) interceptors: Vec<(Option<String>, Arc<dyn Layer>)>,
    pub(crate) compressors: Compressors,
    /// What responses are compressed with.
    pub(crate) compress: Encoding,
    pub(crate) receive_bytes_max: usize,
    pub(crate) send_bytes_max: usize,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            services: Vec::new(),
            options: Vec::new(),
            interceptors: Vec::new(),
            compressors: Compressors::new(),
            compress: Encoding::IDENTITY,
            receive_bytes_max: limits::MESSAGE_RECEIVE_BYTES_MAX_DEFAULT,
            send_bytes_max: limits::MESSAGE_SEND_BYTES_MAX_DEFAULT,
        }
    }
}

impl Plan {
    /// An encoding that responses are to be compressed with, and that is not there.
    pub(crate) fn missing_compressor(&self) -> Option<Encoding> {
        let options = self.options.iter().filter_map(|(_, options)| options.compress);
        let find = |encoding: &Encoding| self.compressors.find(encoding.name().as_bytes());
        std::iter::once(self.compress)
            .chain(options)
            .find(|encoding| !encoding.is_identity() && find(encoding).is_none())
    }

    /// A name that two services have.
    pub(crate) fn name_of_two(&self) -> Option<&'static str> {
        let mut seen = HashSet::new();
        let names = self.services.iter().map(|service| service.descriptor().name);
        names.into_iter().find(|name| !seen.insert(*name))
    }

    fn compressor(&self, options: MethodOptions) -> Option<CodecId> {
        self.compressors.find(options.compress.unwrap_or(self.compress).name().as_bytes())
    }

    /// A name for which something is said, and that no service has.
    pub(crate) fn unknown_name(&self) -> Option<&str> {
        let methods = || self.services.iter().flat_map(|service| service.descriptor().methods);
        let is_known = |name: &str| {
            methods().any(|method| is_named(method, name))
                || self.services.iter().any(|service| service.descriptor().name == name)
        };
        let options = self.options.iter().map(|(name, _)| name.as_str());
        let places = self.interceptors.iter().filter_map(|(name, _)| name.as_deref());
        let told = self.interceptors.iter().flat_map(|(_, layer)| layer.speaks_of());
        options.chain(places).chain(told).find(|name| !is_known(name))
    }

    /// What is said of a method: of itself before its service, and of either what was said last.
    fn options(&self, method: &MethodDescriptor) -> MethodOptions {
        let said = |name: &str| {
            let all = self.options.iter().rev().filter(|(known, _)| known == name);
            all.fold(MethodOptions::new(), |sum, (_, options)| sum.or(*options))
        };
        said(method.path).or(said(method.service))
    }

    fn chain(
        &self,
        service: &Arc<dyn Service>,
        index: usize,
        method: &'static MethodDescriptor,
        send_bytes_max: usize,
    ) -> Option<Arc<Chain>> {
        let layers: Vec<_> = self
            .interceptors
            .iter()
            .filter(|(name, _)| name.as_ref().is_none_or(|name| is_named(method, name)))
            .map(|(_, layer)| Arc::clone(layer))
            .collect();
        let service = Arc::clone(service);
        let chain = Chain { layers, service, index, method, send_bytes_max };
        (!chain.layers.is_empty()).then(|| Arc::new(chain))
    }
}

/// Whether a name means this method, or its service.
fn is_named(method: &MethodDescriptor, name: &str) -> bool {
    name == method.path || name == method.service
}

impl Router {
    /// Method ids are tagged in 24 bits.
    pub(crate) const METHODS_MAX: usize = 1 << 24;

    /// Builds the table. There are [no two services of one name](Plan::name_of_two); of two methods
    /// that have the same path all the same, the later one counts.
    pub(crate) fn new(plan: &Plan) -> Router {
        let mut router = Router { methods: Vec::new(), by_path: HashMap::new() };
        for service in &plan.services {
            for (index, descriptor) in service.descriptor().methods.iter().enumerate() {
                let Some(id) = u32::try_from(router.methods.len())
                    .ok()
                    .filter(|_| router.methods.len() < Self::METHODS_MAX)
                else {
                    return router;
                };
                let options = plan.options(descriptor);
                let send_bytes_max = options.send_bytes_max.unwrap_or(plan.send_bytes_max);
                router.methods.push(Method {
                    service: Arc::clone(service),
                    index,
                    descriptor,
                    receive_bytes_max: options.receive_bytes_max.unwrap_or(plan.receive_bytes_max),
                    send_bytes_max,
                    timeout: options.timeout,
                    dispatch: options.dispatch,
                    compress: plan.compressor(options),
                    chain: plan.chain(service, index, descriptor, send_bytes_max),
                    cost: Cost::default(),
                });
                router.by_path.insert(descriptor.path.as_bytes(), id);
            }
        }
        router
    }

    /// The id of the method at `path`.
    pub(crate) fn find(&self, path: &[u8]) -> Option<u32> {
        self.by_path.get(path).copied()
    }

    /// The method with an id from `find`.
    pub(crate) fn method(&self, id: u32) -> Option<&Method> {
        self.methods.get(id as usize)
    }

    /// How many methods there are.
    pub(crate) fn len(&self) -> usize {
        self.methods.len()
    }

    /// What a call of a path that is not in the table is told.
    #[cold]
    pub(crate) fn unknown(&self, path: &[u8]) -> Status {
        let shown = String::from_utf8_lossy(path);
        let service = shown.trim_start_matches('/').rsplit_once('/').map(|(service, _)| service);
        let known = service.is_some_and(|name| {
            self.methods.iter().any(|method| method.descriptor.service == name)
        });
        let what = if known { "method" } else { "service or method" };
        Status::unimplemented(format!("unknown {what} {shown}"))
    }
}

impl Method {
    /// Whether where calls run is said beforehand, so that nothing depends on how long they take.
    pub(crate) fn is_fixed(&self) -> bool {
        self.dispatch.is_some()
    }

    /// Where the next call runs.
    pub(crate) fn dispatch(&self) -> Dispatch {
        match self.dispatch {
            Some(dispatch) => dispatch,
            None if self.cost.is_high() => Dispatch::Compute,
            None => Dispatch::Inline,
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.methods.iter().map(|method| method.descriptor.path)).finish()
    }
}

/// How long polls of a method's handlers take: an exponentially weighted mean. Updates of several
/// connections may overwrite each other, which does not matter.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    /// 0 until the first poll.
    mean_nanos: AtomicU32,
    high: AtomicBool,
    /// Since the last poll that was not short, and since it became high or ceased to be.
    short_in_row: AtomicU32,
}

impl Cost {
    /// Adds one poll.
    pub(crate) fn record(&self, took: Duration) {
        let took = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX);
        let mean = self.mean_nanos.load(Ordering::Relaxed);
        let mean = mean - (mean >> MEAN_SHIFT) + (took >> MEAN_SHIFT);
        self.mean_nanos.store(mean.max(1), Ordering::Relaxed);
        if Duration::from_nanos(u64::from(mean)) > PROMOTE_ABOVE {
            self.short_in_row.store(0, Ordering::Relaxed);
            self.high.store(true, Ordering::Relaxed);
        } else {
            self.count_short(Duration::from_nanos(u64::from(took)));
        }
    }

    fn count_short(&self, took: Duration) {
        let before = self.short_in_row.load(Ordering::Relaxed);
        let mut short_in_row = if took < SHORT_POLL { before.saturating_add(1) } else { 0 };
        if self.is_high() && short_in_row >= SHORT_POLLS_UNTIL_INLINE {
            // It has yet to show that it is steady inline.
            short_in_row = 0;
            self.high.store(false, Ordering::Relaxed);
        }
        self.short_in_row.store(short_in_row, Ordering::Relaxed);
    }

    /// Whether a poll was ever timed.
    pub(crate) fn is_known(&self) -> bool {
        self.mean_nanos.load(Ordering::Relaxed) > 0
    }

    /// Whether polls have been short for long.
    pub(crate) fn is_steady(&self) -> bool {
        self.short_in_row.load(Ordering::Relaxed) >= SHORT_POLLS_UNTIL_STEADY && !self.is_high()
    }

    /// Whether polls take so long that the connection should not wait for them.
    pub(crate) fn is_high(&self) -> bool {
        self.high.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_promoted_by_its_mean_and_demoted_later() {
        let cost = Cost::default();
        for _ in 0..100 {
            cost.record(Duration::from_micros(5));
        }
        cost.record(Duration::from_micros(200));
        assert!(!cost.is_high(), "one cold poll is no reason");
        cost.record(Duration::from_millis(5));
        assert!(cost.is_high());
        let mut polls = 0;
        while cost.is_high() {
            cost.record(Duration::from_micros(10));
            polls += 1;
        }
        assert!((512..600).contains(&polls), "demoted after {polls} short polls");
        cost.record(Duration::MAX);
        assert!(cost.is_high());
    }

    #[test]
    fn a_method_is_steady_after_many_short_polls_until_one_is_not() {
        let cost = Cost::default();
        let until_steady = || {
            let mut polls = 0;
            while !cost.is_steady() {
                cost.record(Duration::from_micros(5));
                polls += 1;
            }
            polls
        };
        assert_eq!(until_steady(), 64);
        cost.record(Duration::from_micros(30));
        assert!(!cost.is_steady());
        assert_eq!(until_steady(), 64);
        cost.record(Duration::from_millis(1));
        assert!(cost.is_high() && !cost.is_steady());
        assert!(until_steady() > 512 + 64, "it shows anew that it is");
    }

    #[test]
    fn the_first_slow_poll_is_enough() {
        let cost = Cost::default();
        assert!(!cost.is_known());
        cost.record(Duration::from_millis(1));
        assert!(cost.is_known() && cost.is_high());
    }

    #[test]
    fn a_method_that_is_slow_now_and_then_stays_away() {
        let cost = Cost::default();
        for n in 0..10_000 {
            cost.record(Duration::from_micros(if n % 100 == 0 { 2_000 } else { 5 }));
            assert!(cost.is_high(), "inline after {n} polls");
        }
    }
}

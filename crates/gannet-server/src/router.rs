//! The table of methods, and how calls of each are run.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use gannet_core::compression::CodecId;
use gannet_core::{MethodDescriptor, Status};

use crate::Service;

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
    dispatch: Option<Dispatch>,
    /// With what responses are compressed, where the client takes it.
    pub(crate) compress: Option<CodecId>,
    pub(crate) cost: Cost,
}

impl Router {
    /// Method ids are tagged in 24 bits.
    pub(crate) const METHODS_MAX: usize = 1 << 24;

    /// Builds the table. Of two services with the same path the later one counts. `dispatch` and
    /// `compress` name a method's path, a whole service, or all by the empty name; the last that
    /// fits counts.
    pub(crate) fn new(
        services: &[Arc<dyn Service>],
        dispatch: &[(String, Dispatch)],
        compress: &[(String, Option<CodecId>)],
    ) -> Router {
        let mut router = Router { methods: Vec::new(), by_path: HashMap::new() };
        for service in services {
            for (index, descriptor) in service.descriptor().methods.iter().enumerate() {
                let named = |name: &str| {
                    name.is_empty() || name == descriptor.path || name == descriptor.service
                };
                let dispatch = dispatch.iter().rev().find(|(name, _)| named(name));
                let compress = compress.iter().rev().find(|(name, _)| named(name));
                let Some(id) = u32::try_from(router.methods.len())
                    .ok()
                    .filter(|_| router.methods.len() < Self::METHODS_MAX)
                else {
                    return router;
                };
                router.methods.push(Method {
                    service: Arc::clone(service),
                    index,
                    descriptor,
                    dispatch: dispatch.map(|(_, dispatch)| *dispatch),
                    compress: compress.and_then(|(_, compress)| *compress),
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
        } else if self.is_high() {
            self.record_while_high(Duration::from_nanos(u64::from(took)));
        }
    }

    fn record_while_high(&self, took: Duration) {
        let before = self.short_in_row.load(Ordering::Relaxed);
        let short_in_row = if took < SHORT_POLL { before + 1 } else { 0 };
        self.short_in_row.store(short_in_row, Ordering::Relaxed);
        if short_in_row >= SHORT_POLLS_UNTIL_INLINE {
            self.high.store(false, Ordering::Relaxed);
        }
    }

    /// Whether a poll was ever timed.
    pub(crate) fn is_known(&self) -> bool {
        self.mean_nanos.load(Ordering::Relaxed) > 0
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

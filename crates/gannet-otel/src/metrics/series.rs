//! What is counted of a method, with all labels of it ready: made for the first of its calls, and
//! found again for the others without a lock.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use gannet_core::Code;
use opentelemetry::{KeyValue, metrics::Counter};

use super::handles::{Adds, Records};
use super::instruments::{Ends, Instruments, status};

/// Codes that calls end with.
pub(super) const CODES: usize = Code::ALL.len();

/// How many are kept; then all are forgotten. A program has fewer methods, times the targets of its
/// channels, unless it makes channels again and again.
const KNOWN_MAX: usize = 1_024;

/// A counter of what was started and histograms of what has ended, with the labels of one method.
pub(super) struct Series {
    /// Without the status.
    pub(super) labels: Vec<KeyValue>,
    started: Adds,
    ends: [OnceLock<End>; CODES],
}

/// The same with a status.
struct End {
    duration: Records<f64>,
    sent: Records<u64>,
    rcvd: Records<u64>,
}

impl Series {
    pub(super) fn new(started: &Counter<u64>, labels: Vec<KeyValue>) -> Series {
        let started = Adds::new(started, &labels);
        Series { labels, started, ends: [const { OnceLock::new() }; CODES] }
    }

    pub(super) fn started(&self) {
        self.started.add(1);
    }

    /// Of `ends`, which are always the same.
    pub(super) fn ended(&self, ends: &Ends, code: Code, seconds: f64, [sent, rcvd]: [u64; 2]) {
        let end = self.ends[code as usize].get_or_init(|| {
            let labels = with_status(&self.labels, code);
            End {
                duration: Records::new(&ends.duration, &labels),
                sent: Records::new(&ends.sent, &labels),
                rcvd: Records::new(&ends.rcvd, &labels),
            }
        });
        end.duration.record(seconds);
        end.sent.record(sent);
        end.rcvd.record(rcvd);
    }
}

/// A client's calls of one method to one target, and their attempts.
pub(super) struct ClientSeries {
    pub(super) attempts: Series,
    durations: [OnceLock<Records<f64>>; CODES],
}

impl ClientSeries {
    pub(super) fn new(attempts: Series) -> ClientSeries {
        ClientSeries { attempts, durations: [const { OnceLock::new() }; CODES] }
    }

    pub(super) fn ended(&self, instruments: &Instruments, code: Code, seconds: f64) {
        let duration = self.durations[code as usize].get_or_init(|| {
            let labels = with_status(&self.attempts.labels, code);
            Records::new(&instruments.client_call_duration, &labels)
        });
        duration.record(seconds);
    }
}

fn with_status(labels: &[KeyValue], code: Code) -> Vec<KeyValue> {
    labels.iter().cloned().chain([status(code)]).collect()
}

/// What was made for each key.
pub(super) struct Remembered<K, V>(ArcSwap<Vec<(K, Arc<V>)>>);

impl<K: Ord + Copy, V> Remembered<K, V> {
    /// What was made for this key, or is made now.
    pub(super) fn get(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let known = self.0.load();
        if let Ok(at) = place(&known, &key) {
            return Arc::clone(&known[at].1);
        }
        let made = Arc::new(make());
        // Where two are made at once, they count the same.
        self.0.rcu(|known| {
            let mut more = if known.len() < KNOWN_MAX { Vec::clone(known) } else { Vec::new() };
            if let Err(at) = place(&more, &key) {
                more.insert(at, (key, Arc::clone(&made)));
            }
            more
        });
        made
    }
}

fn place<K: Ord, V>(known: &[(K, V)], key: &K) -> Result<usize, usize> {
    known.binary_search_by(|(other, _)| other.cmp(key))
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Remembered<K, V> {
        Remembered(ArcSwap::from_pointee(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_found_again_up_to_a_bound() {
        let known = Remembered::default();
        for number in (0..KNOWN_MAX).rev() {
            assert_eq!(*known.get(number, || number), number);
        }
        for number in 0..KNOWN_MAX {
            assert_eq!(*known.get(number, || usize::MAX), number);
        }
        assert_eq!(*known.get(KNOWN_MAX, || 1), 1);
        assert_eq!(*known.get(KNOWN_MAX, || 2), 1);
        assert_eq!(known.0.load().len(), 1, "the others were forgotten");
    }
}

//! How services are, and who watches them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::ServingStatus;

/// What is known, behind one short lock: it is held while a map is looked at, and never across an
/// await.
#[derive(Default)]
pub(super) struct States {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// What is said counts for nothing.
    is_shut_down: bool,
    /// Each with its state. Those that only are here because they are watched are
    /// `SERVICE_UNKNOWN`, and go with the last who watches.
    services: HashMap<String, watch::Sender<ServingStatus>>,
}

/// Watches one service.
pub(super) struct Watcher {
    states: Arc<States>,
    service: String,
    /// `None` once it is dropped.
    current: Option<watch::Receiver<ServingStatus>>,
}

impl States {
    /// The server as a whole is serving.
    pub(super) fn new() -> States {
        let states = States::default();
        states.set("", ServingStatus::SERVING);
        states
    }

    pub(super) fn set(&self, service: &str, status: ServingStatus) {
        let mut known = self.lock();
        if known.is_shut_down {
            return;
        }
        match known.services.get(service) {
            Some(sender) if status == ServingStatus::SERVICE_UNKNOWN && sender.is_closed() => {
                known.services.remove(service);
            }
            Some(sender) => tell(sender, status),
            None if status == ServingStatus::SERVICE_UNKNOWN => {}
            None => {
                known.services.insert(service.to_owned(), watch::Sender::new(status));
            }
        }
    }

    pub(super) fn shutdown(&self) {
        let mut known = self.lock();
        known.is_shut_down = true;
        known.tell_all(ServingStatus::NOT_SERVING);
    }

    pub(super) fn resume(&self) {
        let mut known = self.lock();
        known.is_shut_down = false;
        known.tell_all(ServingStatus::SERVING);
    }

    pub(super) fn status(&self, service: &str) -> Option<ServingStatus> {
        let status = *self.lock().services.get(service)?.borrow();
        (status != ServingStatus::SERVICE_UNKNOWN).then_some(status)
    }

    /// All that are known, unless they are more than `services_max`.
    pub(super) fn all(&self, services_max: usize) -> Option<Vec<(String, ServingStatus)>> {
        let known = self.lock();
        let count = known.said().count();
        (count <= services_max)
            .then(|| known.said().map(|(name, status)| (name.to_owned(), status)).collect())
    }

    /// Has everyone who watches look again.
    pub(super) fn wake_all(&self) {
        self.lock().services.values().for_each(|sender| sender.send_modify(|_| {}));
    }

    /// Watches `service`, unless it is unknown and its name longer than `name_bytes_max`: who
    /// watches has the name kept.
    pub(super) fn watch(
        self: &Arc<Self>,
        service: String,
        name_bytes_max: usize,
    ) -> Option<Watcher> {
        let mut known = self.lock();
        let current = match known.services.get(&service) {
            Some(sender) => sender.subscribe(),
            None if service.len() > name_bytes_max => return None,
            None => {
                let (sender, receiver) = watch::channel(ServingStatus::SERVICE_UNKNOWN);
                known.services.insert(service.clone(), sender);
                receiver
            }
        };
        Some(Watcher { states: Arc::clone(self), service, current: Some(current) })
    }

    /// Nothing that holds the lock runs code that could panic half-way.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Services of which something was said.
    fn said(&self) -> impl Iterator<Item = (&str, ServingStatus)> {
        let all = self.services.iter().map(|(name, sender)| (name.as_str(), *sender.borrow()));
        all.filter(|(_, status)| *status != ServingStatus::SERVICE_UNKNOWN)
    }

    fn tell_all(&self, status: ServingStatus) {
        let said = self
            .services
            .values()
            .filter(|sender| *sender.borrow() != ServingStatus::SERVICE_UNKNOWN);
        said.for_each(|sender| tell(sender, status));
    }
}

fn tell(sender: &watch::Sender<ServingStatus>, status: ServingStatus) {
    sender.send_if_modified(|current| std::mem::replace(current, status) != status);
}

impl Watcher {
    /// How the service is now.
    pub(super) fn status(&mut self) -> ServingStatus {
        let current = self.current.as_mut().map(|current| *current.borrow_and_update());
        current.unwrap_or(ServingStatus::SERVICE_UNKNOWN)
    }

    /// Waits until there is something new to see; only the latest is.
    pub(super) async fn changed(&mut self) {
        if let Some(current) = &mut self.current {
            // The sender is there for as long as anyone watches.
            let _ = current.changed().await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.current = None;
        let mut known = self.states.lock();
        let is_forgotten = known.services.get(&self.service).is_some_and(|sender| {
            sender.is_closed() && *sender.borrow() == ServingStatus::SERVICE_UNKNOWN
        });
        if is_forgotten {
            known.services.remove(&self.service);
        }
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.lock().said()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(states: &States) -> usize {
        states.lock().services.len()
    }

    #[test]
    fn names_that_are_only_watched_are_forgotten_with_the_last_who_watches() {
        let states = Arc::new(States::new());
        let [a, b] = ["x", "x"].map(|name| states.watch(name.into(), 10).unwrap());
        assert_eq!((names(&states), states.all(10).unwrap().len()), (2, 1));
        drop(a);
        assert_eq!(names(&states), 2);
        drop(b);
        assert_eq!(names(&states), 1);

        let watcher = states.watch("x".into(), 10).unwrap();
        states.set("x", ServingStatus::SERVING);
        drop(watcher);
        assert_eq!(states.status("x"), Some(ServingStatus::SERVING));
        states.set("x", ServingStatus::SERVICE_UNKNOWN);
        assert_eq!(names(&states), 1);
    }

    #[test]
    fn a_name_is_kept_only_up_to_its_limit() {
        let states = Arc::new(States::new());
        assert!(states.watch("n".repeat(11), 10).is_none());
        assert!(states.watch("n".repeat(10), 10).is_some());
        states.set(&"n".repeat(11), ServingStatus::SERVING);
        assert!(states.watch("n".repeat(11), 10).is_some());
    }

    #[test]
    fn who_watches_sees_the_latest_state_once() {
        let states = Arc::new(States::new());
        let mut watcher = states.watch(String::new(), 10).unwrap();
        for status in [ServingStatus::NOT_SERVING, ServingStatus::SERVING] {
            states.set("", status);
        }
        assert_eq!(watcher.status(), ServingStatus::SERVING);
        assert!(!watcher.current.as_ref().unwrap().has_changed().unwrap());
        states.set("", ServingStatus::SERVING);
        assert!(!watcher.current.as_ref().unwrap().has_changed().unwrap());
    }
}

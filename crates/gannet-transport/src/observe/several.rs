//! The observers of a server or of a channel, and what follows a call for several of them.

use std::fmt;
use std::sync::Arc;

use gannet_core::Metadata;

use super::{
    AttemptStart, CallObserver, ClientAttemptObserver, ClientCallObserver, ClientCallStart,
    ConnectionEvent, Ended, HealthUnchecked, MessageEvent, ServerCallObserver, ServerCallStart,
};

/// All observers of a server or of a channel, in the order in which they were added: the first is
/// outermost.
#[derive(Clone, Default)]
pub struct Observers(Vec<Arc<dyn CallObserver>>);

impl Observers {
    /// Adds one.
    pub fn add(&mut self, observer: impl CallObserver) {
        self.0.push(Arc::new(observer));
    }

    /// Whether nobody follows calls.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells of a server whose health cannot be asked for.
    pub fn health_unchecked(&self, server: &HealthUnchecked<'_>) {
        self.0.iter().for_each(|one| one.health_unchecked(server));
    }

    /// Tells what has become of a connection, or of an attempt at one.
    pub fn connection(&self, event: &ConnectionEvent<'_>) {
        self.0.iter().for_each(|one| one.connection(event));
    }

    /// What follows a call of a client.
    pub fn client_call(&self, call: &ClientCallStart<'_>) -> Option<Box<dyn ClientCallObserver>> {
        let mut all: Vec<_> = self.0.iter().filter_map(|one| one.client_call(call)).collect();
        match all.len() {
            0 | 1 => all.pop(),
            _ => Some(Box::new(Several(all))),
        }
    }

    /// What follows a call of a server.
    pub fn server_call(&self, call: &ServerCallStart<'_>) -> Option<Arc<dyn ServerCallObserver>> {
        if let [one] = &*self.0 {
            return one.server_call(call);
        }
        let mut all: Vec<_> = self.0.iter().filter_map(|one| one.server_call(call)).collect();
        match all.len() {
            0 | 1 => all.pop(),
            _ => Some(Arc::new(Several(all))),
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers").field("count", &self.0.len()).finish()
    }
}

/// Those who follow the same.
struct Several<T>(Vec<T>);

impl ClientCallObserver for Several<Box<dyn ClientCallObserver>> {
    fn attempt(
        &self,
        attempt: &AttemptStart,
        metadata: &mut Metadata,
    ) -> Option<Box<dyn ClientAttemptObserver>> {
        let begun = self.0.iter().filter_map(|one| one.attempt(attempt, metadata));
        let mut all: Vec<_> = begun.collect();
        match all.len() {
            0 | 1 => all.pop(),
            _ => Some(Box::new(Several(all))),
        }
    }

    fn resolved(&self) {
        self.0.iter().for_each(|one| one.resolved());
    }

    fn ended(&self, end: &Ended<'_>) {
        self.0.iter().for_each(|one| one.ended(end));
    }
}

impl ClientAttemptObserver for Several<Box<dyn ClientAttemptObserver>> {
    fn picked(&self, peer: &str, is_delayed: bool) {
        self.0.iter().for_each(|one| one.picked(peer, is_delayed));
    }

    fn headers(&self) {
        self.0.iter().for_each(|one| one.headers());
    }

    fn message(&self, message: &MessageEvent) {
        self.0.iter().for_each(|one| one.message(message));
    }

    fn ended(&self, end: &Ended<'_>) {
        self.0.iter().for_each(|one| one.ended(end));
    }
}

impl ServerCallObserver for Several<Arc<dyn ServerCallObserver>> {
    fn message(&self, message: &MessageEvent) {
        self.0.iter().for_each(|one| one.message(message));
    }

    fn headers(&self) {
        self.0.iter().for_each(|one| one.headers());
    }

    fn scope(&self, poll: &mut dyn FnMut()) {
        nest(&self.0, poll);
    }

    fn ended(&self, end: &Ended<'_>) {
        self.0.iter().for_each(|one| one.ended(end));
    }
}

/// Each within the one before.
fn nest(observers: &[Arc<dyn ServerCallObserver>], poll: &mut dyn FnMut()) {
    match observers {
        [] => poll(),
        [first, rest @ ..] => first.scope(&mut || nest(rest, poll)),
    }
}

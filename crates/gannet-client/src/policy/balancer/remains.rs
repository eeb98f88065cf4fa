//! What is left of code of the application's, to be dropped where it may do as it likes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::policy::{Event, Picker, Policy};

/// Policies, pickers and what they were told. To be dropped without the channel's lock.
#[derive(Default)]
pub(crate) struct Remains(Vec<Remnant>);

enum Remnant {
    Policy(Box<dyn Policy>),
    Picker(Arc<dyn Picker>),
    /// What nobody has heard: it may hold values of the application's types.
    Event(Box<Event>),
    /// What was thrown in a panic.
    Panic(Box<dyn Any + Send>),
}

impl Remains {
    pub(super) fn add_policy(&mut self, policy: Option<Box<dyn Policy>>) {
        self.0.extend(policy.map(Remnant::Policy));
    }

    pub(crate) fn add_picker(&mut self, picker: Arc<dyn Picker>) {
        self.0.push(Remnant::Picker(picker));
    }

    pub(super) fn add_event(&mut self, event: Event) {
        self.0.push(Remnant::Event(Box::new(event)));
    }

    pub(super) fn add_panic(&mut self, panic: Box<dyn Any + Send>) {
        self.0.push(Remnant::Panic(panic));
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        for remnant in self.0.drain(..) {
            match remnant {
                Remnant::Policy(policy) => bury(policy),
                Remnant::Picker(picker) => bury(picker),
                Remnant::Event(event) => bury(event),
                Remnant::Panic(panic) => bury(panic),
            }
        }
    }
}

/// Drops it. A panic in that has nothing to do with the task that happens to drop it; the hook has
/// told of it.
pub(crate) fn bury<T>(remnant: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(remnant))) {
        // It may be made to panic again.
        std::mem::forget(panic);
    }
}

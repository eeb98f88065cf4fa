//! What is left of code of the application's, to be dropped where it may do as it likes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use gannet_core::{Extensions, Status};

use crate::name::{Endpoint, Resolution};
use crate::policy::{Event, Picker, Policy};

/// Policies, pickers and what they were told. To be dropped without the channel's lock.
#[derive(Default)]
pub(crate) struct Remains(Vec<Remnant>);

enum Remnant {
    Policy(Box<dyn Policy>),
    Picker(Arc<dyn Picker>),
    /// What nobody has heard: it may hold values of the application's types.
    Event(Box<Event>),
    /// What a resolver has told, and others may have dropped before.
    Names(Box<Named>),
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

    pub(super) fn add_names(&mut self, names: Named) {
        if !names.is_empty() {
            self.0.push(Remnant::Names(Box::new(names)));
        }
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
                Remnant::Names(names) => names.bury(),
                Remnant::Panic(panic) => bury(panic),
            }
        }
    }
}

/// What a resolver has told last that is of the application's own types. A policy drops what it was
/// told while the channel is locked: so the last share of it is kept here, up to the next.
#[derive(Default)]
pub(super) struct Named {
    attributes: Vec<Extensions>,
    failure: Option<Status>,
}

impl Named {
    /// Keeps these; what nobody needs for that any more.
    pub(super) fn keep(&mut self, names: &Result<Resolution, Status>) -> Named {
        match names {
            Ok(Resolution { endpoints, attributes }) => {
                let all = endpoints.iter().map(Endpoint::attributes).chain([attributes]);
                let attributes = all.filter(|all| !all.is_empty()).cloned().collect();
                std::mem::replace(self, Named { attributes, failure: None })
            }
            // What was told before stays true.
            Err(status) => {
                let failure = self.failure.replace(status.clone());
                Named { attributes: Vec::new(), failure }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.attributes.is_empty() && self.failure.is_none()
    }

    /// One by one, as each may panic.
    fn bury(self) {
        self.attributes.into_iter().for_each(bury);
        bury(self.failure);
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

/// What a panic says.
pub(crate) fn told_by(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a value that is no text".to_owned())
}

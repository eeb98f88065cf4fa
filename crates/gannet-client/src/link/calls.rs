//! Where the calls of a connection lie: a slab, with keys that carry a generation.

use super::exchange::Call;

/// Names a call of one connection; stale once the call is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallKey {
    index: u32,
    generation: u32,
}

/// All calls of a connection, whether their streams are open or wait to be.
#[derive(Debug, Default)]
pub(super) struct Calls {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    call: Option<Call>,
}

impl Calls {
    /// Adds what `make` makes of the call's place.
    pub(super) fn insert(&mut self, make: impl FnOnce(u32) -> Call) -> CallKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, call: None });
            u32::try_from(self.slots.len() - 1).expect("calls in memory are fewer than 2^32")
        });
        let slot = &mut self.slots[index as usize];
        slot.call = Some(make(index));
        CallKey { index, generation: slot.generation }
    }

    pub(super) fn get_mut(&mut self, key: CallKey) -> Option<&mut Call> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.call.as_mut() } else { None }
    }

    /// Shows every call.
    pub(super) fn each(&mut self, mut see: impl FnMut(CallKey, &mut Call)) {
        for (index, slot) in (0..).zip(&mut self.slots) {
            if let Some(call) = &mut slot.call {
                see(CallKey { index, generation: slot.generation }, call);
            }
        }
    }

    pub(super) fn contains(&self, key: CallKey) -> bool {
        self.slots
            .get(key.index as usize)
            .is_some_and(|slot| slot.generation == key.generation && slot.call.is_some())
    }

    /// The call that lies at `place` now, if `is_it` says that it is the one that is meant.
    pub(super) fn find(
        &mut self,
        place: u32,
        is_it: impl FnOnce(&Call) -> bool,
    ) -> Option<(CallKey, &mut Call)> {
        let slot = self.slots.get_mut(place as usize)?;
        let key = CallKey { index: place, generation: slot.generation };
        let call = slot.call.as_mut()?;
        if is_it(call) { Some((key, call)) } else { None }
    }

    pub(super) fn remove(&mut self, key: CallKey) -> Option<Call> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let call = slot.call.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(call)
    }

    /// Drops a call where it lies, as moving it costs; whether its deadline was armed.
    #[inline(always)]
    pub(super) fn discard(&mut self, key: CallKey) -> bool {
        let Some(slot) = self.slots.get_mut(key.index as usize) else { return false };
        if slot.generation != key.generation {
            return false;
        }
        let Some(call) = &slot.call else { return false };
        let is_armed = call.is_armed;
        slot.call = None;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        is_armed
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives all storage back, if there is no call. No key may be used after this.
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            *self = Calls::default();
        }
    }

    /// Takes every call out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Call> {
        self.free.clear();
        std::mem::take(&mut self.slots).into_iter().filter_map(|slot| slot.call)
    }
}

//! Tokens that were found good, so that the next call that shows one costs no signature.
//!
//! Kept by their SHA-256: what lies here cannot be shown to anybody, and how long comparing takes
//! tells nothing of a token. A slot is replaced by whatever comes to it, so that there is nothing
//! to clean up; nobody can put something here without a token that is good. No lock.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::crypto::sha256;
use crate::jwt::Claims;
use crate::keys::KeySet;

pub(crate) struct Remembered {
    slots: Box<[ArcSwapOption<Known>]>,
}

struct Known {
    sum: [u8; 32],
    /// Where the keys are that it was found good by, among those that are trusted.
    trusted: usize,
    /// They are its proof as long as they are in force.
    keys: Arc<KeySet>,
    claims: Claims,
}

/// The place of a token.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    sum: [u8; 32],
    slot: usize,
}

impl Remembered {
    pub(crate) fn new(tokens_max: usize) -> Remembered {
        Remembered { slots: (0..tokens_max).map(|_| ArcSwapOption::empty()).collect() }
    }

    /// Where `token` would be; `None` where nothing is kept.
    pub(crate) fn place(&self, token: &str) -> Option<Place> {
        if self.slots.is_empty() {
            return None;
        }
        let sum = sha256(token.as_bytes());
        let (first, _) = sum.split_first_chunk()?;
        let slots = u64::try_from(self.slots.len()).ok()?;
        let slot = usize::try_from(u64::from_be_bytes(*first) % slots).ok()?;
        Some(Place { sum, slot })
    }

    /// What the token there says, where it was found good by keys that are in force. Its times are
    /// to be looked at again.
    pub(crate) fn find(
        &self,
        place: Place,
        in_force: impl Fn(usize, &Arc<KeySet>) -> bool,
    ) -> Option<Claims> {
        let slot = self.slots[place.slot].load();
        let known = slot.as_ref().filter(|known| known.sum == place.sum)?;
        in_force(known.trusted, &known.keys).then(|| known.claims.clone())
    }

    pub(crate) fn keep(&self, place: Place, trusted: usize, keys: Arc<KeySet>, claims: Claims) {
        let known = Known { sum: place.sum, trusted, keys, claims };
        self.slots[place.slot].store(Some(Arc::new(known)));
    }
}

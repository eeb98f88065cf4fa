//! Keys that signatures are checked with: sets of them, and sets that change while a server runs.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `set` | keys by their names, read from JSON (RFC 7517) |
//! | `live` | a set that is replaced by hand, or follows a file |

mod live;
mod set;

pub use live::{Keys, KeysFile};
pub(crate) use set::Key;
pub use set::{KeyError, KeySet};

//! Tests of whole connections, inside the crate so that they see private state.
//!
//! | file | what it tests |
//! | --- | --- |
//! | `smoke` | two engines, a perfect link, one feature at a time |
//! | `verbs` | what the layer above may ask for, in awkward moments |
//! | `sim` | everything at once, at random, from a seed |
//! | `fair` | what an honest but awkward peer does must not cost it the connection |
//!
//! `duo` holds the two engines, `script` one engine and a peer that sends any bytes.

mod duo;
mod fair;
mod owned;
mod script;
mod sim;
mod smoke;
mod verbs;

//! Tests of whole connections, inside the crate so that they see private state.
//!
//! | file | what it tests |
//! | --- | --- |
//! | `smoke` | two engines, a perfect link, one feature at a time |
//! | `shutdown` | GOAWAY in both directions, draining, keys that went stale |
//! | `verbs` | what the layer above may ask for, in awkward moments |
//! | `upkeep` | keepalive, too many PINGs, connections that are old or idle |
//! | `sim` | everything at once, at random, from a seed |
//! | `attacks` | what hostile clients do, and honest traffic of the same shape |
//! | `server_attacks` | what hostile servers do |
//! | `both_sides`, `floods` | what either side may do to the other |
//! | `rules` | what a correct peer never sends |
//! | `fair` | what an honest but awkward peer does must not cost it the connection |
//!
//! `duo` holds the two engines, `script` one engine and a peer that sends any bytes.

mod attacks;
mod both_sides;
mod duo;
mod fair;
mod floods;
mod owned;
mod rules;
mod script;
mod server_attacks;
mod shutdown;
mod sim;
mod smoke;
mod upkeep;
mod verbs;

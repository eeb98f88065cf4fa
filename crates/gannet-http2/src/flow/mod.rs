//! Flow control on the receiving side of a connection, and its growth (RFC 9113 section 5.2).
//!
//! Stream windows live in the streams; the sending side is plain arithmetic in `connection`.

mod bdp;
mod budget;
mod recv;
mod stall;

pub(crate) use bdp::Bdp;
pub(crate) use budget::{ResetBudget, StrikeCounter};
pub(crate) use recv::RecvFlow;
pub(crate) use stall::StallWatch;

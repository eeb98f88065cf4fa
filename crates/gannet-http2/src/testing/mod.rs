//! Tests of whole connections, inside the crate so that they see private state.
//!
//! | file | what it tests |
//! | --- | --- |
//! | `smoke` | two engines, a perfect link, one feature at a time |

mod duo;
mod owned;
mod smoke;

//! What connectrpc generates for both services.

#![allow(missing_docs, unreachable_pub, rust_2018_idioms, clippy::all, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/connectrpc.rs"));

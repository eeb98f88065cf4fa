//! What Gannet generates for both services.

#![allow(missing_docs, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/gannet.rs"));

//! Tokens, good and bad, against a server in this process; what clients send.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod bad_tokens;
mod good_tokens;
mod key_changes;
mod self_signed;
mod token_file;
mod tokens;
mod world;

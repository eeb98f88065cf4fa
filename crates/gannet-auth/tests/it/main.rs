//! Tokens, good and bad, against a server in this process; what clients send.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod bad_tokens;
mod good_tokens;
mod issuers;
mod key_changes;
mod key_files;
mod rules_by_name;
mod self_signed;
mod token_file;
mod tokens;
mod world;

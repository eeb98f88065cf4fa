//! Any bytes into the decompressor of `gzip`.
#![no_main]

use std::sync::LazyLock;

use gannet_core::compression::Gzip;
use libfuzzer_sys::fuzz_target;

static COMPRESSOR: LazyLock<Gzip> = LazyLock::new(Gzip::new);

fuzz_target!(|input: &[u8]| gannet_fuzz::inflate::check(&*COMPRESSOR, input));

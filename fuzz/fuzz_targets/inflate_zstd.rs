//! Any bytes into the decompressor of `zstd`.
#![no_main]

use std::sync::LazyLock;

use gannet_core::compression::Zstd;
use libfuzzer_sys::fuzz_target;

static COMPRESSOR: LazyLock<Zstd> = LazyLock::new(Zstd::new);

fuzz_target!(|input: &[u8]| gannet_fuzz::inflate::check(&*COMPRESSOR, input));

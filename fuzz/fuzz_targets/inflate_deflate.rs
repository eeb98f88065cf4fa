//! Any bytes into the decompressor of `deflate`.
#![no_main]

use std::sync::LazyLock;

use gannet_core::compression::Deflate;
use libfuzzer_sys::fuzz_target;

static COMPRESSOR: LazyLock<Deflate> = LazyLock::new(Deflate::new);

fuzz_target!(|input: &[u8]| gannet_fuzz::inflate::check(&*COMPRESSOR, input));

//! [`Zstd`] (RFC 8878).

use std::fmt;

use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::pool::Pool;
use super::{CompressError, Compressor, DecompressError, Encoding, Output};
use crate::limits::{COMPRESSION_CONTEXT_BYTES_MAX, ZSTD_WINDOW_LOG_MAX};

/// The encoding `zstd`: RFC 8878.
///
/// A frame that does not tell how long its content is may want a window of at most 8 MiB, which is
/// what decoders are advised to allow (RFC 8878 3.1.1.1.2).
pub struct Zstd {
    level: i32,
    compress: Pool<CCtx<'static>>,
    decompress: Pool<DCtx<'static>>,
}

impl Zstd {
    /// With the usual level, 3.
    pub fn new() -> Zstd {
        Zstd::with_level(zstd_safe::CLEVEL_DEFAULT)
    }

    /// With a level from 1 (fast) to 22 (small); negative ones are faster. Those beyond are as the
    /// last.
    pub fn with_level(level: i32) -> Zstd {
        let level = level.clamp(zstd_safe::min_c_level(), zstd_safe::max_c_level());
        Zstd { level, compress: Pool::new(), decompress: Pool::new() }
    }
}

impl Default for Zstd {
    fn default() -> Zstd {
        Zstd::new()
    }
}

impl Compressor for Zstd {
    fn encoding(&self) -> Encoding {
        Encoding::ZSTD
    }

    fn compress(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        let mut context = match self.compress.take() {
            Some(context) => context,
            None => {
                let mut context =
                    CCtx::try_create().ok_or_else(|| CompressError::new(NO_MEMORY))?;
                let level = CParameter::CompressionLevel(self.level);
                context.set_parameter(level).map_err(compress_error)?;
                context
            }
        };
        let start = out.len();
        out.reserve(zstd_safe::compress_bound(message.len()));
        let mut input = InBuffer::around(message);
        let mut output = OutBuffer::around_pos(out, start);
        // With room for the worst case all is done by one call, which knows the message's length.
        let end = ZSTD_EndDirective::ZSTD_e_end;
        let left = context.compress_stream2(&mut output, &mut input, end);
        if left.map_err(compress_error)? > 0 {
            return Err(CompressError::new("zstd wants more room than it said"));
        }
        if context.sizeof() <= COMPRESSION_CONTEXT_BYTES_MAX {
            self.compress.give(context);
        }
        Ok(())
    }

    /// One frame after the other (RFC 8878 3).
    fn decompress(&self, payload: &[u8], out: &mut Output<'_>) -> Result<(), DecompressError> {
        let mut context = match self.decompress.take() {
            Some(mut context) => {
                context.reset(ResetDirective::SessionOnly).map_err(decompress_error)?;
                context
            }
            None => {
                let mut context =
                    DCtx::try_create().ok_or_else(|| DecompressError::corrupt(NO_MEMORY))?;
                let window = DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX);
                context.set_parameter(window).map_err(decompress_error)?;
                context
            }
        };
        let done = decompress(&mut context, payload, out);
        if context.sizeof() <= COMPRESSION_CONTEXT_BYTES_MAX {
            self.decompress.give(context);
        }
        done
    }
}

fn decompress(
    context: &mut DCtx<'static>,
    payload: &[u8],
    out: &mut Output<'_>,
) -> Result<(), DecompressError> {
    // What comes first may tell how long it is, and is mostly all there is.
    if let Ok(Some(bytes)) = zstd_safe::get_frame_content_size(payload) {
        out.expect(bytes)?;
    }
    let mut input = InBuffer::around(payload);
    loop {
        let before = (input.pos(), out.len());
        let hint = out.step(payload.len(), |buffer| {
            let written = buffer.len();
            let mut output = OutBuffer::around_pos(buffer, written);
            context.decompress_stream(&mut output, &mut input).map_err(decompress_error)
        })?;
        if hint == 0 && input.pos() == payload.len() {
            return Ok(());
        }
        // There was room for output: then it lacks input.
        if before == (input.pos(), out.len()) {
            return Err(DecompressError::corrupt("the zstd frame is cut short"));
        }
    }
}

const NO_MEMORY: &str = "no memory for zstd's context";

#[cold]
fn compress_error(code: usize) -> CompressError {
    CompressError::new(zstd_safe::get_error_name(code))
}

#[cold]
fn decompress_error(code: usize) -> DecompressError {
    DecompressError::corrupt(zstd_safe::get_error_name(code))
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd").field("level", &self.level).finish_non_exhaustive()
    }
}

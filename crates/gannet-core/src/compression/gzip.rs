//! [`Gzip`] (RFC 1952) and [`Deflate`] (RFC 1950), around the same DEFLATE (RFC 1951).
//!
//! Heads and tails of gzip members are read and written here, so that both formats share contexts
//! that can be reset.

use std::fmt;

use flate2::{Compression, Crc, FlushCompress, FlushDecompress, Status};

use super::pool::Pool;
use super::{CompressError, Compressor, DecompressError, Encoding, Output};

/// The encoding `gzip`: RFC 1952.
pub struct Gzip(Contexts);

/// The encoding `deflate`: RFC 1950, DEFLATE with a head and a checksum of zlib's, as in HTTP.
pub struct Deflate(Contexts);

/// The level that zlib takes by itself, too.
const LEVEL_DEFAULT: u32 = 6;
const LEVEL_MAX: u32 = 9;

/// The head that is written: DEFLATE, no flags, no time, no operating system.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const GZIP_TAIL_BYTES: usize = 8;
/// Flags of a gzip head (RFC 1952 2.3.1).
const FLAG_HEAD_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

impl Gzip {
    /// With the usual level, 6.
    pub fn new() -> Gzip {
        Gzip::with_level(LEVEL_DEFAULT)
    }

    /// With a level from 0 (none) over 1 (fast) to 9 (small); more is 9.
    pub fn with_level(level: u32) -> Gzip {
        Gzip(Contexts::new(level, false))
    }
}

impl Default for Gzip {
    fn default() -> Gzip {
        Gzip::new()
    }
}

impl Compressor for Gzip {
    fn encoding(&self) -> Encoding {
        Encoding::GZIP
    }

    fn compress(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        out.extend_from_slice(&GZIP_HEAD);
        self.0.deflate(message, out)?;
        let mut crc = Crc::new();
        crc.update(message);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&crc.amount().to_le_bytes());
        Ok(())
    }

    /// One member after the other, as RFC 1952 2.2 allows.
    fn decompress(&self, payload: &[u8], out: &mut Output<'_>) -> Result<(), DecompressError> {
        let mut rest = payload;
        loop {
            let start = out.len();
            let body = after_head(rest).ok_or_else(|| corrupt("no head of a gzip member"))?;
            let body = self.0.inflate(body, out)?;
            let (tail, after) = body
                .split_first_chunk::<GZIP_TAIL_BYTES>()
                .ok_or_else(|| corrupt("the gzip member is cut short"))?;
            let mut crc = Crc::new();
            crc.update(out.written(start));
            let [a, b, c, d, e, f, g, h] = *tail;
            if u32::from_le_bytes([a, b, c, d]) != crc.sum() {
                return Err(corrupt("the gzip member's checksum is wrong"));
            }
            if u32::from_le_bytes([e, f, g, h]) != crc.amount() {
                return Err(corrupt("the gzip member's length is wrong"));
            }
            if after.is_empty() {
                return Ok(());
            }
            rest = after;
        }
    }
}

impl Deflate {
    /// With the usual level, 6.
    pub fn new() -> Deflate {
        Deflate::with_level(LEVEL_DEFAULT)
    }

    /// With a level from 0 (none) over 1 (fast) to 9 (small); more is 9.
    pub fn with_level(level: u32) -> Deflate {
        Deflate(Contexts::new(level, true))
    }
}

impl Default for Deflate {
    fn default() -> Deflate {
        Deflate::new()
    }
}

impl Compressor for Deflate {
    fn encoding(&self) -> Encoding {
        Encoding::DEFLATE
    }

    fn compress(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        self.0.deflate(message, out)
    }

    fn decompress(&self, payload: &[u8], out: &mut Output<'_>) -> Result<(), DecompressError> {
        match self.0.inflate(payload, out)? {
            [] => Ok(()),
            _ => Err(corrupt("bytes follow the zlib stream")),
        }
    }
}

/// Where the DEFLATE stream of a gzip member begins (RFC 1952 2.3).
fn after_head(member: &[u8]) -> Option<&[u8]> {
    let ([0x1f, 0x8b, 8, flags, _, _, _, _, _, _], mut rest) = member.split_first_chunk()? else {
        return None;
    };
    if flags & FLAGS_RESERVED != 0 {
        return None;
    }
    if flags & FLAG_EXTRA != 0 {
        let ([low, high], after) = rest.split_first_chunk()?;
        rest = after.get(usize::from(u16::from_le_bytes([*low, *high]))..)?;
    }
    for text in [FLAG_NAME, FLAG_COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & FLAG_HEAD_CRC != 0 {
        let (sum, after) = rest.split_first_chunk()?;
        let mut crc = Crc::new();
        crc.update(&member[..member.len() - rest.len()]);
        // Of the 32 bits the lower 16.
        let [low, high, ..] = crc.sum().to_le_bytes();
        if *sum != [low, high] {
            return None;
        }
        rest = after;
    }
    Some(rest)
}

/// Contexts that are not in use.
struct Contexts {
    level: u32,
    zlib: bool,
    deflate: Pool<flate2::Compress>,
    inflate: Pool<flate2::Decompress>,
}

impl Contexts {
    fn new(level: u32, zlib: bool) -> Contexts {
        let (deflate, inflate) = (Pool::new(), Pool::new());
        Contexts { level: level.min(LEVEL_MAX), zlib, deflate, inflate }
    }

    /// Appends the stream to `out`.
    fn deflate(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        let mut context = self.deflate.take().map_or_else(
            || flate2::Compress::new(Compression::new(self.level), self.zlib),
            |mut context| {
                context.reset();
                context
            },
        );
        loop {
            let read = usize::try_from(context.total_in()).unwrap_or(usize::MAX);
            let rest = message.get(read..).unwrap_or_default();
            // Mostly a third is enough.
            out.reserve(rest.len() / 3 + 64);
            let told = context.compress_vec(rest, out, FlushCompress::Finish);
            if told.map_err(CompressError::new)? == Status::StreamEnd {
                break;
            }
        }
        self.deflate.give(context);
        Ok(())
    }

    /// Appends what the stream in front of `payload` holds to `out`; what follows the stream.
    fn inflate<'p>(
        &self,
        payload: &'p [u8],
        out: &mut Output<'_>,
    ) -> Result<&'p [u8], DecompressError> {
        let mut context = self.inflate.take().map_or_else(
            || flate2::Decompress::new(self.zlib),
            |mut context| {
                context.reset(self.zlib);
                context
            },
        );
        let inflated = inflate(&mut context, payload, out);
        self.inflate.give(context);
        inflated
    }
}

fn inflate<'p>(
    context: &mut flate2::Decompress,
    payload: &'p [u8],
    out: &mut Output<'_>,
) -> Result<&'p [u8], DecompressError> {
    loop {
        let read = |context: &flate2::Decompress| {
            usize::try_from(context.total_in()).unwrap_or(usize::MAX).min(payload.len())
        };
        let rest = &payload[read(context)..];
        let before = (context.total_in(), context.total_out());
        let status = out.step(payload.len(), |buffer| {
            let told = context.decompress_vec(rest, buffer, FlushDecompress::None);
            told.map_err(DecompressError::corrupt)
        })?;
        if status == Status::StreamEnd {
            return Ok(&payload[read(context)..]);
        }
        // There was room for output: then it lacks input, or wants a dictionary.
        if before == (context.total_in(), context.total_out()) {
            return Err(corrupt("the DEFLATE stream is cut short"));
        }
    }
}

#[cold]
fn corrupt(what: &'static str) -> DecompressError {
    DecompressError::corrupt(what)
}

impl fmt::Debug for Gzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gzip").field("level", &self.0.level).finish()
    }
}

impl fmt::Debug for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflate").field("level", &self.0.level).finish()
    }
}

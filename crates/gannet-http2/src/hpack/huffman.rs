//! The Huffman code of string literals (RFC 7541, section 5.2 and appendix B).
//!
//! The code is canonical: within a length, codes count up in the order of the symbols, and lengths
//! follow each other. So the lengths of appendix B say everything, and the tables here are
//! computed from them at compile time. Decoding looks 8 bits up at once, which covers all of the
//! usual characters; longer codes are found by comparing with the last code of each length.

use super::error::HpackError;

/// How long the code of `bytes` is, in bytes with padding.
#[inline]
#[must_use]
pub fn encoded_len(bytes: &[u8]) -> usize {
    let bits: usize = bytes.iter().map(|byte| usize::from(LENGTHS[usize::from(*byte)])).sum();
    bits.div_ceil(8)
}

/// Appends the code of `bytes`, padded with ones.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(encoded_len(bytes));
    encode_reserved(bytes, out);
}

/// As [`encode`], for those who have computed the length, and perhaps reserved it, already.
pub(super) fn encode_reserved(bytes: &[u8], out: &mut Vec<u8>) {
    // The low `pending` bits of `queue` are still to be written; fewer than 32 between symbols.
    let mut queue = 0_u64;
    let mut pending = 0_u32;
    for byte in bytes {
        let (code, length) = CODES[usize::from(*byte)];
        queue = queue << length | u64::from(code);
        pending += length;
        if pending >= 32 {
            pending -= 32;
            out.extend_from_slice(&low_32_bits(queue >> pending).to_be_bytes());
        }
    }
    let padding = pending.wrapping_neg() % 8;
    queue = queue << padding | ((1 << padding) - 1);
    pending += padding;
    while pending > 0 {
        pending -= 8;
        out.push(low_32_bits(queue >> pending).to_be_bytes()[3]);
    }
}

/// The most bytes that a code of `encoded_len` bytes can stand for: symbols take 5 bits or more.
#[inline]
#[must_use]
pub const fn decoded_len_max(encoded_len: usize) -> usize {
    encoded_len.saturating_mul(8) / 5
}

/// Appends what `code` stands for and returns its length. At most
/// [`decoded_len_max`]`(code.len())` bytes, also before an error, after which `out` is as it was.
///
/// # Errors
///
/// [`HpackError::HuffmanEos`] and [`HpackError::HuffmanPadding`].
pub fn decode(code: &[u8], out: &mut Vec<u8>) -> Result<usize, HpackError> {
    let start = out.len();
    out.resize(start.saturating_add(decoded_len_max(code.len())), 0);
    let space = out.get_mut(start..).unwrap_or_default();
    match decode_to(code, space) {
        Ok(length) => {
            out.truncate(start + length);
            Ok(length)
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// `space` holds [`decoded_len_max`] bytes.
///
/// Works on the complement of the code: there the padding of ones is zeros, which shifts bring in
/// by themselves, so the code goes on past its end as if its padding did.
fn decode_to(code: &[u8], space: &mut [u8]) -> Result<usize, HpackError> {
    let space_len = space.len();
    let mut space = space.iter_mut();
    // What is not decoded begins at the high end of `queue`, of which `filled` bits are valid.
    let mut queue = 0_u64;
    let mut filled = 0_u32;
    let (words, tail) = code.as_chunks::<4>();
    for word in words {
        queue |= u64::from(!u32::from_be_bytes(*word)) << (32 - filled);
        filled += 32;
        // No code is longer than 32 bits.
        while filled >= 32 {
            let (symbol, bits) = first_symbol(queue, filled)?;
            queue <<= bits;
            filled -= bits;
            *space.next().ok_or(HpackError::HuffmanPadding)? = symbol;
        }
    }
    for byte in tail {
        queue |= u64::from(!*byte) << (56 - filled);
        filled += 8;
    }
    while filled >= 8 || queue != 0 {
        let (symbol, bits) = first_symbol(queue, filled)?;
        if bits > filled {
            return Err(HpackError::HuffmanPadding);
        }
        queue <<= bits;
        filled -= bits;
        *space.next().ok_or(HpackError::HuffmanPadding)? = symbol;
    }
    Ok(space_len - space.len())
}

/// The symbol whose code the complement of `queue` begins with, and the length of its code, which
/// may exceed `filled`, the number of valid bits, if it is less than 9.
#[inline(always)]
fn first_symbol(queue: u64, filled: u32) -> Result<(u8, u32), HpackError> {
    let [symbol, bits] = SHORT[usize::from(queue.to_be_bytes()[0])];
    match bits {
        0 => first_long_symbol(!low_32_bits(queue >> 32), filled),
        _ => Ok((symbol, u32::from(bits))),
    }
}

/// The symbol with a code longer than 8 bits that `window` begins with, and the length of its code.
/// The first `filled` bits of `window` are not padding.
#[cold]
fn first_long_symbol(window: u32, filled: u32) -> Result<(u8, u32), HpackError> {
    let ends_with = |length: u32| window <= LONG[length as usize].last;
    // Codes of 30 bits: three control characters, and EOS.
    let length = (LONG_BITS_MIN..EOS_BITS).find(|length| ends_with(*length)).unwrap_or(EOS_BITS);
    if length > filled {
        return Err(HpackError::HuffmanPadding);
    }
    let long = &LONG[length as usize];
    let place = (window - long.first) >> (32 - length);
    let symbol = SYMBOLS.get(usize::from(long.symbols_start) + place as usize);
    symbol.map(|symbol| (*symbol, length)).ok_or(HpackError::HuffmanEos)
}

#[inline]
#[allow(clippy::cast_possible_truncation)]
const fn low_32_bits(queue: u64) -> u32 {
    queue as u32
}

/// The length of the longest codes, EOS among them.
const EOS_BITS: u32 = 30;

/// The length of the shortest code that `SHORT` cannot hold.
const LONG_BITS_MIN: u32 = 10;

/// The length of each symbol's code, in bits (appendix B). EOS, the last of the codes, is left out.
static LENGTHS: [u8; 256] = LENGTHS_CONST;
const LENGTHS_CONST: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, // 0x00
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, // 0x10
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, // 0x20
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, // 0x30
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, // 0x40
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, // 0x50
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, // 0x60
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, // 0x70
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, // 0x80
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, // 0x90
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, // 0xa0
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, // 0xb0
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, // 0xc0
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, // 0xd0
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, // 0xe0
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, // 0xf0
];

/// Code, in its low bits, and length in bits of each symbol.
static CODES: [(u32, u32); 256] = TABLES.codes;
/// Symbol and length of the code that the complement of a byte begins with; length 0 if the code is
/// longer than that.
static SHORT: [[u8; 2]; 256] = TABLES.short;
/// The codes of each length, indexed by it.
static LONG: [Long; EOS_BITS as usize + 1] = TABLES.long;
/// The symbols in the order of their codes.
static SYMBOLS: [u8; 256] = TABLES.symbols;

/// The codes of one length, moved to the high end of 32 bits.
#[derive(Clone, Copy)]
struct Long {
    first: u32,
    /// The last code, followed by ones. 0 if there is no code of this length.
    last: u32,
    /// Where its symbols begin in `SYMBOLS`.
    symbols_start: u16,
}

struct Tables {
    codes: [(u32, u32); 256],
    short: [[u8; 2]; 256],
    long: [Long; EOS_BITS as usize + 1],
    symbols: [u8; 256],
}

const TABLES: Tables = tables();

/// Counts through the canonical code, length by length.
#[allow(clippy::cast_possible_truncation)]
const fn tables() -> Tables {
    let mut tables = Tables {
        codes: [(0, 0); 256],
        short: [[0, 0]; 256],
        long: [Long { first: 0, last: 0, symbols_start: 0 }; EOS_BITS as usize + 1],
        symbols: [0; 256],
    };
    let mut next_code = 0_u32;
    let mut assigned = 0_u16;
    let mut length = 1;
    while length <= EOS_BITS {
        next_code <<= 1;
        let long = &mut tables.long[length as usize];
        long.first = next_code << (32 - length);
        long.symbols_start = assigned;
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS_CONST[symbol] as u32 == length {
                tables.codes[symbol] = (next_code, length);
                tables.symbols[assigned as usize] = symbol as u8;
                tables.long[length as usize].last = next_code << (32 - length) | u32::MAX >> length;
                if length <= 8 {
                    let copies = 1 << (8 - length);
                    let mut copy = 0;
                    while copy < copies {
                        let prefix = next_code as usize * copies + copy;
                        tables.short[255 - prefix] = [symbol as u8, length as u8];
                        copy += 1;
                    }
                }
                next_code += 1;
                assigned += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_complete_but_for_eos() {
        let used: u64 = LENGTHS.iter().map(|length| 1_u64 << (32 - u32::from(*length))).sum();
        assert_eq!(used + (1 << (32 - EOS_BITS)), 1 << 32);
        assert_eq!(CODES[0], (0x1ff8, 13));
        assert_eq!(CODES[usize::from(b'a')], (0x3, 5));
        assert_eq!(CODES[usize::from(b'~')], (0x1ffd, 13));
        assert_eq!(CODES[0x80], (0xf_ffe6, 20));
        assert_eq!(CODES[249], (0xfff_fffe, 28));
        assert_eq!(CODES[22], (0x3fff_fffe, 30));
    }

    #[test]
    fn every_symbol_and_pair_comes_back() {
        for first in 0..=255 {
            for second in 0..=255 {
                let text = [first, second];
                let mut code = Vec::new();
                encode(&text, &mut code);
                assert_eq!(code.len(), encoded_len(&text));
                let mut back = b"kept".to_vec();
                assert_eq!(decode(&code, &mut back), Ok(2));
                assert_eq!(back, [b"kept".as_slice(), &text].concat());
            }
        }
    }

    #[test]
    fn padding_and_eos_are_judged() {
        let mut out = Vec::new();
        let mut check = |code: &[u8]| decode(code, &mut out);
        assert_eq!(check(b""), Ok(0));
        // 'a' is 00011.
        assert_eq!(check(&[0b0001_1111]), Ok(1));
        assert_eq!(check(&[0b0001_1110]), Err(HpackError::HuffmanPadding));
        assert_eq!(check(&[0b0001_1000]), Err(HpackError::HuffmanPadding));
        // 11 and 8 bits of padding, and 16 at the end of a whole word.
        assert_eq!(check(&[0b0001_1111, 0xff]), Err(HpackError::HuffmanPadding));
        assert_eq!(check(&[0xff]), Err(HpackError::HuffmanPadding));
        assert_eq!(check(&[0xff, 0xff, 0xff]), Err(HpackError::HuffmanPadding));
        // EOS: 30 ones.
        assert_eq!(check(&[0xff, 0xff, 0xff, 0xff]), Err(HpackError::HuffmanEos));
        assert_eq!(check(&[0xff, 0xff, 0xff, 0xfc]), Err(HpackError::HuffmanEos));
        assert_eq!(check(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0x07]), Err(HpackError::HuffmanEos));
        // 7 bits of padding after 'X' (8 bits), ',' (8 bits) and '.' (6) and '0' (5) ...
        assert_eq!(check(&[0b0000_0000, 0b0011_1111]), Ok(2));
        assert!(out.len() == 3);
    }
}

//! What literals mean: integers, floating-point numbers, strings with their escapes; and numbers
//! and bytes as text, the way C writes them, which descriptors hold defaults in.

use std::fmt::Write as _;

/// The value of an integer's text: decimal, octal or hexadecimal. `None` above `max`.
pub(crate) fn integer(text: &str, max: u64) -> Option<u64> {
    let value = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => u64::from_str_radix(&text[2..], 16),
        [b'0', _, ..] => u64::from_str_radix(text, 8),
        _ => text.parse(),
    };
    value.ok().filter(|value| *value <= max)
}

/// The value of a number's text, be it an integer or not.
pub(crate) fn float(text: &str) -> Option<f64> {
    match text.as_bytes() {
        // A number of these digits is one even where it is too great for an integer.
        [b'0', b'x' | b'X' | b'0'..=b'9', ..] => None,
        // An exponent without digits was an error already.
        _ => text.parse().ok(),
    }
}

/// The bytes that a string literal in its quotes stands for, added to `out`. What is wrong with
/// its escapes was told when it was read.
pub(crate) fn unescape(literal: &str, out: &mut Vec<u8>) {
    let Some(quote) = literal.bytes().next() else { return };
    let inner = &literal.as_bytes()[1..];
    let inner = match inner {
        [text @ .., last] if *last == quote => text,
        text => text,
    };
    let mut rest = inner;
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'\\', [escape, tail @ ..]) => unescape_one(*escape, tail, out),
            _ => {
                out.push(*byte);
                tail
            }
        };
    }
}

fn unescape_one<'t>(escape: u8, tail: &'t [u8], out: &mut Vec<u8>) -> &'t [u8] {
    match escape {
        b'0'..=b'7' => {
            let more = tail.iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            let code = tail[..more].iter().fold(escape - b'0', |code, digit| {
                // Three digits can say more than a byte holds; what is above it is lost.
                code.wrapping_mul(8).wrapping_add(digit - b'0')
            });
            out.push(code);
            &tail[more..]
        }
        b'x' | b'X' => {
            let digits = tail.iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
            out.push(u8::try_from(hexadecimal(&tail[..digits])).unwrap_or_default());
            &tail[digits..]
        }
        b'u' => unicode(tail, 4, out),
        b'U' => unicode(tail, 8, out),
        _ => {
            out.push(match escape {
                b'a' => 0x07,
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 0x0b,
                other => other,
            });
            tail
        }
    }
}

/// A code point of `count` digits; two surrogates behind each other are one.
fn unicode<'t>(tail: &'t [u8], count: usize, out: &mut Vec<u8>) -> &'t [u8] {
    let Some((digits, mut rest)) = tail.split_at_checked(count) else { return tail };
    let mut code = hexadecimal(digits);
    if (0xd800..0xdc00).contains(&code)
        && let [b'\\', b'u', low @ ..] = rest
        && let Some((low, behind)) = low.split_at_checked(4)
        && (0xdc00..0xe000).contains(&hexadecimal(low))
    {
        code = 0x1_0000 + ((code - 0xd800) << 10) + (hexadecimal(low) - 0xdc00);
        rest = behind;
    }
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

fn hexadecimal(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, digit| {
        let digit = char::from(*digit).to_digit(16).unwrap_or_default();
        (value << 4) | digit
    })
}

/// `bytes` with escapes for all that is not printable ASCII, as defaults of bytes fields are told.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' | b'\'' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b' '..=b'~' => out.push(char::from(*byte)),
            other => {
                let _ = write!(out, "\\{other:03o}");
            }
        }
    }
    out
}

/// A double in as few digits as give it back, of 15 or 17.
pub(crate) fn double_text(value: f64) -> String {
    special(value).unwrap_or_else(|| {
        let short = general(value, 15);
        if short.parse() == Ok(value) { short } else { general(value, 17) }
    })
}

/// A float in as few digits as give it back, of 6 or 9.
pub(crate) fn float_text(value: f32) -> String {
    let wide = f64::from(value);
    special(wide).unwrap_or_else(|| {
        let short = general(wide, 6);
        if short.parse() == Ok(value) { short } else { general(wide, 9) }
    })
}

fn special(value: f64) -> Option<String> {
    let text = match value {
        _ if value.is_nan() => "nan",
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        _ => return None,
    };
    Some(text.to_owned())
}

/// C's `%.{precision}g`.
fn general(value: f64, precision: i32) -> String {
    let digits = usize::try_from(precision - 1).unwrap_or_default();
    let scientific = format!("{value:.digits$e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if exponent < -4 || exponent >= precision {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs());
    }
    let places = usize::try_from(precision - 1 - exponent).unwrap_or_default();
    without_zeros(&format!("{value:.places$}")).to_owned()
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_three_bases() {
        for (text, value) in [
            ("0", Some(0)),
            ("017", Some(15)),
            ("0x1F", Some(31)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("08", None),
        ] {
            assert_eq!(integer(text, u64::MAX), value, "{text}");
        }
        assert_eq!(integer("128", 127), None);
    }

    #[test]
    fn escapes_there_and_back() {
        let mut out = Vec::new();
        unescape(r#""a\n\x41\101\0\u00e4\ud83d\ude00\U0001F600\"'""#, &mut out);
        assert_eq!(out, "a\nAA\0ä😀😀\"'".as_bytes());
        assert_eq!(escape(b"a\n\x01\xff'"), "a\\n\\001\\377\\'");
    }

    #[test]
    fn numbers_as_c_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (-1e-5, "-1e-05"),
            (1e15, "1e+15"),
            (123_456_789.0, "123456789"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.33333333333333331"),
            (f64::INFINITY, "inf"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(double_text(value), text);
        }
        assert_eq!(float_text(0.1), "0.1");
        assert_eq!(float_text(f32::MAX), "3.40282347e+38");
    }
}

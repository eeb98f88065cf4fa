//! The `grpc-timeout` header (PROTOCOL-HTTP2, "Timeout"): 1 to 8 digits and a unit.
//!
//! Does not read clocks: what a timeout becomes as a deadline is the caller's business. A parsed
//! timeout can be as long as 11,408 years, so add it to an instant with `checked_add`.

use std::fmt;
use std::time::Duration;

use crate::{Code, Status};

/// Most digits that a timeout may have.
pub const DIGITS_MAX: usize = 8;

/// Reads the value of a `grpc-timeout` header.
///
/// # Errors
///
/// Where it is not 1 to 8 digits and one of the units `H M S m u n`. A server answers such a
/// request with HTTP 400 and INTERNAL.
pub fn parse(value: &[u8]) -> Result<Duration, TimeoutError> {
    let (&unit, digits) = value.split_last().ok_or(TimeoutError::Empty)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return Err(TimeoutError::Digits);
    }
    let mut count: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return Err(TimeoutError::Digits);
        }
        // At most 99,999,999 hours: no unit overflows 64 bits.
        count = count * 10 + u64::from(digit - b'0');
    }
    match unit {
        b'H' => Ok(Duration::from_secs(count * 3600)),
        b'M' => Ok(Duration::from_secs(count * 60)),
        b'S' => Ok(Duration::from_secs(count)),
        b'm' => Ok(Duration::from_millis(count)),
        b'u' => Ok(Duration::from_micros(count)),
        b'n' => Ok(Duration::from_nanos(count)),
        _ => Err(TimeoutError::Unit),
    }
}

/// Writes a timeout in the finest unit that fits, rounded up so that the peer never gives up
/// first; above 99,999,999 hours it is that.
pub fn encode(timeout: Duration) -> EncodedTimeout {
    const UNITS: [(u128, u8); 6] = [
        (1, b'n'),
        (1_000, b'u'),
        (1_000_000, b'm'),
        (1_000_000_000, b'S'),
        (60 * 1_000_000_000, b'M'),
        (3_600 * 1_000_000_000, b'H'),
    ];
    let nanos = timeout.as_nanos();
    for (unit_nanos, unit) in UNITS {
        if let Ok(count) = u32::try_from(nanos.div_ceil(unit_nanos))
            && count <= COUNT_MAX
        {
            return EncodedTimeout::new(count, unit);
        }
    }
    EncodedTimeout::new(COUNT_MAX, b'H')
}

/// As [`encode`], but rounded up to a step that is at most a hundredth of the timeout: calls with
/// the same timeout then have the same header, although each is made a little before it is sent,
/// and header compression makes a byte of it. The peer gives up that much later at most.
pub fn encode_coarse(timeout: Duration) -> EncodedTimeout {
    // Where a step of 1 ms is too large, and where 8 digits of milliseconds are too few.
    const MILLIS: std::ops::Range<u128> = 100..10_000_000;
    let millis = timeout.as_millis();
    if !MILLIS.contains(&millis) {
        return encode(timeout);
    }
    let up = u64::from(!timeout.subsec_nanos().is_multiple_of(1_000_000));
    let millis = u64::try_from(millis).expect("within the range above") + up;
    let step = if millis < 10_000 { 1 } else { 100 };
    let millis = millis.next_multiple_of(step);
    EncodedTimeout::new(u32::try_from(millis).expect("within the range above"), b'm')
}

/// The value of a `grpc-timeout` header, at most 9 bytes, held inline.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EncodedTimeout {
    /// Right-aligned: digits, then the unit in the last byte.
    bytes: [u8; DIGITS_MAX + 1],
    start: u8,
}

impl EncodedTimeout {
    fn new(mut count: u32, unit: u8) -> EncodedTimeout {
        let mut bytes = [b'0'; DIGITS_MAX + 1];
        bytes[DIGITS_MAX] = unit;
        let mut start = u8::try_from(DIGITS_MAX).expect("8 fits a byte");
        loop {
            start -= 1;
            bytes[usize::from(start)] =
                b'0' + u8::try_from(count % 10).expect("a decimal digit fits a byte");
            count /= 10;
            if count == 0 || start == 0 {
                return EncodedTimeout { bytes, start };
            }
        }
    }

    /// The header's value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

impl AsRef<[u8]> for EncodedTimeout {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for EncodedTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

impl fmt::Debug for EncodedTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedTimeout({self})")
    }
}

/// Why a `grpc-timeout` value is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeoutError {
    /// There is no value.
    Empty,
    /// What comes before the unit is not 1 to 8 decimal digits.
    Digits,
    /// The last byte is none of `H M S m u n`.
    Unit,
}

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimeoutError::Empty => "grpc-timeout is empty",
            TimeoutError::Digits => "grpc-timeout does not have 1 to 8 digits before its unit",
            TimeoutError::Unit => "grpc-timeout does not end in one of the units H M S m u n",
        })
    }
}

impl std::error::Error for TimeoutError {}

impl From<TimeoutError> for Status {
    fn from(error: TimeoutError) -> Status {
        Status::new(Code::Internal, error.to_string())
    }
}

/// The largest count that 8 digits hold.
const COUNT_MAX: u32 = 99_999_999;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn coarse_timeouts_are_never_short_and_at_most_a_hundredth_long() {
        let table = [
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_001), "101m"),
            (Duration::from_nanos(999_000_001), "1000m"),
            (Duration::from_secs(1), "1000m"),
            (Duration::from_nanos(9_999_999_999), "10000m"),
            (Duration::from_millis(59_901), "60000m"),
        ];
        for (timeout, text) in &table {
            assert_eq!(encode_coarse(*timeout).as_bytes(), text.as_bytes());
        }
        let mut nanos: u64 = 1;
        while let Some(next) = nanos.checked_mul(3) {
            for timeout in [nanos, nanos + 1, nanos * 2 - 1].map(Duration::from_nanos) {
                let sent = parse(encode_coarse(timeout).as_bytes()).unwrap();
                assert!(sent >= timeout && sent <= timeout + timeout / 99, "{timeout:?} {sent:?}");
            }
            nanos = next;
            if nanos > 1 << 60 {
                break;
            }
        }
    }

    #[test]
    fn parses_the_grammar() {
        let table = [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("0n", Duration::ZERO),
            ("00000001S", Duration::from_secs(1)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ];
        for (value, want) in table {
            assert_eq!(parse(value.as_bytes()), Ok(want), "{value}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        let table = [
            ("", TimeoutError::Empty),
            ("S", TimeoutError::Digits),
            ("123456789n", TimeoutError::Digits),
            ("-1S", TimeoutError::Digits),
            ("+1S", TimeoutError::Digits),
            ("1.5S", TimeoutError::Digits),
            (" 1S", TimeoutError::Digits),
            ("1 S", TimeoutError::Digits),
            ("1s", TimeoutError::Unit),
            ("1h", TimeoutError::Unit),
            ("10", TimeoutError::Unit),
            ("1S ", TimeoutError::Digits),
        ];
        for (value, want) in table {
            assert_eq!(parse(value.as_bytes()), Err(want), "{value:?}");
            assert_eq!(Status::from(want).code(), Code::Internal);
        }
    }

    #[test]
    fn encodes_in_the_finest_unit_that_fits() {
        let table = [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(1), "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_000), "100000u"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(1), "1000000u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_000), "1666667M"),
            (Duration::from_secs(99_999_999 * 60 + 1), "1666667H"),
            (Duration::MAX, "99999999H"),
        ];
        for (timeout, want) in table {
            assert_eq!(encode(timeout).to_string(), want);
        }
    }

    proptest! {
        #[test]
        fn round_trip_rounds_up(secs in 0..99_999_999_u64 * 3600, nanos in 0..1_000_000_000_u32,
                                shift in 0..64_u32) {
            // The shift spreads the lengths over all magnitudes.
            let timeout = Duration::new(secs >> shift, nanos);
            let encoded = encode(timeout);
            prop_assert!(encoded.as_bytes().len() <= DIGITS_MAX + 1);
            let back = parse(encoded.as_bytes()).unwrap();
            prop_assert!(back >= timeout);
            // A unit is left only where the next, at most 1000 times coarser, counts to 100,000.
            prop_assert!((back - timeout).as_nanos() <= timeout.as_nanos() / 100_000);
        }

        #[test]
        fn any_bytes_are_read_or_refused(value in proptest::collection::vec(any::<u8>(), 0..12)) {
            if parse(&value).is_ok() {
                prop_assert!((2..=DIGITS_MAX + 1).contains(&value.len()));
            }
        }
    }
}

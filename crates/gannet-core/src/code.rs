//! The 17 status codes of gRPC (`statuscodes.md`) and what maps onto them.
//!
//! Does not hold a message: that is [`crate::Status`].

use std::fmt;

/// A gRPC status code.
///
/// Exhaustive on purpose: gRPC has these 17 and no more, and a code from the wire that is none of
/// them reads as [`Code::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Code {
    /// No error.
    Ok = 0,
    /// The call was cancelled, typically by the caller.
    Cancelled = 1,
    /// An error without a better code; also what a panicking handler gives.
    Unknown = 2,
    /// An argument is wrong whatever the state of the system. Never made by this library.
    InvalidArgument = 3,
    /// The deadline passed before the call ended.
    DeadlineExceeded = 4,
    /// Something asked for does not exist. Never made by this library.
    NotFound = 5,
    /// What was to be created is already there. Never made by this library.
    AlreadyExists = 6,
    /// The caller is known and may not do this.
    PermissionDenied = 7,
    /// A quota or limit is exhausted, a message size limit among them.
    ResourceExhausted = 8,
    /// The system is not in the state the call needs. Never made by this library.
    FailedPrecondition = 9,
    /// The call lost a conflict, such as a transaction's. Never made by this library.
    Aborted = 10,
    /// Past the valid range, such as the end of a file. Never made by this library.
    OutOfRange = 11,
    /// The method does not exist here or is not supported.
    Unimplemented = 12,
    /// An invariant is broken: a bug, or bytes that break the protocol.
    Internal = 13,
    /// Not reachable now; a retry with backoff may succeed.
    Unavailable = 14,
    /// Data is lost or damaged beyond repair. Never made by this library.
    DataLoss = 15,
    /// The caller's credentials are missing or wrong.
    Unauthenticated = 16,
}

impl Code {
    /// Every code, each at the index of its number.
    pub const ALL: [Code; 17] = [
        Code::Ok,
        Code::Cancelled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];

    /// The code's name as gRPC spells it, such as `DEADLINE_EXCEEDED`.
    pub const fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The code with this exact name (`DEADLINE_EXCEEDED`), as service configs write it.
    pub fn from_name(name: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.name() == name)
    }

    /// The code's number in decimal digits, as `grpc-status` carries it.
    pub const fn as_digits(self) -> &'static str {
        DIGITS[self as usize]
    }

    /// The code a `grpc-status` value stands for; `None` where it is not the decimal number of one
    /// of the 17 codes, which a receiver reads as [`Code::Unknown`].
    pub fn from_digits(value: &[u8]) -> Option<Code> {
        let number = match *value {
            [ones @ b'0'..=b'9'] => ones - b'0',
            [b'1', ones @ b'0'..=b'6'] => 10 + (ones - b'0'),
            _ => return None,
        };
        Code::ALL.get(usize::from(number)).copied()
    }

    /// What an HTTP status without a `grpc-status` stands for (`http-grpc-status-mapping.md`).
    pub const fn from_http_status(http_status: u16) -> Code {
        match http_status {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Unknown,
        }
    }

    /// What a stream reset with this HTTP/2 error code (RFC 9113 7) stands for.
    pub const fn from_reset(error_code: u32) -> Code {
        match error_code {
            0x7 => Code::Unavailable,       // REFUSED_STREAM
            0x8 => Code::Cancelled,         // CANCEL
            0xb => Code::ResourceExhausted, // ENHANCE_YOUR_CALM
            0xc => Code::PermissionDenied,  // INADEQUATE_SECURITY
            _ => Code::Internal,
        }
    }

    /// Whether this is [`Code::Ok`].
    pub const fn is_ok(self) -> bool {
        matches!(self, Code::Ok)
    }
}

impl From<i32> for Code {
    /// The code with this number; any other number reads as [`Code::Unknown`].
    fn from(number: i32) -> Code {
        usize::try_from(number)
            .ok()
            .and_then(|index| Code::ALL.get(index).copied())
            .unwrap_or(Code::Unknown)
    }
}

impl From<Code> for i32 {
    fn from(code: Code) -> i32 {
        code as i32
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const DIGITS: [&str; 17] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_digits_agree() {
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index);
            assert_eq!(Code::from(i32::from(code)), code);
            assert_eq!(code.as_digits(), index.to_string());
            assert_eq!(Code::from_digits(code.as_digits().as_bytes()), Some(code));
            assert_eq!(Code::from_name(code.name()), Some(code));
            let debug = format!("{code:?}").to_uppercase();
            assert_eq!(code.to_string().replace('_', ""), debug);
        }
    }

    #[test]
    fn other_numbers_are_unknown() {
        for number in [-1, 17, 100, i32::MAX, i32::MIN] {
            assert_eq!(Code::from(number), Code::Unknown);
        }
        for digits in ["", "17", "-1", "+1", " 1", "1 ", "00", "01", "1x", "100", "4294967296"] {
            assert_eq!(Code::from_digits(digits.as_bytes()), None, "{digits:?}");
        }
        assert_eq!(Code::from_name("ok"), None);
    }

    #[test]
    fn http_status_table() {
        let table = [
            (400, Code::Internal),
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (429, Code::Unavailable),
            (502, Code::Unavailable),
            (503, Code::Unavailable),
            (504, Code::Unavailable),
        ];
        for http_status in 0..=999 {
            let want = table.iter().find(|row| row.0 == http_status).map(|row| row.1);
            let want = want.unwrap_or(Code::Unknown);
            assert_eq!(Code::from_http_status(http_status), want, "{http_status}");
        }
    }

    #[test]
    fn reset_table() {
        let table = [
            (0x7, Code::Unavailable),
            (0x8, Code::Cancelled),
            (0xb, Code::ResourceExhausted),
            (0xc, Code::PermissionDenied),
        ];
        for error_code in (0..=0x20).chain([u32::MAX]) {
            let want = table.iter().find(|row| row.0 == error_code).map(|row| row.1);
            assert_eq!(Code::from_reset(error_code), want.unwrap_or(Code::Internal));
        }
    }
}

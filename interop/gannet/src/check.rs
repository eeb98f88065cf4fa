//! What a case expects, and what it says when that does not come.

use std::error::Error;
use std::fmt::Debug;
use std::process::ExitCode;

use gannet::{Code, Result, Status};

/// How a case went.
pub type Outcome = std::result::Result<(), Box<dyn Error + Send + Sync>>;

/// What the program of one case ends with; says on standard error what went wrong.
pub fn exit_code(case: &str, outcome: &Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{case}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, as far as it does not tell them itself.
pub fn with_causes(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        cause = error.source();
    }
    told
}

/// Characters of a value that are shown.
const SHOWN_MAX: usize = 300;

/// `actual` must be as expected; `what` says what it is.
#[allow(clippy::needless_pass_by_value, reason = "called with what was just made")]
pub fn check<A, E>(what: &str, actual: A, expected: E) -> Outcome
where
    A: PartialEq<E> + Debug,
    E: Debug,
{
    if actual == expected {
        return Ok(());
    }
    let show =
        |value: &dyn Debug| -> String { format!("{value:?}").chars().take(SHOWN_MAX).collect() };
    Err(format!("{what}: got {}, expected {}", show(&actual), show(&expected)).into())
}

/// The call must have failed with `code` and, where one is given, this message.
pub fn expect_status<T: Debug>(
    outcome: Result<T>,
    code: Code,
    message: Option<&str>,
) -> std::result::Result<Status, Box<dyn Error + Send + Sync>> {
    match outcome {
        Ok(value) => Err(format!("got {value:?}, expected {code}").into()),
        Err(status) => {
            check(&format!("code of {status}"), status.code(), code)?;
            if let Some(message) = message {
                check("message", status.message(), message)?;
            }
            Ok(status)
        }
    }
}

//! From a file's text to its tokens. Comments are no tokens: they lie between them, where
//! [`crate::comments`] reads them.
//!
//! The rules are those of protoc's tokenizer, down to the columns, in which a tab goes to the next
//! multiple of eight: descriptors tell places in them.

use crate::diagnostic::{Diagnostic, Findings, Span};

/// How far a tab goes.
const TAB_WIDTH: i32 = 8;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name or a keyword, which are told apart by where they are.
    Identifier,
    /// Digits, also octal or hexadecimal, without a sign.
    Integer,
    /// A number with a point or an exponent.
    Float,
    /// A literal in its quotes.
    String,
    /// Any other character.
    Symbol,
    /// The end of the file, always the last token.
    End,
}

/// A token: its bytes, and its place in lines and columns from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    pub(crate) line: i32,
    pub(crate) column: i32,
    pub(crate) end_column: i32,
}

impl Token {
    /// What is before the first token.
    pub(crate) const START: Self = Self {
        kind: Kind::End,
        span: Span { start: 0, end: 0 },
        line: 0,
        column: 0,
        end_column: 0,
    };
}

/// Cuts `source`, the text of `file`, into tokens; the last one is [`Kind::End`].
pub(crate) fn tokens(source: &str, file: &str, findings: &mut Findings) -> Vec<Token> {
    let mut lexer = Lexer { scanner: Scanner::new(source), file, findings, found: Vec::new() };
    lexer.scanner.skip_byte_order_mark();
    while let Some(byte) = lexer.scanner.peek() {
        lexer.next(byte);
    }
    let end = lexer.scanner;
    lexer.found.push(Token {
        kind: Kind::End,
        span: Span { start: source.len(), end: source.len() },
        line: end.line,
        column: end.column,
        end_column: end.column,
    });
    lexer.found
}

/// Walks over text and counts lines and columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanner<'s> {
    pub(crate) source: &'s str,
    pub(crate) at: usize,
    pub(crate) line: i32,
    pub(crate) column: i32,
}

impl<'s> Scanner<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        Self { source, at: 0, line: 0, column: 0 }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.at).copied()
    }

    pub(crate) fn bump(&mut self) {
        match self.peek() {
            Some(b'\n') => {
                self.line = self.line.saturating_add(1);
                self.column = 0;
            }
            Some(b'\t') => {
                self.column = self.column.saturating_add(TAB_WIDTH - self.column % TAB_WIDTH);
            }
            Some(_) => self.column = self.column.saturating_add(1),
            None => return,
        }
        self.at += 1;
    }

    pub(crate) fn take(&mut self, wanted: u8) -> bool {
        self.take_if(|byte| byte == wanted)
    }

    pub(crate) fn take_if(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        if found {
            self.bump();
        }
        found
    }

    pub(crate) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> usize {
        let start = self.at;
        while self.take_if(&wanted) {}
        self.at - start
    }

    /// A mark of three bytes; it counts as columns, as it does for others.
    pub(crate) fn skip_byte_order_mark(&mut self) {
        if self.source.starts_with('\u{feff}') {
            for _ in 0..'\u{feff}'.len_utf8() {
                self.bump();
            }
        }
    }
}

struct Lexer<'s, 'f> {
    scanner: Scanner<'s>,
    file: &'f str,
    findings: &'f mut Findings,
    found: Vec<Token>,
}

impl Lexer<'_, '_> {
    fn next(&mut self, byte: u8) {
        match byte {
            _ if is_space(byte) => self.scanner.bump(),
            b'/' if self.starts_comment() => self.comment(),
            0..32 | 127 => self.control(),
            _ => self.token(byte),
        }
    }

    fn starts_comment(&self) -> bool {
        let rest = self.scanner.source.as_bytes().get(self.scanner.at + 1);
        matches!(rest, Some(b'/' | b'*'))
    }

    fn comment(&mut self) {
        let start = self.scanner.at;
        self.scanner.bump();
        if self.scanner.take(b'/') {
            self.scanner.take_while(|byte| byte != b'\n');
            return;
        }
        self.scanner.bump();
        loop {
            if self.scanner.take(b'*') {
                if self.scanner.take(b'/') {
                    return;
                }
            } else if self.scanner.take(b'/') {
                if self.scanner.peek() == Some(b'*') {
                    let span = Span { start: self.scanner.at - 1, end: self.scanner.at + 1 };
                    self.error("a block comment within a block comment", span);
                }
            } else if self.scanner.peek().is_none() {
                let span = Span { start, end: start + 2 };
                self.error("this comment does not end: '*/' is missing", span);
                return;
            } else {
                self.scanner.bump();
            }
        }
    }

    fn control(&mut self) {
        let start = self.scanner.at;
        self.scanner.take_while(|byte| (byte < 32 && !is_space(byte)) || byte == 127);
        self.error("control characters in the text", Span { start, end: self.scanner.at });
    }

    fn token(&mut self, byte: u8) {
        let before = self.scanner;
        self.scanner.bump();
        let kind = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                self.scanner.take_while(is_alphanumeric);
                Kind::Identifier
            }
            b'0'..=b'9' => self.number(before.at, byte),
            b'.' if self.scanner.peek().is_some_and(|next| next.is_ascii_digit()) => {
                self.no_number_behind_a_name(before.at);
                self.number(before.at, byte)
            }
            b'"' | b'\'' => self.string(before.at, byte),
            128.. => {
                self.scanner.take_while(|byte| byte >= 128);
                let span = Span { start: before.at, end: self.scanner.at };
                self.error("characters outside of ASCII belong in strings and comments", span);
                return;
            }
            _ => Kind::Symbol,
        };
        self.found.push(Token {
            kind,
            span: Span { start: before.at, end: self.scanner.at },
            line: before.line,
            column: before.column,
            end_column: self.scanner.column,
        });
    }

    fn no_number_behind_a_name(&mut self, start: usize) {
        let touches = |last: &Token| last.kind == Kind::Identifier && last.span.end == start;
        if self.found.last().is_some_and(touches) {
            let span = Span { start, end: start + 1 };
            self.error("a space is missing between the name and the decimal point", span);
        }
    }

    fn number(&mut self, start: usize, first: u8) -> Kind {
        let scanner = &mut self.scanner;
        let mut mistake = None;
        let mut float = first == b'.';
        if first == b'0' && scanner.take_if(|byte| byte == b'x' || byte == b'X') {
            if scanner.take_while(|byte| byte.is_ascii_hexdigit()) == 0 {
                mistake = Some("'0x' needs hexadecimal digits behind it");
            }
        } else if first == b'0' && scanner.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            scanner.take_while(|byte| matches!(byte, b'0'..=b'7'));
            if scanner.take_while(|byte| byte.is_ascii_digit()) > 0 {
                mistake = Some("a number that starts with 0 is octal: its digits go to 7");
            }
        } else {
            scanner.take_while(|byte| byte.is_ascii_digit());
            if !float && scanner.take(b'.') {
                float = true;
                scanner.take_while(|byte| byte.is_ascii_digit());
            }
            if scanner.take_if(|byte| byte == b'e' || byte == b'E') {
                float = true;
                scanner.take_if(|byte| byte == b'-' || byte == b'+');
                if scanner.take_while(|byte| byte.is_ascii_digit()) == 0 {
                    mistake = Some("an exponent needs digits");
                }
            }
        }
        let end = scanner.at;
        match scanner.peek() {
            Some(b'.') if float => mistake = Some("a second point or exponent in a number"),
            Some(b'.') => mistake = Some("hexadecimal and octal numbers are integers"),
            Some(byte) if is_alphanumeric(byte) => {
                mistake = Some("a space is missing between the number and what follows");
            }
            _ => {}
        }
        if let Some(mistake) = mistake {
            self.error(mistake, Span { start, end });
        }
        if float { Kind::Float } else { Kind::Integer }
    }

    fn string(&mut self, start: usize, quote: u8) -> Kind {
        loop {
            match self.scanner.peek() {
                None | Some(b'\n' | 0) => {
                    let span = Span { start, end: self.scanner.at };
                    self.error("this string does not end on its line", span);
                    break;
                }
                Some(b'\\') => self.escape(),
                Some(byte) => {
                    self.scanner.bump();
                    if byte == quote {
                        break;
                    }
                }
            }
        }
        Kind::String
    }

    fn escape(&mut self) {
        let start = self.scanner.at;
        self.scanner.bump();
        let scanner = &mut self.scanner;
        let mistake = match scanner.peek() {
            Some(b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v') => None,
            Some(b'\\' | b'?' | b'\'' | b'"' | b'0'..=b'7') => None,
            Some(b'x' | b'X') => (!digits_follow(scanner, 1, u32::MAX))
                .then_some("'\\x' needs hexadecimal digits behind it"),
            Some(b'u') => (!digits_follow(scanner, 4, u32::MAX))
                .then_some("'\\u' needs four hexadecimal digits behind it"),
            Some(b'U') => (!digits_follow(scanner, 8, 0x10_ffff))
                .then_some("'\\U' needs eight hexadecimal digits behind it, up to 0010ffff"),
            None | Some(b'\n' | 0) => return,
            _ => Some("unknown escape in a string"),
        };
        // The digits themselves are read by the loop around this.
        if scanner.peek().is_some_and(|byte| byte < 128) {
            scanner.bump();
        }
        let end = self.scanner.at;
        if let Some(mistake) = mistake {
            self.error(mistake, Span { start, end });
        }
    }

    fn error(&mut self, message: &str, span: Span) {
        self.findings.add(Diagnostic::error(message, span.of(self.file)));
    }
}

/// Whether `count` hexadecimal digits follow the letter that `scanner` is at, of a value to `max`.
fn digits_follow(scanner: &Scanner<'_>, count: usize, max: u32) -> bool {
    let digits = scanner.source.as_bytes().get(scanner.at + 1..scanner.at + 1 + count);
    let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let value = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    value.and_then(|text| u32::from_str_radix(text, 16).ok()).is_some_and(|value| value <= max)
}

pub(crate) fn is_space(byte: u8) -> bool {
    byte == b'\n' || is_space_in_line(byte)
}

/// The space of a line: blank, tab, carriage return, vertical tab and form feed.
pub(crate) fn is_space_in_line(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether `text` could be a name.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.bytes().all(is_alphanumeric) && text.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

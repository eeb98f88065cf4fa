//! Which comments belong to what: the comments between two tokens, shared out as protoc does it.
//!
//! A comment on the line of a declaration trails it, and so does one on the next line that a blank
//! line parts from what follows. The last comment leads the next declaration if it touches it. All
//! others are detached.

use crate::lexer::{Kind, Scanner, Token, is_space_in_line};

/// The comments between two tokens.
#[derive(Debug, Default)]
pub(crate) struct Comments {
    /// Of the declaration that ends before; empty if there is none.
    pub(crate) trailing: String,
    /// Of neither.
    pub(crate) detached: Vec<String>,
    /// Of the declaration that starts behind; empty if there is none.
    pub(crate) leading: String,
}

/// Reads the comments of `source` between `previous`, or the file's start, and `next`.
pub(crate) fn between(source: &str, previous: Option<Token>, next: Token, text: &str) -> Comments {
    let mut scanner = Scanner::new(&source[..next.span.start]);
    let mut collector = Collector::default();
    let mut previous_line = None;
    let mut trailing_end_line = None;
    if let Some(previous) = previous {
        scanner.at = previous.span.end;
        scanner.line = previous.line;
        previous_line = Some(previous.line);
        collector.can_trail = true;
        scanner.take_while(is_space_in_line);
        match comment_start(&mut scanner) {
            Start::Line => {
                trailing_end_line = Some(scanner.line);
                line_comment(&mut scanner, collector.line_buffer());
                collector.flush();
            }
            Start::Block => {
                block_comment(&mut scanner, collector.block_buffer());
                trailing_end_line = Some(scanner.line);
                scanner.take_while(is_space_in_line);
                collector.flush();
            }
            // The next token is on the same line: there are no comments.
            Start::None if !scanner.take(b'\n') => return collector.finish(),
            Start::None => {}
        }
    } else {
        scanner.skip_byte_order_mark();
    }
    loop {
        scanner.take_while(is_space_in_line);
        match comment_start(&mut scanner) {
            Start::Line => line_comment(&mut scanner, collector.line_buffer()),
            Start::Block => {
                block_comment(&mut scanner, collector.block_buffer());
                // The rest of the line is no blank line.
                scanner.take_while(is_space_in_line);
                scanner.take(b'\n');
            }
            Start::None if scanner.take(b'\n') => {
                collector.flush();
                collector.can_trail = false;
            }
            Start::None => break,
        }
    }
    let end = next.kind == Kind::End;
    if end || matches!(text, "}" | "]" | ")") {
        // A scope ends: a comment cannot be of what follows.
        collector.flush();
    }
    let touches = [previous_line, trailing_end_line].contains(&Some(next.line));
    if !end && touches {
        collector.detach_a_single_one();
    }
    collector.finish()
}

enum Start {
    Line,
    Block,
    None,
}

fn comment_start(scanner: &mut Scanner<'_>) -> Start {
    let rest = &scanner.source.as_bytes()[scanner.at..];
    let start = match rest {
        [b'/', b'/', ..] => Start::Line,
        [b'/', b'*', ..] => Start::Block,
        _ => return Start::None,
    };
    scanner.bump();
    scanner.bump();
    start
}

/// The text behind `//`, with the line's end.
fn line_comment(scanner: &mut Scanner<'_>, out: &mut String) {
    let start = scanner.at;
    scanner.take_while(|byte| byte != b'\n');
    scanner.take(b'\n');
    out.push_str(&scanner.source[start..scanner.at]);
}

/// The text between `/*` and `*/`, each line without the space and the star that it starts with.
fn block_comment(scanner: &mut Scanner<'_>, out: &mut String) {
    let mut start = scanner.at;
    while let Some(byte) = scanner.peek() {
        scanner.bump();
        match byte {
            b'\n' => {
                out.push_str(&scanner.source[start..scanner.at]);
                scanner.take_while(is_space_in_line);
                let star = scanner.take(b'*');
                if star && scanner.take(b'/') {
                    return;
                }
                start = scanner.at;
            }
            b'*' if scanner.take(b'/') => {
                out.push_str(&scanner.source[start..scanner.at - 2]);
                return;
            }
            _ => {}
        }
    }
    out.push_str(&scanner.source[start..scanner.at]);
}

/// Holds the last comment back until it is known whose it is.
#[derive(Default)]
struct Collector {
    found: Comments,
    buffer: String,
    /// Whether there is a comment in `buffer`, which may be empty, and whether it is of lines.
    pending: Option<Pending>,
    count: usize,
    has_trailing: bool,
    can_trail: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pending {
    Lines,
    Block,
}

impl Collector {
    /// Where a comment of a line goes: with the lines right before it.
    fn line_buffer(&mut self) -> &mut String {
        if self.pending == Some(Pending::Block) {
            self.flush();
        }
        self.pending = Some(Pending::Lines);
        &mut self.buffer
    }

    fn block_buffer(&mut self) -> &mut String {
        self.flush();
        self.pending = Some(Pending::Block);
        &mut self.buffer
    }

    /// What is pending does not lead the next token.
    fn flush(&mut self) {
        if self.pending.take().is_none() {
            return;
        }
        let comment = std::mem::take(&mut self.buffer);
        if self.can_trail {
            self.found.trailing.push_str(&comment);
            self.has_trailing = true;
            self.can_trail = false;
        } else {
            self.found.detached.push(comment);
        }
        self.count += 1;
    }

    /// It is unclear to which of two declarations on one line a comment belongs.
    fn detach_a_single_one(&mut self) {
        if self.count + usize::from(self.pending.is_some()) != 1 {
            return;
        }
        if self.has_trailing {
            let trailing = std::mem::take(&mut self.found.trailing);
            self.found.detached.insert(0, trailing);
        }
        self.flush();
    }

    fn finish(mut self) -> Comments {
        if self.pending.is_some() {
            self.found.leading = self.buffer;
        }
        self.found
    }
}

//! From tokens to a [`File`]: the grammar of proto2, proto3 and the editions, with the place of
//! each element as `SourceCodeInfo` tells it.
//!
//! A statement with a mistake is skipped, so that one reading finds several. What needs names to
//! be looked up is not checked here. The depth of messages in messages is bounded; nothing else
//! recurses.

mod enums;
mod field;
mod file;
mod message;
mod option;
mod service;

use crate::comments::{self, Comments};
use crate::diagnostic::{Diagnostic, Findings, Span};
use crate::features::Features;
use crate::lexer::{self, Kind, Token};
use crate::literal;
use crate::tree::{Children, Edition, File, Location, Name, Options};

/// How deep messages and groups may lie in each other; protoc's limit.
const DEPTH_MAX: usize = 31;

/// A statement cannot be understood; why was told already.
#[derive(Debug)]
struct Skip;

type Parsed<T = ()> = Result<T, Skip>;

/// Parses `source`, the text of the file called `name`.
pub(crate) fn parse(name: &str, source: &str, findings: &mut Findings) -> File {
    let tokens = lexer::tokens(source, name, findings);
    let first = tokens.first().copied().unwrap_or(Token::START);
    let text = &source[first.span.start..first.span.end];
    let Comments { detached, leading, .. } = comments::between(source, None, first, text);
    let mut parser = Parser {
        source,
        tokens,
        at: 0,
        file: empty(name),
        path: Vec::new(),
        depth: 0,
        upcoming: leading,
        upcoming_detached: detached,
        findings,
    };
    parser.file();
    parser.file
}

fn empty(name: &str) -> File {
    File {
        name: name.to_owned(),
        edition: Edition::Proto2,
        edition_span: Span::default(),
        package: None,
        imports: Vec::new(),
        messages: Vec::new(),
        enums: Vec::new(),
        extensions: Vec::new(),
        services: Vec::new(),
        top: Children::default(),
        options: Options::default(),
        features: Features::default(),
        locations: Vec::new(),
    }
}

struct Parser<'s, 'f> {
    source: &'s str,
    tokens: Vec<Token>,
    at: usize,
    file: File,
    /// The path of the element that is being read, as descriptors tell it.
    path: Vec<i32>,
    depth: usize,
    /// Comments that lead, or stand before, the next declaration.
    upcoming: String,
    upcoming_detached: Vec<String>,
    findings: &'f mut Findings,
}

/// Tokens.
impl<'s> Parser<'s, '_> {
    fn current(&self) -> Token {
        self.tokens[self.at]
    }

    fn previous(&self) -> Token {
        self.at.checked_sub(1).map_or(Token::START, |at| self.tokens[at])
    }

    fn text(&self) -> &'s str {
        let Span { start, end } = self.current().span;
        &self.source[start..end]
    }

    fn next(&mut self) {
        // The last token is the end, and stays.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn at_end(&self) -> bool {
        self.current().kind == Kind::End
    }

    fn looking_at(&self, text: &str) -> bool {
        self.text() == text
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.looking_at(text);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, text: &str) -> Parsed {
        if self.take(text) { Ok(()) } else { self.expected(&format!("'{text}'")) }
    }

    fn name(&mut self, what: &str) -> Parsed<Name> {
        if self.current().kind != Kind::Identifier {
            return self.expected(what);
        }
        let name = Name { text: self.text().to_owned(), span: self.current().span };
        self.next();
        Ok(name)
    }

    /// An integer up to `max`; one that is greater is told, and read as 0.
    fn integer(&mut self, max: u64, what: &str) -> Parsed<(u64, Span)> {
        let token = self.current();
        if token.kind != Kind::Integer {
            return self.expected(what);
        }
        let value = literal::integer(self.text(), max);
        if value.is_none() {
            self.error(format!("this number is out of range: it can be {max} at most"), token.span);
        }
        self.next();
        Ok((value.unwrap_or_default(), token.span))
    }

    fn int32(&mut self, what: &str) -> Parsed<(i32, Span)> {
        let (value, span) = self.integer(u64::from(i32::MAX.unsigned_abs()), what)?;
        Ok((i32::try_from(value).unwrap_or_default(), span))
    }

    fn signed_int32(&mut self, what: &str) -> Parsed<(i32, Span)> {
        let start = self.current().span;
        let negative = self.take("-");
        let max = if negative { i32::MIN.unsigned_abs() } else { i32::MAX.unsigned_abs() };
        let (value, span) = self.integer(u64::from(max), what)?;
        let value = i64::try_from(value).unwrap_or_default();
        let value = if negative { -value } else { value };
        Ok((i32::try_from(value).unwrap_or_default(), start.to(span)))
    }

    /// A number of any kind, without a sign.
    fn number(&mut self) -> Parsed<f64> {
        let text = self.text();
        let value = match self.current().kind {
            Kind::Integer => match literal::integer(text, u64::MAX) {
                #[allow(clippy::cast_precision_loss, reason = "the nearest double is meant")]
                Some(value) => Some(value as f64),
                None => literal::float(text),
            },
            Kind::Float => literal::float(text),
            Kind::Identifier if text == "inf" => Some(f64::INFINITY),
            Kind::Identifier if text == "nan" => Some(f64::NAN),
            _ => return self.expected("a number"),
        };
        let span = self.current().span;
        if value.is_none() {
            self.error("this number is out of range", span);
        }
        self.next();
        Ok(value.unwrap_or_default())
    }

    /// A string: all literals that stand next to each other.
    fn bytes(&mut self, what: &str) -> Parsed<(Vec<u8>, Span)> {
        let mut span = self.current().span;
        if self.current().kind != Kind::String {
            return self.expected(what);
        }
        let mut value = Vec::new();
        while self.current().kind == Kind::String {
            literal::unescape(self.text(), &mut value);
            span = span.to(self.current().span);
            self.next();
        }
        Ok((value, span))
    }

    /// A string that must be text.
    fn string(&mut self, what: &str) -> Parsed<Name> {
        let (bytes, span) = self.bytes(what)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Name { text, span }),
            Err(_) => {
                self.error("this string is not UTF-8", span);
                Err(Skip)
            }
        }
    }
}

/// Mistakes.
impl Parser<'_, '_> {
    fn error(&mut self, message: impl Into<String>, span: Span) {
        self.findings.add(Diagnostic::error(message, span.of(&self.file.name)));
    }

    fn error_with_help(&mut self, message: impl Into<String>, span: Span, help: &str) {
        self.findings.add(Diagnostic::error(message, span.of(&self.file.name)).help(help));
    }

    fn expected<T>(&mut self, what: &str) -> Parsed<T> {
        let found = match self.current().kind {
            Kind::End => "the end of the file".to_owned(),
            _ => format!("'{}'", self.text()),
        };
        let span = self.current().span;
        // The end of a file is best told where the text ends.
        let span = if self.at_end() { self.previous().span } else { span };
        self.error(format!("expected {what}, but found {found}"), span);
        Err(Skip)
    }

    /// Goes on behind the statement that has the mistake.
    fn skip_statement(&mut self) {
        while !self.at_end() {
            if self.current().kind == Kind::Symbol {
                if self.end_of_declaration(";", None) {
                    return;
                }
                if self.take("{") {
                    return self.skip_block();
                }
                if self.looking_at("}") {
                    return;
                }
            }
            self.next();
        }
    }

    fn skip_block(&mut self) {
        let mut depth = 1_usize;
        while !self.at_end() {
            if self.end_of_declaration("}", None) {
                depth -= 1;
                if depth == 0 {
                    return;
                }
                continue;
            }
            if self.looking_at("{") {
                depth += 1;
            }
            self.next();
        }
    }

    /// Statements until `}`, empty ones among them.
    fn block(&mut self, what: &str, mut statement: impl FnMut(&mut Self) -> Parsed) -> Parsed {
        self.fields(what, |parser| {
            if parser.end_of_declaration(";", None) { Ok(()) } else { statement(parser) }
        })
    }

    /// Declarations until `}`; the rest of one with a mistake is skipped.
    fn fields(&mut self, what: &str, mut declaration: impl FnMut(&mut Self) -> Parsed) -> Parsed {
        loop {
            if self.end_of_declaration("}", None) {
                return Ok(());
            }
            if self.at_end() {
                let span = self.previous().span;
                self.error(format!("the file ends within {what}: '}}' is missing"), span);
                return Err(Skip);
            }
            if declaration(self).is_err() {
                self.skip_statement();
            }
        }
    }
}

/// Places and comments.
impl Parser<'_, '_> {
    /// Reads an element with its place recorded under `steps` of the path; `body` gets the place.
    fn located<T>(
        &mut self,
        steps: &[i32],
        body: impl FnOnce(&mut Self, usize) -> Parsed<T>,
    ) -> Parsed<T> {
        let depth = self.path.len();
        self.path.extend_from_slice(steps);
        let location = self.start_location();
        let result = body(self, location);
        self.end_location(location);
        self.path.truncate(depth);
        result
    }

    /// Records a place with the path of now, which starts at the current token.
    fn start_location(&mut self) -> usize {
        let Token { line, column, .. } = self.current();
        let path = self.path.clone();
        self.file.locations.push(Location { path, start: (line, column), ..Location::default() });
        self.file.locations.len() - 1
    }

    /// Ends it at the previous token, if it has no end.
    fn end_location(&mut self, location: usize) {
        let Token { line, end_column, .. } = self.previous();
        self.file.locations[location].end.get_or_insert((line, end_column));
    }

    /// Records the place of tokens that are read already.
    fn record(&mut self, steps: &[i32], first: Token, last: Token) {
        let path = [&self.path[..], steps].concat();
        let start = (first.line, first.column);
        let end = Some((last.line, last.end_column));
        self.file.locations.push(Location { path, start, end, ..Location::default() });
    }

    /// Takes what ends a declaration, or the head of one, and shares out the comments behind it:
    /// to the declaration at `location`, and to what comes next.
    fn end_of_declaration(&mut self, text: &str, location: Option<usize>) -> bool {
        if !self.looking_at(text) {
            return false;
        }
        let end = self.current();
        self.next();
        let comments = comments::between(self.source, Some(end), self.current(), self.text());
        let leading = std::mem::replace(&mut self.upcoming, comments.leading);
        if let Some(location) = location {
            let detached = std::mem::replace(&mut self.upcoming_detached, comments.detached);
            let location = &mut self.file.locations[location];
            location.leading = leading;
            location.trailing = comments.trailing;
            location.detached = detached;
        } else if text == "}" {
            self.upcoming_detached = comments.detached;
        } else {
            self.upcoming_detached.extend(comments.detached);
        }
        true
    }

    fn expect_end_of_declaration(&mut self, text: &str, location: usize) -> Parsed {
        if self.end_of_declaration(text, Some(location)) {
            return Ok(());
        }
        self.expected(&format!("'{text}'"))
    }
}

/// An index as a step of a path.
fn step(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

//! Errors: what is wrong, in which file, line and column, and what to do about it.
//!
//! One [`Error`] holds one or more [`Diagnostic`]s, because a parser finds several mistakes in
//! one pass. Its `Display` is the text to show to a person, and so is its `Debug`, because a
//! build script that returns an error from `main` has it printed with `Debug`.

use std::fmt;

/// Why code could not be generated.
pub struct Error {
    diagnostics: Vec<Diagnostic>,
}

impl Error {
    /// An error that says `message`, for those who wrap this library.
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(message)
    }

    /// An error of one diagnostic.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Diagnostic::new(message).into()
    }

    /// An error of all of `diagnostics`, which has at least one.
    pub(crate) fn from_diagnostics(diagnostics: Vec<Diagnostic>) -> Self {
        debug_assert!(!diagnostics.is_empty(), "an error says something");
        Self { diagnostics }
    }

    /// The same error with `change` made to every position.
    pub(crate) fn map_positions(mut self, change: impl Fn(&mut Position)) -> Self {
        for diagnostic in &mut self.diagnostics {
            diagnostic.position.iter_mut().for_each(&change);
            diagnostic.related.iter_mut().for_each(|(_, position)| change(position));
        }
        self
    }

    /// The single findings, in the order of the source; at least one.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostics: vec![diagnostic] }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Error {}

/// One finding of an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// What is wrong, in one line.
    pub message: String,
    /// Where, if it is at a place in a file.
    pub position: Option<Position>,
    /// Further places that matter, each with what is there, such as an earlier definition.
    pub related: Vec<(String, Position)>,
    /// What to do about it, if more can be said than the message says.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), position: None, related: Vec::new(), help: None }
    }

    pub(crate) fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    /// The way compilers do it: `file:line:column: error: message`, then the line with a mark.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        write!(f, "error: {}", self.message)?;
        if let Some(position) = &self.position {
            position.fmt_excerpt(f)?;
        }
        for (what, position) in &self.related {
            write!(f, "\n{position}: note: {what}")?;
            position.fmt_excerpt(f)?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// A place in a proto file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Position {
    /// The file: its path on disk where it was read from disk, else its name in imports.
    pub file: String,
    /// The line, from 1; 0 where only the file is known.
    pub line: usize,
    /// The column, from 1, in characters; 0 where only the file is known.
    pub column: usize,
    /// How many characters from there on are meant; at least 1.
    pub width: usize,
    /// The text of the line, where the source is at hand.
    pub text: Option<String>,
}

impl Position {
    /// The place of the bytes `offset..offset + len` in `source`, the text of `file`.
    pub(crate) fn in_source(file: String, source: &str, offset: usize, len: usize) -> Self {
        let offset = source.floor_char_boundary(offset);
        let before = &source[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = &source[line_start..];
        let text = rest.lines().next().unwrap_or_default();
        let marked_end = source.floor_char_boundary(offset.saturating_add(len)).max(offset);
        let line_end = (line_start + text.len()).max(offset);
        Self {
            file,
            line: before.matches('\n').count() + 1,
            column: source[line_start..offset].chars().count() + 1,
            width: source[offset..marked_end.min(line_end)].chars().count().max(1),
            text: Some(text.to_owned()),
        }
    }

    /// Adds the line's text. Descriptors count columns in bytes, and have tabs go to the next
    /// multiple of eight; a position counts characters.
    pub(crate) fn show(&mut self, text: &str) {
        let characters_before = |column: usize| {
            let mut reached = 1;
            let before = text.chars().take_while(|c| {
                let here = reached;
                reached += if *c == '\t' { 8 - (reached - 1) % 8 } else { c.len_utf8() };
                here < column
            });
            before.count()
        };
        let start = characters_before(self.column);
        let end = characters_before(self.column + self.width);
        self.width = end.saturating_sub(start).max(1);
        self.column = start + 1;
        self.text = Some(text.to_owned());
    }

    /// `file` as a whole.
    pub(crate) fn of_file(file: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, column: 0, width: 1, text: None }
    }

    fn fmt_excerpt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(text) = &self.text else { return Ok(()) };
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        // Tabs stay tabs, so that the mark lands under the text whatever a tab's width is.
        let indent: String = text
            .chars()
            .take(self.column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let mark = "^".repeat(self.width);
        write!(f, "\n {gutter} |\n {number} | {text}\n {gutter} | {indent}{mark}")
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_characters_and_stays_on_its_line() {
        let source = "one\n  zwölf = {\n}\n";
        let offset = source.find('=').unwrap();
        let position = Position::in_source("a.proto".into(), source, offset, 50);
        assert_eq!((position.line, position.column, position.width), (2, 9, 3));
        assert_eq!(position.text.as_deref(), Some("  zwölf = {"));
    }

    #[test]
    fn a_position_at_or_after_the_end_is_not_out_of_bounds() {
        let position = Position::in_source("a.proto".into(), "ab", 99, 1);
        assert_eq!((position.line, position.column, position.width), (1, 3, 1));
        let position = Position::in_source("a.proto".into(), "", 0, 0);
        assert_eq!((position.line, position.column), (1, 1));
    }

    #[test]
    fn a_position_of_a_descriptor_is_put_right_when_its_line_is_known() {
        let mut position = Position { line: 1, column: 12, width: 3, ..Position::of_file("a") };
        position.show("\t/* ä */ foo = 1;");
        assert_eq!((position.column, position.width), (5, 2));
        let mut position = Position { line: 1, column: 9, width: 3, ..Position::of_file("a") };
        position.show("\tfoo");
        assert_eq!((position.column, position.width), (2, 3));
    }

    #[test]
    fn a_diagnostic_reads_as_a_compilers() {
        let source = "message M {\n\tstring = 1;\n}\n";
        let error: Error = Diagnostic::new("expected a name")
            .at(Some(Position::in_source("m.proto".into(), source, 20, 1)))
            .help("name the field")
            .into();
        assert_eq!(
            error.to_string(),
            "m.proto:2:9: error: expected a name\n   |\n 2 | \tstring = 1;\n   | \t       ^\n  \
             help: name the field"
        );
    }
}

//! Options: their names and values, which are interpreted only when all types are known.

use super::{Parsed, Parser, Skip};
use crate::lexer::Kind;
use crate::literal;
use crate::tree::{Name, NamePart, OptionDecl, OptionValue, Options, Piece};

/// The field of every options message in which uninterpreted options lie.
const UNINTERPRETED: i32 = 999;

impl Parser<'_, '_> {
    /// `option name = value;`, with the path at the options of its element.
    pub(super) fn option_statement(&mut self) -> Parsed<OptionDecl> {
        // The path is put right when the option is interpreted.
        self.located(&[UNINTERPRETED], |parser, location| {
            parser.expect("option")?;
            let option = parser.option(location)?;
            parser.expect_end_of_declaration(";", location)?;
            Ok(option)
        })
    }

    /// `[name = value, …]` at `steps` of the path, if there is one.
    pub(super) fn option_list(&mut self, steps: &[i32], options: &mut Options) -> Parsed {
        if !self.looking_at("[") {
            return Ok(());
        }
        self.located(steps, |parser, _| {
            parser.next();
            loop {
                options.declared.push(parser.assignment()?);
                if !parser.take(",") {
                    return parser.expect("]");
                }
            }
        })
    }

    /// `name = value` of a list.
    pub(super) fn assignment(&mut self) -> Parsed<OptionDecl> {
        self.located(&[UNINTERPRETED], |parser, location| parser.option(location))
    }

    fn option(&mut self, location: usize) -> Parsed<OptionDecl> {
        let mut name = vec![self.name_part()?];
        while self.take(".") {
            name.push(self.name_part()?);
        }
        self.expect("=")?;
        let start = self.current().span;
        let value = self.option_value()?;
        let value_span = start.to(self.previous().span);
        Ok(OptionDecl { name, value, value_span, location: Some(location) })
    }

    fn name_part(&mut self) -> Parsed<NamePart> {
        if !self.take("(") {
            return Ok(NamePart { name: self.name("the name of an option")?, is_extension: false });
        }
        let start = self.current().span;
        let mut text = String::new();
        if self.current().kind == Kind::Identifier {
            text.push_str(self.text());
            self.next();
        }
        while self.take(".") {
            text.push('.');
            text.push_str(&self.name("a name")?.text);
        }
        if text.is_empty() {
            return self.expected("the name of an extension");
        }
        let span = start.to(self.previous().span);
        self.expect(")")?;
        Ok(NamePart { name: Name { text, span }, is_extension: true })
    }

    fn option_value(&mut self) -> Parsed<OptionValue> {
        let minus = self.current().span;
        let negative = self.take("-");
        let token = self.current();
        let text = self.text();
        match token.kind {
            Kind::Identifier if !negative => {
                self.next();
                Ok(OptionValue::Identifier(text.to_owned()))
            }
            Kind::Identifier if text == "inf" || text == "nan" => Ok(self.float(true)?),
            Kind::Identifier => {
                self.error("behind '-' there can be a number, inf or nan", token.span);
                Err(Skip)
            }
            Kind::Integer => {
                let max = if negative { i64::MIN.unsigned_abs() } else { u64::MAX };
                // What is too great for an integer is read as a floating-point number.
                match literal::integer(text, max) {
                    Some(value) => {
                        self.next();
                        Ok(if negative {
                            OptionValue::Negative(0_i64.wrapping_sub_unsigned(value))
                        } else {
                            OptionValue::Positive(value)
                        })
                    }
                    None => self.float(negative),
                }
            }
            Kind::Float => self.float(negative),
            Kind::String if negative => {
                self.error("'-' cannot stand before a string", minus);
                Err(Skip)
            }
            Kind::String => Ok(OptionValue::String(self.bytes("a string")?.0)),
            Kind::Symbol if text == "{" => self.aggregate(),
            Kind::Symbol | Kind::End => self.expected("the value of the option"),
        }
    }

    fn float(&mut self, negative: bool) -> Parsed<OptionValue> {
        let value = self.number()?;
        let negated = if value.is_nan() { value } else { -value };
        Ok(OptionValue::Float(if negative { negated } else { value }))
    }

    /// The tokens between braces. In the text format, `#` starts a comment of a line.
    fn aggregate(&mut self) -> Parsed<OptionValue> {
        let open = self.current().span;
        self.next();
        let mut pieces = Vec::new();
        let mut depth = 1_usize;
        let mut comment_line = None;
        while !self.at_end() {
            match self.text() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            let token = self.current();
            let text = self.text();
            if depth == 0 {
                self.next();
                return Ok(OptionValue::Aggregate(pieces));
            }
            if text == "#" {
                comment_line = Some(token.line);
            }
            if comment_line != Some(token.line) {
                pieces.push(Piece { kind: token.kind, text: text.to_owned(), span: token.span });
            }
            self.next();
        }
        self.error("the file ends within the value of an option: '}' is missing", open);
        Err(Skip)
    }
}

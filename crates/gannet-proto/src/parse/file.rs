//! Statements of a file: syntax or edition, package, imports, and what starts a declaration.

use super::{Parsed, Parser, Skip, step};
use crate::lexer::Kind;
use crate::tree::{Edition, Import, ImportKind, Name, Visibility};

impl Parser<'_, '_> {
    pub(super) fn file(&mut self) {
        let root = self.start_location();
        if (self.looking_at("syntax") || self.looking_at("edition")) && self.syntax().is_err() {
            // Without knowing the language there is no sense in reading on.
            return;
        }
        while !self.at_end() {
            if self.looking_at("}") {
                let span = self.current().span;
                self.error("this '}' closes nothing", span);
                self.end_of_declaration("}", None);
            } else if self.top_level_statement().is_err() {
                self.skip_statement();
            }
        }
        self.end_location(root);
    }

    fn syntax(&mut self) -> Parsed {
        self.located(&[12], |parser, location| {
            let is_edition = parser.looking_at("edition");
            parser.next();
            parser.expect("=")?;
            let said = parser.string("a string, as in \"proto3\"")?;
            parser.expect_end_of_declaration(";", location)?;
            parser.file.edition_span = said.span;
            parser.file.edition = match (is_edition, &said.text[..]) {
                (false, "proto2") => Edition::Proto2,
                (false, "proto3") => Edition::Proto3,
                (true, "2023") => Edition::Edition2023,
                (true, "2024") => Edition::Edition2024,
                (false, other) => {
                    let message = format!("there is no syntax \"{other}\"");
                    let help = "it is \"proto2\" or \"proto3\"; or else `edition = \"2023\";`";
                    parser.error_with_help(message, said.span, help);
                    return Err(Skip);
                }
                (true, other) => {
                    let message = format!("the edition \"{other}\" is not known here");
                    parser.error_with_help(message, said.span, "known are \"2023\" and \"2024\"");
                    return Err(Skip);
                }
            };
            Ok(())
        })
    }

    fn top_level_statement(&mut self) -> Parsed {
        if self.end_of_declaration(";", None) {
            return Ok(());
        }
        let visibility = self.visibility()?;
        match self.text() {
            "message" => self.message(None, visibility),
            "enum" => self.enumeration(None, visibility),
            "service" => self.service(),
            "extend" => self.extend(None),
            "import" => self.import(),
            "package" => self.package(),
            "option" => self.located(&[8], |parser, _| {
                let option = parser.option_statement()?;
                parser.file.options.declared.push(option);
                Ok(())
            }),
            "syntax" | "edition" => {
                let span = self.current().span;
                self.error(format!("'{}' must be the first statement", self.text()), span);
                Err(Skip)
            }
            _ => self.expected(
                "'message', 'enum', 'service', 'extend', 'import', 'package', 'option' or ';'",
            ),
        }
    }

    /// `export` or `local`, which are words since edition 2024.
    pub(super) fn visibility(&mut self) -> Parsed<Option<Visibility>> {
        if self.file.edition < Edition::Edition2024 {
            return Ok(None);
        }
        let (visibility, span) = (self.text(), self.current().span);
        let visibility = match visibility {
            "export" => Visibility::Export,
            "local" => Visibility::Local,
            _ => return Ok(None),
        };
        self.next();
        if !self.looking_at("message") && !self.looking_at("enum") {
            self.error("'export' and 'local' are for messages and enums only", span);
            return Err(Skip);
        }
        Ok(Some(visibility))
    }

    fn package(&mut self) -> Parsed {
        let again = self.file.package.as_ref().map(|earlier| earlier.span);
        let result = self.located(&[2], |parser, location| {
            parser.next();
            let mut package = parser.name("the name of the package")?;
            while parser.take(".") {
                let part = parser.name("a name")?;
                package.text.push('.');
                package.text.push_str(&part.text);
                package.span = package.span.to(part.span);
            }
            parser.expect_end_of_declaration(";", location)?;
            Ok(package)
        });
        let package = result?;
        if let Some(earlier) = again {
            let place = package.span.of(&self.file.name);
            let earlier = earlier.of(&self.file.name);
            let error = crate::diagnostic::Diagnostic::error("a second package", place);
            self.findings.add(error.related("the first one is here", earlier));
        }
        self.file.package = Some(package);
        Ok(())
    }

    fn import(&mut self) -> Parsed {
        let start = self.current();
        self.next();
        let kind = match self.text() {
            "public" => ImportKind::Public,
            "weak" => ImportKind::Weak,
            "option" => ImportKind::Option,
            _ => ImportKind::Plain,
        };
        let is_option = |import: &&Import| import.kind == ImportKind::Option;
        let options = self.file.imports.iter().filter(is_option).count();
        let others = self.file.imports.len() - options;
        let steps =
            if kind == ImportKind::Option { [15, step(options)] } else { [3, step(others)] };
        self.located(&steps, |parser, location| {
            parser.file.locations[location].start = (start.line, start.column);
            parser.import_kind(kind, options > 0);
            let name: Name = parser.string("the name of a file in quotes")?;
            let statement = start.span.to(parser.current().span);
            parser.expect_end_of_declaration(";", location)?;
            parser.file.imports.push(Import { kind, name, statement, file: None });
            Ok(())
        })
    }

    /// The word behind `import`, if there is one: whether it is allowed, and its place.
    fn import_kind(&mut self, kind: ImportKind, behind_options: bool) {
        let span = self.current().span;
        let edition = self.file.edition;
        if behind_options && kind != ImportKind::Option {
            self.error("this import must stand before those with 'import option'", span);
        }
        let field = match kind {
            ImportKind::Plain => return,
            ImportKind::Public => 10,
            ImportKind::Weak => {
                if edition >= Edition::Edition2024 {
                    let help = "'import option' is for files that only options need";
                    self.error_with_help(
                        "there is no 'import weak' since edition 2024",
                        span,
                        help,
                    );
                }
                11
            }
            ImportKind::Option => {
                if edition < Edition::Edition2024 {
                    self.error("'import option' is for edition 2024 and later", span);
                }
                self.next();
                return;
            }
        };
        let index = self.file.imports.iter().filter(|import| import.kind == kind).count();
        let path = std::mem::take(&mut self.path);
        let word = self.current();
        self.record(&[field, step(index)], word, word);
        self.path = path;
        self.next();
    }

    /// The name of a type, which may have dots, also before it.
    pub(super) fn type_name(&mut self) -> Parsed<Name> {
        let start = self.current().span;
        let mut text = String::new();
        if self.current().kind == Kind::Identifier && crate::tree::Scalar::of(self.text()).is_some()
        {
            let message = format!("'{}' is no message", self.text());
            self.error(message, start);
            return Err(Skip);
        }
        if self.take(".") {
            text.push('.');
        }
        text.push_str(&self.name("the name of a type")?.text);
        while self.take(".") {
            text.push('.');
            text.push_str(&self.name("a name")?.text);
        }
        Ok(Name { text, span: start.to(self.previous().span) })
    }
}

//! Enums and their values.

use super::message::ReservedPaths;
use super::{Parsed, Parser, step};
use crate::tree::{Enum, EnumValue, OptionValue, Range, Visibility};

impl Parser<'_, '_> {
    pub(super) fn enumeration(
        &mut self,
        parent: Option<usize>,
        visibility: Option<Visibility>,
    ) -> Parsed {
        let index = self.file.enums.len();
        self.file.enums.push(Enum { parent, visibility, ..Enum::default() });
        let steps = match parent {
            Some(message) => {
                let enums = &mut self.file.messages[message].children.enums;
                enums.push(index);
                [4, step(enums.len() - 1)]
            }
            None => {
                self.file.top.enums.push(index);
                [5, step(self.file.top.enums.len() - 1)]
            }
        };
        self.located(&steps, |parser, location| {
            parser.next();
            let name = parser.located(&[1], |parser, _| parser.name("the enum's name"))?;
            parser.file.enums[index].name = name;
            parser.expect_end_of_declaration("{", location)?;
            parser.block("an enum", |parser| parser.enum_statement(index))
        })?;
        self.check_alias(index);
        Ok(())
    }

    fn enum_statement(&mut self, index: usize) -> Parsed {
        match self.text() {
            "option" => self.located(&[3], |parser, _| {
                let option = parser.option_statement()?;
                parser.file.enums[index].options.declared.push(option);
                Ok(())
            }),
            "reserved" => {
                let mut reserved = std::mem::take(&mut self.file.enums[index].reserved);
                let paths = ReservedPaths { ranges: 4, names: 5 };
                let result = self.reserved(&mut reserved, paths, Self::enum_number_range);
                self.file.enums[index].reserved = reserved;
                result
            }
            _ => {
                let at = step(self.file.enums[index].values.len());
                self.located(&[2, at], |parser, location| {
                    let value = parser.enum_value(location)?;
                    parser.file.enums[index].values.push(value);
                    Ok(())
                })
            }
        }
    }

    fn enum_number_range(&mut self, may_be_name: bool) -> Parsed<Range> {
        let what = if may_be_name { "a value's name or number" } else { "a number" };
        self.range(what, Self::signed_int32, |_, _, _| Ok(()))
    }

    fn enum_value(&mut self, location: usize) -> Parsed<EnumValue> {
        let name = self.located(&[1], |parser, _| parser.name("the name of a value"))?;
        if !self.take("=") {
            return self.expected("'=' and the value's number");
        }
        let (number, number_span) =
            self.located(&[2], |parser, _| parser.signed_int32("the value's number"))?;
        let mut value = EnumValue { name, number, number_span, ..EnumValue::default() };
        self.option_list(&[3], &mut value.options)?;
        self.expect_end_of_declaration(";", location)?;
        Ok(value)
    }

    /// `allow_alias` is there for a reason, or not at all.
    fn check_alias(&mut self, index: usize) {
        let declared = &self.file.enums[index];
        let option =
            declared.options.declared.iter().find(|o| o.simple_name() == Some("allow_alias"));
        let Some(option) = option else { return };
        let span = option.name_span().to(option.value_span);
        let allowed = matches!(&option.value, OptionValue::Identifier(value) if value == "true");
        let mut seen = std::collections::HashSet::new();
        let has_alias = !declared.values.iter().all(|value| seen.insert(value.number));
        if !allowed {
            self.error("allow_alias = false says nothing: remove it", span);
        } else if !has_alias {
            self.error("no two values have the same number: remove allow_alias", span);
        }
    }
}

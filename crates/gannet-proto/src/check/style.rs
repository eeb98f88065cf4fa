//! How names look, which edition 2024 asks for, and what may be exported.

use crate::diagnostic::{Diagnostic, Findings};
use crate::features::{Feature, Features, STYLE_2024, VISIBILITY_STRICT};
use crate::options::element::{Element, elements};
use crate::tree::{FIELD_NUMBER_MAX, File, Name, Visibility};

pub(super) fn check(file: &File, findings: &mut Findings) {
    if !file.edition.has_features() {
        return;
    }
    for element in elements(file) {
        if element.features(file).is(Feature::EnforceNamingStyle, STYLE_2024) {
            name(file, element, findings);
        }
        visibility(file, element, findings);
    }
}

fn name(file: &File, element: Element, findings: &mut Findings) {
    let Some((name, style)) = name_and_style(file, element) else { return };
    if let Some(mistake) = style.mistake(&name.text) {
        let text = format!("the name '{}' {mistake}", name.text);
        let error = Diagnostic::error(text, file.place(name.span));
        findings.add(error.help("features.enforce_naming_style = STYLE_LEGACY allows any name"));
    }
}

/// How a name is to look.
#[derive(Clone, Copy)]
enum Style {
    LowerSnake,
    UpperSnake,
    Title,
}

fn name_and_style(file: &File, element: Element) -> Option<(&Name, Style)> {
    Some(match element {
        Element::File => (file.package.as_ref()?, Style::LowerSnake),
        Element::Message(index) if file.messages[index].map_entry => return None,
        Element::Message(index) => (&file.messages[index].name, Style::Title),
        Element::Field(message, field) => {
            (&file.messages[message].fields[field].name, Style::LowerSnake)
        }
        Element::Oneof(message, oneof) => {
            (&file.messages[message].oneofs[oneof].name, Style::LowerSnake)
        }
        Element::ExtensionRange(..) => return None,
        Element::Extension(index) => (&file.extensions[index].name, Style::LowerSnake),
        Element::Enum(index) => (&file.enums[index].name, Style::Title),
        Element::EnumValue(index, value) => {
            (&file.enums[index].values[value].name, Style::UpperSnake)
        }
        Element::Service(index) => (&file.services[index].name, Style::Title),
        Element::Method(service, method) => {
            (&file.services[service].methods[method].name, Style::Title)
        }
    })
}

impl Style {
    fn mistake(self, name: &str) -> Option<&'static str> {
        let first = name.bytes().next().unwrap_or_default();
        match self {
            Self::Title if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Some("should be in TitleCase")
            }
            Self::Title if !first.is_ascii_uppercase() => {
                Some("should start with a capital letter")
            }
            Self::Title => None,
            Self::LowerSnake => {
                let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
                if !name.bytes().all(fits) {
                    Some("should be in lower_snake_case")
                } else if !first.is_ascii_lowercase() {
                    Some("should start with a lower-case letter")
                } else {
                    underscores(name)
                }
            }
            Self::UpperSnake => {
                let fits = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
                if !name.bytes().all(fits) {
                    Some("should be in UPPER_SNAKE_CASE")
                } else if !first.is_ascii_uppercase() {
                    Some("should start with a capital letter")
                } else {
                    underscores(name)
                }
            }
        }
    }
}

/// Underscores stand between words, and words start with a letter.
fn underscores(name: &str) -> Option<&'static str> {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default();
    let bad = first.is_empty() || words.any(|word| !word.starts_with(|c: char| c.is_alphabetic()));
    bad.then_some("should have underscores only between words that start with a letter")
}

/// Under strict visibility, what lies in a message is not exported; but for enums in a message
/// that is there for them only.
fn visibility(file: &File, element: Element, findings: &mut Findings) {
    let strict =
        |features: &Features| features.is(Feature::DefaultSymbolVisibility, VISIBILITY_STRICT);
    let (name, said, parent, features) = match element {
        Element::Message(index) => {
            let message = &file.messages[index];
            (&message.name, message.visibility, message.parent, &message.features)
        }
        Element::Enum(index) => {
            let declared = &file.enums[index];
            let parent = declared.parent.filter(|parent| !is_namespace(file, *parent));
            (&declared.name, declared.visibility, parent, &declared.features)
        }
        _ => return,
    };
    if parent.is_some() && said == Some(Visibility::Export) && strict(features) {
        let text = format!("'{}' lies in a message, and cannot be exported", name.text);
        let error = Diagnostic::error(text, file.place(name.span));
        findings.add(error.help("under STRICT visibility, only what lies in no message can be"));
    }
}

/// A message that is local, and that no field can be in.
fn is_namespace(file: &File, message: usize) -> bool {
    let message = &file.messages[message];
    let ranges = &message.reserved.ranges[..];
    let closed = matches!(ranges, [range] if (range.start, range.end) == (1, FIELD_NUMBER_MAX));
    message.parent.is_none() && message.visibility != Some(Visibility::Export) && closed
}

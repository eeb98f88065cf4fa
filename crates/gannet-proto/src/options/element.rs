//! The elements of a file that can have options, in the order of the file's descriptor.

use super::Kind;
use crate::features::Features;
use crate::tree::{Field, File, Options};

/// An element, by the indices into the file's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    File,
    Message(usize),
    Field(usize, usize),
    Oneof(usize, usize),
    ExtensionRange(usize, usize),
    Extension(usize),
    Enum(usize),
    EnumValue(usize, usize),
    Service(usize),
    Method(usize, usize),
}

impl Element {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::File => Kind::File,
            Self::Message(_) => Kind::Message,
            Self::Field(..) | Self::Extension(_) => Kind::Field,
            Self::Oneof(..) => Kind::Oneof,
            Self::ExtensionRange(..) => Kind::ExtensionRange,
            Self::Enum(_) => Kind::Enum,
            Self::EnumValue(..) => Kind::EnumValue,
            Self::Service(_) => Kind::Service,
            Self::Method(..) => Kind::Method,
        }
    }

    pub(crate) fn options(self, file: &File) -> &Options {
        match self {
            Self::File => &file.options,
            Self::Message(message) => &file.messages[message].options,
            Self::Field(message, field) => &file.messages[message].fields[field].options,
            Self::Oneof(message, oneof) => &file.messages[message].oneofs[oneof].options,
            Self::ExtensionRange(message, range) => {
                &file.messages[message].extension_ranges[range].options
            }
            Self::Extension(extension) => &file.extensions[extension].options,
            Self::Enum(index) => &file.enums[index].options,
            Self::EnumValue(index, value) => &file.enums[index].values[value].options,
            Self::Service(service) => &file.services[service].options,
            Self::Method(service, method) => &file.services[service].methods[method].options,
        }
    }

    /// Its options and its features, to be set.
    pub(crate) fn parts_mut(self, file: &mut File) -> (&mut Options, &mut Features) {
        macro_rules! parts {
            ($owner:expr) => {{
                let owner = &mut $owner;
                (&mut owner.options, &mut owner.features)
            }};
        }
        match self {
            Self::File => (&mut file.options, &mut file.features),
            Self::Message(message) => parts!(file.messages[message]),
            Self::Field(message, field) => parts!(file.messages[message].fields[field]),
            Self::Oneof(message, oneof) => parts!(file.messages[message].oneofs[oneof]),
            Self::ExtensionRange(message, range) => {
                parts!(file.messages[message].extension_ranges[range])
            }
            Self::Extension(extension) => parts!(file.extensions[extension]),
            Self::Enum(index) => parts!(file.enums[index]),
            Self::EnumValue(index, value) => parts!(file.enums[index].values[value]),
            Self::Service(service) => parts!(file.services[service]),
            Self::Method(service, method) => parts!(file.services[service].methods[method]),
        }
    }

    /// The field that it is, of a message or an extension.
    pub(crate) fn field(self, file: &File) -> Option<&Field> {
        match self {
            Self::Field(message, field) => Some(&file.messages[message].fields[field]),
            Self::Extension(extension) => Some(&file.extensions[extension]),
            _ => None,
        }
    }

    /// What it inherits its features from.
    pub(crate) fn parent(self, file: &File) -> Option<Self> {
        let message = |index: Option<usize>| index.map_or(Self::File, Self::Message);
        Some(match self {
            Self::File => return None,
            Self::Message(index) => message(file.messages[index].parent),
            Self::Field(index, field) => {
                let field = &file.messages[index].fields[field];
                match field.oneof {
                    Some(oneof) if !field.proto3_optional => Self::Oneof(index, oneof),
                    _ => Self::Message(index),
                }
            }
            Self::Oneof(index, _) | Self::ExtensionRange(index, _) => Self::Message(index),
            Self::Extension(index) => message(file.extensions[index].scope),
            Self::Enum(index) => message(file.enums[index].parent),
            Self::EnumValue(index, _) => Self::Enum(index),
            Self::Service(_) => Self::File,
            Self::Method(service, _) => Self::Service(service),
        })
    }

    pub(crate) fn features(self, file: &File) -> Features {
        match self {
            Self::File => file.features,
            Self::Message(message) => file.messages[message].features,
            Self::Field(message, field) => file.messages[message].fields[field].features,
            Self::Oneof(message, oneof) => file.messages[message].oneofs[oneof].features,
            Self::ExtensionRange(message, range) => {
                file.messages[message].extension_ranges[range].features
            }
            Self::Extension(extension) => file.extensions[extension].features,
            Self::Enum(index) => file.enums[index].features,
            Self::EnumValue(index, value) => file.enums[index].values[value].features,
            Self::Service(service) => file.services[service].features,
            Self::Method(service, method) => file.services[service].methods[method].features,
        }
    }

    /// The name that names in its options are looked up from: in the scope around it.
    pub(crate) fn scope(self, file: &File) -> String {
        let child = |of: &str| format!("{of}.x");
        match self {
            Self::File => child(file.package()),
            Self::Message(message) | Self::ExtensionRange(message, _) => {
                file.messages[message].full_name.clone()
            }
            Self::Field(message, field) => file.messages[message].fields[field].full_name.clone(),
            Self::Oneof(message, _) => child(&file.messages[message].full_name),
            Self::Extension(extension) => file.extensions[extension].full_name.clone(),
            Self::Enum(index) => file.enums[index].full_name.clone(),
            Self::EnumValue(index, _) => file.enums[index].full_name.clone(),
            Self::Service(service) => file.services[service].full_name.clone(),
            Self::Method(service, _) => child(&file.services[service].full_name),
        }
    }
}

/// All elements; each comes after what it inherits its features from.
pub(crate) fn elements(file: &File) -> Vec<Element> {
    let mut found = vec![Element::File];
    for (index, message) in file.messages.iter().enumerate() {
        found.push(Element::Message(index));
        found.extend((0..message.oneofs.len()).map(|oneof| Element::Oneof(index, oneof)));
        found.extend((0..message.fields.len()).map(|field| Element::Field(index, field)));
        let ranges = 0..message.extension_ranges.len();
        found.extend(ranges.map(|range| Element::ExtensionRange(index, range)));
    }
    found.extend((0..file.extensions.len()).map(Element::Extension));
    for (index, declared) in file.enums.iter().enumerate() {
        found.push(Element::Enum(index));
        found.extend((0..declared.values.len()).map(|value| Element::EnumValue(index, value)));
    }
    for (index, service) in file.services.iter().enumerate() {
        found.push(Element::Service(index));
        found.extend((0..service.methods.len()).map(|method| Element::Method(index, method)));
    }
    found
}

//! What the editions made adjustable: the values that hold for an element, from its file's
//! edition and from the `features` of what it is in.

use crate::options::wire::{Record, find_message, find_varint};
use crate::tree::Edition;

/// The number of the option `features` in an options message.
pub(crate) fn option_number(kind: crate::options::Kind) -> i32 {
    use crate::options::Kind;
    match kind {
        Kind::File => 50,
        Kind::Message => 12,
        Kind::Field => 21,
        Kind::Oneof => 1,
        Kind::Enum => 7,
        Kind::EnumValue => 2,
        Kind::Service => 34,
        Kind::Method => 35,
        Kind::ExtensionRange => 50,
    }
}

/// Which feature: its field number in `google.protobuf.FeatureSet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    FieldPresence = 1,
    EnumType = 2,
    RepeatedFieldEncoding = 3,
    Utf8Validation = 4,
    MessageEncoding = 5,
    JsonFormat = 6,
    EnforceNamingStyle = 7,
    DefaultSymbolVisibility = 8,
}

const COUNT: usize = 8;

pub(crate) const PRESENCE_EXPLICIT: i32 = 1;
pub(crate) const PRESENCE_IMPLICIT: i32 = 2;
pub(crate) const PRESENCE_LEGACY_REQUIRED: i32 = 3;
pub(crate) const ENUM_CLOSED: i32 = 2;
pub(crate) const REPEATED_PACKED: i32 = 1;
pub(crate) const REPEATED_EXPANDED: i32 = 2;
pub(crate) const MESSAGE_DELIMITED: i32 = 2;
pub(crate) const JSON_LEGACY_BEST_EFFORT: i32 = 2;
pub(crate) const STYLE_2024: i32 = 1;
pub(crate) const VISIBILITY_EXPORT_ALL: i32 = 1;
pub(crate) const VISIBILITY_EXPORT_TOP_LEVEL: i32 = 2;
pub(crate) const VISIBILITY_STRICT: i32 = 4;

/// The values that hold for an element, each as the number of its enum's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features([i32; COUNT]);

impl Features {
    /// What holds where nothing is said.
    pub(crate) fn of(edition: Edition) -> Self {
        Self(match edition {
            Edition::Proto2 => [1, 2, 2, 3, 1, 2, 2, 1],
            Edition::Proto3 => [2, 1, 1, 2, 1, 1, 2, 1],
            Edition::Edition2023 => [1, 1, 1, 2, 1, 1, 2, 1],
            Edition::Edition2024 => [1, 1, 1, 2, 1, 1, 1, 2],
        })
    }

    pub(crate) fn get(&self, feature: Feature) -> i32 {
        self.0[feature as usize - 1]
    }

    pub(crate) fn set(&mut self, feature: Feature, value: i32) {
        self.0[feature as usize - 1] = value;
    }

    pub(crate) fn is(&self, feature: Feature, value: i32) -> bool {
        self.get(feature) == value
    }

    /// With what the options of a child say.
    pub(crate) fn with(mut self, kind: crate::options::Kind, options: &[Record]) -> Self {
        for (index, value) in self.0.iter_mut().enumerate() {
            let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
            if let Some(said) = explicit(kind, options, number) {
                *value = said;
            }
        }
        self
    }
}

/// The value that the options themselves give to a feature.
pub(crate) fn explicit(kind: crate::options::Kind, options: &[Record], number: i32) -> Option<i32> {
    let features = find_message(options, option_number(kind))?;
    find_varint(features, number).and_then(|value| i32::try_from(value).ok())
}

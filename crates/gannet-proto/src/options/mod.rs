//! Options: from names and values to fields of the options messages of `descriptor.proto`.
//!
//! Options are interpreted by the descriptors of those messages, standard and custom ones alike;
//! nothing here knows an option by name. What they come to are fields in the wire format.

pub(crate) mod element;
pub(crate) mod interpret;
mod scalar;
mod text;
mod values;
pub(crate) mod wire;

/// What an element is that options can be set on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    ExtensionRange,
    Message,
    Field,
    Oneof,
    Enum,
    EnumValue,
    Service,
    Method,
}

impl Kind {
    /// The message that its options are.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::File => "google.protobuf.FileOptions",
            Self::ExtensionRange => "google.protobuf.ExtensionRangeOptions",
            Self::Message => "google.protobuf.MessageOptions",
            Self::Field => "google.protobuf.FieldOptions",
            Self::Oneof => "google.protobuf.OneofOptions",
            Self::Enum => "google.protobuf.EnumOptions",
            Self::EnumValue => "google.protobuf.EnumValueOptions",
            Self::Service => "google.protobuf.ServiceOptions",
            Self::Method => "google.protobuf.MethodOptions",
        }
    }

    /// The value of `google.protobuf.FieldOptions.OptionTargetType` that means it.
    pub(crate) fn target(self) -> u64 {
        match self {
            Self::File => 1,
            Self::ExtensionRange => 2,
            Self::Message => 3,
            Self::Field => 4,
            Self::Oneof => 5,
            Self::Enum => 6,
            Self::EnumValue => 7,
            Self::Service => 8,
            Self::Method => 9,
        }
    }

    /// As one says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::ExtensionRange => "a range of extensions",
            Self::Message => "a message",
            Self::Field => "a field",
            Self::Oneof => "a oneof",
            Self::Enum => "an enum",
            Self::EnumValue => "a value of an enum",
            Self::Service => "a service",
            Self::Method => "a method",
        }
    }
}

/// Numbers of the options that rules speak of.
pub(crate) mod number {
    pub(crate) const FILE_JAVA_STRING_CHECK_UTF8: i32 = 27;
    pub(crate) const FILE_OPTIMIZE_FOR: i32 = 9;
    pub(crate) const FILE_CC_GENERIC_SERVICES: i32 = 16;
    pub(crate) const FILE_JAVA_GENERIC_SERVICES: i32 = 17;
    pub(crate) const MESSAGE_SET_WIRE_FORMAT: i32 = 1;
    pub(crate) const MESSAGE_LEGACY_JSON_CONFLICTS: i32 = 11;
    pub(crate) const FIELD_CTYPE: i32 = 1;
    pub(crate) const FIELD_PACKED: i32 = 2;
    pub(crate) const FIELD_LAZY: i32 = 5;
    pub(crate) const FIELD_JSTYPE: i32 = 6;
    pub(crate) const FIELD_UNVERIFIED_LAZY: i32 = 15;
    pub(crate) const FIELD_TARGETS: i32 = 19;
    pub(crate) const FIELD_FEATURE_SUPPORT: i32 = 22;
    pub(crate) const ENUM_ALLOW_ALIAS: i32 = 2;
    pub(crate) const ENUM_LEGACY_JSON_CONFLICTS: i32 = 6;
    pub(crate) const VALUE_FEATURE_SUPPORT: i32 = 4;
    pub(crate) const RANGE_DECLARATION: i32 = 2;
    pub(crate) const RANGE_VERIFICATION: i32 = 3;
}

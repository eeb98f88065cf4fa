//! A file as it is declared: what the parser fills in, and the linker completes.
//!
//! Messages, enums and extensions of all depths lie in one list per file, so that an index names
//! them; parents hold the indices of their children in the order of the file.

use crate::diagnostic::{Place, Span};
use crate::features::Features;
use crate::options::wire::Record;

/// The greatest number of a field.
pub(crate) const FIELD_NUMBER_MAX: i32 = (1 << 29) - 1;

/// The version of the language that a file is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Edition {
    Proto2 = 998,
    Proto3 = 999,
    Edition2023 = 1000,
    Edition2024 = 1001,
}

impl Edition {
    /// Whether the file says `edition = …` rather than `syntax = …`.
    pub(crate) fn has_features(self) -> bool {
        self >= Self::Edition2023
    }
}

/// A name, or another piece of text, and where it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// Which file, in the order in which they are linked.
pub(crate) type FileId = usize;

/// The file of what its own file declares, until that file is linked.
pub(crate) const UNLINKED: FileId = FileId::MAX;

/// A message, enum or extension: its file, and its place in the file's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) file: FileId,
    pub(crate) index: usize,
}

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) edition: Edition,
    pub(crate) edition_span: Span,
    pub(crate) package: Option<Name>,
    pub(crate) imports: Vec<Import>,
    /// All messages; `top` has those that are in no other.
    pub(crate) messages: Vec<Message>,
    pub(crate) enums: Vec<Enum>,
    pub(crate) extensions: Vec<Field>,
    pub(crate) services: Vec<Service>,
    pub(crate) top: Children,
    pub(crate) options: Options,
    pub(crate) features: Features,
    pub(crate) locations: Vec<Location>,
}

impl File {
    pub(crate) fn package(&self) -> &str {
        self.package.as_ref().map_or("", |package| &package.text)
    }

    pub(crate) fn place(&self, span: Span) -> Place {
        span.of(&self.name)
    }

    /// Takes its place among linked files: groups and maps know their messages by it.
    pub(crate) fn adopt(&mut self, id: FileId) {
        let fields = self.messages.iter_mut().flat_map(|message| &mut message.fields);
        for field in fields.chain(&mut self.extensions) {
            if let Type::Message(message) | Type::Group(message) = &mut field.ty {
                message.file = id;
            }
        }
    }
}

/// Indices into a file's lists.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children {
    pub(crate) messages: Vec<usize>,
    pub(crate) enums: Vec<usize>,
    pub(crate) extensions: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportKind {
    Plain,
    Public,
    Weak,
    /// For what options need only.
    Option,
}

#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub(crate) kind: ImportKind,
    /// The file's name, and the statement's place.
    pub(crate) name: Name,
    pub(crate) statement: Span,
    pub(crate) file: Option<FileId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visibility {
    Local = 1,
    Export = 2,
}

#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) name: Name,
    pub(crate) full_name: String,
    pub(crate) parent: Option<usize>,
    pub(crate) visibility: Option<Visibility>,
    pub(crate) fields: Vec<Field>,
    pub(crate) oneofs: Vec<Oneof>,
    pub(crate) children: Children,
    pub(crate) extension_ranges: Vec<ExtensionRange>,
    pub(crate) reserved: Reserved,
    pub(crate) options: Options,
    pub(crate) features: Features,
    /// Made for a map field.
    pub(crate) map_entry: bool,
}

/// Numbers, both ends included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) start: i32,
    pub(crate) end: i32,
    pub(crate) span: Span,
}

impl Range {
    pub(crate) fn contains(&self, number: i32) -> bool {
        (self.start..=self.end).contains(&number)
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

#[derive(Debug)]
pub(crate) struct ExtensionRange {
    pub(crate) range: Range,
    /// Whether the end is written as `max`.
    pub(crate) to_max: bool,
    pub(crate) options: Options,
    pub(crate) features: Features,
}

#[derive(Debug, Default)]
pub(crate) struct Reserved {
    pub(crate) ranges: Vec<Range>,
    pub(crate) names: Vec<Name>,
}

#[derive(Debug, Default)]
pub(crate) struct Oneof {
    pub(crate) name: Name,
    pub(crate) options: Options,
    pub(crate) features: Features,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Label {
    #[default]
    Optional = 1,
    Required = 2,
    Repeated = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Double = 1,
    Float = 2,
    Int64 = 3,
    Uint64 = 4,
    Int32 = 5,
    Fixed64 = 6,
    Fixed32 = 7,
    Bool = 8,
    String = 9,
    Bytes = 12,
    Uint32 = 13,
    Sfixed32 = 15,
    Sfixed64 = 16,
    Sint32 = 17,
    Sint64 = 18,
}

impl Scalar {
    const ALL: [Self; 15] = [
        Self::Double,
        Self::Float,
        Self::Int64,
        Self::Uint64,
        Self::Int32,
        Self::Fixed64,
        Self::Fixed32,
        Self::Bool,
        Self::String,
        Self::Bytes,
        Self::Uint32,
        Self::Sfixed32,
        Self::Sfixed64,
        Self::Sint32,
        Self::Sint64,
    ];

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scalar| scalar.name() == name)
    }

    /// The keyword.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::Float => "float",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Int32 => "int32",
            Self::Fixed64 => "fixed64",
            Self::Fixed32 => "fixed32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Uint32 => "uint32",
            Self::Sfixed32 => "sfixed32",
            Self::Sfixed64 => "sfixed64",
            Self::Sint32 => "sint32",
            Self::Sint64 => "sint64",
        }
    }

    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::String | Self::Bytes)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Type {
    Scalar(Scalar),
    /// Not looked up yet, or not found.
    Named(String),
    Message(Id),
    Group(Id),
    Enum(Id),
}

impl Default for Type {
    fn default() -> Self {
        Self::Named(String::new())
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Field {
    pub(crate) name: Name,
    pub(crate) full_name: String,
    /// Where it is declared, from its label to its number.
    pub(crate) span: Span,
    pub(crate) number: i32,
    pub(crate) number_span: Span,
    pub(crate) label: Label,
    /// The keyword, if there is one.
    pub(crate) label_span: Option<Span>,
    pub(crate) ty: Type,
    pub(crate) ty_span: Span,
    pub(crate) extendee: Option<Extendee>,
    pub(crate) default: Option<Name>,
    pub(crate) json_name: Option<Name>,
    pub(crate) oneof: Option<usize>,
    pub(crate) proto3_optional: bool,
    pub(crate) options: Options,
    pub(crate) features: Features,
    /// Of extensions: the message that they are declared in, if any.
    pub(crate) scope: Option<usize>,
}

impl Field {
    /// Its message, whether or not it is a group.
    pub(crate) fn message(&self) -> Option<Id> {
        match self.ty {
            Type::Message(id) | Type::Group(id) => Some(id),
            _ => None,
        }
    }

    pub(crate) fn is_repeated(&self) -> bool {
        self.label == Label::Repeated
    }

    /// Numbers and enums can be packed.
    pub(crate) fn is_packable(&self) -> bool {
        let primitive = match self.ty {
            Type::Scalar(scalar) => !scalar.is_text(),
            Type::Enum(_) => true,
            _ => false,
        };
        self.is_repeated() && primitive
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Extendee {
    pub(crate) name: Name,
    pub(crate) message: Option<Id>,
}

#[derive(Debug, Default)]
pub(crate) struct Enum {
    pub(crate) name: Name,
    pub(crate) full_name: String,
    pub(crate) parent: Option<usize>,
    pub(crate) visibility: Option<Visibility>,
    pub(crate) values: Vec<EnumValue>,
    pub(crate) reserved: Reserved,
    pub(crate) options: Options,
    pub(crate) features: Features,
}

impl Enum {
    /// The prefix of its values' full names: they are its siblings.
    pub(crate) fn scope(&self) -> &str {
        &self.full_name[..self.full_name.len() - self.name.text.len()]
    }
}

#[derive(Debug, Default)]
pub(crate) struct EnumValue {
    pub(crate) name: Name,
    pub(crate) number: i32,
    pub(crate) number_span: Span,
    pub(crate) options: Options,
    pub(crate) features: Features,
}

#[derive(Debug, Default)]
pub(crate) struct Service {
    pub(crate) name: Name,
    pub(crate) full_name: String,
    pub(crate) methods: Vec<Method>,
    pub(crate) options: Options,
    pub(crate) features: Features,
}

#[derive(Debug, Default)]
pub(crate) struct Method {
    pub(crate) name: Name,
    pub(crate) input: MethodType,
    pub(crate) output: MethodType,
    pub(crate) options: Options,
    pub(crate) features: Features,
}

#[derive(Debug, Default)]
pub(crate) struct MethodType {
    pub(crate) name: Name,
    pub(crate) streams: bool,
    pub(crate) message: Option<Id>,
}

/// Options as declared, and as they come out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) declared: Vec<OptionDecl>,
    pub(crate) records: Vec<Record>,
    /// Whether there is a place for them, be it empty: the braces of a method.
    pub(crate) is_present: bool,
}

impl Options {
    /// Whether there is an options message at all, be it empty.
    pub(crate) fn is_present(&self) -> bool {
        self.is_present || !self.declared.is_empty()
    }

    /// The statement that sets the option of this name, by its first part.
    pub(crate) fn declared(&self, name: &str) -> Option<&OptionDecl> {
        let is = |option: &&OptionDecl| {
            option.name.first().is_some_and(|part| !part.is_extension && part.name.text == name)
        };
        self.declared.iter().find(is)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct OptionDecl {
    pub(crate) name: Vec<NamePart>,
    pub(crate) value: OptionValue,
    pub(crate) value_span: Span,
    /// Where its place is recorded, to put its path in when that is known.
    pub(crate) location: Option<usize>,
}

impl OptionDecl {
    pub(crate) fn name_span(&self) -> Span {
        match &self.name[..] {
            [first, .., last] => first.name.span.to(last.name.span),
            [only] => only.name.span,
            [] => Span::default(),
        }
    }

    /// The name of an option that has one part, and is no extension.
    pub(crate) fn simple_name(&self) -> Option<&str> {
        match &self.name[..] {
            [part] if !part.is_extension => Some(&part.name.text),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct NamePart {
    pub(crate) name: Name,
    /// In parentheses.
    pub(crate) is_extension: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum OptionValue {
    Identifier(String),
    Positive(u64),
    Negative(i64),
    Float(f64),
    String(Vec<u8>),
    /// In braces: its tokens, with their text.
    Aggregate(Vec<Piece>),
}

/// A token of an aggregate.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) kind: crate::lexer::Kind,
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// Where an element is, with its comments: `google.protobuf.SourceCodeInfo.Location`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Location {
    pub(crate) path: Vec<i32>,
    pub(crate) start: (i32, i32),
    pub(crate) end: Option<(i32, i32)>,
    pub(crate) leading: String,
    pub(crate) trailing: String,
    pub(crate) detached: Vec<String>,
}

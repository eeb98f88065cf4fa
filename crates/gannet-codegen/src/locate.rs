//! From an element of a descriptor set to its place in the proto file, for errors that are found
//! only when generating. Without source info in the set there is no place to tell.

use buffa_descriptor::generated::descriptor::{
    DescriptorProto, FileDescriptorProto, source_code_info::Location,
};

use crate::error::Position;

/// Field numbers of descriptor.proto, the steps of a location's path.
pub(crate) mod path {
    /// `FileDescriptorProto.message_type`
    pub(crate) const FILE_MESSAGE: i32 = 4;
    /// `FileDescriptorProto.enum_type`
    pub(crate) const FILE_ENUM: i32 = 5;
    /// `FileDescriptorProto.service`
    pub(crate) const FILE_SERVICE: i32 = 6;
    /// `DescriptorProto.nested_type`
    pub(crate) const MESSAGE_NESTED: i32 = 3;
    /// `DescriptorProto.enum_type`
    pub(crate) const MESSAGE_ENUM: i32 = 4;
    /// `ServiceDescriptorProto.method`
    pub(crate) const SERVICE_METHOD: i32 = 2;
    /// `name` of a message, enum, service or method
    pub(crate) const NAME: i32 = 1;
}

/// The location that `file` records for `path`.
pub(crate) fn location<'a>(file: &'a FileDescriptorProto, path: &[i32]) -> Option<&'a Location> {
    let info = file.source_code_info.as_option()?;
    info.location.iter().find(|location| location.path == path)
}

/// The position of the element at `path`: of its name if that is recorded.
pub(crate) fn position(file: &FileDescriptorProto, path: &[i32]) -> Option<Position> {
    let name = file.name.as_deref()?;
    let named = [path, &[path::NAME]].concat();
    let Some(location) = location(file, &named).or_else(|| location(file, path)) else {
        return Some(Position::of_file(name));
    };
    let start = |index: usize| Some(usize::try_from(*location.span.get(index)?).ok()? + 1);
    let mut position = Position::of_file(name);
    position.line = start(0)?;
    position.column = start(1)?;
    // Three numbers: on one line, from column to column.
    if let [_, _, end] = location.span[..]
        && let Ok(end) = usize::try_from(end)
    {
        position.width = (end + 1).saturating_sub(position.column).max(1);
    }
    Some(position)
}

/// The position of the message or enum called `full_name`, without a leading dot.
pub(crate) fn type_position(files: &[FileDescriptorProto], full_name: &str) -> Option<Position> {
    files.iter().find_map(|file| {
        let package = file.package.as_deref().unwrap_or_default();
        let local = match package {
            "" => full_name,
            _ => full_name.strip_prefix(package)?.strip_prefix('.')?,
        };
        let path = type_path(file, local)?;
        position(file, &path)
    })
}

fn type_path(file: &FileDescriptorProto, local: &str) -> Option<Vec<i32>> {
    let enums = file.enum_type.iter();
    if let Some(index) = index_of(enums.map(|e| e.name.as_deref()), local) {
        return Some(vec![path::FILE_ENUM, index]);
    }
    let mut messages: &[DescriptorProto] = &file.message_type;
    let mut found = Vec::new();
    for name in local.split('.') {
        let index = index_of(messages.iter().map(|m| m.name.as_deref()), name)?;
        found.push(if found.is_empty() { path::FILE_MESSAGE } else { path::MESSAGE_NESTED });
        found.push(index);
        messages = &messages[usize::try_from(index).ok()?].nested_type;
    }
    Some(found)
}

fn index_of<'a>(names: impl Iterator<Item = Option<&'a str>>, wanted: &str) -> Option<i32> {
    let index = { names }.position(|name| name == Some(wanted))?;
    i32::try_from(index).ok()
}

//! The files of `google/protobuf/…` that every compiler has at hand, without their comments.

/// The text of the file called `name`, if it is one of them.
pub(crate) fn file(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

macro_rules! files {
    ($($name:literal: $file:literal,)*) => {
        &[$((
            concat!("google/protobuf/", $name),
            include_str!(concat!("well_known/", $file)),
        )),*]
    };
}

const FILES: &[(&str, &str)] = files! {
    "any.proto": "any.proto",
    "api.proto": "api.proto",
    "compiler/plugin.proto": "compiler_plugin.proto",
    "cpp_features.proto": "cpp_features.proto",
    "descriptor.proto": "descriptor.proto",
    "duration.proto": "duration.proto",
    "empty.proto": "empty.proto",
    "field_mask.proto": "field_mask.proto",
    "go_features.proto": "go_features.proto",
    "java_features.proto": "java_features.proto",
    "source_context.proto": "source_context.proto",
    "struct.proto": "struct.proto",
    "timestamp.proto": "timestamp.proto",
    "type.proto": "type.proto",
    "wrappers.proto": "wrappers.proto",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_compile_without_a_warning() {
        let names: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        let compiled = crate::compile(&names, &mut |_| Ok(None)).unwrap();
        assert_eq!(compiled.files.len(), FILES.len());
        assert_eq!(compiled.warnings, []);
    }
}

//! Any bytes as a proto file, and as two that import each other's declarations: descriptors or an
//! error with places within the files, and no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // What is behind a null byte is the second file, "b.proto".
    let mut files = input.splitn(2, |byte| *byte == 0);
    let first = files.next().unwrap_or_default();
    let second = files.next();
    let mut read = |name: &str| {
        Ok(match name {
            "a.proto" => Some(first.to_vec()),
            "b.proto" => second.map(<[u8]>::to_vec),
            _ => None,
        })
    };
    match gannet_proto::compile(&["a.proto"], &mut read) {
        Ok(compiled) => assert!(!compiled.descriptor_set().is_empty()),
        Err(failure) => {
            assert!(!failure.diagnostics().is_empty());
            for diagnostic in failure.diagnostics() {
                let len = match &diagnostic.place.file[..] {
                    "a.proto" => first.len(),
                    "b.proto" => second.map_or(0, <[u8]>::len),
                    // A file of ours, which is in order, with a name that is taken.
                    _ => continue,
                };
                let bytes = &diagnostic.place.bytes;
                assert!(bytes.start <= bytes.end && bytes.end <= len, "{diagnostic} of {len}");
            }
        }
    }
});

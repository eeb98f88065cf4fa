//! Compiles proto files to a descriptor set on standard output, with all imports.
//!
//! ```text
//! descriptors [-I FOLDER]... FILE...
//! ```
//!
//! FILEs are named as in imports. For comparison with other compilers: what is wrong goes to
//! standard error, and the exit code is 1.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut folders = Vec::new();
    let mut files = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "-I" {
            folders.extend(arguments.next().map(PathBuf::from));
        } else {
            files.push(argument);
        }
    }
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut read = |name: &str| {
        let path = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        path.map(std::fs::read).transpose()
    };
    match gannet_proto::compile(&names, &mut read) {
        Ok(compiled) => {
            for warning in &compiled.warnings {
                let _ = writeln!(io::stderr(), "{warning}");
            }
            match io::stdout().write_all(&compiled.descriptor_set()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        Err(failure) => {
            let _ = writeln!(io::stderr(), "{failure}");
            ExitCode::FAILURE
        }
    }
}

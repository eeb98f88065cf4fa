//! `gannet gen`: flags to the generator's options. Flags are spelled as `protoc` spells its own,
//! with underscores, and understood with hyphens as well.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use gannet_codegen::{Error, Options, Source};

/// The arguments of `gannet gen`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The proto files, as paths or as they are imported.
    #[arg(value_name = "FILE", required_unless_present = "descriptor_set_in")]
    files: Vec<PathBuf>,

    /// A folder to look for files and imports in; may be repeated. By default, the folder of each
    /// file.
    #[arg(short = 'I', long = "proto_path", alias = "proto-path", value_name = "DIR")]
    proto_path: Vec<PathBuf>,

    /// The folder for the generated modules, which is the generator's alone. Name it in your crate
    /// with `mod generated;` or what it is called.
    #[arg(long = "rust_out", alias = "rust-out", value_name = "DIR")]
    rust_out: PathBuf,

    /// Writes nothing; exits with 1 and lists the files that are not as they would be generated.
    #[arg(long)]
    check: bool,

    /// Generates no clients.
    #[arg(long = "no-client", alias = "no_client")]
    no_client: bool,

    /// Generates no service traits and servers.
    #[arg(long = "no-server", alias = "no_server")]
    no_server: bool,

    /// Takes the code for a package or type from elsewhere; may be repeated.
    #[arg(
        long = "extern_path",
        alias = "extern-path",
        value_name = ".PROTO=::RUST",
        value_parser = extern_path
    )]
    extern_path: Vec<(String, String)>,

    /// Reads descriptors from an encoded FileDescriptorSet, with imports, instead of compiling
    /// proto files; may be repeated. FILEs are then names in it, by default all.
    #[arg(long = "descriptor_set_in", alias = "descriptor-set-in", value_name = "SET")]
    descriptor_set_in: Vec<PathBuf>,
}

/// Runs `gannet gen`.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match try_run(arguments) {
        Ok(code) => code,
        Err(error) => {
            report(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn try_run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let mut source = Source::new();
    for include in &arguments.proto_path {
        source = source.include(include);
    }
    for set in &arguments.descriptor_set_in {
        source = source.descriptor_set(set);
    }
    for file in &arguments.files {
        source = source.file(file);
    }
    let compiled = source.compile()?;

    let mut options = Options::new();
    options.client = !arguments.no_client;
    options.server = !arguments.no_server;
    for (proto, rust) in &arguments.extern_path {
        options = options.extern_path(proto, rust);
    }
    let generated = compiled.generate(&options)?;
    for warning in &generated.warnings {
        report(&format!("warning: {warning}"));
    }

    if !arguments.check {
        gannet_codegen::write(&arguments.rust_out, &generated.files)?;
        return Ok(ExitCode::SUCCESS);
    }
    let differences = gannet_codegen::check(&arguments.rust_out, &generated.files)?;
    if differences.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for difference in &differences {
        report(&format!("{}/{difference}", arguments.rust_out.display()));
    }
    report("generated files are not up to date: run the same command without --check");
    Ok(ExitCode::FAILURE)
}

fn extern_path(text: &str) -> Result<(String, String), String> {
    let (proto, rust) = text
        .split_once('=')
        .ok_or("expected a proto package or type, `=`, and a Rust path, as in .my.pkg=::my::pkg")?;
    if proto.trim_matches('.').is_empty() {
        return Err("nothing before the `=`: name a proto package or type, as in .my.pkg".into());
    }
    if !rust.starts_with("::") && !rust.starts_with("crate::") {
        return Err(format!("`{rust}` is relative: start the Rust path with :: or crate::"));
    }
    Ok((proto.to_owned(), rust.to_owned()))
}

/// Writes to standard error. There is no one left to tell when that fails.
fn report(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

//! gRPC C++'s official interop client and server, built against Debian's library of their version.
//! Takes some minutes; each object is kept, so that what was interrupted goes on.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Tools, source};
use crate::exec::{self, Result};
use crate::install::{create, with_path};

const CLIENT: &[&str] = &[
    "test/cpp/interop/client.cc",
    "test/cpp/interop/client_helper.cc",
    "test/cpp/interop/interop_client.cc",
    "test/core/security/oauth2_utils.cc",
    "test/core/util/histogram.cc",
    "test/cpp/util/create_test_channel.cc",
];
const SERVER: &[&str] = &[
    "test/cpp/interop/interop_server.cc",
    "test/cpp/interop/interop_server_bootstrap.cc",
    "test/cpp/interop/server_helper.cc",
];
const BOTH: &[&str] = &[
    "test/core/util/test_config.cc",
    "test/core/util/build.cc",
    "test/core/util/stack_tracer.cc",
    "test/cpp/util/test_config_cc.cc",
    "test/cpp/util/test_credentials_provider.cc",
    "test/core/end2end/data/server1_cert.cc",
    "test/core/end2end/data/server1_key.cc",
    "test/core/end2end/data/test_root_cert.cc",
    "test/core/event_engine/test_init.cc",
];
const LIBRARIES: &[&str] = &[
    "grpc++",
    "grpc",
    "protobuf",
    "absl_flags",
    "absl_flags_parse",
    "absl_symbolize",
    "absl_failure_signal_handler",
    "absl_stacktrace",
];
const DEBIAN: &[(&str, &str)] = &[
    ("g++", "g++"),
    ("pkg-config", "pkg-config"),
    ("protoc", "protobuf-compiler"),
    ("grpc_cpp_plugin", "protobuf-compiler-grpc"),
];
const DEBIAN_LIBRARIES: &[&str] = &["libgrpc++-dev", "libabsl-dev", "libprotobuf-dev"];

/// Builds both programs.
pub(super) fn build(tools: &Tools) -> Result {
    let source = source::fetch(tools)?;
    exec::debian(DEBIAN)?;
    exec::once(&tools.home.join(".official-cpp"), &format!("C++ {}", source::VERSION), || {
        if exec::output(Command::new("pkg-config").arg("--exists").args(LIBRARIES)).is_err() {
            exec::debian_install(DEBIAN_LIBRARIES)?;
        }
        let build = Build { source, folder: tools.official_cpp() };
        let generated = build.generate()?;
        for (program, own) in [("client", CLIENT), ("server", SERVER)] {
            let files = own.iter().chain(BOTH).map(|file| build.source.join(file));
            build.link(program, &files.chain(generated.iter().cloned()).collect::<Vec<_>>())?;
        }
        Ok(())
    })
}

struct Build {
    source: PathBuf,
    folder: PathBuf,
}

impl Build {
    fn stubs(&self) -> PathBuf {
        self.folder.join("stubs")
    }

    /// Generates the code of the protos; returns its files.
    fn generate(&self) -> Result<Vec<PathBuf>> {
        create(&self.stubs())?;
        let plugin = exec::find("grpc_cpp_plugin").ok_or("grpc_cpp_plugin is missing")?;
        let mut protoc = Command::new("protoc");
        protoc.current_dir(&self.source).arg("-I").arg(&self.source);
        protoc.arg(with_path("--cpp_out=", &self.stubs()));
        protoc.arg(with_path("--grpc_out=", &self.stubs()));
        protoc.arg(with_path("--plugin=protoc-gen-grpc=", &plugin));
        exec::run(protoc.args(source::PROTOS))?;
        let stub = |proto: &&str, end| self.stubs().join(proto.replace(".proto", end));
        let of = |proto| [stub(proto, ".pb.cc"), stub(proto, ".grpc.pb.cc")];
        Ok(source::PROTOS.iter().flat_map(of).collect())
    }

    fn link(&self, program: &str, files: &[PathBuf]) -> Result {
        let objects: Vec<PathBuf> =
            files.iter().map(|file| self.compile(file)).collect::<Result<_>>()?;
        let flags = exec::output(Command::new("pkg-config").arg("--libs").args(LIBRARIES))?;
        let mut link = Command::new("g++");
        link.args(&objects).arg("-o").arg(self.folder.join(program));
        exec::run(link.args(flags.split_whitespace()).arg("-lpthread"))
    }

    /// The object of a file, compiled unless it is there.
    fn compile(&self, file: &Path) -> Result<PathBuf> {
        let base = if file.starts_with(&self.source) { &self.source } else { &self.folder };
        let name = file.strip_prefix(base).unwrap_or(file).to_string_lossy().replace('/', "_");
        let object = self.folder.join(format!("{name}.o"));
        if object.is_file() {
            return Ok(object);
        }
        // Under another name until it is whole.
        let part = object.with_extension("part");
        let mut compile = Command::new("g++");
        compile.current_dir(&self.source).args(["-std=c++17", "-O1", "-w", "-I.", "-Iinclude"]);
        compile.arg(with_path("-I", &self.stubs())).arg("-c").arg(file).arg("-o").arg(&part);
        exec::run(&mut compile)?;
        std::fs::rename(&part, &object)
            .map_err(|error| format!("cannot rename {}: {error}", part.display()))?;
        Ok(object)
    }
}

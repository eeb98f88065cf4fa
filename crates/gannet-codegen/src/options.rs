//! What to generate, and how: plain data, filled in by the command and by build scripts alike.

/// What [`generate`](crate::generate) makes of a descriptor set.
///
/// The default generates messages, servers and clients, without views, as a tree of modules.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The proto files to generate, by their names in the descriptor set. What their messages and
    /// methods refer to in other files is generated as well, unless it is mapped to other code.
    /// Empty: every file of the set that is not mapped to other code.
    pub files: Vec<String>,
    /// Where code for other packages or types lives: `(".google.rpc", "::my_protos::google::rpc")`
    /// or `(".my.pkg.Type", "::my_types::Type")`. The longest match wins. `.google.protobuf` is
    /// `::gannet::buffa_types` unless it is mapped here.
    pub extern_paths: Vec<(String, String)>,
    /// Whether to generate the trait and server of each service.
    pub server: bool,
    /// Whether the methods of service traits have bodies, which answer UNIMPLEMENTED. Without them
    /// a service lacks no method unnoticed, and does not compile once its proto file has one more.
    pub default_methods: bool,
    /// Whether to generate the client of each service.
    pub client: bool,
    /// Whether to generate `buffa`'s borrowed views beside the owned messages.
    pub views: bool,
    /// How the modules are laid out in files.
    pub layout: Layout,
}

impl Options {
    /// The default options.
    pub fn new() -> Self {
        Self {
            files: Vec::new(),
            extern_paths: Vec::new(),
            server: true,
            default_methods: true,
            client: true,
            views: false,
            layout: Layout::Tree,
        }
    }

    /// Takes the code of a package or type from elsewhere; see [`Options::extern_paths`]. The
    /// leading dot of `proto` may be left out.
    #[must_use]
    pub fn extern_path(mut self, proto: &str, rust: &str) -> Self {
        let proto = format!(".{}", proto.trim_start_matches('.'));
        self.extern_paths.push((proto, rust.to_owned()));
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// How generated modules are laid out in files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// A `mod.rs` and a file or folder per package, to be checked in and named by `mod generated;`.
    Tree,
    /// One file of nested modules with this name, to be included from `OUT_DIR`.
    Single {
        /// The name of the file, such as `gannet.rs`.
        file_name: String,
    },
}

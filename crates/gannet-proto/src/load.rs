//! Which files a compilation reads, and in which order: each after what it imports.

use std::collections::HashMap;
use std::io;

use crate::diagnostic::{Diagnostic, Findings, Place, Span};
use crate::link::{self, pool::Pool};
use crate::tree::{File, FileId, Import};
use crate::{check, embedded, parse};

/// The longest file that is read.
const SOURCE_BYTES_MAX: usize = 64 << 20;
/// The declarations of options' messages.
pub(crate) const DESCRIPTOR: &str = "google/protobuf/descriptor.proto";

/// Reads a file by its name in imports: its text, or `None` if there is none.
pub(crate) type Read<'r> = &'r mut dyn FnMut(&str) -> io::Result<Option<Vec<u8>>>;

/// Loads and links files.
pub(crate) struct Loader<'r> {
    read: Read<'r>,
    pub(crate) pool: Pool,
    ids: HashMap<String, FileId>,
    pub(crate) findings: Findings,
    /// Whether [`DESCRIPTOR`] was read; it may not be linked yet.
    has_descriptor: bool,
}

/// A file that is read, and which of its imports is looked at next.
struct Open {
    file: File,
    next: usize,
}

impl<'r> Loader<'r> {
    pub(crate) fn new(read: Read<'r>) -> Self {
        Self {
            read,
            pool: Pool::default(),
            ids: HashMap::new(),
            findings: Findings::default(),
            has_descriptor: false,
        }
    }

    pub(crate) fn id(&self, name: &str) -> Option<FileId> {
        self.ids.get(name).copied()
    }

    /// Loads the file called `name` and all that it imports. Without a depth of calls, as the
    /// depth of imports is not ours.
    pub(crate) fn load(&mut self, name: &str, is_requested: bool) {
        if self.ids.contains_key(name) {
            return;
        }
        let Some(file) = self.open(name, None) else { return };
        let mut open = vec![file];
        while let Some(last) = open.last_mut() {
            let Some(import) = last.file.imports.get(last.next) else {
                let depth = open.len();
                if let Some(Open { file, .. }) = open.pop() {
                    self.close(file, is_requested && depth == 1);
                }
                if self.findings.errors() > 0 {
                    return;
                }
                continue;
            };
            let import = import.clone();
            last.next += 1;
            if self.ids.contains_key(&import.name.text) {
                continue;
            }
            let importer = last.file.name.clone();
            let in_circle = open.iter().position(|open| open.file.name == import.name.text);
            if let Some(start) = in_circle {
                let names = open[start..].iter().map(|open| &open.file.name[..]);
                let names: Vec<&str> = names.chain([&import.name.text[..]]).collect();
                let message = format!("import cycle detected: {}", names.join(" -> "));
                let help = "move what both files need into a third one, and import that";
                let place = import.name.span.of(&importer);
                self.findings.add(Diagnostic::error(message, place).help(help));
                return;
            }
            if let Some(file) = self.open(&import.name.text, Some((&importer, &import))) {
                open.push(file);
            }
        }
    }

    /// Reads and parses a file; what it is imported by is for what there is to tell.
    fn open(&mut self, name: &str, importer: Option<(&str, &Import)>) -> Option<Open> {
        let whole = Span::default();
        self.has_descriptor |= name == DESCRIPTOR;
        let place = match importer {
            Some((file, import)) => import.statement.of(file),
            None => whole.of(name),
        };
        let bytes = match (self.read)(name) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => match embedded::file(name) {
                Some(text) => text.as_bytes().to_owned(),
                None => {
                    let message = match importer {
                        Some(_) => format!("import '{name}' not found"),
                        None => format!("{name}: file not found"),
                    };
                    self.findings.add(Diagnostic::error(message, place));
                    return None;
                }
            },
            Err(error) => {
                self.findings
                    .add(Diagnostic::error(format!("cannot read '{name}': {error}"), place));
                return None;
            }
        };
        let text = self.text(name, bytes)?;
        let before = self.findings.errors();
        let file = parse::parse(name, &text, &mut self.findings);
        check::parsed(&file, &mut self.findings);
        (self.findings.errors() == before).then_some(Open { file, next: 0 })
    }

    fn text(&mut self, name: &str, bytes: Vec<u8>) -> Option<String> {
        if bytes.len() > SOURCE_BYTES_MAX {
            let message = format!("a file can have {SOURCE_BYTES_MAX} bytes at most");
            self.findings.add(Diagnostic::error(message, Span::default().of(name)));
            return None;
        }
        match String::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) => {
                let start = error.utf8_error().valid_up_to();
                let end = start + 1;
                let place: Place = Span { start, end }.of(name);
                let error = Diagnostic::error("the file is not UTF-8", place);
                self.findings.add(error.help("save it in that encoding"));
                None
            }
        }
    }

    /// Links a file whose imports are all linked.
    fn close(&mut self, mut file: File, is_requested: bool) {
        if !self.has_descriptor {
            // Options are read by it, imported or not.
            self.load(DESCRIPTOR, false);
            self.pool.hidden = self.id(DESCRIPTOR);
        }
        for import in &mut file.imports {
            import.file = self.ids.get(&import.name.text).copied();
            if import.file == self.pool.hidden {
                self.pool.hidden = None;
            }
        }
        let id = self.pool.files.len();
        file.adopt(id);
        self.ids.insert(file.name.clone(), id);
        self.pool.files.push(file);
        link::link(&mut self.pool, id, is_requested, &mut self.findings);
    }
}

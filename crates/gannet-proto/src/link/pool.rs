//! All files of a compilation and their symbols, and how a name finds its symbol: from the
//! innermost scope outwards, and only in files that are imported.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use crate::diagnostic::Span;
use crate::tree::{Enum, Field, File, FileId, Id, ImportKind, Message};

/// What a full name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Package,
    Message(usize),
    Enum(usize),
    EnumValue,
    Field,
    Extension(usize),
    Oneof,
    Service,
    Method,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbol {
    pub(crate) kind: Kind,
    /// Of packages, the first file that is in it.
    pub(crate) file: FileId,
    pub(crate) span: Span,
}

impl Symbol {
    fn id(&self, index: usize) -> Id {
        Id { file: self.file, index }
    }

    pub(crate) fn message(&self) -> Option<Id> {
        match self.kind {
            Kind::Message(index) => Some(self.id(index)),
            _ => None,
        }
    }

    pub(crate) fn enumeration(&self) -> Option<Id> {
        match self.kind {
            Kind::Enum(index) => Some(self.id(index)),
            _ => None,
        }
    }

    pub(crate) fn extension(&self) -> Option<Id> {
        match self.kind {
            Kind::Extension(index) => Some(self.id(index)),
            _ => None,
        }
    }

    fn is_type(&self) -> bool {
        matches!(self.kind, Kind::Message(_) | Kind::Enum(_))
    }

    /// Whether other names can be in it.
    fn is_scope(&self) -> bool {
        matches!(self.kind, Kind::Package | Kind::Message(_) | Kind::Enum(_) | Kind::Service)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// In the order in which they are linked: each after what it imports.
    pub(crate) files: Vec<File>,
    pub(crate) symbols: HashMap<String, Symbol>,
    /// The declarations of options, while no file imports them: names in it are free.
    pub(crate) hidden: Option<FileId>,
    /// Extensions by what they extend and their number.
    pub(crate) extensions: HashMap<(Id, i32), Id>,
}

impl Pool {
    pub(crate) fn message(&self, id: Id) -> &Message {
        &self.files[id.file].messages[id.index]
    }

    pub(crate) fn enumeration(&self, id: Id) -> &Enum {
        &self.files[id.file].enums[id.index]
    }

    pub(crate) fn extension(&self, id: Id) -> &Field {
        &self.files[id.file].extensions[id.index]
    }

    /// The message called `full_name`, wherever it is.
    pub(crate) fn message_named(&self, full_name: &str) -> Option<Id> {
        self.symbols.get(full_name)?.message()
    }

    /// Whether `field` is of a map.
    pub(crate) fn is_map(&self, field: &Field) -> bool {
        matches!(field.ty, crate::tree::Type::Message(id) if self.message(id).map_entry)
    }
}

/// Whether names are looked for of types only, which others in between then do not hide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Types,
    All,
}

/// Why a name was not found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NotFound {
    /// A file that has it, and is not imported.
    pub(crate) not_imported: Option<FileId>,
    /// The name that it was taken for, as a scope further in has its first part.
    pub(crate) taken_for: Option<String>,
}

/// Looks names up for one file.
#[derive(Debug)]
pub(crate) struct Lookup<'p> {
    pool: &'p Pool,
    file: FileId,
    /// Imported, also through others that import publicly.
    imported: HashSet<FileId>,
    imported_for_options: HashSet<FileId>,
    /// Files that a name was found in.
    used: RefCell<HashSet<FileId>>,
    not_found: RefCell<NotFound>,
}

impl<'p> Lookup<'p> {
    pub(crate) fn new(pool: &'p Pool, file: FileId) -> Self {
        let mut imported = HashSet::new();
        let mut imported_for_options = HashSet::new();
        for import in &pool.files[file].imports {
            let Some(target) = import.file else { continue };
            match import.kind {
                ImportKind::Option => add_public(pool, target, &mut imported_for_options),
                _ => add_public(pool, target, &mut imported),
            }
        }
        Self {
            pool,
            file,
            imported,
            imported_for_options,
            used: RefCell::default(),
            not_found: RefCell::default(),
        }
    }

    pub(crate) fn into_used(self) -> HashSet<FileId> {
        self.used.into_inner()
    }

    /// The symbol that `name` means in `scope`, the full name of the element that says it.
    pub(crate) fn resolve(
        &self,
        name: &str,
        scope: &str,
        wanted: Wanted,
    ) -> Result<Symbol, NotFound> {
        self.not_found.replace(NotFound::default());
        let found = self.innermost(name, scope, wanted);
        found.ok_or_else(|| self.not_found.borrow().clone())
    }

    fn innermost(&self, name: &str, scope: &str, wanted: Wanted) -> Option<Symbol> {
        if let Some(absolute) = name.strip_prefix('.') {
            return self.find(absolute);
        }
        let first = name.split('.').next().unwrap_or(name);
        let mut scope = scope;
        while let Some((outer, _)) = scope.rsplit_once('.') {
            scope = outer;
            let Some(symbol) = self.find(&format!("{scope}.{first}")) else { continue };
            if first.len() < name.len() {
                // The rest must be in the first that is found, if anything can be in it.
                if symbol.is_scope() {
                    let full_name = format!("{scope}.{name}");
                    let found = self.find(&full_name);
                    if found.is_none() {
                        self.not_found.borrow_mut().taken_for = Some(full_name);
                    }
                    return found;
                }
            } else if wanted == Wanted::All || symbol.is_type() {
                return Some(symbol);
            }
        }
        self.find(name)
    }

    /// The symbol with this full name, if it is in this file or imported.
    pub(crate) fn find(&self, full_name: &str) -> Option<Symbol> {
        let symbol = *self.pool.symbols.get(full_name)?;
        let imported = self.imported.contains(&symbol.file);
        let for_options = self.imported_for_options.contains(&symbol.file);
        if symbol.kind == Kind::Package {
            return self.has_package(full_name).then_some(symbol);
        }
        if imported || for_options {
            self.used.borrow_mut().insert(symbol.file);
        }
        let is_extension = matches!(symbol.kind, Kind::Extension(_));
        if symbol.file == self.file || imported || (for_options && is_extension) {
            return Some(symbol);
        }
        self.not_found.borrow_mut().not_imported = Some(symbol.file);
        None
    }

    fn has_package(&self, name: &str) -> bool {
        let is_in = |file: &FileId| {
            let package = self.pool.files[*file].package();
            package.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        is_in(&self.file)
            || self.imported.iter().any(is_in)
            || self.imported_for_options.iter().any(is_in)
    }
}

/// `file`, and what it imports publicly.
fn add_public(pool: &Pool, file: FileId, found: &mut HashSet<FileId>) {
    let mut waiting = vec![file];
    while let Some(file) = waiting.pop() {
        if found.insert(file) {
            let public = pool.files[file].imports.iter();
            let public = public.filter(|import| import.kind == ImportKind::Public);
            waiting.extend(public.filter_map(|import| import.file));
        }
    }
}

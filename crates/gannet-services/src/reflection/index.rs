//! Where symbols and extensions are declared, over encoded descriptors (`descriptor.proto`).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::wire::{Malformed, Value, fields, text};

/// Nested messages deeper than that are no descriptor: protobuf's own parsers read a hundred
/// levels, and `DescriptorProto` is one in each.
const DEPTH_MAX: usize = 100;

/// Files, and what they declare.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    files: Vec<File>,
    by_name: HashMap<String, usize>,
    symbols: HashMap<Arc<str>, usize>,
    /// By the message that they extend, and their number.
    extensions: HashMap<String, HashMap<i32, usize>>,
    messages: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct File {
    /// Encoded.
    descriptor: Bytes,
    imports: Vec<String>,
    symbols: BTreeSet<Arc<str>>,
}

/// Why a set cannot be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is no encoded `FileDescriptorSet`.
    Malformed,
    /// It has a file of this name that declares other things than the one that is there.
    Differs(String),
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Refusal {
        Refusal::Malformed
    }
}

impl Index {
    /// Adds the files of an encoded `FileDescriptorSet`. Of files with the same name and the same
    /// declarations the first counts. Nothing is added where there is an error.
    pub(super) fn add(&mut self, set: &Bytes) -> Result<(), Refusal> {
        let mut declared = Vec::new();
        for field in fields(set) {
            if let (1, Value::Bytes(file)) = field? {
                declared.push((set.slice_ref(file), Declared::read(file)?));
            }
        }
        let mut known: HashMap<&str, &BTreeSet<Arc<str>>> = HashMap::new();
        for (_, file) in &declared {
            let before = self.by_name.get(&file.name).and_then(|&id| self.files.get(id));
            let symbols = before.map_or(&file.symbols, |before| &before.symbols);
            if !file.symbols.is_subset(known.entry(&file.name).or_insert(symbols)) {
                return Err(Refusal::Differs(file.name.clone()));
            }
        }
        declared.into_iter().for_each(|(descriptor, file)| self.insert(descriptor, file));
        Ok(())
    }

    fn insert(&mut self, descriptor: Bytes, file: Declared) {
        if self.by_name.contains_key(&file.name) {
            return;
        }
        let id = self.files.len();
        self.by_name.insert(file.name, id);
        for symbol in &file.symbols {
            self.symbols.entry(Arc::clone(symbol)).or_insert(id);
        }
        for (message, number) in file.extensions {
            self.extensions.entry(message).or_default().entry(number).or_insert(id);
        }
        self.messages.extend(file.messages);
        self.files.push(File { descriptor, imports: file.imports, symbols: file.symbols });
    }

    /// The file of this name.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The file that declares this symbol.
    pub(super) fn declaring(&self, symbol: &str) -> Option<usize> {
        self.symbols.get(symbol).copied()
    }

    /// The file that declares this extension.
    pub(super) fn extending(&self, message: &str, number: i32) -> Option<usize> {
        self.extensions.get(message)?.get(&number).copied()
    }

    /// The numbers of all extensions of a message, if there is such a message.
    pub(super) fn extension_numbers(&self, message: &str) -> Option<Vec<i32>> {
        let mut numbers: Vec<i32> = match self.extensions.get(message) {
            Some(extensions) => extensions.keys().copied().collect(),
            None if self.messages.contains(message) => Vec::new(),
            None => return None,
        };
        numbers.sort_unstable();
        Some(numbers)
    }

    /// The file, then all that it imports, in the order in which they are met, without those of
    /// `sent`; to which they are added. The file itself is always among them.
    pub(super) fn with_imports(&self, file: usize, sent: &mut BTreeSet<usize>) -> Vec<Bytes> {
        let mut descriptors = Vec::new();
        let mut pending = vec![file];
        let mut met = BTreeSet::from([file]);
        let mut next = 0;
        while let Some(&id) = pending.get(next) {
            next += 1;
            let Some(file) = self.files.get(id) else { continue };
            if sent.insert(id) || descriptors.is_empty() {
                descriptors.push(file.descriptor.clone());
            }
            let imports = file.imports.iter().filter_map(|name| self.named(name));
            pending.extend(imports.filter(|&import| met.insert(import)));
        }
        descriptors
    }
}

/// What one file declares.
#[derive(Debug, Default)]
struct Declared {
    name: String,
    imports: Vec<String>,
    symbols: BTreeSet<Arc<str>>,
    messages: Vec<String>,
    extensions: Vec<(String, i32)>,
}

impl Declared {
    /// Reads a `FileDescriptorProto`.
    fn read(file: &[u8]) -> Result<Declared, Malformed> {
        let mut declared = Declared::default();
        let mut package = "";
        for field in fields(file) {
            match field? {
                (1, Value::Bytes(name)) => declared.name = text(name)?.to_owned(),
                (2, Value::Bytes(name)) => package = text(name)?,
                (3, Value::Bytes(import)) => declared.imports.push(text(import)?.to_owned()),
                _ => {}
            }
        }
        for field in fields(file) {
            match field? {
                (4, Value::Bytes(message)) => declared.message(message, package, 0)?,
                (5, Value::Bytes(it)) => declared.enumeration(it, package)?,
                (6, Value::Bytes(service)) => declared.group(service, package, 2)?,
                (7, Value::Bytes(extension)) => declared.extension(extension, package)?,
                _ => {}
            }
        }
        Ok(declared)
    }

    /// Reads a `DescriptorProto`.
    fn message(&mut self, message: &[u8], scope: &str, depth: usize) -> Result<(), Malformed> {
        if depth >= DEPTH_MAX {
            return Err(Malformed);
        }
        let name = self.symbol(message, scope)?;
        for field in fields(message) {
            match field? {
                // Fields and oneofs.
                (2 | 8, Value::Bytes(field)) => drop(self.symbol(field, &name)?),
                (3, Value::Bytes(nested)) => self.message(nested, &name, depth + 1)?,
                (4, Value::Bytes(it)) => self.enumeration(it, &name)?,
                (6, Value::Bytes(extension)) => self.extension(extension, &name)?,
                _ => {}
            }
        }
        self.messages.push(name);
        Ok(())
    }

    /// Reads an `EnumDescriptorProto`, whose values have names beside its own, not below it.
    fn enumeration(&mut self, it: &[u8], scope: &str) -> Result<(), Malformed> {
        self.symbol(it, scope)?;
        self.parts(it, scope, 2)
    }

    /// Reads what has a name and, in field `number`, parts with names below it.
    fn group(&mut self, group: &[u8], scope: &str, number: u64) -> Result<(), Malformed> {
        let name = self.symbol(group, scope)?;
        self.parts(group, &name, number)
    }

    fn parts(&mut self, whole: &[u8], scope: &str, number: u64) -> Result<(), Malformed> {
        for field in fields(whole) {
            match field? {
                (found, Value::Bytes(part)) if found == number => drop(self.symbol(part, scope)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a `FieldDescriptorProto` that extends a message.
    fn extension(&mut self, extension: &[u8], scope: &str) -> Result<(), Malformed> {
        self.symbol(extension, scope)?;
        let (mut message, mut number) = ("", 0);
        for field in fields(extension) {
            match field? {
                (2, Value::Bytes(name)) => message = text(name)?,
                (3, Value::Varint(found)) => number = found,
                _ => {}
            }
        }
        let message = message.trim_start_matches('.').to_owned();
        self.extensions.push((message, i32::try_from(number).map_err(|_| Malformed)?));
        Ok(())
    }

    /// Takes the full name of what has its own name in field 1.
    fn symbol(&mut self, named: &[u8], scope: &str) -> Result<String, Malformed> {
        let mut name = "";
        for field in fields(named) {
            if let (1, Value::Bytes(found)) = field? {
                name = text(found)?;
            }
        }
        let full = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
        self.symbols.insert(full.as_str().into());
        Ok(full)
    }
}

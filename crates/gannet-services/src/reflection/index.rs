//! Where symbols and extensions are declared, over encoded descriptors (`descriptor.proto`).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::wire::{Malformed, Value, fields, text};

/// Nested messages deeper than that are no descriptor: protobuf's own parsers read a hundred
/// levels, and `DescriptorProto` is one in each.
const DEPTH_MAX: usize = 100;

/// Files, and what they declare.
///
/// Sets that were made apart may have different files of one name. The first keeps the name; the
/// others are found by what they declare, and by files of their own set that import them.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    files: Vec<File>,
    /// All that have a name, the first of which is found by it.
    by_name: HashMap<String, Vec<usize>>,
    /// What a name stands for in a set, where that is not the first.
    apart: HashMap<(usize, String), usize>,
    symbols: HashMap<Arc<str>, usize>,
    /// By the message that they extend, and their number.
    extensions: HashMap<String, HashMap<i32, usize>>,
    messages: BTreeSet<String>,
    /// How many were added.
    sets: usize,
}

#[derive(Clone, Debug)]
struct File {
    /// Encoded.
    descriptor: Bytes,
    imports: Vec<String>,
    symbols: BTreeSet<Arc<str>>,
    /// The one it came with.
    set: usize,
}

impl Index {
    /// Adds the files of an encoded `FileDescriptorSet`. Of files with the same name, one that
    /// declares all that another does is taken for that, too; of two that declare the same the
    /// first counts.
    ///
    /// Gives the names of those that differ from one before them, which are not found by them.
    /// Nothing is added of a set that is malformed.
    pub(super) fn add(&mut self, set: &Bytes) -> Result<Vec<String>, Malformed> {
        let mut declared = Vec::new();
        for field in fields(set) {
            if let (1, Value::Bytes(file)) = field? {
                declared.push((set.slice_ref(file), Declared::read(file)?));
            }
        }
        self.sets += 1;
        let names = declared.into_iter().filter_map(|(descriptor, file)| {
            let name = file.name.clone();
            self.insert(descriptor, file).then_some(name)
        });
        Ok(names.collect())
    }

    /// Whether the file does not go with the first of its name.
    fn insert(&mut self, descriptor: Bytes, file: Declared) -> bool {
        let Declared { name, imports, symbols, messages, extensions } = file;
        let set = self.sets;
        let alike = self.by_name.entry(name.clone()).or_default();
        let goes_with = |id: &usize| {
            let before = self.files.get(*id).map(|file| &file.symbols);
            before.is_some_and(|it| symbols.is_subset(it) || it.is_subset(&symbols))
        };
        let id = alike.iter().copied().find(goes_with).unwrap_or(self.files.len());
        if !alike.contains(&id) {
            alike.push(id);
        }
        let is_apart = alike.first() != Some(&id);
        if is_apart {
            self.apart.insert((set, name), id);
        }
        if self.files.get(id).is_some_and(|before| symbols.is_subset(&before.symbols)) {
            return is_apart;
        }
        for symbol in &symbols {
            self.symbols.entry(Arc::clone(symbol)).or_insert(id);
        }
        for (message, number) in extensions {
            self.extensions.entry(message).or_default().entry(number).or_insert(id);
        }
        self.messages.extend(messages);
        let file = File { descriptor, imports, symbols, set };
        match self.files.get_mut(id) {
            Some(before) => *before = file,
            None => self.files.push(file),
        }
        is_apart
    }

    /// The file of this name.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name)?.first().copied()
    }

    /// The file that another means by an import: that of its own set.
    fn imported(&self, by: &File, name: &str) -> Option<usize> {
        self.apart.get(&(by.set, name.to_owned())).copied().or_else(|| self.named(name))
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
            let imports = file.imports.iter().filter_map(|name| self.imported(file, name));
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

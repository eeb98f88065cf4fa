//! The names of types in fields, extensions and methods, looked up.

use super::pool::{Lookup, NotFound, Pool, Symbol, Wanted};
use crate::diagnostic::{Diagnostic, Findings, Span};
use crate::features::{Feature, VISIBILITY_EXPORT_ALL, VISIBILITY_EXPORT_TOP_LEVEL};
use crate::tree::{Field, FileId, Id, Type, Visibility};

/// What was found, to be set when all is found.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// For each message, for each of its fields.
    pub(super) fields: Vec<Vec<FieldTypes>>,
    pub(super) extensions: Vec<FieldTypes>,
    /// For each service, for each method, input and output.
    pub(super) methods: Vec<Vec<(Option<Id>, Option<Id>)>>,
}

#[derive(Debug, Default)]
pub(super) struct FieldTypes {
    pub(super) ty: Option<Type>,
    pub(super) extendee: Option<Id>,
}

/// Looks up the names of all types in the file.
pub(super) fn resolve(
    pool: &Pool,
    id: FileId,
    lookup: &Lookup<'_>,
    findings: &mut Findings,
) -> Resolved {
    let file = &pool.files[id];
    let mut types = Types { pool, id, lookup, findings };
    let mut resolved = Resolved::default();
    for message in &file.messages {
        resolved.fields.push(message.fields.iter().map(|field| types.field(field)).collect());
    }
    resolved.extensions = file.extensions.iter().map(|field| types.field(field)).collect();
    for service in &file.services {
        let methods = service.methods.iter().map(|method| {
            let scope = format!("{}.{}", service.full_name, method.name.text);
            let mut message =
                |name: &crate::tree::Name| types.message(&name.text, &scope, name.span);
            (message(&method.input.name), message(&method.output.name))
        });
        resolved.methods.push(methods.collect());
    }
    resolved
}

struct Types<'p, 'l, 'f> {
    pool: &'p Pool,
    id: FileId,
    lookup: &'l Lookup<'p>,
    findings: &'f mut Findings,
}

impl Types<'_, '_, '_> {
    fn field(&mut self, field: &Field) -> FieldTypes {
        let extendee = field.extendee.as_ref().and_then(|extendee| {
            self.message(&extendee.name.text, &field.full_name, extendee.name.span)
        });
        let Type::Named(name) = &field.ty else { return FieldTypes { ty: None, extendee } };
        let symbol = self.symbol(name, &field.full_name, field.ty_span, Wanted::Types);
        let ty = symbol.and_then(|symbol| {
            let message = symbol.message().map(Type::Message);
            let ty = message.or_else(|| symbol.enumeration().map(Type::Enum));
            if ty.is_none() {
                self.error(format!("'{name}' is not a type"), field.ty_span);
            }
            ty
        });
        FieldTypes { ty, extendee }
    }

    fn message(&mut self, name: &str, scope: &str, span: Span) -> Option<Id> {
        let symbol = self.symbol(name, scope, span, Wanted::All)?;
        let message = symbol.message().or_else(|| self.hidden_message(name, scope, span));
        if message.is_none() {
            self.error(format!("'{name}' is not a message"), span);
        }
        message
    }

    /// The message that others do not find, as a method or the like has its name further in.
    fn hidden_message(&mut self, name: &str, scope: &str, span: Span) -> Option<Id> {
        let id = self.lookup.resolve(name, scope, Wanted::Types).ok()?.message()?;
        let text =
            format!("'{name}' is the name of something nearer, too, which others take it for");
        let help = format!("write '.{}'", self.pool.message(id).full_name);
        self.add(Diagnostic::warning(text, self.place(span)).help(help));
        Some(id)
    }

    fn symbol(&mut self, name: &str, scope: &str, span: Span, wanted: Wanted) -> Option<Symbol> {
        match self.lookup.resolve(name, scope, wanted) {
            Ok(symbol) if self.is_visible(&symbol) => Some(symbol),
            Ok(symbol) => {
                let file = &self.pool.files[symbol.file].name;
                let message = format!("'{name}' is local to {file}");
                let help = "only what is exported there can be used in other files".to_owned();
                self.add(Diagnostic::error(message, self.place(span)).help(help));
                None
            }
            Err(not_found) => {
                let diagnostic = undefined(self.pool, name, &not_found, self.place(span));
                self.add(diagnostic);
                None
            }
        }
    }

    /// Whether a type may be used here: in its own file always, else if it is exported.
    fn is_visible(&self, symbol: &Symbol) -> bool {
        if symbol.file == self.id {
            return true;
        }
        let file = &self.pool.files[symbol.file];
        let (visibility, parent) = match (symbol.message(), symbol.enumeration()) {
            (Some(id), _) => (self.pool.message(id).visibility, self.pool.message(id).parent),
            (_, Some(id)) => {
                (self.pool.enumeration(id).visibility, self.pool.enumeration(id).parent)
            }
            _ => return true,
        };
        visibility.map_or_else(
            || match file.features.get(Feature::DefaultSymbolVisibility) {
                VISIBILITY_EXPORT_ALL => true,
                VISIBILITY_EXPORT_TOP_LEVEL => parent.is_none(),
                _ => false,
            },
            |said| said == Visibility::Export,
        )
    }

    fn place(&self, span: Span) -> crate::diagnostic::Place {
        self.pool.files[self.id].place(span)
    }

    fn error(&mut self, message: String, span: Span) {
        let place = self.place(span);
        self.add(Diagnostic::error(message, place));
    }

    fn add(&mut self, diagnostic: Diagnostic) {
        self.findings.add(diagnostic);
    }
}

/// What to say about a name that was not found.
pub(super) fn undefined(
    pool: &Pool,
    name: &str,
    not_found: &NotFound,
    place: crate::diagnostic::Place,
) -> Diagnostic {
    let error = Diagnostic::error(format!("name '{name}' is not defined"), place);
    if let Some(file) = not_found.not_imported {
        let file = &pool.files[file].name;
        return error.help(format!("it is defined in \"{file}\", which is not imported here"));
    }
    match &not_found.taken_for {
        Some(taken_for) => error.help(format!(
            "it was looked for as '{taken_for}', in the innermost scope that fits; with a dot \
             before it, '.{name}' starts from the outermost"
        )),
        None => error,
    }
}

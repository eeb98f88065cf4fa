//! Names of services and methods in Rust, by the rules that the crate's documentation gives.

use std::collections::BTreeSet;

use buffa_codegen::idents::{make_field_ident, to_shouty_snake_case, to_upper_camel_case};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Item, UseTree};

/// The names that a package's module has so far, of types and values alike.
pub(crate) struct Taken {
    names: BTreeSet<String>,
}

impl Taken {
    /// The names of `items`, of the modules of the packages below, and of what every package has.
    pub(crate) fn new(items: &[Item], child_modules: &[String]) -> Self {
        let mut names: BTreeSet<String> = child_modules.iter().cloned().collect();
        names.insert(FILE_DESCRIPTOR_SET.to_owned());
        names.insert("Self".to_owned());
        for item in items {
            match item {
                Item::Use(item) => use_names(&item.tree, &mut names),
                _ => names.extend(item_name(item).map(Ident::to_string)),
            }
        }
        Self { names }
    }

    fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// `name` from the prelude: bare, unless the package has something of that name.
    pub(crate) fn prelude(&self, name: &str, path: TokenStream) -> TokenStream {
        if self.contains(name) {
            return path;
        }
        let ident = format_ident!("{name}");
        quote!(#ident)
    }

    /// A name for a generic parameter: `S`, unless the package has a type of that name.
    pub(crate) fn generic(&self) -> Ident {
        let mut name = "S".to_owned();
        while self.contains(&name) {
            name.push('S');
        }
        format_ident!("{name}")
    }
}

/// The constant in each package's module that holds its descriptors.
pub(crate) const FILE_DESCRIPTOR_SET: &str = "FILE_DESCRIPTOR_SET";

/// The four names that a service has in Rust.
pub(crate) struct ServiceNames {
    pub(crate) service: Ident,
    pub(crate) server: Ident,
    pub(crate) client: Ident,
    pub(crate) descriptor: Ident,
}

impl ServiceNames {
    /// Chooses names for the service that is called `name` in its proto file, and takes them.
    pub(crate) fn choose(name: &str, taken: &mut Taken) -> Self {
        let base = if name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.contains('_') {
            name.to_owned()
        } else {
            to_upper_camel_case(name)
        };
        let mut candidate = base.clone();
        let mut attempt = 1;
        loop {
            let four = [
                candidate.clone(),
                format!("{candidate}Server"),
                format!("{candidate}Client"),
                to_shouty_snake_case(&candidate),
            ];
            // Two of the four can be one, as with a service called `A`.
            let distinct = four.iter().collect::<BTreeSet<_>>().len() == four.len();
            if distinct && is_identifier(&candidate) && !four.iter().any(|n| taken.contains(n)) {
                let [service, server, client, descriptor] =
                    four.each_ref().map(|name| format_ident!("{name}"));
                taken.names.extend(four);
                return Self { service, server, client, descriptor };
            }
            candidate = match attempt {
                1 => format!("{base}Service"),
                _ => format!("{base}Service{attempt}"),
            };
            attempt += 1;
        }
    }
}

/// The names of a service's methods, in order, none twice.
pub(crate) fn methods<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Ident> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut choose = |name: &str| {
        let mut base = to_shouty_snake_case(name).to_lowercase();
        if CLIENT_NAMES.contains(&base.as_str()) || base.chars().all(|c| c == '_') {
            base.push('_');
        }
        let mut candidate = base.clone();
        let mut attempt = 2;
        while !taken.insert(candidate.clone()) {
            candidate = format!("{base}_{attempt}");
            attempt += 1;
        }
        make_field_ident(&candidate)
    };
    names.map(&mut choose).collect()
}

/// What a client has of its own.
const CLIENT_NAMES: &[&str] = &["new", "clone"];

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn item_name(item: &Item) -> Option<&Ident> {
    Some(match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Mod(item) => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    })
}

fn use_names(tree: &UseTree, names: &mut BTreeSet<String>) {
    match tree {
        UseTree::Path(path) => use_names(&path.tree, names),
        UseTree::Name(name) => {
            names.insert(name.ident.to_string());
        }
        UseTree::Rename(rename) => {
            names.insert(rename.rename.to_string());
        }
        UseTree::Glob(_) => {}
        UseTree::Group(group) => {
            for tree in &group.items {
                use_names(tree, names);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(source: &str) -> Taken {
        Taken::new(&syn::parse_file(source).unwrap().items, &["child".to_owned()])
    }

    fn chosen(name: &str, taken: &mut Taken) -> String {
        let names = ServiceNames::choose(name, taken);
        format!("{} {} {} {}", names.service, names.server, names.client, names.descriptor)
    }

    #[test]
    fn a_service_keeps_a_name_that_is_rusts_already() {
        let mut taken = taken("");
        assert_eq!(chosen("Greeter", &mut taken), "Greeter GreeterServer GreeterClient GREETER");
        assert_eq!(
            chosen("HTTPProxy", &mut taken),
            "HTTPProxy HTTPProxyServer HTTPProxyClient HTTP_PROXY"
        );
        assert_eq!(chosen("Service", &mut taken), "Service ServiceServer ServiceClient SERVICE");
    }

    #[test]
    fn any_other_name_is_converted() {
        let mut taken = taken("");
        let names = chosen("route_guide", &mut taken);
        assert_eq!(names, "RouteGuide RouteGuideServer RouteGuideClient ROUTE_GUIDE");
        assert!(chosen("Self", &mut taken).starts_with("SelfService "));
        assert!(chosen("A", &mut taken).starts_with("AService "));
    }

    #[test]
    fn a_clash_moves_all_four_names() {
        for source in [
            "struct Greeter;",
            "enum GreeterClient {}",
            "use self::__buffa::GreeterServer;",
            "const GREETER: u8 = 0;",
            "mod x {} pub use a::{b, c as Greeter};",
        ] {
            let names = chosen("Greeter", &mut taken(source));
            assert_eq!(
                names, "GreeterService GreeterServiceServer GreeterServiceClient GREETER_SERVICE",
                "{source}"
            );
        }
        let mut taken = taken("struct Greeter; struct GreeterService;");
        assert!(chosen("Greeter", &mut taken).starts_with("GreeterService2 "));
        assert!(chosen("FileDescriptorSet", &mut taken).starts_with("FileDescriptorSetService "));
        assert!(chosen("greeter", &mut taken).starts_with("GreeterService3 "));
    }

    #[test]
    fn methods_are_snake_case_and_never_meet() {
        let names = [
            "GetServerResponse",
            "HTTPGet",
            "getV2Thing",
            "Type",
            "Self",
            "New",
            "Clone",
            "Call",
            "GetThing",
            "get_thing",
            "Get_Thing",
            "_",
        ];
        let idents: Vec<String> =
            methods(names.into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(
            idents,
            [
                "get_server_response",
                "http_get",
                "get_v2_thing",
                "r#type",
                "self_",
                "new_",
                "clone_",
                "call",
                "get_thing",
                "get_thing_2",
                "get_thing_3",
                "__",
            ]
        );
    }
}

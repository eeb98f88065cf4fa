//! Services: for each one a descriptor, a trait with its server, and a client.
//!
//! The generated code is thin on purpose. It says what the methods are called and what they take;
//! how a call runs is the runtime's, reached by the names below. It calls traits by their full
//! names, so that methods may be called anything.

use buffa_codegen::idents::rust_path_to_tokens;
use buffa_descriptor::generated::descriptor::method_options::IdempotencyLevel;
use buffa_descriptor::generated::descriptor::{
    FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto,
};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use crate::docs;
use crate::error::{Diagnostic, Error};
use crate::generate::Scope;
use crate::locate::{self, path};
use crate::names::{self, ServiceNames};

/// The items of all services in `file`.
pub(crate) fn generate(
    scope: &mut Scope<'_>,
    file: &FileDescriptorProto,
) -> Result<TokenStream, Error> {
    let mut tokens = TokenStream::new();
    for (index, descriptor) in file.service.iter().enumerate() {
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        let service = Service::new(scope, file, descriptor, &[path::FILE_SERVICE, index])?;
        tokens.extend(service.descriptor());
        if scope.options.server {
            tokens.extend(service.service_trait(scope));
            tokens.extend(service.server(scope));
        }
        if scope.options.client {
            tokens.extend(service.client());
        }
    }
    Ok(tokens)
}

impl Scope<'_> {
    /// The comments on the element of `file` at `at`.
    fn docs(&self, file: &FileDescriptorProto, at: &[i32]) -> Vec<String> {
        docs::lines(locate::location(file, at), &|name| {
            let full_name = format!(".{}", name.trim_start_matches('.'));
            self.context.rust_type_relative(&full_name, self.package, 0)
        })
    }
}

struct Service {
    names: ServiceNames,
    /// `package.Service`
    full_name: String,
    docs: Vec<String>,
    deprecated: bool,
    methods: Vec<Method>,
}

struct Method {
    name: Ident,
    /// `/package.Service/Method`
    path: String,
    kind: Kind,
    input: TokenStream,
    output: TokenStream,
    /// The variant of `::gannet::Idempotency`, where the proto file says it.
    idempotency: Option<TokenStream>,
    docs: Vec<String>,
    deprecated: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Unary,
    ClientStreaming,
    ServerStreaming,
    BidiStreaming,
}

impl Service {
    fn new(
        scope: &mut Scope<'_>,
        file: &FileDescriptorProto,
        descriptor: &ServiceDescriptorProto,
        at: &[i32],
    ) -> Result<Self, Error> {
        let name = descriptor.name.as_deref().unwrap_or_default();
        let full_name = match scope.package {
            "" => name.to_owned(),
            package => format!("{package}.{name}"),
        };
        let proto_names = descriptor.method.iter().map(|m| m.name.as_deref().unwrap_or_default());
        let mut methods = Vec::new();
        for (index, name) in names::methods(proto_names).into_iter().enumerate() {
            let number = i32::try_from(index).unwrap_or(i32::MAX);
            let at = [at, &[path::SERVICE_METHOD, number]].concat();
            let method = &descriptor.method[index];
            methods.push(Method::new(scope, file, method, name, &full_name, &at)?);
        }
        let options = descriptor.options.as_option();
        Ok(Self {
            names: ServiceNames::choose(name, &mut scope.taken),
            docs: scope.docs(file, at),
            deprecated: options.is_some_and(|options| options.deprecated.unwrap_or_default()),
            full_name,
            methods,
        })
    }

    /// `pub static GREETER: ::gannet::ServiceDescriptor`
    fn descriptor(&self) -> TokenStream {
        let name = &self.names.descriptor;
        let full_name = &self.full_name;
        let docs = doc(&[format!("What `{full_name}` is called and which methods it has.")]);
        let methods = self.methods.iter().map(|method| {
            let Method { path, kind, idempotency, .. } = method;
            let kind = kind.tokens();
            let idempotency = idempotency
                .as_ref()
                .map(|level| quote!(.with_idempotency(::gannet::Idempotency::#level)));
            quote! {
                ::gannet::MethodDescriptor::new(#path, ::gannet::MethodKind::#kind) #idempotency
            }
        });
        let set = format_ident!("{}", names::FILE_DESCRIPTOR_SET);
        quote! {
            #docs
            pub static #name: ::gannet::ServiceDescriptor =
                ::gannet::ServiceDescriptor::new(#full_name, &[#(#methods),*])
                    .with_file_descriptor_set(#set);
        }
    }

    /// The trait that a server implements.
    fn service_trait(&self, scope: &Scope<'_>) -> TokenStream {
        let ServiceNames { service, .. } = &self.names;
        let full_name = &self.full_name;
        let has_defaults = scope.options.default_methods && !self.methods.is_empty();
        let mut docs = docs_or(&self.docs, || format!("The service `{full_name}`."));
        if has_defaults {
            docs.extend(doc_behind("A method that is left out answers UNIMPLEMENTED."));
        }
        let deprecated = deprecated(self.deprecated);
        let send = scope.taken.prelude("Send", quote!(::core::marker::Send));
        let sync = scope.taken.prelude("Sync", quote!(::core::marker::Sync));
        let message = format!("`{{Self}}` does not implement the service `{full_name}`");
        let methods = self.methods.iter().map(|method| method.in_trait(&send, has_defaults));
        quote! {
            #docs
            #deprecated
            #[diagnostic::on_unimplemented(message = #message)]
            pub trait #service: #send + #sync + 'static {
                #(#methods)*
            }
        }
    }

    /// The type that makes an implementation of the trait mountable.
    fn server(&self, scope: &Scope<'_>) -> TokenStream {
        let ServiceNames { service, server, descriptor, .. } = &self.names;
        let generic = scope.taken.generic();
        let docs =
            doc(&[format!("Serves `{}` with an implementation of [`{service}`].", self.full_name)]);
        let deprecated = deprecated(self.deprecated);
        let arms = self.methods.iter().enumerate().map(|(index, method)| {
            method.in_server(&Literal::usize_unsuffixed(index), service, &generic)
        });
        let dispatch = if self.methods.is_empty() {
            quote! {
                let _ = method;
                start.unimplemented()
            }
        } else {
            quote! {
                match method {
                    #(#arms)*
                    _ => start.unimplemented(),
                }
            }
        };
        let clone = quote!(::core::clone::Clone);
        quote! {
            #docs
            #deprecated
            #[derive(Debug)]
            pub struct #server<#generic> {
                service: ::std::sync::Arc<#generic>,
            }

            impl<#generic> #server<#generic> {
                /// Serves with `service`.
                pub fn new(service: #generic) -> Self {
                    Self::from_arc(::std::sync::Arc::new(service))
                }

                /// Serves with a `service` that others hold as well.
                pub fn from_arc(service: ::std::sync::Arc<#generic>) -> Self {
                    Self { service }
                }
            }

            impl<#generic> #clone for #server<#generic> {
                fn clone(&self) -> Self {
                    Self::from_arc(::std::sync::Arc::clone(&self.service))
                }
            }

            impl<#generic: #service> ::gannet::server::Service for #server<#generic> {
                fn descriptor(&self) -> &'static ::gannet::ServiceDescriptor {
                    &#descriptor
                }

                fn call(
                    &self,
                    method: usize,
                    start: ::gannet::server::Start<'_>,
                ) -> ::gannet::server::Started {
                    #dispatch
                }
            }
        }
    }

    /// The type that calls the service.
    fn client(&self) -> TokenStream {
        let ServiceNames { client, descriptor, .. } = &self.names;
        let mut docs = docs_or(&self.docs, || format!("Calls the service `{}`.", self.full_name));
        if !self.methods.is_empty() {
            docs.extend(doc_behind(
                "A call is awaited as it is; `tokio::spawn` and `join!` take `call.into_future()`.",
            ));
        }
        let deprecated = deprecated(self.deprecated);
        let methods =
            self.methods.iter().enumerate().map(|(index, method)| {
                method.in_client(&Literal::usize_unsuffixed(index), descriptor)
            });
        quote! {
            #docs
            #deprecated
            #[derive(Clone, Debug)]
            pub struct #client {
                channel: ::gannet::Channel,
            }

            impl #client {
                /// Calls over `channel`, which is cheap to clone.
                pub fn new(channel: ::gannet::Channel) -> Self {
                    Self { channel }
                }

                #(#methods)*
            }
        }
    }
}

impl Method {
    fn new(
        scope: &Scope<'_>,
        file: &FileDescriptorProto,
        descriptor: &MethodDescriptorProto,
        name: Ident,
        service: &str,
        at: &[i32],
    ) -> Result<Self, Error> {
        let resolve = |full_name: Option<&str>| {
            let full_name = full_name.unwrap_or_default();
            scope.context.rust_type_relative(full_name, scope.package, 0).ok_or_else(|| {
                let message = format!("type {full_name} is not defined in the descriptor set");
                Error::from(Diagnostic::new(message).at(locate::position(file, at)))
            })
        };
        let options = descriptor.options.as_option();
        Ok(Self {
            name,
            path: format!("/{service}/{}", descriptor.name.as_deref().unwrap_or_default()),
            kind: Kind::of(descriptor),
            input: rust_path_to_tokens(&resolve(descriptor.input_type.as_deref())?),
            output: rust_path_to_tokens(&resolve(descriptor.output_type.as_deref())?),
            idempotency: match options.and_then(|options| options.idempotency_level) {
                Some(IdempotencyLevel::NO_SIDE_EFFECTS) => Some(quote!(NoSideEffects)),
                Some(IdempotencyLevel::IDEMPOTENT) => Some(quote!(Idempotent)),
                Some(IdempotencyLevel::IDEMPOTENCY_UNKNOWN) | None => None,
            },
            docs: scope.docs(file, at),
            deprecated: options.is_some_and(|options| options.deprecated.unwrap_or_default()),
        })
    }

    fn in_trait(&self, send: &TokenStream, has_default: bool) -> TokenStream {
        let Self { name, path, kind, input, output, .. } = self;
        let docs = docs_or(&self.docs, || format!("Answers `{path}`."));
        let deprecated = deprecated(self.deprecated);
        let arguments = kind.server_arguments();
        let parameters = match kind {
            Kind::Unary => quote!(message: #input),
            Kind::ClientStreaming => quote!(messages: ::gannet::Inbound<#input>),
            Kind::ServerStreaming => {
                quote!(message: #input, replies: ::gannet::Outbound<#output>)
            }
            Kind::BidiStreaming => {
                quote!(messages: ::gannet::Inbound<#input>, replies: ::gannet::Outbound<#output>)
            }
        };
        let returned = match kind {
            Kind::Unary | Kind::ClientStreaming => output.clone(),
            Kind::ServerStreaming | Kind::BidiStreaming => quote!(()),
        };
        let message = format!("{path} is not implemented");
        let body = if has_default {
            quote! {{
                let _ = (call, #arguments);
                async { Err(::gannet::Status::unimplemented(#message)) }
            }}
        } else {
            quote!(;)
        };
        quote! {
            #docs
            #deprecated
            fn #name(
                &self,
                call: &mut ::gannet::Call,
                #parameters
            ) -> impl ::core::future::Future<Output = ::gannet::Result<#returned>> + #send
            #body
        }
    }

    /// The arm of the server's `match` for this method.
    fn in_server(&self, index: &Literal, service: &Ident, generic: &Ident) -> TokenStream {
        let Self { name, kind, input, output, .. } = self;
        let arguments = kind.server_arguments();
        let start = kind.function();
        let (parameters, open) = match kind {
            Kind::Unary => (quote!(message), None),
            Kind::ClientStreaming => (quote!(ends), Some(quote!(let messages))),
            Kind::ServerStreaming => (quote!(message, ends), Some(quote!(let replies))),
            Kind::BidiStreaming => (quote!(ends), Some(quote!(let (messages, replies)))),
        };
        let open = open.map(|streams| quote!(#streams = ends.open(&call);));
        quote! {
            #index => {
                let service = ::std::sync::Arc::clone(&self.service);
                start.#start::<::gannet::codec::Buffa, #input, #output, _, _>(
                    move |mut call, #parameters| async move {
                        #open
                        let result =
                            <#generic as #service>::#name(&service, &mut call, #arguments).await;
                        (call, result)
                    },
                )
            }
        }
    }

    fn in_client(&self, index: &Literal, descriptor: &Ident) -> TokenStream {
        let Self { name, path, kind, input, output, .. } = self;
        let docs = docs_or(&self.docs, || format!("Calls `{path}`."));
        let deprecated = deprecated(self.deprecated);
        let call = kind.function();
        let returned = kind.tokens();
        let (parameter, argument) = match kind {
            Kind::Unary | Kind::ServerStreaming => {
                (Some(quote!(message: #input)), Some(quote!(, message)))
            }
            Kind::ClientStreaming | Kind::BidiStreaming => (None, None),
        };
        quote! {
            #docs
            #deprecated
            pub fn #name(&self, #parameter) -> ::gannet::client::#returned<'_, #input, #output> {
                self.channel.#call::<::gannet::codec::Buffa, _, _>(
                    &#descriptor.methods[#index] #argument
                )
            }
        }
    }
}

impl Kind {
    fn of(method: &MethodDescriptorProto) -> Self {
        let client = method.client_streaming.unwrap_or_default();
        let server = method.server_streaming.unwrap_or_default();
        match (client, server) {
            (false, false) => Self::Unary,
            (true, false) => Self::ClientStreaming,
            (false, true) => Self::ServerStreaming,
            (true, true) => Self::BidiStreaming,
        }
    }

    /// The variant of `::gannet::MethodKind`, and the type that a client's method returns.
    fn tokens(self) -> TokenStream {
        match self {
            Self::Unary => quote!(Unary),
            Self::ClientStreaming => quote!(ClientStreaming),
            Self::ServerStreaming => quote!(ServerStreaming),
            Self::BidiStreaming => quote!(BidiStreaming),
        }
    }

    /// The function of a channel that starts such a call, and of a server that answers one.
    fn function(self) -> TokenStream {
        match self {
            Self::Unary => quote!(unary),
            Self::ClientStreaming => quote!(client_streaming),
            Self::ServerStreaming => quote!(server_streaming),
            Self::BidiStreaming => quote!(bidi_streaming),
        }
    }

    fn server_arguments(self) -> TokenStream {
        match self {
            Self::Unary => quote!(message),
            Self::ClientStreaming => quote!(messages),
            Self::ServerStreaming => quote!(message, replies),
            Self::BidiStreaming => quote!(messages, replies),
        }
    }
}

fn deprecated(yes: bool) -> Option<TokenStream> {
    yes.then(|| quote!(#[deprecated]))
}

fn docs_or(lines: &[String], otherwise: impl FnOnce() -> String) -> TokenStream {
    if lines.is_empty() { doc(&[otherwise()]) } else { doc(lines) }
}

/// A paragraph behind others.
fn doc_behind(line: &str) -> TokenStream {
    doc(&[String::new(), line.to_owned()])
}

fn doc(lines: &[String]) -> TokenStream {
    let lines = lines.iter().map(|line| match line.as_str() {
        "" => String::new(),
        // A space, so that it is printed as `/// text`.
        _ => format!(" {line}"),
    });
    quote!(#(#[doc = #lines])*)
}

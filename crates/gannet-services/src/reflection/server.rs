//! The service `ServerReflection`, of both versions.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use gannet_core::codec::Buffa;
use gannet_core::{Code, Result, ServiceDescriptor};
use gannet_server::{Service, Start, Started};
use gannet_transport::{Inbound, Outbound};

use super::builder::{OnProblem, ReflectionError, Source};
use super::generated::grpc::reflection::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse, server_reflection_request,
    server_reflection_response,
};
use super::index::Index;
use server_reflection_request::MessageRequest as Question;
use server_reflection_response::MessageResponse as Answer;

/// Serves reflection under one of its names. Made by [`Reflection`](super::Reflection).
pub struct ReflectionServer {
    descriptor: &'static ServiceDescriptor,
    known: Arc<Knowledge>,
    /// What the server that this was added to has.
    served: OnceLock<Arc<Served>>,
}

/// What all servers have in common that a [`Reflection`](super::Reflection) is added to.
#[derive(Default)]
pub(super) struct Knowledge {
    /// Files that were registered.
    pub(super) files: Index,
    /// Services to be listed beside the server's.
    pub(super) names: Vec<String>,
    pub(super) on_problem: Option<OnProblem>,
    /// What the hook was told.
    pub(super) told: Mutex<Vec<ReflectionError>>,
}

/// What is known of one server.
#[derive(Debug, Default)]
struct Served {
    files: Index,
    /// Names of its services.
    names: BTreeSet<String>,
}

impl ReflectionServer {
    pub(super) fn new(
        descriptor: &'static ServiceDescriptor,
        known: &Arc<Knowledge>,
    ) -> ReflectionServer {
        ReflectionServer { descriptor, known: Arc::clone(known), served: OnceLock::new() }
    }

    /// Of services whose files cannot be read only the names are told: what serves is not to fail
    /// because it cannot be described.
    fn learn(&self, services: &[&'static ServiceDescriptor]) -> Arc<Served> {
        let mut files = self.known.files.clone();
        // Services of one file have one set.
        let mut seen = BTreeSet::new();
        for service in services.iter().filter(|service| seen.insert(service.file_descriptor_set)) {
            let added = files.add(&Bytes::from_static(service.file_descriptor_set));
            for error in ReflectionError::of(Source::Service(service.name), added) {
                self.known.tell(&error);
            }
        }
        let names = services.iter().map(|service| service.name.to_owned());
        let names = names.chain(self.known.names.iter().cloned()).collect();
        Arc::new(Served { files, names })
    }
}

impl Knowledge {
    fn tell(&self, error: &ReflectionError) {
        let Some(hook) = &self.on_problem else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(error) {
            return;
        }
        told.push(error.clone());
        drop(told);
        hook(error);
    }
}

impl fmt::Debug for Knowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Knowledge")
            .field("files", &self.files)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Service for ReflectionServer {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        self.descriptor
    }

    fn call(&self, method: usize, start: Start<'_>) -> Started {
        if method != 0 {
            return start.unimplemented();
        }
        let served = Arc::clone(self.served.get_or_init(|| self.learn(&[])));
        start.bidi_streaming::<Buffa, ServerReflectionRequest, ServerReflectionResponse, _, _>(
            move |call, ends| async move {
                let (requests, replies) = ends.open(&call);
                let result = served.answer_all(requests, replies).await;
                (call, result)
            },
        )
    }

    fn serving(&self, services: &[&'static ServiceDescriptor]) {
        self.served.get_or_init(|| self.learn(services));
    }
}

impl Served {
    async fn answer_all(
        &self,
        mut requests: Inbound<ServerReflectionRequest>,
        mut replies: Outbound<ServerReflectionResponse>,
    ) -> Result<()> {
        let mut sent = BTreeSet::new();
        while let Some(request) = requests.next().await? {
            let answer = match &request.message_request {
                Some(question) => self.answer(question, &mut sent),
                None => error(Code::InvalidArgument, "nothing is asked"),
            };
            let reply = ServerReflectionResponse {
                valid_host: request.host.clone(),
                original_request: request.into(),
                message_response: Some(answer),
                ..Default::default()
            };
            replies.send(reply).await?;
        }
        Ok(())
    }

    fn answer(&self, question: &Question, sent: &mut BTreeSet<usize>) -> Answer {
        let files = &self.files;
        let (file, missing) = match question {
            Question::FileByFilename(name) => (files.named(name), "no file has this name"),
            Question::FileContainingSymbol(symbol) => {
                (files.declaring(symbol), "no file declares this symbol")
            }
            Question::FileContainingExtension(asked) => {
                let file = files.extending(&asked.containing_type, asked.extension_number);
                (file, "no file declares this extension")
            }
            Question::AllExtensionNumbersOfType(message) => {
                return match files.extension_numbers(message) {
                    Some(extension_number) => Answer::from(ExtensionNumberResponse {
                        base_type_name: message.clone(),
                        extension_number,
                        ..Default::default()
                    }),
                    None => error(Code::NotFound, "no file declares this message"),
                };
            }
            Question::ListServices(_) => return self.list(),
        };
        match file {
            Some(file) => Answer::from(FileDescriptorResponse {
                file_descriptor_proto: files.with_imports(file, sent),
                ..Default::default()
            }),
            None => error(Code::NotFound, missing),
        }
    }

    fn list(&self) -> Answer {
        let service = |name: &String| ServiceResponse { name: name.clone(), ..Default::default() };
        let service = self.names.iter().map(service).collect();
        Answer::from(ListServiceResponse { service, ..Default::default() })
    }
}

fn error(code: Code, message: &str) -> Answer {
    Answer::from(ErrorResponse {
        error_code: code as i32,
        error_message: message.to_owned(),
        ..Default::default()
    })
}

impl fmt::Debug for ReflectionServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReflectionServer")
            .field("service", &self.descriptor.name)
            .finish_non_exhaustive()
    }
}

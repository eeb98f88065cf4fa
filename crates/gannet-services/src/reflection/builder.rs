//! [`Reflection`] and how it is made.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::generated::grpc::reflection::{v1, v1alpha};
use super::index::Index;
use super::server::{Knowledge, ReflectionServer};
use super::wire::Malformed;

/// Tells what servers serve: makes the services to be added to them.
#[derive(Clone, Debug)]
pub struct Reflection(Arc<Knowledge>);

impl Reflection {
    /// Knows the services of the servers it is added to, and nothing else.
    pub fn new() -> Reflection {
        Reflection(Arc::default())
    }

    /// For who has more to tell than the services of the server.
    pub fn builder() -> Builder {
        Builder { sets: Vec::new(), names: Vec::new(), on_problem: None }
    }

    /// The service `grpc.reflection.v1.ServerReflection`, to be added to a server.
    pub fn v1(&self) -> ReflectionServer {
        ReflectionServer::new(&v1::SERVER_REFLECTION, &self.0)
    }

    /// The same under its older name, `grpc.reflection.v1alpha.ServerReflection`, which some tools
    /// and libraries still ask for.
    pub fn v1alpha(&self) -> ReflectionServer {
        ReflectionServer::new(&v1alpha::SERVER_REFLECTION, &self.0)
    }
}

impl Default for Reflection {
    fn default() -> Reflection {
        Reflection::new()
    }
}

/// Collects what a [`Reflection`] knows besides the services of its server.
///
/// ```
/// # const EVENTS: &[u8] = &[];
/// use gannet::services::reflection::Reflection;
/// # fn example() -> Result<(), gannet::services::reflection::ReflectionError> {
/// let reflection = Reflection::builder()
///     .register(EVENTS) // `proto::shop::FILE_DESCRIPTOR_SET`
///     .list("shop.Events")
///     .build()?;
/// # drop(reflection); Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "nothing is known before `build`"]
pub struct Builder {
    sets: Vec<Bytes>,
    names: Vec<String>,
    on_problem: Option<OnProblem>,
}

pub(super) type OnProblem = Arc<dyn Fn(&ReflectionError) + Send + Sync>;

impl Builder {
    /// Adds the files of an encoded `google.protobuf.FileDescriptorSet`, such as the constant
    /// `FILE_DESCRIPTOR_SET` of a generated module. Their services are not listed by that.
    pub fn register(mut self, set: impl Into<Bytes>) -> Builder {
        self.sets.push(set.into());
        self
    }

    /// Lists a service by its full name, beside those of the server.
    pub fn list(mut self, service: impl Into<String>) -> Builder {
        self.names.push(service.into());
        self
    }

    /// Tells `hook` what is wrong with the files of the server's own services, when it begins to
    /// serve: each thing once. That fails no server; by default nobody hears of it. It must not
    /// block.
    pub fn on_problem(
        mut self,
        hook: impl Fn(&ReflectionError) + Send + Sync + 'static,
    ) -> Builder {
        self.on_problem = Some(Arc::new(hook));
        self
    }

    /// Reads what was registered.
    ///
    /// # Errors
    ///
    /// Where a set is not an encoded `FileDescriptorSet`, and where two files have the same name of
    /// which neither declares all that the other does. Of two that declare the same things the
    /// first counts.
    pub fn build(self) -> Result<Reflection, ReflectionError> {
        let mut files = Index::default();
        for (place, set) in self.sets.iter().enumerate() {
            let source = Source::Registered(place);
            if let Some(error) = ReflectionError::of(source, files.add(set)).into_iter().next() {
                return Err(error);
            }
        }
        let Builder { names, on_problem, .. } = self;
        Ok(Reflection(Arc::new(Knowledge { files, names, on_problem, told: Default::default() })))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("sets", &self.sets.len())
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// What is wrong with files that a [`Reflection`] was given, or has from a server's services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReflectionError {
    source: Source,
    problem: Problem,
}

/// Where files come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Which set, from 0.
    Registered(usize),
    /// The service of this name.
    Service(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    /// They are no encoded `FileDescriptorSet`.
    Malformed,
    /// The file of this name declares other things than the one that is there.
    Differs(String),
}

impl ReflectionError {
    /// What came of adding a set.
    pub(super) fn of(
        source: Source,
        added: Result<Vec<String>, Malformed>,
    ) -> Vec<ReflectionError> {
        let problems = match added {
            Ok(names) => names.into_iter().map(Problem::Differs).collect(),
            Err(Malformed) => vec![Problem::Malformed],
        };
        problems.into_iter().map(|problem| ReflectionError { source, problem }).collect()
    }
}

impl fmt::Display for ReflectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::Registered(place) => write!(f, "registered set {}", place + 1)?,
            Source::Service(name) => write!(f, "the set of service {name}")?,
        }
        match &self.problem {
            Problem::Malformed => {
                write!(f, " is not an encoded google.protobuf.FileDescriptorSet")
            }
            Problem::Differs(name) => write!(
                f,
                " has a file {name:?} that declares other things than the file of that name before \
                 it: name one by another path"
            ),
        }
    }
}

impl std::error::Error for ReflectionError {}

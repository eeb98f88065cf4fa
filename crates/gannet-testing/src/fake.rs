//! [`FakeServer`]: a server for tests of clients, which answers as it was told and keeps what it
//! was asked.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gannet_client::Channel;
use gannet_core::codec::Raw;
use gannet_core::{
    Codec, Metadata, MethodDescriptor, MethodKind, Result, ServiceDescriptor, Status,
};
use gannet_server::{Call, Server, Service, Start, Started};
use gannet_transport::{Inbound, Outbound};

use crate::InProcess;

/// Serves what a service describes, with answers that a test gives.
///
/// ```
/// # use gannet_testing::example::ECHO;
/// # use gannet_core::{Code, Status, codec::Raw};
/// use gannet_testing::{FakeAnswer, FakeServer};
///
/// # gannet_testing::virtual_time(async {
/// // Generated code has a description of each service, such as `proto::greeter::GREETER`, and its
/// // messages the codec `gannet::codec::Buffa`.
/// let fake = FakeServer::new(&ECHO).on("Say", [
///     FakeAnswer::fail(Status::unavailable("not now")),
///     FakeAnswer::message::<Raw, _>(&b"fine".to_vec()),
/// ]);
/// let channel = fake.channel();
/// // What is tested:
/// let say = || channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], b"how?".to_vec());
/// assert_eq!(say().await.unwrap_err().code(), Code::Unavailable);
/// assert_eq!(say().header("x-try", "2").await.unwrap(), b"fine");
///
/// let calls = fake.calls();
/// assert_eq!(calls.len(), 2);
/// assert_eq!(calls[1].metadata().get("x-try"), Some("2"));
/// assert_eq!(calls[1].messages::<Raw, Vec<u8>>().unwrap(), [b"how?"]);
/// # });
/// ```
///
/// Methods for which no answer was given end with UNIMPLEMENTED. A method with one request, or a
/// stream of them and one reply, is answered when the requests have come; one with streams both
/// ways gets a message for each that it sends, and what is left when it is done. Clones are the
/// same.
#[derive(Clone)]
pub struct FakeServer(Arc<Shared>);

struct Shared {
    service: &'static ServiceDescriptor,
    answers: Mutex<HashMap<&'static str, Vec<FakeAnswer>>>,
    calls: Mutex<Vec<Recorded>>,
}

/// What a [`FakeServer`] answers to one call.
#[derive(Clone, Debug, Default)]
pub struct FakeAnswer {
    headers: Metadata,
    messages: Vec<Bytes>,
    trailers: Metadata,
    status: Option<Status>,
    delay: Duration,
}

/// A call that came, as far as it has come.
#[derive(Clone)]
pub struct Recorded {
    method: &'static MethodDescriptor,
    metadata: Metadata,
    time_left: Option<Duration>,
    messages: Arc<Mutex<Vec<Bytes>>>,
}

impl FakeServer {
    /// Answers nothing yet.
    pub fn new(service: &'static ServiceDescriptor) -> FakeServer {
        FakeServer(Arc::new(Shared { service, answers: Mutex::default(), calls: Mutex::default() }))
    }

    /// Answers calls of this method, by its name in the service (`"Say"`), with these answers, one
    /// after the other; the last one to all that follow. In place of those that were given before.
    ///
    /// # Panics
    /// Where the service has no such method, or there is no answer.
    #[must_use]
    pub fn on(self, method: &str, answers: impl IntoIterator<Item = FakeAnswer>) -> FakeServer {
        self.set(method, answers);
        self
    }

    /// As [`on`](Self::on), later.
    ///
    /// # Panics
    /// As there.
    pub fn set(&self, method: &str, answers: impl IntoIterator<Item = FakeAnswer>) {
        let service = self.0.service;
        let found = service.methods.iter().find(|known| known.name == method);
        let Some(found) = found else { panic!("{} has no method {method:?}", service.name) };
        let mut answers: Vec<_> = answers.into_iter().collect();
        assert!(!answers.is_empty(), "an answer is needed");
        answers.reverse();
        locked(&self.0.answers).insert(found.name, answers);
    }

    /// A channel to it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn channel(&self) -> Channel {
        self.serve().channel()
    }

    /// The server, for channels of one's own.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn serve(&self) -> InProcess {
        InProcess::serve(Server::new().add(self.clone()))
    }

    /// The calls that came so far, in order; also those that are not answered yet.
    pub fn calls(&self) -> Vec<Recorded> {
        locked(&self.0.calls).clone()
    }

    /// Keeps the call, and says what to answer.
    fn begin(&self, call: &Call) -> (Recorded, Result<FakeAnswer>) {
        let recorded = Recorded {
            method: call.method(),
            metadata: call.metadata().clone(),
            time_left: call.time_left(),
            messages: Arc::default(),
        };
        locked(&self.0.calls).push(recorded.clone());
        let mut answers = locked(&self.0.answers);
        let answer = match answers.get_mut(call.method().name) {
            None => {
                let path = call.method().path;
                Err(Status::unimplemented(format!("the fake server was not told of {path}")))
            }
            Some(left) if left.len() > 1 => Ok(left.pop().unwrap_or_default()),
            Some(left) => Ok(left[0].clone()),
        };
        (recorded, answer)
    }

    async fn one(self, mut call: Call, request: Bytes) -> (Call, Result<Bytes>) {
        let (recorded, answer) = self.begin(&call);
        recorded.keep(request);
        let reply = match answer {
            Ok(answer) => answer.one(&mut call).await,
            Err(status) => Err(status),
        };
        (call, reply)
    }

    async fn upload(self, call: &mut Call, mut requests: Inbound<Bytes>) -> Result<Bytes> {
        let (recorded, answer) = self.begin(call);
        while let Some(request) = requests.next().await? {
            recorded.keep(request);
        }
        answer?.one(call).await
    }

    async fn download(self, call: &mut Call, request: Bytes, to: Outbound<Bytes>) -> Result<()> {
        let (recorded, answer) = self.begin(call);
        recorded.keep(request);
        answer?.all(call, to).await
    }

    async fn chat(
        self,
        call: &mut Call,
        mut requests: Inbound<Bytes>,
        mut to: Outbound<Bytes>,
    ) -> Result<()> {
        let (recorded, answer) = self.begin(call);
        let mut answer = answer?;
        answer.start(call).await?;
        let mut messages = std::mem::take(&mut answer.messages).into_iter();
        while let Some(request) = requests.next().await? {
            recorded.keep(request);
            if let Some(message) = messages.next() {
                to.send(message).await?;
            }
        }
        for message in messages {
            to.send(message).await?;
        }
        answer.end()
    }
}

impl Service for FakeServer {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        self.0.service
    }

    fn call(&self, method: usize, start: Start<'_>) -> Started {
        let fake = self.clone();
        let Some(method) = self.0.service.methods.get(method) else {
            return start.unimplemented();
        };
        match method.kind {
            MethodKind::Unary => {
                start.unary::<Raw, Bytes, Bytes, _, _>(move |call, request| fake.one(call, request))
            }
            MethodKind::ClientStreaming => start.client_streaming::<Raw, Bytes, Bytes, _, _>(
                move |mut call, ends| async move {
                    let requests = ends.open(&call);
                    let result = fake.upload(&mut call, requests).await;
                    (call, result)
                },
            ),
            MethodKind::ServerStreaming => start.server_streaming::<Raw, Bytes, Bytes, _, _>(
                move |mut call, request, ends| async move {
                    let to = ends.open(&call);
                    let result = fake.download(&mut call, request, to).await;
                    (call, result)
                },
            ),
            MethodKind::BidiStreaming => {
                start.bidi_streaming::<Raw, Bytes, Bytes, _, _>(move |mut call, ends| async move {
                    let (requests, to) = ends.open(&call);
                    let result = fake.chat(&mut call, requests, to).await;
                    (call, result)
                })
            }
        }
    }
}

impl fmt::Debug for FakeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeServer")
            .field("service", &self.0.service.name)
            .field("calls", &locked(&self.0.calls).len())
            .finish_non_exhaustive()
    }
}

impl FakeAnswer {
    /// One message, and a good end.
    ///
    /// # Panics
    /// Where it cannot be encoded.
    pub fn message<C: Codec<T>, T>(message: &T) -> FakeAnswer {
        FakeAnswer::messages::<C, T>([message])
    }

    /// These messages, and a good end.
    ///
    /// # Panics
    /// Where one cannot be encoded.
    pub fn messages<'a, C, T>(messages: impl IntoIterator<Item = &'a T>) -> FakeAnswer
    where
        C: Codec<T>,
        T: 'a,
    {
        let encoded = |message| {
            let mut bytes = Vec::new();
            C::encode(message, usize::MAX, &mut bytes).expect("a message can be encoded");
            Bytes::from(bytes)
        };
        FakeAnswer { messages: messages.into_iter().map(encoded).collect(), ..Default::default() }
    }

    /// A bad end, without a message.
    pub fn fail(status: Status) -> FakeAnswer {
        FakeAnswer { status: Some(status), ..Default::default() }
    }

    /// Ends badly behind the messages.
    #[must_use]
    pub fn then_fail(mut self, status: Status) -> FakeAnswer {
        self.status = Some(status);
        self
    }

    /// Waits for so long before anything is answered, headers included.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> FakeAnswer {
        self.delay = delay;
        self
    }

    /// Sends these headers.
    #[must_use]
    pub fn headers(mut self, headers: Metadata) -> FakeAnswer {
        self.headers = headers;
        self
    }

    /// Sends these trailers.
    #[must_use]
    pub fn trailers(mut self, trailers: Metadata) -> FakeAnswer {
        self.trailers = trailers;
        self
    }

    async fn start(&self, call: &mut Call) -> Result<()> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        // What is too large to be sent fails the call.
        call.headers_mut().extend_from(&self.headers)?;
        call.trailers_mut().extend_from(&self.trailers)?;
        Ok(())
    }

    fn end(self) -> Result<()> {
        self.status.map_or(Ok(()), Err)
    }

    async fn one(mut self, call: &mut Call) -> Result<Bytes> {
        self.start(call).await?;
        let mut messages = std::mem::take(&mut self.messages);
        self.end()?;
        match (messages.pop(), messages.is_empty()) {
            (Some(message), true) => Ok(message),
            _ => Err(Status::internal("the fake server was told of not exactly one message")),
        }
    }

    async fn all(mut self, call: &mut Call, mut to: Outbound<Bytes>) -> Result<()> {
        self.start(call).await?;
        for message in std::mem::take(&mut self.messages) {
            to.send(message).await?;
        }
        self.end()
    }
}

impl Recorded {
    /// The method that was called.
    pub fn method(&self) -> &'static MethodDescriptor {
        self.method
    }

    /// What came besides messages.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How long the client was going to wait when the call came.
    pub fn time_left(&self) -> Option<Duration> {
        self.time_left
    }

    /// The requests, as far as they have come.
    ///
    /// # Errors
    /// Where one cannot be decoded.
    pub fn messages<C: Codec<T>, T>(&self) -> Result<Vec<T>> {
        let messages = locked(&self.messages);
        messages.iter().map(|message| C::decode(message).map_err(Status::from)).collect()
    }

    fn keep(&self, message: Bytes) {
        locked(&self.messages).push(message);
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("method", &self.method.path)
            .field("metadata", &self.metadata)
            .field("time_left", &self.time_left)
            .field("messages", &locked(&self.messages).len())
            .finish()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

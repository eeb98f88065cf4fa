//! The service under test, in the shape generated code has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gannet_core::codec::{Codec, DecodeError, EncodeError, Raw};
use gannet_core::{Code, MethodDescriptor, MethodKind, Result, ServiceDescriptor, Status};
use gannet_server::{Call, Ends, Service, Start, Started};
use gannet_transport::{Inbound, Outbound};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

pub(crate) static TEST: ServiceDescriptor = ServiceDescriptor::new(
    "test.Test",
    &[
        MethodDescriptor::new("/test.Test/Echo", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/Wait", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/Fail", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/Panic", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/Meta", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/Where", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/Upload", MethodKind::ClientStreaming),
        MethodDescriptor::new("/test.Test/Download", MethodKind::ServerStreaming),
        MethodDescriptor::new("/test.Test/Chat", MethodKind::BidiStreaming),
        MethodDescriptor::new("/test.Test/Missing", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/Block", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/MetaStream", MethodKind::ServerStreaming),
        MethodDescriptor::new("/test.Test/Hold", MethodKind::Unary),
        MethodDescriptor::new("/test.Test/Leave", MethodKind::ClientStreaming),
    ],
);

/// What tests share with the handlers.
#[derive(Debug)]
pub(crate) struct World {
    /// Lets handlers that wait go on, one for each permit.
    pub(crate) gate: Semaphore,
    pub(crate) started: AtomicUsize,
    /// Handlers whose future is gone, however.
    pub(crate) gone: AtomicUsize,
    /// Messages that handlers have sent.
    pub(crate) sent: AtomicUsize,
    pub(crate) saw_cancel: AtomicUsize,
    /// Notified when a handler starts or is gone.
    moved: Notify,
}

#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) world: Arc<World>,
}

impl Test {
    pub(crate) fn new() -> Test {
        let world = World {
            gate: Semaphore::new(0),
            started: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            saw_cancel: AtomicUsize::new(0),
            moved: Notify::new(),
        };
        Test { world: Arc::new(world) }
    }
}

impl World {
    pub(crate) fn gone(&self) -> usize {
        self.gone.load(Ordering::SeqCst)
    }

    pub(crate) fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    /// Lets tasks run until the condition holds.
    pub(crate) async fn settle(&self, done: impl Fn(&World) -> bool) {
        for _ in 0..10_000 {
            if done(self) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("never happened: {self:?}");
    }

    /// Waits until handlers, on whatever thread, have started or gone so that the condition holds.
    pub(crate) async fn happens(&self, done: impl Fn(&World) -> bool) {
        let wait = async {
            loop {
                let mut moved = std::pin::pin!(self.moved.notified());
                moved.as_mut().enable();
                if done(self) {
                    return;
                }
                moved.await;
            }
        };
        let happened = tokio::time::timeout(PATIENCE, wait).await;
        happened.unwrap_or_else(|_| panic!("never happened: {self:?}"));
    }

    fn enter(self: &Arc<Self>) -> Gone {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.moved.notify_waiters();
        Gone(Arc::clone(self))
    }

    async fn pass(&self) {
        self.gate.acquire().await.unwrap().forget();
    }
}

/// Long after anything that is to happen has happened, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Gone(Arc<World>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.gone.fetch_add(1, Ordering::SeqCst);
        self.0.moved.notify_waiters();
    }
}

type Bytes = Vec<u8>;

async fn wait(world: &Arc<World>, message: Bytes) -> Result<Bytes> {
    let _gone = world.enter();
    world.pass().await;
    Ok(message)
}

fn fail(message: &[u8]) -> Status {
    let number = std::str::from_utf8(message).unwrap().parse::<i32>().unwrap();
    let mut status = Status::new(Code::from(number), "made by the handler: 100% ä");
    status.metadata_mut().insert("x-why", "because").unwrap();
    status
}

fn meta(call: &mut Call, message: Bytes) -> Result<Bytes> {
    let echoed = call.metadata().get("x-in").unwrap_or("nothing").to_owned();
    let binary = call.metadata().get_bin("x-in-bin").unwrap().unwrap_or_default();
    call.headers_mut().insert("x-out", &echoed).unwrap();
    let all: Result<Vec<_>, _> = call.metadata().get_all_bin("x-in-bin").collect();
    call.trailers_mut().insert_bin("x-trail-bin", &binary).unwrap();
    for one in all.unwrap() {
        call.trailers_mut().append_bin("x-all-bin", &one).unwrap();
    }
    let told = format!("{} {:?} {}", call.method().name, call.authority(), call.peer());
    call.trailers_mut().insert("x-told", told.replace('"', "'")).unwrap();
    Ok(message)
}

/// Says which task and thread it runs on, after computing for as many milliseconds as asked.
fn whereabouts(message: &[u8]) -> Bytes {
    let millis = message.first().copied().unwrap_or(0);
    std::thread::sleep(Duration::from_millis(u64::from(millis)));
    let task = tokio::task::try_id().map(|id| id.to_string()).unwrap_or_default();
    let thread = std::thread::current().id();
    format!("{task} {thread:?}").into_bytes()
}

async fn upload(world: &Arc<World>, messages: &mut Inbound<Bytes>) -> Result<Bytes> {
    let _gone = world.enter();
    let (mut count, mut bytes) = (0, 0);
    while let Some(message) = messages.next().await? {
        count += 1;
        bytes += message.len();
        match &*message {
            b"stop" => break,
            b"gate" => world.pass().await,
            b"fail" => return Err(Status::aborted("told to")),
            _ => {}
        }
    }
    Ok(format!("{count} {bytes}").into_bytes())
}

/// The message is `count size`; count 0 fails before, and `size` 0 after the messages.
async fn download(world: &Arc<World>, message: Bytes, replies: &mut Outbound<Bytes>) -> Result<()> {
    let _gone = world.enter();
    let text = String::from_utf8(message).unwrap();
    let (count, size) = text.split_once(' ').unwrap();
    let (count, size): (usize, usize) = (count.parse().unwrap(), size.parse().unwrap());
    for n in 0..count {
        let byte = u8::try_from(n % 251).unwrap();
        replies.send(vec![byte; size]).await?;
        world.sent.fetch_add(1, Ordering::SeqCst);
    }
    if count == 0 || size == 0 {
        return Err(Status::data_loss("nothing to send"));
    }
    Ok(())
}

async fn chat(
    world: &Arc<World>,
    messages: &mut Inbound<Bytes>,
    replies: &mut Outbound<Bytes>,
) -> Result<()> {
    let _gone = world.enter();
    while let Some(message) = messages.next().await? {
        if message == b"panic" {
            panic!("told to");
        }
        replies.send(message).await?;
    }
    Ok(())
}

async fn meta_stream(
    mut call: Call,
    message: Bytes,
    replies: Ends<Raw, Outbound<Bytes>>,
) -> (Call, Result<()>) {
    let mut replies = replies.open(&call);
    let result = send_meta(&mut call, message, &mut replies).await;
    (call, result)
}

async fn send_meta(call: &mut Call, message: Bytes, replies: &mut Outbound<Bytes>) -> Result<()> {
    call.headers_mut().insert("x-first", "1").unwrap();
    call.headers_mut().insert("x-second", "2").unwrap();
    if message == b"early" {
        call.send_headers();
        std::future::pending::<()>().await;
    }
    if message == b"send" {
        replies.send(message).await?;
        call.headers_mut().insert("x-late", "3").unwrap();
        tokio::task::yield_now().await;
    }
    call.trailers_mut().insert("x-end", "4").unwrap();
    Err(Status::unavailable("later"))
}

/// Blocks until the call is cancelled.
fn block(world: &Arc<World>, call: &Call) {
    let _gone = world.enter();
    while !call.is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    world.saw_cancel.fetch_add(1, Ordering::SeqCst);
}

/// Blocks until the gate lets it pass, cancelled or not.
fn hold(world: &Arc<World>) {
    let _gone = world.enter();
    while world.gate.try_acquire().map(SemaphorePermit::forget).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// As [`Raw`], but a message that begins with 0xff cannot be decoded.
struct Picky;

impl Codec<Bytes> for Picky {
    fn encode(message: &Bytes, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Raw::encode(message, bytes_max, out)
    }

    fn decode(payload: &[u8]) -> Result<Bytes, DecodeError> {
        match payload.first() {
            Some(0xff) => Err(DecodeError::new(std::io::Error::other("it begins with 0xff"))),
            _ => Raw::decode(payload),
        }
    }
}

impl Service for Test {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &TEST
    }

    fn call(&self, method: usize, start: Start<'_>) -> Started {
        let world = Arc::clone(&self.world);
        match method {
            0 => start.unary::<Picky, Bytes, Bytes, _, _>(|call, message| async move {
                let result = Ok(message);
                (call, result)
            }),
            1 => start.unary::<Raw, Bytes, Bytes, _, _>(move |call, message| async move {
                let result = wait(&world, message).await;
                (call, result)
            }),
            2 => start.unary::<Raw, Bytes, Bytes, _, _>(|call, message| async move {
                (call, Err::<Bytes, _>(fail(&message)))
            }),
            3 => start.unary::<Raw, Bytes, Bytes, _, _>(|call, message: Bytes| async move {
                assert!(message == b"no panic", "told to panic");
                (call, Ok(message))
            }),
            4 => start.unary::<Raw, Bytes, Bytes, _, _>(|mut call, message| async move {
                if call.metadata().contains("x-early") {
                    call.headers_mut().insert("x-before", "1").unwrap();
                    call.send_headers();
                    tokio::task::yield_now().await;
                }
                let result = meta(&mut call, message);
                (call, result)
            }),
            5 => start.unary::<Raw, Bytes, Bytes, _, _>(|call, message: Bytes| async move {
                (call, Ok(whereabouts(&message)))
            }),
            6 => start.client_streaming::<Raw, Bytes, Bytes, _, _>(move |call, ends| async move {
                let mut messages = ends.open(&call);
                let result = upload(&world, &mut messages).await;
                (call, result)
            }),
            7 => start.server_streaming::<Raw, Bytes, Bytes, _, _>(
                move |call, message, ends| async move {
                    let mut replies = ends.open(&call);
                    let result = download(&world, message, &mut replies).await;
                    (call, result)
                },
            ),
            8 => start.bidi_streaming::<Raw, Bytes, Bytes, _, _>(move |call, ends| async move {
                let (mut messages, mut replies) = ends.open(&call);
                let result = chat(&world, &mut messages, &mut replies).await;
                (call, result)
            }),
            10 => start.unary::<Raw, Bytes, Bytes, _, _>(move |call, message| async move {
                block(&world, &call);
                (call, Ok(message))
            }),
            11 => start.server_streaming::<Raw, Bytes, Bytes, _, _>(meta_stream),
            12 => start.unary::<Raw, Bytes, Bytes, _, _>(move |call, message| async move {
                hold(&world);
                (call, Ok(message))
            }),
            13 => start.client_streaming::<Raw, Bytes, Bytes, _, _>(move |call, ends| async move {
                let mut messages = ends.open(&call);
                tokio::spawn(async move { upload(&world, &mut messages).await });
                (call, Ok(Bytes::new()))
            }),
            _ => start.unimplemented(),
        }
    }
}

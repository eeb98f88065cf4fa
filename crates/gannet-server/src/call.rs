//! [`Call`]: what a handler knows of the call it serves, besides the messages.
//!
//! Calls are recycled by the connection: one allocation serves many calls. The metadata map is
//! built only when a handler asks for it.

mod coding;
mod detached;
mod extra;
mod response;

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gannet_core::{Metadata, MethodDescriptor};
use gannet_http2::hpack::{FieldBlock, FieldKind};
use gannet_transport::{CallShared, Peer, fields};

use coding::Coding;
pub(crate) use extra::Extra;
pub use response::HeadersMut;
use response::Response;

/// One call, as its handler sees it.
pub struct Call {
    data: Box<Data>,
}

struct Data {
    shared: Arc<CallShared>,
    method: &'static MethodDescriptor,
    peer: Arc<Peer>,
    deadline: Option<Instant>,
    fields: Fields,
    /// Made when there is something of it.
    more: OnceLock<Box<More>>,
}

/// What many calls do without.
#[derive(Default)]
struct More {
    /// The request's, once it was asked for.
    metadata: OnceLock<Metadata>,
    response: Response,
    /// Where the server has compressors.
    coding: Option<Coding>,
    /// Where it has interceptors.
    extra: Option<Box<Extra>>,
}

/// The request's header fields.
enum Fields {
    /// Of this call alone; swapped with those of the next.
    Own(Box<FieldBlock>),
    /// Those that may be asked for, of this call and of others that began in the same way.
    Shared(Arc<FieldBlock>),
}

impl Call {
    /// The request's metadata. Built from the header fields the first time it is asked for.
    pub fn metadata(&self) -> &Metadata {
        let more = self.data.more.get_or_init(Box::default);
        more.metadata.get_or_init(|| fields::read_metadata(self.data.fields()))
    }

    /// When the call must have ended, all of it. Past this the handler's future is dropped.
    pub fn deadline(&self) -> Option<Instant> {
        self.data.deadline
    }

    /// How much time is left; zero past the deadline.
    pub fn time_left(&self) -> Option<Duration> {
        let now = tokio::time::Instant::now().into_std();
        self.data.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Who is calling.
    pub fn peer(&self) -> &Peer {
        &self.data.peer
    }

    /// The method that is called.
    pub fn method(&self) -> &'static MethodDescriptor {
        self.data.method
    }

    /// The authority the client addressed, from `:authority` or `host`.
    pub fn authority(&self) -> Option<&str> {
        let find = |kind| self.data.fields().iter().find(|field| field.kind == kind);
        let field = find(FieldKind::Authority).or_else(|| find(FieldKind::Host))?;
        std::str::from_utf8(field.value).ok()
    }

    /// Whether nobody waits for the reply any more: the client cancelled, the deadline passed, or
    /// the connection was lost.
    ///
    /// An asynchronous handler hardly needs this, as its future is dropped then; one that runs on
    /// the blocking pool should look now and then.
    pub fn is_cancelled(&self) -> bool {
        self.data.shared.ended().is_some() || self.shortened_deadline().is_some_and(is_past)
    }

    /// Waits until nobody waits for the reply any more.
    ///
    /// # Cancel safety
    /// May be dropped and called again at will. One task at a time may wait.
    pub async fn cancelled(&self) {
        poll_fn(|cx| self.data.shared.poll_ended(cx)).await;
    }
}

/// For the connection.
impl Call {
    pub(crate) fn new(
        shared: Arc<CallShared>,
        method: &'static MethodDescriptor,
        peer: Arc<Peer>,
    ) -> Call {
        Call {
            data: Box::new(Data {
                shared,
                method,
                peer,
                deadline: None,
                fields: Fields::Own(Box::default()),
                more: OnceLock::new(),
            }),
        }
    }

    /// Forgets the call it served.
    pub(crate) fn clear(&mut self) {
        let data = &mut *self.data;
        data.deadline = None;
        // A list that has a name is short, and may be the next call's as well.
        if let Fields::Own(fields) = &mut data.fields
            && fields.stamp() == 0
        {
            fields.clear();
        }
        if let Some(more) = data.more.get_mut() {
            more.metadata.take();
            if let Some(coding) = &mut more.coding {
                coding.clear();
            }
            if let Some(extra) = &mut more.extra {
                extra.clear();
            }
            more.response.clear();
        }
    }

    /// Makes it the call that `fields` began, by swapping.
    pub(crate) fn begin(
        &mut self,
        method: &'static MethodDescriptor,
        fields: &mut FieldBlock,
        deadline: Option<Instant>,
    ) {
        self.data.method = method;
        self.data.deadline = deadline;
        match &mut self.data.fields {
            Fields::Own(own) => std::mem::swap(&mut **own, fields),
            Fields::Shared(_) => self.data.fields = Fields::Own(Box::new(std::mem::take(fields))),
        }
    }

    /// As [`begin`](Self::begin), for a call that may stay open for long: keeps `fields`, which
    /// others may have as well.
    pub(crate) fn begin_long(
        &mut self,
        method: &'static MethodDescriptor,
        fields: Arc<FieldBlock>,
        deadline: Option<Instant>,
    ) {
        self.data.method = method;
        self.data.deadline = deadline;
        self.data.fields = Fields::Shared(fields);
    }

    pub(crate) fn shared(&self) -> &Arc<CallShared> {
        &self.data.shared
    }

    pub(crate) fn peer_shared(&self) -> &Arc<Peer> {
        &self.data.peer
    }
}

fn is_past(deadline: Instant) -> bool {
    deadline <= tokio::time::Instant::now().into_std()
}

impl Data {
    fn fields(&self) -> &FieldBlock {
        match &self.fields {
            Fields::Own(fields) => fields,
            Fields::Shared(fields) => fields,
        }
    }

    #[inline]
    fn more_mut(&mut self) -> &mut More {
        if self.more.get_mut().is_none() {
            self.make_more();
        }
        self.more.get_mut().expect("it was made just now")
    }

    #[cold]
    fn make_more(&mut self) {
        self.more = OnceLock::from(Box::default());
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.data.method.path)
            .field("peer", &self.data.peer)
            .field("deadline", &self.data.deadline)
            .field("metadata", self.metadata())
            .finish_non_exhaustive()
    }
}

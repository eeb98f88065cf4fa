//! Calls that no connection brought.

use std::sync::Arc;
use std::time::Instant;

use gannet_core::{Metadata, MethodDescriptor};
use gannet_transport::{CallShared, Peer};

use super::Call;

impl Call {
    /// A call that no connection brought, which is ended by its shared state. For
    /// `gannet-testing`, whose users call handlers by hand.
    #[doc(hidden)]
    pub fn detached(
        shared: Arc<CallShared>,
        method: &'static MethodDescriptor,
        peer: Peer,
        metadata: Metadata,
        deadline: Option<Instant>,
    ) -> Call {
        let mut call = Call::new(shared, method, Arc::new(peer));
        call.data.deadline = deadline;
        *call.request_metadata_mut() = metadata;
        call
    }
}

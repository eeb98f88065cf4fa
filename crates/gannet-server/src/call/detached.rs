//! Calls that no connection brought.

use std::sync::Arc;
use std::time::Instant;

use gannet_core::{Metadata, MethodDescriptor};
use gannet_transport::{CallQueue, CallShared, Peer};

use super::Call;

impl Call {
    /// A call that no connection brought, and the state by which it can be ended. For
    /// `gannet-testing`, whose users call handlers by hand.
    #[doc(hidden)]
    pub fn detached(
        method: &'static MethodDescriptor,
        peer: Peer,
        metadata: Metadata,
        deadline: Option<Instant>,
    ) -> (Call, Arc<CallShared>) {
        let shared = CallShared::new(Arc::new(Nobody), u32::MAX);
        let mut call = Call::new(Arc::clone(&shared), method, Arc::new(peer));
        call.data.deadline = deadline;
        *call.request_metadata_mut() = metadata;
        (call, shared)
    }
}

/// Hears what a call asks of its connection.
struct Nobody;

impl CallQueue for Nobody {
    fn push_call(&self, call: &Arc<CallShared>) {
        let _ = call.take_asks();
    }

    fn is_closed(&self) -> bool {
        false
    }
}

//! Health: tells load balancers, orchestrators and clients whether a server and its services are to
//! be called. `grpc.health.v1`, as gRPC's document "GRPC Health Checking Protocol" and gRFC A90
//! (`List`) say.
//!
//! ```no_run
//! # async fn run() -> Result<(), gannet::server::ServeError> {
//! use std::time::Duration;
//! use gannet::{Server, services::health::Health};
//!
//! let health = Health::new();
//! health.set_not_serving("shop.Orders"); // Until its database answers: `health.set_serving(…)`.
//! let signal = async { /* for instance tokio::signal::ctrl_c().await */ };
//! Server::new()
//!     .add(health.server())
//!     .serve("[::]:50051")
//!     .shutdown_on(signal, Duration::from_secs(30))
//!     .await
//! # }
//! ```
//!
//! Once the server drains, everything is `NOT_SERVING`, without a word of the application.

mod service;
mod states;

use std::fmt;
use std::sync::Arc;

pub use self::generated::grpc::health::v1::health_check_response::ServingStatus;
pub use self::service::HealthServer;
use self::states::States;

mod generated;

/// The messages of `grpc.health.v1`, and the descriptor of its service, for who calls it.
pub mod v1 {
    pub use super::generated::grpc::health::v1::{
        FILE_DESCRIPTOR_SET, HEALTH, HealthCheckRequest, HealthCheckResponse, HealthListRequest,
        HealthListResponse, health_check_response,
    };
}

/// Says how the services of a server are. Clones say it of the same services.
///
/// The name of a service is its full one, `shop.Orders`, as generated descriptors have it in
/// `name`; the empty one means the server as a whole. Names need not be those of services that
/// there are.
#[derive(Clone)]
pub struct Health {
    states: Arc<States>,
}

impl Health {
    /// The server as a whole is serving, and nothing is known of services.
    pub fn new() -> Health {
        Health { states: Arc::new(States::new()) }
    }

    /// The service `grpc.health.v1.Health`, to be added to a server. When that server begins to
    /// shut down gracefully, this is [shut down](Self::shutdown), those who watch are told, and
    /// their calls end with UNAVAILABLE, so that the server need not wait for them.
    ///
    /// It can be added to several servers, for instance to one that only answers probes. Once one
    /// of them shuts down, the others say `NOT_SERVING`, too, until [`resume`](Self::resume), and
    /// go on: who watches there stays.
    pub fn server(&self) -> HealthServer {
        HealthServer::new(Arc::clone(&self.states))
    }

    /// From now on `service` is to be called.
    pub fn set_serving(&self, service: &str) {
        self.states.set(service, ServingStatus::SERVING);
    }

    /// From now on `service` is not to be called.
    pub fn set_not_serving(&self, service: &str) {
        self.states.set(service, ServingStatus::NOT_SERVING);
    }

    /// From now on nothing is known of `service`: `Check` says NOT_FOUND, `Watch`
    /// `SERVICE_UNKNOWN`.
    pub fn clear(&self, service: &str) {
        self.states.set(service, ServingStatus::SERVICE_UNKNOWN);
    }

    /// How `service` is, if that is known.
    pub fn status(&self, service: &str) -> Option<ServingStatus> {
        self.states.status(service)
    }

    /// All that is known is `NOT_SERVING`, and what is said from now on counts for nothing, until
    /// [`resume`](Self::resume).
    pub fn shutdown(&self) {
        self.states.shutdown();
    }

    /// All that is known is `SERVING`, and what is said from now on counts. Takes a
    /// [shutdown](Self::shutdown) back.
    ///
    /// Where a server has begun to shut down, that one says `NOT_SERVING` for all that, as its
    /// calls would be refused. Others with the same handle say `SERVING` from here on: so do not
    /// resume where one of them answers probes for the server that drains.
    pub fn resume(&self) {
        self.states.resume();
    }
}

impl Default for Health {
    fn default() -> Health {
        Health::new()
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Health").field(&self.states).finish()
    }
}

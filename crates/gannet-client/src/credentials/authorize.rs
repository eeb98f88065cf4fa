//! Making a call that has credentials: they are asked once there is a connection, and again where
//! the call has to be made on another one.

use std::future::poll_fn;
use std::sync::Arc;

use gannet_core::{Metadata, MethodDescriptor, Result, Status};

use tokio::runtime::Handle;

use super::{Credentials, CredentialsList, CredentialsRequest};
use crate::call::exchange::Placing;
use crate::call::request::Request;
use crate::call::started::{Answered, Started, Unmade};
use crate::call::watch::Attempt;
use crate::channel::{Config, Shared, no_runtime};
use crate::control_plane::{is_for_servers, misused};
use crate::link::deadline_exceeded;

/// Makes a call with all of these credentials.
pub(crate) async fn make_authorized(
    shared: Arc<Shared>,
    mut request: Box<Request>,
    credentials: CredentialsList,
) -> Result<Answered> {
    for one in &credentials.0 {
        check_connection(shared.config(), &**one)?;
    }
    let mut is_again = false;
    loop {
        Attempt::begin(&mut request, is_again);
        let entries = request.metadata.len();
        let times = (request.method, request.deadline);
        is_again = true;
        let placed = match shared.place(&request) {
            Some(placed) => placed,
            None => {
                let mut placing = Placing::new(&shared, request);
                let placed;
                (request, placed) = poll_fn(|cx| placing.poll_in_time(times, cx)).await?;
                placed
            }
        };
        let (method, deadline) = times;
        let authorized = {
            let authorizing = authorize(shared.config(), &mut request, &credentials);
            match deadline {
                None => authorizing.await,
                Some(_) if Handle::try_current().is_err() => Err(no_runtime()),
                Some(at) => match tokio::time::timeout_at(at.into(), authorizing).await {
                    Ok(authorized) => authorized,
                    Err(_) => Err(too_late(placed.link.address(), method)),
                },
            }
        };
        authorized.inspect_err(|status| Attempt::fail(&request, status))?;
        let mut started = Started::new(placed, request);
        request = match poll_fn(|cx| started.poll_in_time(times, cx)).await {
            Ok(made) => return Ok(made),
            Err(Unmade::Failed(status)) => return Err(status),
            Err(Unmade::Unsent(request)) => request,
        };
        request.metadata.truncate(entries);
    }
}

/// A request with what the credentials give, where that may be sent.
pub(crate) async fn authorized(
    config: &Arc<Config>,
    mut request: Box<Request>,
    credentials: &CredentialsList,
) -> Result<Box<Request>> {
    for one in &credentials.0 {
        check_connection(config, &**one)?;
    }
    authorize(config, &mut request, credentials).await?;
    Ok(request)
}

#[cold]
fn too_late(address: &str, method: &MethodDescriptor) -> Status {
    let status = deadline_exceeded(method, "its call credentials have not come");
    let told = format!("{address}: {}", status.message());
    status.with_message(told)
}

/// Adds what the credentials give, one after the other.
async fn authorize(
    config: &Arc<Config>,
    request: &mut Request,
    credentials: &CredentialsList,
) -> Result<()> {
    for one in &credentials.0 {
        let config = Arc::clone(config);
        let call = CredentialsRequest { config, method: request.method };
        let mut metadata = Arc::clone(one).metadata(call).await.map_err(failed)?;
        metadata.set_all_sensitive();
        add(&mut request.metadata, &metadata)?;
    }
    Ok(())
}

fn add(to: &mut Metadata, more: &Metadata) -> Result<()> {
    to.extend_from(more).map_err(|error| Status::internal(format!("call credentials: {error}")))
}

/// Whether what is secret may be sent.
fn check_connection(config: &Config, credentials: &dyn Credentials) -> Result<()> {
    if config.tls.is_some() || config.credentials_without_tls || !credentials.is_secret() {
        return Ok(());
    }
    Err(Status::unauthenticated(format!(
        "{}: call credentials are not sent over a connection without TLS, where anybody could read \
         them: give the channel `tls(…)`, or allow it by `allow_credentials_without_tls(true)`",
        config.shown_target()
    )))
}

/// What a call ends with whose credentials failed (gRFC A54).
#[cold]
fn failed(status: Status) -> Status {
    if is_for_servers(status.code()) {
        return misused(status, "call credentials", "the credentials");
    }
    let told = format!("call credentials: {}", status.message());
    Status::new(status.code(), told).with_source(status)
}

//! What every call can be told before it is made.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet_core::codec::Parts;
use gannet_core::compression::{CodecId, Compressors, Encoding, encode_compressed};
use gannet_core::{Extensions, Metadata, MethodCodec, MethodDescriptor, Status};

use super::request::{Body, Request};
use super::watch::{CallWatch, Watched};
use crate::channel::Config;
use crate::credentials::CredentialsList;
use crate::policy::{moment, timed};
use crate::{CallCredentials, Channel, blocking};

/// A call that is being put together.
pub(crate) struct Options<'a, Req, Resp> {
    pub(crate) channel: &'a Channel,
    pub(crate) codec: MethodCodec<Req, Resp>,
    pub(crate) send_bytes_max: usize,
    method: &'static MethodDescriptor,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    metadata: Metadata,
    wait_for_ready: bool,
    receive_bytes_max: usize,
    compress: Option<CodecId>,
    pub(super) extra: Option<Box<Extra>>,
    /// What was wrong with the options; told when the call is made.
    error: Option<Status>,
}

/// What options come to: the request, and what few calls have besides.
pub(crate) type Prepared = (Box<Request>, Option<Box<Extra>>);

/// What few calls have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    pub(crate) credentials: CredentialsList,
    pub(crate) extensions: Extensions,
}

impl<'a, Req, Resp> Options<'a, Req, Resp> {
    #[inline]
    pub(crate) fn new(
        channel: &'a Channel,
        method: &'static MethodDescriptor,
        codec: MethodCodec<Req, Resp>,
    ) -> Self {
        let config = channel.shared().config();
        let said = match config.defaults.is_empty() {
            true => Said::of(config),
            false => Said::of(config).or(config, method),
        };
        Options {
            channel,
            codec,
            send_bytes_max: said.send_bytes_max,
            method,
            timeout: None,
            deadline: None,
            metadata: Metadata::new(),
            wait_for_ready: said.wait_for_ready,
            receive_bytes_max: said.receive_bytes_max,
            compress: said.compress,
            extra: None,
            error: None,
        }
    }

    /// For a thread that waits for it.
    pub(super) fn call(&self) -> blocking::Call<'a> {
        blocking::Call { channel: self.channel, method: self.method }
    }

    pub(super) fn timeout(&mut self, timeout: Duration) {
        self.timeout = Some(self.timeout.map_or(timeout, |known| known.min(timeout)));
    }

    pub(super) fn deadline(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |known| known.min(deadline)));
    }

    pub(super) fn metadata(&mut self, metadata: Metadata) {
        if self.metadata.is_empty() {
            self.metadata = metadata;
        } else if let Err(error) = self.metadata.extend_from(&metadata) {
            self.fail(error.into());
        }
    }

    pub(super) fn header(&mut self, key: &str, value: &str) {
        if let Err(error) = self.metadata.append(key, value) {
            self.fail(error.into());
        }
    }

    pub(super) fn header_bin(&mut self, key: &str, value: &[u8]) {
        if let Err(error) = self.metadata.append_bin(key, value) {
            self.fail(error.into());
        }
    }

    pub(super) fn wait_for_ready(&mut self, on: bool) {
        self.wait_for_ready = on;
    }

    pub(super) fn max_receive_bytes(&mut self, bytes: usize) {
        self.receive_bytes_max = bytes;
    }

    pub(super) fn max_send_bytes(&mut self, bytes: usize) {
        self.send_bytes_max = bytes;
    }

    pub(super) fn compress(&mut self, encoding: Encoding) {
        self.compress = self.compressors().find(encoding.name().as_bytes());
        if self.compress.is_none() && !encoding.is_identity() {
            let told = format!("the channel has no compressor for {encoding}");
            self.fail(Status::internal(told));
        }
    }

    pub(super) fn credentials(&mut self, credentials: impl CallCredentials) {
        self.extra.get_or_insert_default().credentials.push(credentials);
    }

    pub(super) fn extension<V: Send + Sync + 'static>(&mut self, value: V) {
        self.extra.get_or_insert_default().extensions.insert(value);
    }

    fn compressors(&self) -> &'a Compressors {
        &self.channel.shared().config().compressors
    }

    /// The request of a call whose messages the application sends.
    pub(super) fn stream_request(self) -> Result<Prepared, Status> {
        let watch = CallWatch::begin(self.channel.shared().config(), self.method);
        let prepared = self.request(Body::Stream);
        match watch {
            None => prepared,
            Some(watch) => followed(watch, prepared),
        }
    }

    /// The request of a call with one message.
    pub(super) fn message_request(self, message: &Req) -> Result<Prepared, Status> {
        let watch = CallWatch::begin(self.channel.shared().config(), self.method);
        let prepared = self.encoded_request(message, watch.as_deref());
        match watch {
            None => prepared,
            Some(watch) => followed(watch, prepared),
        }
    }

    #[inline]
    fn encoded_request(self, message: &Req, watch: Option<&CallWatch>) -> Result<Prepared, Status> {
        let (mut framed, mut parts) = (Vec::new(), Parts::default());
        if let Some(compressor) = self.compress.and_then(|id| self.compressors().codec(id)) {
            let (frame, bytes_max) = (self.codec.request.framer(), self.send_bytes_max);
            let told = encode_compressed(frame, message, bytes_max, &**compressor, &mut framed)?;
            if let Some(watch) = watch {
                watch.compressed(told);
            }
            return self.request(Body::one(framed, parts));
        }
        self.codec.request.encode_parts(message, self.send_bytes_max, &mut framed, &mut parts)?;
        self.request(Body::one(framed, parts))
    }

    #[inline]
    fn request(self, body: Body) -> Result<Prepared, Status> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let config = self.channel.shared().config();
        let timeout = match (self.timeout, self.deadline) {
            (None, None) if !config.defaults.is_empty() => config.defaults.of(self.method).timeout,
            (timeout, _) => timeout,
        };
        let deadline = match timeout {
            None => self.deadline,
            // A timeout that no clock can express is none.
            Some(timeout) => moment(tokio::time::Instant::now().into_std(), timeout)
                .map(|at| self.deadline.map_or(at, |deadline| deadline.min(at)))
                .or(self.deadline),
        };
        let compressors = self.compressors().clone();
        let request = Box::new(Request {
            method: self.method,
            deadline: deadline.and_then(timed),
            metadata: self.metadata,
            body,
            watch: None,
            receive_bytes_max: Request::bytes_max(self.receive_bytes_max),
            wait_for_ready: self.wait_for_ready,
            wants_metadata: false,
            compressors,
            compress: self.compress,
            refusals: 0,
        });
        Ok((request, self.extra))
    }

    #[cold]
    fn fail(&mut self, error: Status) {
        self.error.get_or_insert(error);
    }
}

/// Gives a call to those who follow it; one that could not be prepared has ended.
#[cold]
fn followed(watch: Arc<CallWatch>, prepared: Result<Prepared, Status>) -> Result<Prepared, Status> {
    match prepared {
        Ok((mut request, extra)) => {
            request.watch = Some(Watched::new(watch));
            Ok((request, extra))
        }
        Err(status) => {
            watch.end(Err(&status));
            Err(status)
        }
    }
}

/// What a channel says of a method's calls.
struct Said {
    send_bytes_max: usize,
    receive_bytes_max: usize,
    wait_for_ready: bool,
    compress: Option<CodecId>,
}

impl Said {
    /// Of all calls.
    #[inline]
    fn of(config: &Config) -> Said {
        Said {
            send_bytes_max: config.send_bytes_max,
            receive_bytes_max: config.receive_bytes_max,
            wait_for_ready: config.wait_for_ready,
            compress: config.compress,
        }
    }

    /// With what is said of this method in its place.
    #[cold]
    fn or(self, config: &Config, method: &MethodDescriptor) -> Said {
        let defaults = config.defaults.of(method);
        Said {
            send_bytes_max: defaults.send_bytes_max.unwrap_or(self.send_bytes_max),
            receive_bytes_max: defaults.receive_bytes_max.unwrap_or(self.receive_bytes_max),
            wait_for_ready: defaults.wait_for_ready.unwrap_or(self.wait_for_ready),
            compress: match defaults.compress {
                // That it is there was seen to when the channel was built.
                Some(encoding) => config.compressors.find(encoding.name().as_bytes()),
                None => self.compress,
            },
        }
    }
}

impl<Req, Resp> fmt::Debug for Options<'_, Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("channel", &self.channel)
            .field("method", &self.method.path)
            .field("timeout", &self.timeout)
            .field("deadline", &self.deadline)
            .field("metadata", &self.metadata)
            .field("wait_for_ready", &self.wait_for_ready)
            .finish_non_exhaustive()
    }
}

/// The methods of every builder, which has a field `options`.
macro_rules! option_methods {
    () => {
        /// Ends the call with DEADLINE_EXCEEDED when this much time has passed since it was made.
        /// The server is told. With a [deadline](Self::deadline) besides, the earlier counts.
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.options.timeout(timeout);
            self
        }

        /// Ends the call with DEADLINE_EXCEEDED at `deadline`. The server is told. Of several the
        /// earliest counts, and `None` is none.
        ///
        /// A handler that calls on hands its own caller's deadline down by this:
        /// `client.check(item).deadline(call.deadline())`.
        pub fn deadline(mut self, deadline: impl Into<Option<Instant>>) -> Self {
            if let Some(deadline) = deadline.into() {
                self.options.deadline(deadline);
            }
            self
        }

        /// Sends this metadata, behind what was given before.
        pub fn metadata(mut self, metadata: Metadata) -> Self {
            self.options.metadata(metadata);
            self
        }

        /// Sends a metadata entry with an ASCII value. A malformed one fails the call with
        /// INTERNAL.
        pub fn header(mut self, key: impl AsRef<str>, value: impl AsRef<str>) -> Self {
            self.options.header(key.as_ref(), value.as_ref());
            self
        }

        /// Sends a metadata entry with a binary value; its key ends in `-bin`. A malformed one
        /// fails the call with INTERNAL.
        pub fn header_bin(mut self, key: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
            self.options.header_bin(key.as_ref(), value.as_ref());
            self
        }

        /// Waits while the channel cannot connect, as long as the deadline allows, instead of
        /// failing with UNAVAILABLE.
        pub fn wait_for_ready(mut self, on: bool) -> Self {
            self.options.wait_for_ready(on);
            self
        }

        /// Compresses what is sent with `encoding`, one of the channel's compressors, or not at all
        /// with [`Encoding::IDENTITY`], in place of what the channel was told. One that the channel
        /// lacks fails the call with INTERNAL, and one that the server does not know with
        /// UNIMPLEMENTED.
        pub fn compress(mut self, encoding: Encoding) -> Self {
            self.options.compress(encoding);
            self
        }

        /// Sends the metadata that `credentials` give, behind that of the channel's own
        /// ([`ChannelBuilder::credentials`](crate::ChannelBuilder::credentials)).
        pub fn credentials(mut self, credentials: impl crate::CallCredentials) -> Self {
            self.options.credentials(credentials);
            self
        }

        /// Gives the channel's interceptors a value, in place of one of the same type: see
        /// [`Outgoing::extensions`](crate::Outgoing::extensions). It is not sent.
        pub fn extension<V: Send + Sync + 'static>(mut self, value: V) -> Self {
            self.options.extension(value);
            self
        }

        /// The largest response message that is accepted, bytes, compressed and decompressed. A
        /// larger one fails the call with RESOURCE_EXHAUSTED.
        pub fn max_receive_bytes(mut self, bytes: usize) -> Self {
            self.options.max_receive_bytes(bytes);
            self
        }

        /// The largest request message that is sent, bytes before compression. A larger one is not
        /// sent, and RESOURCE_EXHAUSTED.
        pub fn max_send_bytes(mut self, bytes: usize) -> Self {
            self.options.max_send_bytes(bytes);
            self
        }
    };
}

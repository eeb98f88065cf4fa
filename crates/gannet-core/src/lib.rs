//! gRPC semantics without I/O.
//!
//! What a gRPC call means, apart from how its bytes travel: [`Status`] and [`Code`], [`Metadata`],
//! the [`timeout`] grammar, length-prefixed [`frame`]s, [`codec`]s, [`compression`], method
//! [descriptors] and the [`limits`] that bound them.
//!
//! This crate does not know HTTP/2 frames, sockets, clocks, randomness or executors: everything in
//! it is a pure function of bytes. The law is gRPC's `PROTOCOL-HTTP2.md` and `statuscodes.md`.
//!
//! [descriptors]: MethodDescriptor

mod base64_lenient;
mod code;
pub mod codec;
pub mod compression;
pub mod content_type;
mod descriptor;
mod details;
mod extensions;
pub mod frame;
pub mod limits;
pub mod metadata;
pub mod names;
pub mod percent;
mod reset;
mod status;
pub mod storage;
pub mod timeout;
pub mod trailers;
pub mod varint;

pub use code::Code;
pub use codec::{Codec, DecodeError, DecodeFn, EncodeError, EncodeFn, MessageCodec, MethodCodec};
pub use descriptor::{Idempotency, MethodDescriptor, MethodKind, ServiceDescriptor};
pub use details::{Detail, PackedDetail};
pub use extensions::Extensions;
pub use frame::{FrameError, Message, MessageReader};
pub use metadata::{Metadata, MetadataError, MetadataKey};
pub use status::{Origin, Status};
pub use timeout::TimeoutError;

/// The result of a call: [`Status`] unless told otherwise.
pub type Result<T, E = Status> = std::result::Result<T, E>;

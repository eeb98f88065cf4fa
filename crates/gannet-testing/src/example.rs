//! A service for the examples of this crate's documentation, in the shape of generated code.

use gannet_core::codec::Raw;
use gannet_core::{MethodDescriptor, MethodKind, ServiceDescriptor};
use gannet_server::{Service, Start, Started};

/// One unary method and one with streams both ways.
pub static ECHO: ServiceDescriptor = ServiceDescriptor::new(
    "example.Echo",
    &[
        MethodDescriptor::new("/example.Echo/Say", MethodKind::Unary),
        MethodDescriptor::new("/example.Echo/Chat", MethodKind::BidiStreaming),
    ],
);

/// Says what it hears.
#[derive(Clone, Copy, Debug)]
pub struct Echo;

impl Service for Echo {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &ECHO
    }

    fn call(&self, method: usize, start: Start<'_>) -> Started {
        match method {
            0 => start.unary::<Raw, Vec<u8>, Vec<u8>, _, _>(|call, message| async move {
                (call, Ok(message))
            }),
            1 => start.bidi_streaming::<Raw, Vec<u8>, Vec<u8>, _, _>(|call, ends| async move {
                let (mut requests, mut replies) = ends.open(&call);
                let echo = async {
                    while let Some(message) = requests.next().await? {
                        replies.send(message).await?;
                    }
                    Ok(())
                };
                let result = echo.await;
                (call, result)
            }),
            _ => start.unimplemented(),
        }
    }
}

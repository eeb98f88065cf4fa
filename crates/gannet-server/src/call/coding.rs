//! How a call's messages are compressed, as far as they are no stream.

use std::sync::Arc;

use gannet_core::compression::{
    CodecId, CodecSet, Compressed, Compressor, Compressors, Encoding, encode_compressed,
};
use gannet_core::frame::PREFIX_BYTES;
use gannet_core::{EncodeFn, Result};

use super::{Call, Data};

/// See the module.
pub(super) struct Coding {
    compressors: Compressors,
    /// Those that the client accepts.
    accepted: CodecSet,
    /// The one for the response.
    chosen: Option<CodecId>,
    /// What the one reply was compressed with.
    pub(super) declared: Option<Encoding>,
    /// What came of the one request.
    request: Compressed,
    /// What came of the one reply.
    reply: Compressed,
}

impl Call {
    /// Compresses the response with `encoding`, or not at all with [`Encoding::IDENTITY`], in place
    /// of what the server was told for this method. Single messages of a stream may
    /// [opt out](gannet_transport::Sending::uncompressed).
    ///
    /// Whether it will: not where the server lacks the encoding or the client does not accept it,
    /// and then messages go as they are; nor once a message was sent or
    /// [headers](Self::send_headers) were, and then what was said before holds.
    pub fn compress(&mut self, encoding: Encoding) -> bool {
        let shared = Arc::clone(&self.data.shared);
        let Some(coding) = self.data.coding_mut() else { return encoding.is_identity() };
        let id = coding.compressors.find(encoding.name().as_bytes());
        let id = id.filter(|id| coding.accepted.has(*id));
        if id.is_none() && !encoding.is_identity() {
            // To be compressed in another way than was asked for is not wanted either.
            self.compress(Encoding::IDENTITY);
            return false;
        }
        if shared.is_headers_fixed() {
            return false;
        }
        coding.chosen = id;
        if self.data.method.kind.server_streams() {
            self.data.publish_compressor();
        }
        true
    }

    /// What compression of the one request came to, for a method that has one: one message where it
    /// came compressed. That of a stream is told by
    /// [`Inbound::compressed`](gannet_transport::Inbound::compressed).
    pub fn request_compressed(&self) -> Compressed {
        self.data.coding().map_or_else(Compressed::default, |coding| coding.request)
    }
}

/// For the connection.
impl Call {
    /// The server has compressors: those that the client accepts, and the one that is used unless
    /// the handler says otherwise.
    #[cold]
    pub(crate) fn begin_coding(
        &mut self,
        compressors: &Compressors,
        accepted: CodecSet,
        chosen: Option<CodecId>,
    ) {
        let coding =
            self.data.more_mut().coding.get_or_insert_with(|| Coding::new(compressors.clone()));
        coding.accepted = accepted;
        coding.chosen = chosen;
        if chosen.is_some() && self.data.method.kind.server_streams() {
            self.data.publish_compressor();
        }
    }

    /// Whether the one reply is to be compressed.
    pub(crate) fn compresses(&self) -> bool {
        self.data.coding().is_some_and(|coding| coding.chosen.is_some())
    }

    /// Encodes the one reply, compressed.
    ///
    /// # Errors
    /// As encoding.
    #[cold]
    pub(crate) fn compress_reply<T>(
        &mut self,
        frame: EncodeFn<T>,
        message: &T,
        message_bytes_max: usize,
    ) -> Result<()> {
        let codec = self.data.coding().and_then(|coding| coding.codec());
        let (out, parts) = self.reply_mut();
        out.clear();
        parts.clear();
        let Some(codec) = codec else { return Ok(frame(message, message_bytes_max, out)?) };
        let told = encode_compressed(frame, message, message_bytes_max, &*codec, out)?;
        if let Some(coding) = self.data.coding_mut() {
            coding.declared = told.map(|_| codec.encoding());
            coding.reply = told.unwrap_or_default();
        }
        Ok(())
    }

    /// The encoding that the response's headers are to declare, for a method with one reply.
    pub(crate) fn declared_encoding(&self) -> Option<Encoding> {
        self.data.coding().and_then(|coding| coding.declared)
    }

    /// The length of the one reply without its prefix: as it was encoded, and as it is compressed.
    pub(crate) fn reply_bytes(&self) -> (usize, Option<usize>) {
        let framed_bytes = self.reply().len() + self.reply_parts_bytes();
        let wire_bytes = framed_bytes.saturating_sub(PREFIX_BYTES);
        match self.data.coding().filter(|coding| coding.declared.is_some()) {
            Some(coding) => {
                (usize::try_from(coding.reply.bytes).unwrap_or(usize::MAX), Some(wire_bytes))
            }
            None => (wire_bytes, None),
        }
    }

    /// The one request came compressed.
    pub(crate) fn note_request_compressed(&mut self, compressed: Compressed) {
        if let Some(coding) = self.data.coding_mut() {
            coding.request = compressed;
        }
        self.tell_request(compressed);
    }
}

impl Coding {
    fn new(compressors: Compressors) -> Coding {
        let (request, reply) = (Compressed::default(), Compressed::default());
        let accepted = CodecSet::default();
        Coding { compressors, accepted, chosen: None, declared: None, request, reply }
    }

    pub(super) fn clear(&mut self) {
        self.accepted = CodecSet::default();
        self.chosen = None;
        self.declared = None;
        self.request = Compressed::default();
        self.reply = Compressed::default();
    }

    /// With what the response is to be compressed.
    pub(super) fn codec(&self) -> Option<Arc<dyn Compressor>> {
        self.chosen.and_then(|id| self.compressors.codec(id)).map(Arc::clone)
    }
}

impl Data {
    pub(super) fn coding(&self) -> Option<&Coding> {
        self.more.get()?.coding.as_ref()
    }

    fn coding_mut(&mut self) -> Option<&mut Coding> {
        self.more.get_mut()?.coding.as_mut()
    }

    /// As headers, for who sends them before the handler returns.
    pub(super) fn publish_compressor(&self) {
        if let Some(coding) = self.coding() {
            self.shared.choose_compressor(coding.codec());
        }
    }
}

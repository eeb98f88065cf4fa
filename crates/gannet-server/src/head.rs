//! What the server makes of request headers (PROTOCOL-HTTP2, "Requests").
//!
//! The [`Classifier`] gives each field a tag when it enters the HPACK table, so that the head of a
//! repeated request is read by comparing numbers: path to method id, content type, encoding.

use std::sync::Arc;
use std::time::Duration;

use gannet_core::compression::{CodecId, CodecSet, Compressors};
use gannet_core::{Status, content_type, timeout};
use gannet_http2::hpack::{Field, FieldBlock, FieldClassifier, FieldKind, FieldTag};

use crate::router::Router;

/// Tags fields for one server. A tag is a kind in bits 24 to 30 and a value below them.
#[derive(Debug)]
pub(crate) struct Classifier {
    router: Arc<Router>,
    compressors: Compressors,
}

const KIND_SHIFT: u32 = 24;
const VALUE_MASK: u32 = (1 << KIND_SHIFT) - 1;

const POST: u32 = 1;
const PATH: u32 = 2;
const CONTENT_TYPE: u32 = 3;
const IGNORED: u32 = 4;
const TIMEOUT: u32 = 5;
const IDENTITY: u32 = 6;
const ENCODING: u32 = 7;
const NOT_GRPC: u32 = 8;
/// The value is the number of a [`CodecId`].
const KNOWN_ENCODING: u32 = 9;
/// The value is the bits of a [`CodecSet`].
const ACCEPTED: u32 = 10;

const fn elided(kind: u32) -> FieldTag {
    FieldTag(FieldTag::ELIDE | kind << KIND_SHIFT)
}

const fn kept(kind: u32) -> FieldTag {
    FieldTag(kind << KIND_SHIFT)
}

impl Classifier {
    pub(crate) fn new(router: Arc<Router>, compressors: Compressors) -> Classifier {
        Classifier { router, compressors }
    }
}

impl FieldClassifier for Classifier {
    fn classify(&self, name: &[u8], value: &[u8]) -> FieldTag {
        match name {
            b":method" if value == b"POST" => elided(POST),
            b":path" => match self.router.find(value) {
                Some(id) => FieldTag(elided(PATH).0 | id),
                None => FieldTag::NONE,
            },
            b":scheme" | b"te" | b"grpc-message-type" => elided(IGNORED),
            b"grpc-accept-encoding" => {
                FieldTag(elided(ACCEPTED).0 | u32::from(self.compressors.listed(value).bits()))
            }
            b"content-type" => match content_type::grpc_subtype(value) {
                Some(_) => elided(CONTENT_TYPE),
                None => kept(NOT_GRPC),
            },
            b"grpc-timeout" => kept(TIMEOUT),
            b"grpc-encoding" if value == b"identity" => elided(IDENTITY),
            b"grpc-encoding" => match self.compressors.find(value) {
                Some(id) => FieldTag(elided(KNOWN_ENCODING).0 | u32::from(id.number())),
                None => kept(ENCODING),
            },
            _ => FieldTag::NONE,
        }
    }
}

/// A request head that can be answered by a method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) method: u32,
    pub(crate) timeout: Option<Duration>,
    /// With what its messages may be compressed.
    pub(crate) encoding: Option<CodecId>,
    /// With what those of the response may be.
    pub(crate) accepted: CodecSet,
}

/// What was made of the field blocks that the engine remembers: they have names.
#[derive(Debug, Default)]
pub(crate) struct KnownHeads {
    /// By the low bits of the block's stamp.
    heads: [Option<(u32, Head)>; KnownHeads::HEADS_MAX],
    /// What the last call that may stay open for long keeps of its block.
    kept: Option<Arc<FieldBlock>>,
}

impl KnownHeads {
    /// As many as the engine remembers blocks.
    const HEADS_MAX: usize = 4;

    /// As [`Head::read`], which is asked once for each block with a name.
    #[inline]
    pub(crate) fn read(
        &mut self,
        fields: &FieldBlock,
        router: &Router,
        compressors: &Compressors,
    ) -> Result<Head, Box<Refusal>> {
        let stamp = fields.stamp();
        if let Some((known, head)) = self.heads[stamp as usize % Self::HEADS_MAX]
            && known == stamp
        {
            return Ok(head);
        }
        let head = Head::read(fields, router, compressors)?;
        if stamp != 0 {
            self.heads[stamp as usize % Self::HEADS_MAX] = Some((stamp, head));
        }
        Ok(head)
    }
}

impl KnownHeads {
    /// What may be asked for of a block, in no more memory than it takes; that of the last call,
    /// where it is the same.
    pub(crate) fn kept(&mut self, fields: &FieldBlock) -> Arc<FieldBlock> {
        if let Some(kept) = &self.kept
            && kept.is_kept_of(fields)
        {
            return Arc::clone(kept);
        }
        let mut kept = FieldBlock::default();
        kept.copy_kept_from(fields);
        Arc::clone(self.kept.insert(Arc::new(kept)))
    }

    /// Gives back what only calls need.
    pub(crate) fn release(&mut self) {
        self.kept = None;
    }
}

/// Why a request is answered without a method.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// 200, unless it says that this is no gRPC at all.
    pub(crate) http_status: u16,
    pub(crate) status: Status,
    /// A header that explains the refusal.
    pub(crate) header: Option<(&'static str, &'static str)>,
    /// Who asked is no gRPC client.
    pub(crate) stranger: Option<Stranger>,
}

/// What one that does not speak gRPC, such as a browser or a probe, gets to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// A line of text.
    Text,
    /// Only the head of that: the method was HEAD.
    Head,
}

impl Head {
    /// Reads the head of a request.
    ///
    /// # Errors
    /// How to refuse it.
    pub(crate) fn read(
        fields: &FieldBlock,
        router: &Router,
        compressors: &Compressors,
    ) -> Result<Head, Box<Refusal>> {
        let mut post = false;
        let mut method = None;
        let mut content = None;
        let mut timeout = None;
        let mut encoding = None;
        let mut unknown_encoding = None;
        let mut accepted = CodecSet::default();
        for (at, (_, tag)) in fields.tags().enumerate() {
            let value = tag.0 & VALUE_MASK;
            match (tag.0 & !FieldTag::ELIDE) >> KIND_SHIFT {
                POST => post = true,
                PATH => method = Some(value),
                CONTENT_TYPE => content = content.or(Some(true)),
                NOT_GRPC => content = content.or(Some(false)),
                TIMEOUT => timeout = timeout.or(Some(at)),
                KNOWN_ENCODING => {
                    encoding = u8::try_from(value).ok().and_then(CodecId::from_number);
                }
                ENCODING => unknown_encoding = Some(at),
                ACCEPTED => {
                    accepted = accepted.and(CodecSet::from_bits(u16::try_from(value).unwrap_or(0)));
                }
                _ => {}
            }
        }
        if !post {
            return Err(Refusal::not_post(fields));
        }
        if content != Some(true) {
            return Err(Refusal::not_grpc());
        }
        let timeout = timeout.and_then(|at| fields.field(at)).map(|f| timeout::parse(f.value));
        let timeout = timeout.transpose().map_err(|error| Refusal::http(400, error.into()))?;
        let Some(method) = method else {
            return Err(Refusal::grpc(router.unknown(path(fields))));
        };
        if let Some(field) = unknown_encoding.and_then(|at| fields.field(at)) {
            return Err(Refusal::encoding(field.value, compressors));
        }
        Ok(Head { method, timeout, encoding, accepted })
    }
}

impl Refusal {
    pub(crate) fn grpc(status: Status) -> Box<Refusal> {
        Self::http(200, status)
    }

    fn http(http_status: u16, status: Status) -> Box<Refusal> {
        Box::new(Refusal { http_status, status, header: None, stranger: None })
    }

    #[cold]
    fn not_post(fields: &FieldBlock) -> Box<Refusal> {
        let head = |field: Field<'_>| field.kind == FieldKind::Method && field.value == b"HEAD";
        let mut refusal = Self::http(405, Status::internal("gRPC requests use the method POST"));
        refusal.header = Some(("allow", "POST"));
        let head = fields.iter().any(head);
        refusal.stranger = Some(if head { Stranger::Head } else { Stranger::Text });
        refusal
    }

    #[cold]
    fn not_grpc() -> Box<Refusal> {
        let status = Status::internal("the content-type is not application/grpc");
        let mut refusal = Self::http(415, status);
        refusal.stranger = Some(Stranger::Text);
        refusal
    }

    #[cold]
    fn encoding(name: &[u8], compressors: &Compressors) -> Box<Refusal> {
        let (shown, accepted) = (name.escape_ascii(), compressors.accepted());
        let told = format!("grpc-encoding {shown} is not supported; accepted: {accepted}");
        let mut refusal = Self::grpc(Status::unimplemented(told));
        // Otherwise it is in every response.
        if compressors.is_empty() {
            refusal.header = Some(("grpc-accept-encoding", "identity"));
        }
        refusal
    }
}

/// The method that a request names, where the server has it.
pub(crate) fn method_of(fields: &FieldBlock) -> Option<u32> {
    let is_path = |tag: &FieldTag| (tag.0 & !FieldTag::ELIDE) >> KIND_SHIFT == PATH;
    fields.tags().map(|(_, tag)| tag).find(is_path).map(|tag| tag.0 & VALUE_MASK)
}

/// The path of a request that names no method of the server.
pub(crate) fn path(fields: &FieldBlock) -> &[u8] {
    let field = fields.iter().find(|field| field.kind == FieldKind::Path);
    field.map(|field| field.value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Plan;
    use gannet_core::Code;

    type List<'a> = &'a [(&'a str, &'a str)];

    fn read(list: List<'_>) -> Result<Head, Box<Refusal>> {
        let router = Arc::new(Router::new(&Plan::default()));
        let compressors = Compressors::new();
        let classifier = Classifier::new(Arc::clone(&router), compressors.clone());
        let mut fields = FieldBlock::default();
        for (name, value) in list {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            fields.push(FieldKind::of(name, value), classifier.classify(name, value), name, value);
        }
        Head::read(&fields, &router, &compressors)
    }

    #[test]
    fn calls_that_begin_in_the_same_way_keep_the_same() {
        let block = |elided: u32, agent: &str| {
            let mut fields = FieldBlock::default();
            fields.push(FieldKind::Path, FieldTag(FieldTag::ELIDE | elided), b":path", b"/a.B/C");
            let (name, value) = (b"user-agent", agent.as_bytes());
            fields.push(FieldKind::Regular, FieldTag::NONE, name, value);
            fields
        };
        let mut heads = KnownHeads::default();
        let first = heads.kept(&block(1, "one"));
        assert!(Arc::ptr_eq(&first, &heads.kept(&block(2, "one"))), "what is elided is not kept");
        let other = heads.kept(&block(1, "two"));
        assert!(!Arc::ptr_eq(&first, &other));
        let values: Vec<_> = other.iter().map(|field| field.value).collect();
        assert_eq!(values, [b"two"]);
        let none = heads.kept(&FieldBlock::default());
        assert!(none.is_empty() && !other.is_kept_of(&FieldBlock::default()));
    }

    #[test]
    fn refusals() {
        let post = (":method", "POST");
        let grpc = ("content-type", "application/grpc");
        let path = (":path", "/a.B/C");
        let table: &[(List<'_>, u16, Code)] = &[
            (&[(":method", "GET"), path, grpc], 405, Code::Internal),
            (&[post, path], 415, Code::Internal),
            (&[post, path, ("content-type", "application/grpc-web")], 415, Code::Internal),
            (&[post, path, ("content-type", "text/html"), grpc], 415, Code::Internal),
            (&[post, path, grpc, ("grpc-timeout", "1x")], 400, Code::Internal),
            (&[post, path, grpc], 200, Code::Unimplemented),
        ];
        for (list, http_status, code) in table {
            let refusal = read(list).unwrap_err();
            assert_eq!((refusal.http_status, refusal.status.code()), (*http_status, *code));
        }
    }
}

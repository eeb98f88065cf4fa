//! What the header fields of a response mean (PROTOCOL-HTTP2, "Responses").
//!
//! The fields of an ordinary good response are recognised when they enter the header compression's
//! table; from then on reading them is looking at their tags.

use gannet_core::{Metadata, Status, content_type, names};
use gannet_http2::hpack::{Field, FieldBlock, FieldClassifier, FieldTag};
use gannet_transport::fields::{read_metadata, read_outcome};

/// `:status: 200`. Not elided: the engine reads its value.
const STATUS_200: FieldTag = FieldTag(1);
/// `content-type: application/grpc`, with or without a sub-type.
const CONTENT_TYPE_GRPC: FieldTag = FieldTag(FieldTag::ELIDE | 2);
/// `grpc-status: 0`.
const GRPC_STATUS_OK: FieldTag = FieldTag(FieldTag::ELIDE | 3);
/// `grpc-status` with any other value.
const GRPC_STATUS: FieldTag = FieldTag(4);
/// `:status` with any other value.
const STATUS: FieldTag = FieldTag(5);
/// `grpc-encoding`, unless it is `identity`.
const ENCODING: FieldTag = FieldTag(6);

/// Tags the fields that this module looks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Classifier;

impl FieldClassifier for Classifier {
    fn classify(&self, name: &[u8], value: &[u8]) -> FieldTag {
        match name {
            b":status" if value == b"200" => STATUS_200,
            b":status" => STATUS,
            b"content-type" if content_type::grpc_subtype(value).is_some() => CONTENT_TYPE_GRPC,
            _ if name == names::GRPC_STATUS.as_bytes() => match value {
                b"0" => GRPC_STATUS_OK,
                _ => GRPC_STATUS,
            },
            b"grpc-encoding" if value != b"identity" => ENCODING,
            _ => FieldTag::NONE,
        }
    }
}

/// What a response's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    http_status: u16,
    is_grpc: bool,
    /// The first `grpc-status`: whether it is OK.
    status: Option<bool>,
    has_encoding: bool,
}

impl ResponseHead {
    #[inline]
    pub(super) fn read(fields: &FieldBlock) -> ResponseHead {
        let mut head =
            ResponseHead { http_status: 0, is_grpc: false, status: None, has_encoding: false };
        for field in fields.iter() {
            match field.tag {
                STATUS_200 => head.http_status = 200,
                STATUS => head.http_status = http_status(&field),
                CONTENT_TYPE_GRPC => head.is_grpc = true,
                GRPC_STATUS_OK => _ = head.status.get_or_insert(true),
                GRPC_STATUS => _ = head.status.get_or_insert(false),
                ENCODING => head.has_encoding = true,
                _ => {}
            }
        }
        head
    }

    /// The name of what messages may be compressed with.
    pub(super) fn encoding(self, fields: &FieldBlock) -> Option<&[u8]> {
        if !self.has_encoding {
            return None;
        }
        fields.iter().find(|field| field.tag == ENCODING).map(|field| field.value)
    }

    /// Whether messages and trailers may follow.
    ///
    /// # Errors
    /// What ends the call: this is no response of a gRPC server.
    pub(super) fn check(self, fields: &FieldBlock) -> Result<(), Status> {
        if self.http_status == 200 && self.is_grpc {
            return Ok(());
        }
        Err(self.foreign(fields))
    }

    /// The outcome of a call whose head is all there is.
    pub(super) fn outcome(self, fields: &FieldBlock) -> Result<Metadata, Status> {
        match self.status {
            Some(true) => Ok(read_metadata(fields)),
            Some(false) => read_outcome(self.http_status, fields),
            None => Err(self.foreign(fields)),
        }
    }

    /// Not a gRPC response: the HTTP status decides.
    #[cold]
    fn foreign(self, fields: &FieldBlock) -> Status {
        let status = Status::from_http_status(self.http_status);
        let name = names::CONTENT_TYPE.as_bytes();
        match fields.iter().find(|field| field.name == name) {
            Some(field) if self.http_status == 200 => {
                let shown = field.value.escape_ascii();
                status.with_message(format!("the response has content-type {shown}, not gRPC's"))
            }
            _ => status,
        }
        .with_metadata(read_metadata(fields))
    }
}

/// The outcome in the trailers of a response.
pub(super) fn trailers(fields: &FieldBlock) -> Result<Metadata, Status> {
    let first = fields.iter().find(|field| matches!(field.tag, GRPC_STATUS_OK | GRPC_STATUS));
    match first {
        Some(field) if field.tag == GRPC_STATUS_OK => Ok(read_metadata(fields)),
        _ => read_outcome(200, fields),
    }
}

fn http_status(field: &Field<'_>) -> u16 {
    std::str::from_utf8(field.value).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gannet_core::Code;
    use gannet_http2::hpack::FieldKind;

    /// A block as the decoder would make it.
    fn block(fields: &[(&str, &str)]) -> FieldBlock {
        let mut block = FieldBlock::default();
        for (name, value) in fields {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            let tag = Classifier.classify(name, value);
            let (kept_name, kept_value) =
                if tag.is_elided() { (&b""[..], &b""[..]) } else { (name, value) };
            block.push(FieldKind::of(name, value), tag, kept_name, kept_value);
        }
        block
    }

    fn head_error(fields: &[(&str, &str)]) -> Status {
        let block = block(fields);
        ResponseHead::read(&block).check(&block).unwrap_err()
    }

    #[test]
    fn a_good_head() {
        for content_type in ["application/grpc", "application/grpc+proto", "application/grpc;a=b"] {
            let block = block(&[(":status", "200"), ("content-type", content_type), ("x-a", "1")]);
            ResponseHead::read(&block).check(&block).unwrap();
            assert_eq!(read_metadata(&block).len(), 1);
        }
    }

    #[test]
    fn heads_that_are_not_grpc() {
        let table = [
            ("400", Code::Internal),
            ("401", Code::Unauthenticated),
            ("403", Code::PermissionDenied),
            ("404", Code::Unimplemented),
            ("429", Code::Unavailable),
            ("502", Code::Unavailable),
            ("503", Code::Unavailable),
            ("504", Code::Unavailable),
            ("500", Code::Unknown),
            ("302", Code::Unknown),
        ];
        for (status, code) in table {
            let error = head_error(&[(":status", status), ("content-type", "text/html")]);
            assert_eq!(error.code(), code, "{status}");
            assert!(error.message().contains(status), "{error}");
        }
        let error = head_error(&[(":status", "200"), ("content-type", "text/html"), ("x-a", "1")]);
        assert_eq!(error.code(), Code::Unknown);
        assert!(error.message().contains("text/html"), "{error}");
        assert_eq!(error.metadata().get("x-a"), Some("1"));
        assert_eq!(head_error(&[(":status", "200")]).code(), Code::Unknown);
    }

    #[test]
    fn trailers_only() {
        let outcome = |fields: &[(&str, &str)]| {
            let block = block(fields);
            ResponseHead::read(&block).outcome(&block)
        };
        let grpc = ("content-type", "application/grpc");
        assert!(outcome(&[(":status", "200"), grpc, ("grpc-status", "0")]).is_ok());
        let status = outcome(&[(":status", "200"), grpc, ("grpc-status", "5")]).unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        // grpc-status decides whatever the HTTP status is.
        let status = outcome(&[(":status", "503"), ("grpc-status", "7")]).unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(outcome(&[(":status", "503")]).unwrap_err().code(), Code::Unavailable);
        assert_eq!(outcome(&[(":status", "200"), grpc]).unwrap_err().code(), Code::Unknown);
    }

    #[test]
    fn the_first_status_in_trailers_counts() {
        let read = |fields: &[(&str, &str)]| trailers(&block(fields)).map_err(|s| s.code());
        assert!(read(&[("grpc-status", "0"), ("grpc-status", "5")]).is_ok());
        assert_eq!(read(&[("grpc-status", "5"), ("grpc-status", "0")]), Err(Code::NotFound));
        assert_eq!(read(&[("grpc-status", "17")]), Err(Code::Unknown));
        assert_eq!(read(&[("grpc-status", "x")]), Err(Code::Unknown));
        assert_eq!(read(&[]), Err(Code::Unknown));
        assert_eq!(read(&[("grpc-status", "0"), ("k", "v")]).unwrap().get("k"), Some("v"));
    }
}

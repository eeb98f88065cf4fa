//! What every call of a run sends and must get, as bytes that are ready to be sent.

use crate::frames::{self, END_HEADERS, END_STREAM, FRAME_BYTES_MAX, HEAD_BYTES, Kind};
use crate::headers::RequestBlocks;
use crate::message;

/// One call, the same again and again.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// `/package.Service/Method`
    pub(crate) path: String,
    /// The request message, without its prefix.
    pub(crate) request: Vec<u8>,
    /// How many of them a call sends.
    pub(crate) requests: u32,
    /// How many requests may be without their reply before the next one waits.
    pub(crate) outstanding: u32,
    /// The reply message, without its prefix.
    pub(crate) reply: Vec<u8>,
    /// How many of them a call gets.
    pub(crate) replies: u32,
    /// Leaves the stream open once every message has come.
    pub(crate) holds: bool,
}

/// A plan's bytes.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) plan: Plan,
    /// The request with its prefix.
    pub(crate) request: Vec<u8>,
    /// The reply with its prefix.
    pub(crate) reply: Vec<u8>,
    pub(crate) blocks: RequestBlocks,
    /// HEADERS and DATA of a whole call, where it is one short message.
    pub(crate) whole: Option<Template>,
}

impl Script {
    pub(crate) fn new(plan: Plan, bearer: Option<&str>) -> Script {
        let request = message::framed(&plan.request);
        let reply = message::framed(&plan.reply);
        let blocks = RequestBlocks::new(&plan.path, bearer);
        let short = plan.requests == 1 && !plan.holds && request.len() <= FRAME_BYTES_MAX;
        let whole = short.then(|| {
            let mut template = Template::default();
            template.add(Kind::Headers, END_HEADERS, &blocks.next);
            template.add(Kind::Data, END_STREAM, &request);
            template
        });
        Script { plan, request, reply, blocks, whole }
    }
}

/// Frames of one stream that are always the same but for the stream's identifier.
#[derive(Debug, Default)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Where the identifiers go.
    ids: Vec<usize>,
}

impl Template {
    pub(crate) fn add(&mut self, kind: Kind, flags: u8, payload: &[u8]) {
        self.ids.push(self.bytes.len() + HEAD_BYTES - 4);
        frames::head(&mut self.bytes, payload.len(), kind, flags, 0);
        self.bytes.extend_from_slice(payload);
    }

    pub(crate) fn write(&self, id: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        for at in &self.ids {
            out[start + at..start + at + 4].copy_from_slice(&id.to_be_bytes());
        }
    }
}

//! Metadata and statuses as header fields, in both directions.
//!
//! What the fields mean is [`gannet_core`]'s; here they only meet the engine's types.

use gannet_core::{Metadata, Status, trailers};
use gannet_http2::FieldWriter;
use gannet_http2::hpack::FieldBlock;

/// Writes metadata as header fields. Reserved names are left out; secrets are never indexed.
pub fn write_metadata(w: &mut FieldWriter<'_>, metadata: &Metadata) {
    for (name, value, secret) in metadata.wire_fields() {
        write_field(w, name, value, secret);
    }
}

/// Writes the outcome of a call and its trailing metadata, as trailers or as the end of a
/// trailers-only response.
pub fn write_outcome(w: &mut FieldWriter<'_>, outcome: Result<(), &Status>, metadata: &Metadata) {
    trailers::write(outcome, metadata, |name, value, secret| {
        write_field(w, name, value, secret);
    });
}

/// The metadata in a received header block. Fields that the classifier elided are not in it. What
/// came as never-indexed is a secret.
pub fn read_metadata(fields: &FieldBlock) -> Metadata {
    let mut metadata = Metadata::new();
    for (name, value, secret) in received(fields) {
        metadata.append_wire_field(name, value, secret);
    }
    metadata
}

/// Reads the outcome of a call from its trailers or its trailers-only headers.
///
/// # Errors
/// The status the peer sent, or what `http_status` stands for where it sent none.
pub fn read_outcome(http_status: u16, fields: &FieldBlock) -> Result<Metadata, Status> {
    trailers::read(http_status, received(fields))
}

fn received(fields: &FieldBlock) -> impl Iterator<Item = (&[u8], &[u8], bool)> {
    let kept = fields.iter().filter(|field| !field.tag.is_elided());
    kept.map(|field| (field.name, field.value, field.sensitive))
}

fn write_field(w: &mut FieldWriter<'_>, name: &[u8], value: &[u8], secret: bool) {
    if secret {
        w.sensitive(name, value);
    } else {
        w.field(name, value);
    }
}

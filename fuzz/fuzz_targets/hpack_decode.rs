//! Any header blocks; and what decodes, encoded again, must decode to the same.
#![no_main]

use gannet_http2::hpack::{Decoder, Encoder, FieldBlock, Indexing, Limits, NoClassifier};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [table, cuts, bytes @ ..] = input else { return };
    let table_bytes = u32::from(*table) * 64;
    let limits = Limits { header_list_bytes_max: 4096, fields_max: 32 };
    let mut decoder = Decoder::new(table_bytes, limits);
    let mut encoder = Encoder::new(table_bytes);
    encoder.set_peer_table_bytes_max(4096);
    let mut again = Decoder::new(4096, limits);
    let mut fields = FieldBlock::default();
    for block in bytes.chunks(usize::from(*cuts) + 1) {
        if decoder.decode(block, &mut fields, &NoClassifier).is_err() {
            assert!(fields.is_empty());
            return;
        }
        assert!(decoder.table_bytes() <= table_bytes.max(4096));
        assert!(fields.len() <= 32);
        let kept: usize =
            fields.iter().map(|field| field.name.len() + field.value.len() + 32).sum();
        assert!(kept <= 4096);
        if !fields.over_limit() {
            round_trip(&fields, &mut encoder, &mut again);
        }
    }
});

fn round_trip(fields: &FieldBlock, encoder: &mut Encoder, decoder: &mut Decoder) {
    let mut block = Vec::new();
    encoder.begin_block(&mut block);
    for (i, field) in fields.iter().enumerate() {
        let indexing = match (field.sensitive, i % 3) {
            (true, _) => Indexing::Never,
            (false, 0) => Indexing::Incremental,
            (false, 1) => Indexing::WhenRepeated,
            (false, _) => Indexing::WithoutIndexing,
        };
        encoder.field(&mut block, field.name, field.value, indexing);
    }
    let mut back = FieldBlock::default();
    decoder.decode(&block, &mut back, &NoClassifier).expect("our own block");
    assert!(fields.iter().eq(back.iter()), "{fields:?} came back as {back:?}");
}

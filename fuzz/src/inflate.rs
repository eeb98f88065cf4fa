//! What each decompressor is held to: any bytes, within a limit that the first of them chooses.

use gannet_core::compression::{Compressor, DecompressError, Output};

/// Any bytes decompress to a message within the limit or to an error, in memory that the limit
/// bounds, whatever is in the context that is used; and what is compressed comes out again.
pub fn check(compressor: &dyn Compressor, input: &[u8]) {
    let [size, payload @ ..] = input else { return };
    let bytes_max = usize::from(*size) * 64;
    let mut message = Vec::new();
    let outcome = compressor.decompress(payload, &mut Output::new(&mut message, bytes_max));
    assert!(message.capacity() <= bytes_max + 1, "{} bytes held", message.capacity());
    match outcome {
        Ok(()) => assert!(message.len() <= bytes_max),
        Err(DecompressError::TooLarge { message_bytes_max }) => {
            assert_eq!(message_bytes_max, bytes_max);
            // With more room it is a message, an error, or still longer; never a short one.
            let mut longer = Vec::new();
            let mut out = Output::new(&mut longer, 1 << 20);
            if compressor.decompress(payload, &mut out).is_ok() {
                assert!(longer.len() > bytes_max, "{} bytes were refused", longer.len());
            }
        }
        Err(_) => {}
    }
    let mut packed = Vec::new();
    compressor.compress(payload, &mut packed).expect("anything can be compressed");
    let mut again = Vec::new();
    let mut out = Output::new(&mut again, payload.len());
    compressor.decompress(&packed, &mut out).expect("what was compressed is whole");
    assert_eq!(again, payload);
}

//! The header blocks that either side sends (RFC 7541), and what can be read of a status.
//!
//! There is no decoder here: nothing that a peer sends in a header block decides how a call goes,
//! only whether it was answered. Where it went wrong, the status is looked for in the bytes.

/// A request's header blocks.
#[derive(Debug)]
pub(crate) struct RequestBlocks {
    /// In full, to be kept in the peer's table.
    pub(crate) first: Vec<u8>,
    /// By reference to what the first one put there.
    pub(crate) next: Vec<u8>,
    /// In full, for a peer that keeps no table.
    pub(crate) plain: Vec<u8>,
}

/// The table that `first` and `next` count on (RFC 7541 section 4.2's default).
pub(crate) const TABLE_BYTES: u32 = 4096;

/// "The table has no bytes from now on" (RFC 7541 section 6.3): due before the first block where
/// the peer lowered the limit.
pub(crate) const TABLE_OFF: u8 = 0x20;

impl RequestBlocks {
    /// A bearer token is never put into the table, as clients do with what is secret.
    pub(crate) fn new(path: &str, bearer: Option<&str>) -> RequestBlocks {
        let mut blocks = [0x40, 0x00].map(|index| {
            let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
            field(&mut block, index, 4, path); // :path
            field(&mut block, index, 1, "localhost"); // :authority
            field(&mut block, index, 31, "application/grpc"); // content-type
            block.push(index);
            string(&mut block, "te");
            string(&mut block, "trailers");
            field(&mut block, index, 58, "gannet-load"); // user-agent
            block
        });
        // The five new entries, newest first, are 62 to 66.
        let mut next = vec![0x83, 0x86, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe];
        let [first, plain] = &mut blocks;
        if let Some(bearer) = bearer {
            for block in [&mut *first, &mut *plain, &mut next] {
                field(block, 0x10, 23, &format!("Bearer {bearer}")); // authorization
            }
        }
        RequestBlocks { first: std::mem::take(first), next, plain: std::mem::take(plain) }
    }
}

/// `:status 200` and the content type, without any use of a table.
pub(crate) fn response() -> Vec<u8> {
    let mut block = vec![0x88];
    field(&mut block, 0x00, 31, "application/grpc");
    block
}

/// The trailers of a call that went well, without any use of a table.
pub(crate) fn trailers() -> Vec<u8> {
    let mut block = vec![0x00];
    string(&mut block, "grpc-status");
    string(&mut block, "0");
    block
}

/// A literal whose name is in the static table: with incremental indexing (`index` 0x40), without
/// (0x00), or never to be indexed (0x10). The name's index has six bits of prefix in the one and
/// four in the others.
fn field(out: &mut Vec<u8>, index: u8, name: u8, value: &str) {
    if index == 0x40 || name < 15 {
        out.push(index | name);
    } else {
        out.extend_from_slice(&[index | 15, name - 15]);
    }
    string(out, value);
}

fn string(out: &mut Vec<u8>, text: &str) {
    integer(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// A length: with seven bits of prefix, the eighth 0 (RFC 7541 section 5.1).
fn integer(out: &mut Vec<u8>, number: usize) {
    let Some(mut rest) = number.checked_sub(127) else {
        out.extend(u8::try_from(number));
        return;
    };
    out.push(127);
    while rest > 127 {
        out.extend(u8::try_from(rest & 0x7f | 0x80));
        rest >>= 7;
    }
    out.extend(u8::try_from(rest));
}

/// The value of `grpc-status` where a block spells its name out, in plain or in Huffman's code.
pub(crate) fn status(block: &[u8]) -> Option<u8> {
    // RFC 7541 appendix B.
    const CODED: [u8; 9] = [0x88, 0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f];
    let value = after(block, &CODED).or_else(|| after(block, b"\x0bgrpc-status"))?;
    let (length, rest) = value.split_first()?;
    let text = rest.get(..usize::from(length & 0x7f))?;
    if length & 0x80 == 0 {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    digits(text)
}

fn after<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = bytes.windows(name.len()).position(|window| window == name)?;
    bytes.get(at + name.len()..)
}

/// A number of one or two digits in Huffman's code: `0` to `2` take five bits, the others six.
fn digits(coded: &[u8]) -> Option<u8> {
    let mut bits = 0_u32;
    let mut left = 0;
    for byte in coded.iter().take(3) {
        bits = bits << 8 | u32::from(*byte);
        left += 8;
    }
    let mut value = 0_u8;
    while left >= 5 {
        let five = bits >> (left - 5) & 0x1f;
        if five <= 2 {
            left -= 5;
            value = value.checked_mul(10)?.checked_add(u8::try_from(five).ok()?)?;
        } else if left >= 6 && (0x19..=0x1f).contains(&(bits >> (left - 6) & 0x3f)) {
            left -= 6;
            let digit = (bits >> left & 0x3f) - 0x19 + 3;
            value = value.checked_mul(10)?.checked_add(u8::try_from(digit).ok()?)?;
        } else {
            break;
        }
    }
    (bits & ((1 << left) - 1) == (1 << left) - 1).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_where_it_is_spelt_out() {
        let coded = [0x88, 0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f];
        let cases: [(&[u8], u8); 5] = [
            (b"\x81\x07", 0),
            (b"\x81\x17", 2),
            (b"\x81\x6f", 5),
            (b"\x82\x08\xbf", 12),
            (b"\x82\x0b\x9f", 16),
        ];
        for (value, status_due) in cases {
            let block = [b"\x88\x40", &coded[..], value, b"\x40\x01a\x01b"].concat();
            assert_eq!(status(&block), Some(status_due), "{value:x?}");
        }
        assert_eq!(status(b"\x00\x0bgrpc-status\x0213"), Some(13));
        assert_eq!(status(&trailers()), Some(0));
        assert_eq!(status(b"\xbe\xbf"), None);
    }

    #[test]
    fn blocks_are_the_ones_rfc_7541_describes() {
        let blocks = RequestBlocks::new("/a", None);
        assert!(blocks.first.starts_with(b"\x83\x86\x44\x02/a\x41\x09localhost\x5f\x10"));
        assert!(blocks.plain.starts_with(b"\x83\x86\x04\x02/a\x01\x09localhost\x0f\x10\x10"));
        assert!(response().starts_with(b"\x88\x0f\x10\x10application/grpc"));
        // 137 is 127 and 10.
        let (token, never_indexed) = ("t".repeat(130), b"\x1f\x08\x7f\x0aBearer tt");
        let blocks = RequestBlocks::new("/a", Some(&token));
        for block in [blocks.first, blocks.next, blocks.plain] {
            let at = block.windows(never_indexed.len()).position(|window| window == never_indexed);
            assert_eq!(at, Some(block.len() - 4 - 137));
        }
        for (number, coded) in [(126, &[126][..]), (127, &[127, 0]), (1_337, &[127, 0xba, 9])] {
            let mut out = Vec::new();
            integer(&mut out, number);
            assert_eq!(out, coded);
        }
    }
}

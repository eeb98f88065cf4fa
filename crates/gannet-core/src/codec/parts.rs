//! [`Parts`]: what of an encoded message was not copied.

use std::fmt;

use bytes::Bytes;

use crate::storage;

/// Long parts of an encoded message, each behind a position in a buffer that holds the rest of it.
///
/// Empty for most messages, and then no more than a word.
#[derive(Default)]
pub struct Parts(Option<Box<Inner>>);

#[derive(Default)]
struct Inner {
    /// In order of their positions.
    parts: Vec<(usize, Bytes)>,
    bytes: usize,
}

impl Parts {
    /// Whether the buffer holds everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes that are not in the buffer.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |inner| inner.bytes)
    }

    /// Adds a part that follows the first `at` bytes of the buffer and all parts added before.
    ///
    /// # Panics
    /// Where `at` is less than that of the part before.
    pub fn push(&mut self, at: usize, part: Bytes) {
        let inner = self.0.get_or_insert_default();
        let before = inner.parts.last().map_or(0, |(before, _)| *before);
        assert!(at >= before, "parts are added in order");
        inner.bytes += part.len();
        inner.parts.push((at, part));
    }

    /// Forgets all.
    #[inline]
    pub fn clear(&mut self) {
        if self.0.is_some() {
            self.0 = None;
        }
    }

    /// The whole message, piece by piece, where `buffer` holds the rest of it.
    pub fn into_pieces(self, buffer: Vec<u8>) -> impl Iterator<Item = Bytes> {
        let mut rest = storage::share(buffer);
        let mut cut = 0;
        let mut parts = self.0.map(|inner| inner.parts).unwrap_or_default().into_iter();
        let mut waiting = None;
        std::iter::from_fn(move || {
            let part = match waiting.take().or_else(|| parts.next()) {
                None => return (!rest.is_empty()).then(|| std::mem::take(&mut rest)),
                Some((at, part)) if at == cut => return Some(part),
                part => part,
            };
            let at = part.as_ref().map_or(cut, |(at, _)| *at);
            let head = rest.split_to((at - cut).min(rest.len()));
            cut = at;
            waiting = part;
            Some(head)
        })
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.as_ref().map_or(0, |inner| inner.parts.len());
        f.debug_struct("Parts").field("count", &count).field("bytes", &self.bytes()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(buffer: &[u8], parts: &[(usize, &'static [u8])]) -> Vec<Bytes> {
        let mut all = Parts::default();
        for (at, part) in parts {
            all.push(*at, Bytes::from_static(part));
        }
        let bytes: usize = parts.iter().map(|(_, part)| part.len()).sum();
        assert_eq!((all.bytes(), all.is_empty()), (bytes, parts.is_empty()));
        all.into_pieces(buffer.to_vec()).collect()
    }

    #[test]
    fn pieces_come_in_order_and_none_is_empty() {
        assert_eq!(pieces(b"", &[]), [""; 0]);
        assert_eq!(pieces(b"abc", &[]), ["abc"]);
        assert_eq!(pieces(b"", &[(0, b"XY")]), ["XY"]);
        assert_eq!(pieces(b"abc", &[(0, b"XY")]), ["XY", "abc"]);
        assert_eq!(pieces(b"abc", &[(3, b"XY")]), ["abc", "XY"]);
        assert_eq!(pieces(b"abc", &[(1, b"X"), (1, b"Y")]), ["a", "X", "Y", "bc"]);
        let all = pieces(b"abcde", &[(0, b"1"), (2, b"2"), (4, b"3"), (5, b"4")]).concat();
        assert_eq!(all, b"1ab2cd3e4");
    }
}

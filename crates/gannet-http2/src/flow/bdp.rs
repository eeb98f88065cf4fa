//! Window growth by measuring the bandwidth-delay product.
//!
//! When half of the connection's window was used up and credit goes back, a PING goes with it. When
//! its acknowledgement comes, the credit has arrived too. A peer that had used up the whole window
//! by then had to wait for it: the window is the limit of the path, and it doubles, up to a
//! maximum. Otherwise more than half of the window was still to spare. A connection that carries
//! little never pings.

/// One connection's estimator.
#[derive(Debug)]
pub(crate) struct Bdp {
    /// Bytes received since credit was last given, while a PING is out.
    sample: Option<u64>,
    max: u32,
}

impl Bdp {
    /// Opaque data of our sampling PINGs.
    pub(crate) const PING: [u8; 8] = *b"gnt-bdp\0";

    pub(crate) fn new(max: u32) -> Self {
        Bdp { sample: None, max }
    }

    /// Starts a sample with `used` bytes of the window used up; true when a PING is to be sent.
    pub(crate) fn start(&mut self, window: i64, used: i64) -> bool {
        if self.sample.is_some() || window >= i64::from(self.max) {
            return false;
        }
        self.sample = Some(u64::try_from(used).unwrap_or(0));
        true
    }

    pub(crate) fn receive(&mut self, bytes: u32) {
        if let Some(sample) = &mut self.sample {
            *sample += u64::from(bytes);
        }
    }

    /// The PING came back; returns the new window if it should grow.
    pub(crate) fn finish(&mut self, window: i64) -> Option<u32> {
        let sample = self.sample.take()?;
        let window = u64::try_from(window).ok()?;
        // Senders leave a rest of the window that is not worth a frame.
        if sample < window / 8 * 7 {
            return None;
        }
        let grown = (window * 2).min(u64::from(self.max));
        (grown > window).then(|| u32::try_from(grown).unwrap_or(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_when_the_window_was_used_up_and_stops_at_the_maximum() {
        let mut bdp = Bdp::new(1000);
        assert!(bdp.start(300, 160));
        assert!(!bdp.start(300, 160), "one sample at a time");
        bdp.receive(140);
        assert_eq!(bdp.finish(300), Some(600));
        assert!(bdp.start(600, 300));
        bdp.receive(100);
        assert_eq!(bdp.finish(600), None);
        assert!(bdp.start(600, 310));
        bdp.receive(4000);
        assert_eq!(bdp.finish(600), Some(1000));
        assert!(!bdp.start(1000, 500));
        assert_eq!(bdp.finish(1000), None, "an acknowledgement of no PING");
    }
}

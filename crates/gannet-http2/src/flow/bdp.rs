//! Window growth by measuring the bandwidth-delay product.
//!
//! When half of the connection's window was used up, a PING starts a sample; the bytes that arrive until
//! its acknowledgement are what the path carries in one round trip. If that is most of the window, the
//! window is the limit, and it doubles, up to a maximum. A connection that carries little never pings.

/// One connection's estimator.
#[derive(Debug)]
pub(crate) struct Bdp {
    /// Bytes received since the PING, while one is out.
    sample: Option<u64>,
    max: u32,
}

impl Bdp {
    /// Opaque data of our sampling PINGs.
    pub(crate) const PING: [u8; 8] = *b"gnt-bdp\0";

    pub(crate) fn new(max: u32) -> Self {
        Bdp { sample: None, max }
    }

    /// Starts a sample; true when a PING is to be sent.
    pub(crate) fn start(&mut self, window: i64) -> bool {
        if self.sample.is_some() || window >= i64::from(self.max) {
            return false;
        }
        self.sample = Some(0);
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
        if sample * 3 < window * 2 {
            return None;
        }
        let grown = (sample * 2).max(window).min(u64::from(self.max));
        (grown > window).then(|| u32::try_from(grown).unwrap_or(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_when_a_round_trip_fills_the_window_and_stops_at_the_maximum() {
        let mut bdp = Bdp::new(1000);
        assert!(bdp.start(300));
        assert!(!bdp.start(300), "one sample at a time");
        bdp.receive(250);
        assert_eq!(bdp.finish(300), Some(500));
        assert!(bdp.start(500));
        bdp.receive(100);
        assert_eq!(bdp.finish(500), None);
        assert!(bdp.start(500));
        bdp.receive(4000);
        assert_eq!(bdp.finish(500), Some(1000));
        assert!(!bdp.start(1000));
    }
}

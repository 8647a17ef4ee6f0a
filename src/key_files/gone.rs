//! Lines that are gone: a key is withdrawn only when its line is missing in two reads, for whoever writes a file may be
//! just about to write the rest of it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::KeyId;

/// How long apart the two reads are.
const TWICE: Duration = Duration::from_secs(2);

/// Keys whose lines were missing in the last read, and since which one.
#[derive(Default)]
pub(super) struct Gone(HashMap<KeyId, Instant>);

impl Gone {
    /// Takes the keys that had no line in a read; answers those that had none in an earlier one either, long enough
    /// before, and in none between.
    pub(super) fn seen(&mut self, absent: &[KeyId], read_at: Instant) -> Vec<KeyId> {
        let before = std::mem::take(&mut self.0);
        self.0 = absent.iter().map(|id| (*id, before.get(id).copied().unwrap_or(read_at))).collect();
        absent.iter().copied().filter(|id| self.0.get(id).is_some_and(|since| read_at - *since >= TWICE)).collect()
    }

    /// These are withdrawn.
    pub(super) fn forget(&mut self, ids: &[KeyId]) {
        for id in ids {
            self.0.remove(id);
        }
    }

    /// Whether a line is missing whose key was not withdrawn yet.
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// When the next read can tell more; None = no line is missing.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.0.values().min().map(|since| *since + TWICE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_gone_when_two_reads_two_seconds_apart_and_all_between_miss_it() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let [a, b] = [1, 2].map(|byte| KeyId::from_bytes([byte; 12]));
        let mut gone = Gone::default();
        assert!(!gone.any() && gone.due_at().is_none());
        assert_eq!(gone.seen(&[a], at(0)), []);
        assert_eq!(gone.seen(&[a, b], at(1_999)), []);
        assert_eq!((gone.any(), gone.due_at()), (true, Some(at(2_000))));
        assert_eq!(gone.seen(&[b, a], at(2_000)), [a]);
        gone.forget(&[a]);
        assert_eq!(gone.due_at(), Some(at(3_999)));
        // It came back between, and is looked at anew.
        assert_eq!(gone.seen(&[], at(3_000)), []);
        assert!(!gone.any());
        assert_eq!(gone.seen(&[b], at(4_000)), []);
        assert_eq!(gone.seen(&[b], at(5_999)), []);
        assert_eq!(gone.seen(&[b], at(6_000)), [b]);
    }
}

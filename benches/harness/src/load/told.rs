//! What the callers were told: every answer of a run, kept as it came and read when the run is over.

/// Answers, one behind the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    bodies: Vec<u8>,
    ends: Vec<usize>,
    /// How many counts and reports were acknowledged.
    pub(crate) counted: u64,
}

impl Told {
    pub(crate) fn keep(&mut self, body: &[u8]) {
        self.bodies.extend_from_slice(body);
        self.ends.push(self.bodies.len());
    }

    pub(crate) fn add(&mut self, other: &Self) {
        other.iter().for_each(|body| self.keep(body));
        self.counted += other.counted;
    }

    pub(crate) fn len(&self) -> u64 {
        self.ends.len() as u64
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(from, to)| &self.bodies[from..*to])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back_as_they_were_kept() {
        let (mut told, mut more) = (Told::default(), Told::default());
        told.keep(b"one");
        more.keep(b"");
        more.keep(b"three");
        more.counted = 2;
        told.add(&more);
        assert_eq!(told.iter().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        assert_eq!((told.len(), told.counted), (3, 2));
    }
}

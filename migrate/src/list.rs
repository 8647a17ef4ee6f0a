//! The keys as they are listed after a summary: masked.

use keylend::cli::{Failure, output};
use keylend::domain::{Secret, Timestamp};
use keylend::store::StoreError;
use serde::{Serialize, Serializer};

use crate::pages::{self, Keys};
use crate::shape::{Shape, State};

/// How many keys that need a person are named.
pub(crate) const NAMED: usize = 1000;

/// A key in the list.
#[derive(Serialize)]
pub(crate) struct Listed {
    id: String,
    masked: Option<String>,
    /// The count as it is, or as a run makes it.
    usage_count: Option<u64>,
    #[serde(serialize_with = "instant")]
    last_used: Option<Timestamp>,
    is_active: bool,
}

fn instant<S: Serializer>(instant: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match instant {
        Some(instant) => serializer.collect_str(instant),
        None => serializer.serialize_none(),
    }
}

impl Listed {
    fn new(shape: &Shape, take_larger: bool) -> Self {
        let usage_count = match shape.state() {
            State::Pending { keeping, formula } => Some(formula.filter(|_| take_larger).unwrap_or(keeping)),
            State::Disagrees { by } if take_larger => shape.count.whole().map(|count| count + by),
            _ => shape.count.whole(),
        };
        Self {
            id: shape.told_id(),
            masked: shape.secret.as_ref().ok().and_then(Option::as_ref).map(Secret::masked),
            usage_count,
            last_used: shape.last_used,
            is_active: shape.is_active,
        }
    }
}

/// The first keys.
pub(crate) async fn first(keys: &Keys, number: usize, take_larger: bool) -> Result<Vec<Listed>, StoreError> {
    let shapes = pages::first(keys, number).await?;
    Ok(shapes.iter().map(|shape| Listed::new(shape, take_larger)).collect())
}

/// Prints them as a table.
pub(crate) fn print(listed: Vec<Listed>) -> Result<(), Failure> {
    if listed.is_empty() {
        return Ok(());
    }
    let rows = listed.into_iter().map(|key| {
        vec![
            key.id,
            output::or_dash(key.masked),
            output::or_dash(key.usage_count),
            output::or_dash(key.last_used),
            key.is_active.to_string(),
        ]
    });
    output::print("")?;
    output::print_table(&["ID", "KEY", "USES", "LAST USED", "ACTIVE"], rows.collect())
}

/// A key that needs a person, by its id.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) reasons: Vec<String>,
}

/// Keys that need a person: all are counted, the first [`NAMED`] are named.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamedKeys {
    pub(crate) number: u64,
    pub(crate) named: Vec<Named>,
}

impl NamedKeys {
    pub(crate) fn add(&mut self, shape: &Shape, reasons: Vec<String>) {
        self.join(Self { number: 1, named: vec![Named { id: shape.told_id(), reasons }] });
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.number += other.number;
        let room = NAMED.saturating_sub(self.named.len());
        self.named.extend(other.named.into_iter().take(room));
    }

    /// Prints them under what they are.
    pub(crate) fn print(&self, what: &str) -> Result<(), Failure> {
        for key in &self.named {
            output::print(&format!("{what} {}: {}", key.id, key.reasons.join(", ")))?;
        }
        match self.number.saturating_sub(self.named.len() as u64) {
            0 => Ok(()),
            more => output::print(&format!("{what}: and {more} more")),
        }
    }
}

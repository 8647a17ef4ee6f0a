//! list: a page of keys, in the order of their places.

use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::{Page, Seen, Step, row};
use crate::domain::state::state;
use crate::domain::{KeyRecord, Picks, Place, Policy};

pub(super) fn list(step: &Step<'_>, pool: &Policy, page: Page) -> rusqlite::Result<Seen<Vec<KeyRecord>>> {
    let mut records = Vec::new();
    let limit = page.limit as usize;
    for part in parts(pool.picks, page.after) {
        let mut keys = step.tx.prepare_cached(&format!(
            "SELECT {} FROM \"{}\" AS k WHERE {} ORDER BY {}",
            row::record_columns(pool),
            pool.collection,
            part.condition,
            part.order
        ))?;
        let mut rows = keys.query(params_from_iter(part.values))?;
        // Row by row, as long as the page has room: those in another state are passed over.
        while records.len() < limit
            && let Some(found) = rows.next()?
        {
            let in_state = match page.state {
                Some(wanted) => state(&row::key(step, pool, found)?, pool.uses_per_key, step.now) == wanted,
                None => true,
            };
            if in_state {
                records.push(row::record(step, pool, found)?);
            }
        }
    }
    Ok(Seen { value: records, now: step.now })
}

/// Keys that follow each other in an order that an index has.
struct Part {
    condition: &'static str,
    values: Vec<Value>,
    order: &'static str,
}

/// The keys after a place, part by part: in an `in_order` pool those without an order come first.
fn parts(picks: Picks, after: Option<Place>) -> Vec<Part> {
    let id = Value::from(after.map(|after| after.id.to_string()).unwrap_or_default());
    if picks == Picks::LeastRecentlyUsed {
        return vec![Part { condition: "k.id > ?1", values: vec![id], order: "k.id" }];
    }
    let placed = "k.\"order\", k.id";
    match after.and_then(|after| after.order) {
        Some(order) => {
            vec![Part {
                condition: "(k.\"order\", k.id) > (?1, ?2)",
                values: vec![Value::from(order), id],
                order: placed,
            }]
        }
        None => vec![
            Part { condition: "k.\"order\" IS NULL AND k.id > ?1", values: vec![id], order: "k.id" },
            Part { condition: "k.\"order\" IS NOT NULL", values: Vec::new(), order: placed },
        ],
    }
}

//! Whole imports: text that comes in pieces, as lines of secrets or of an export.

use std::collections::HashMap;

use futures_util::future::join_all;
use keylend::domain::{KeyRecord, NewKey, UsageCount};
use keylend::pool::import::{Format, Import, InvalidLine, LISTED, Line, NotAdded, SECRETS, Summary};
use keylend::store::Store;
use keylend::wire::export::EXPORTED;

use super::embedded::{Embedded, Kept};
use super::{all_of, assert_key, assert_untold, lines, written_out};

/// Lines of an export may be longer than an input can be: shorter ones are too long here.
const LONGEST: usize = 20_000;

static KEPT: Kept = Kept::new();

/// An import adds what its lines say one by one, however it comes, and says before what it would do. What was added is
/// in the pool as the lines have it, and the same text again adds nothing.
pub fn import(input: &[u8]) {
    let text = written_out(input);
    let format = if text.contains(&b'{') { Format { longest: LONGEST, ..EXPORTED } } else { SECRETS };
    // Pieces of many lengths, of which the input decides.
    let piece = 1 + usize::from(text.first().copied().unwrap_or_default()) % 61;
    KEPT.with(|embedded| {
        let (expected, mut keys) = expected(&text, format, embedded);
        let before = run(embedded, format, &text, piece, true);
        assert_eq!(before, expected, "what would be added");
        assert_eq!(run(embedded, format, &text, piece, false), expected, "what was added");
        let again = run(embedded, format, &text, text.len().max(1), false);
        assert_eq!((again.added, again.known), (0, expected.added + expected.known));
        assert_eq!(again.invalid_lines, expected.invalid_lines);
        let listed = embedded.runtime.block_on(embedded.list());
        assert_eq!(listed.len(), keys.len());
        for record in &listed {
            let added = keys.remove(record.key.secret.as_ref().expect("a secret").expose()).expect("a line has it");
            assert_added(record, added);
        }
        embedded.runtime.block_on(remove_all(embedded, &listed));
    });
}

fn run(embedded: &Embedded, format: Format, text: &[u8], piece: usize, dry: bool) -> Summary {
    embedded.runtime.block_on(async {
        let import = Import::new(embedded.pool(), format);
        let mut import = if dry { import.dry_run() } else { import };
        for piece in text.chunks(piece) {
            import.push(piece).await.expect("it is taken");
        }
        import.finish().await.expect("it is taken")
    })
}

/// What the lines say one by one: what becomes of them, and the keys by their secrets.
fn expected(text: &[u8], format: Format, embedded: &Embedded) -> (Summary, HashMap<String, NewKey>) {
    let mut summary = Summary {
        added: 0,
        known: 0,
        invalid: 0,
        lines: Vec::new(),
        invalid_lines: Vec::new(),
        race_proof: true,
        unverified: None,
        closed: 0,
    };
    let mut keys: HashMap<String, NewKey> = HashMap::new();
    let mut ids = Vec::new();
    for (number, line, _) in lines(text) {
        let said = if line.len() > format.longest {
            Line::Invalid(format.too_long)
        } else {
            (format.read)(line, &embedded.policy.name)
        };
        match said {
            Line::Nothing => {}
            Line::Key(key) => {
                assert_key(&key);
                let has_id = key.id.is_some_and(|id| ids.contains(&id));
                if has_id || keys.contains_key(key.secret.expose()) {
                    summary.known += 1;
                    summary.lines.push((number, NotAdded::Known));
                } else {
                    summary.added += 1;
                    ids.extend(key.id);
                    keys.insert(key.secret.expose().to_owned(), *key);
                }
            }
            Line::Invalid(reason) => {
                assert_untold(&reason.to_string());
                summary.invalid += 1;
                note(&mut summary, number, reason);
            }
        }
    }
    summary.lines.truncate(LISTED);
    (summary, keys)
}

fn note(summary: &mut Summary, number: u64, reason: InvalidLine) {
    summary.lines.push((number, NotAdded::Invalid(reason)));
    if summary.invalid_lines.len() < LISTED {
        summary.invalid_lines.push((number, reason));
    }
}

/// A key is in the pool as its line has it; what the line leaves open is made up.
fn assert_added(record: &KeyRecord, line: NewKey) {
    let key = &record.key;
    let UsageCount::Whole(usage_count) = key.usage_count else { panic!("{:?}", key.usage_count) };
    let stored = NewKey {
        secret: key.secret.clone().expect("a secret"),
        id: line.id.map(|_| key.id),
        usage_count,
        last_used: key.last_used,
        is_active: key.is_active,
        resting_until: key.resting_until,
        disabled_reason: record.disabled_reason,
        note: record.note.clone(),
        added_at: line.added_at.and(record.added_at),
        from_file: record.from_file,
    };
    assert_eq!(all_of(&stored), all_of(&line));
    assert!(record.leases.is_empty() && key.open_leases == Some(0) && record.verified.is_none());
}

async fn remove_all(embedded: &Embedded, listed: &[KeyRecord]) {
    let removed = join_all(listed.iter().map(|record| embedded.store.remove(&embedded.policy, record.key.id))).await;
    assert!(removed.into_iter().all(|removed| removed.is_ok_and(|removed| removed)));
}

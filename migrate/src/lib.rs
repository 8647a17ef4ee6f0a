//! keylend-migrate: credits become usage counts, once and for all.
//!
//! Every document of a pool is read and judged here, and rewritten by the server: many at a time, each of them in one
//! step that reads the document it changes, and whose filter no longer matches when it is done. So it does not matter
//! who else writes: a count that is made at the same time comes before the step, and is in what it reads, or after it,
//! and is added to what it left. It does not matter where a run ends either: the next one finds what is still pending.
//!
//! What a document is, by its fields alone ([`shape`]):
//!
//! | state | when |
//! |---|---|
//! | invalid | no secret in `api_key`; credits or a count that no number of uses can stand for; a `legacy` with a `base` or `since` that is not the migration's |
//! | pending | none of that, and: there is `credits_left` or `last_checked`, or no `usage_count`, or a fractional one, or `legacy.since` |
//! | disagrees | none of that, and its migration kept a count below the formula: `legacy.formula` says what that was |
//! | done | otherwise, whether it was migrated or never had credits |
//!
//! What changes it, each in one guarded step ([`steps`]):
//!
//! | from | step | guard | effect | to |
//! |---|---|---|---|---|
//! | pending | a run | pending | `usage_count` = what it was, if whole; rounded up, if fractional; the formula, if there was none; and `legacy.since` added. Credits and all that was replaced go to `legacy`, with what the step made of it as `legacy.base` | done, or disagrees |
//! | pending | a run with `--take-larger` | pending | the same, but the formula where that is larger | done |
//! | disagrees | a run with `--take-larger` | disagrees | the count grows by what the formula was larger | done |
//! | done, disagrees, invalid | `--undo` | `legacy.base` is there | the fields are what `legacy` says, and `legacy` goes | pending, or what it was |
//! | any | somebody counts | | `usage_count` grows | the same: counts are no part of the states |
//! | done | an older program writes credits again | | | pending |
//!
//! Undoing takes back what a run wrote and nothing else. A document that had a whole count before could be lent all
//! along: it keeps that count with all that was counted since, less what a run added. One that had none, or a
//! fractional one, gets back what it had, and could not be lent then; what was counted since the migration waits in
//! `legacy.since` and is added by the next run, or when keylend counts on that document again.
//!
//! Two runs at once, and a run beside an undo: each document is in one of the states at any time, each step moves one
//! document from one to another if it is still there, and none of them loses a count. Leases and fields of others stay
//! as they are.

pub mod command;
pub mod formula;
pub mod histogram;
mod list;
mod migrate;
pub mod pages;
mod progress;
mod reset;
pub mod shape;
pub mod steps;
mod stop;
mod undo;
pub mod verify;
mod walk;

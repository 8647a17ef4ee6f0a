//! What the trait `Store` promises, operation by operation, on both adapters.
//!
//! Every test runs on the embedded store and, where `KEYLEND_TEST_MONGODB_URI` is set, on MongoDB. Each has a store
//! of its own.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

/// Makes two tests of each function: one on SQLite, one on MongoDB.
macro_rules! on_both_stores {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $test() {
                crate::support::on_sqlite(super::$test);
            })+
        }

        mod mongodb {
            $(#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
            #[test]
            fn $test() {
                crate::support::on_mongodb(super::$test);
            })+
        }
    };
}

mod add;
mod bring;
mod change;
mod encrypted;
mod exactness;
mod examine;
mod find_lease;
mod find_usable_key;
mod give_back;
mod idempotency;
mod increment_usage;
mod judge;
mod key_request;
mod lease;
mod list;
mod lock;
mod look_up;
mod record_policy;
mod remove;
mod renew;
mod report;
mod reset;
mod show;
mod state_taken_over;
mod states;
mod support;
mod sweep;
mod take;
mod together;

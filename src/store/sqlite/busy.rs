//! Waiting while other processes have the file.

use std::time::{Duration, Instant};

use rusqlite::ErrorCode;

/// The longest pause before another try: at first, and after a second of waiting. SQLite's own waiting, up to 100 ms
/// a pause, tries so seldom that a busy process keeps all others out.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

/// Does `step`, and again while others have the file, at most `patience` long.
pub(super) fn wait<T>(patience: Duration, step: impl Fn() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let started = Instant::now();
    loop {
        let busy = match step() {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => error,
            other => return other,
        };
        let waited = started.elapsed();
        if waited >= patience {
            return Err(busy);
        }
        let longest = if waited < Duration::from_secs(1) { TRY_AGAIN.0 } else { TRY_AGAIN.1 };
        std::thread::sleep(longest.mul_f64(rand::random_range(0.1..1.0)));
    }
}

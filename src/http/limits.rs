//! Limits: how much, how many and how long.

use std::time::Duration;

use crate::pool::WAITERS;

/// Open files that are not callers' connections: the store's, the log, and what comes and goes. Half of them where there
/// are fewer than twice as many.
const OTHER_FILES: usize = 64;

/// How much a request may send, how many there may be at once, and how long each step of one may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a JSON body.
    pub body: usize,
    /// Bytes of keys sent as text, which are read piece by piece.
    pub import: u64,
    /// Requests that are answered at once. Who waits for a key, and who asks for what needs no token, is not counted.
    pub in_flight: usize,
    /// Connections that are open at once. The next one stays in the system's line until one is closed.
    pub connections: usize,
    /// How long a connection has to send the head of a request; also how long it may be idle.
    pub head: Duration,
    /// How long the next piece of a body may take, and how long the next piece of an answer may find no reader.
    pub piece: Duration,
    /// How long a whole JSON body may take.
    pub whole_body: Duration,
    /// How long a handler may take, besides the time that its caller is willing to wait. Not for keys that are sent or
    /// read as a stream, and for steps over a whole pool.
    pub handler: Duration,
    /// How long requests in flight have to end once the process is to stop.
    pub drain: Duration,
}

impl Limits {
    /// The same for a process that may have `files` files open: no more connections than leave room for the others.
    pub fn within(self, files: usize) -> Self {
        Self { connections: self.connections.min(files - OTHER_FILES.min(files / 2)), ..self }
    }

    /// The limits of a server whose JSON bodies have at most `body` bytes, which answers `in_flight` requests at once,
    /// and whose store is waited for `store_timeout` at most.
    pub fn new(body: usize, in_flight: usize, store_timeout: Duration) -> Self {
        Self {
            body,
            import: 256 * 1024 * 1024,
            in_flight,
            // All who are answered, all who wait for a key, and as many that are idle.
            connections: 2 * (in_flight + WAITERS),
            head: Duration::from_secs(10),
            piece: Duration::from_secs(10),
            whole_body: Duration::from_secs(30),
            // A lease asks the store up to three times: for a key, for what has lapsed, for the counts.
            handler: 3 * store_timeout + Duration::from_secs(5),
            drain: Duration::from_secs(10),
        }
    }
}

//! Signals: SIGTERM and SIGINT tell the process to stop, SIGHUP to read again what may have changed.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that a server listens for, from when this was made.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Listens for them: none of them ends the process by itself any more.
    ///
    /// # Errors
    /// Where the process may not listen for signals.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until the process is told to stop, and answers by which signal. Until then each SIGHUP calls `hung_up`.
    pub async fn stop(&mut self, hung_up: impl Fn()) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => hung_up(),
            }
        }
    }
}

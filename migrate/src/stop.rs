//! SIGTERM and SIGINT: what has begun is ended and told, and nothing more is begun. A second one stops at once.

use keylend::cli::Failure;
use keylend::shutdown::Signals;
use tokio::sync::watch;

/// By which signal the program was told to stop; None = it was not.
pub(crate) type Stop = watch::Receiver<Option<&'static str>>;

/// Does `work`, which looks at what it is given to know when to stop.
pub(crate) async fn until_stopped<F>(work: impl FnOnce(Stop) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let mut signals = Signals::listen()?;
    let (tell, stop) = watch::channel(None);
    let mut work = std::pin::pin!(work(stop));
    let signal = tokio::select! {
        done = &mut work => return done,
        signal = signals.stop(|| ()) => signal,
    };
    tell.send_replace(Some(signal));
    tokio::select! {
        done = work => done,
        signal = signals.stop(|| ()) => Err(Failure::Failed(format!("stopped at once by a second signal, {signal}"))),
    }
}

/// Waits until the program is told to stop.
pub(crate) async fn stopped(mut stop: Stop) {
    // The sender lives as long as the work does.
    let _ = stop.wait_for(Option::is_some).await;
}

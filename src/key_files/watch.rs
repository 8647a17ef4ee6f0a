//! Being told that a file changed. The folder is watched, not the file: editors put another file in its place.

use std::path::Path;
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// A watch that lasts as long as this. Where none can be had, and for what it misses, there is the poll.
pub(super) struct Watch {
    changed: Arc<Notify>,
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches the file of this path, whether it is there or not.
    pub(super) fn of(path: &Path) -> Self {
        let changed = Arc::new(Notify::new());
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let name = path.file_name().map(ToOwned::to_owned);
        let tell = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let is_ours = event.is_ok_and(|event| {
                let of_file = event.paths.iter().any(|path| path.file_name() == name.as_deref());
                // Events that were lost have no path.
                changes(event.kind) && (of_file || event.paths.is_empty())
            });
            if is_ours {
                tell.notify_one();
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::debug!(path = %path.display(), %error, "the folder cannot be watched: the file is polled alone");
        }
        Self { changed, _watcher: watcher.ok() }
    }

    /// Waits until the file may have changed, since this was last waited for.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Whether an event can mean another content. Being opened and read does not: keylend itself does that.
fn changes(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

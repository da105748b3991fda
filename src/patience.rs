//! How tests wait: for what is to come true, and never for ever.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Longer than anything takes in one process on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const TICK: Duration = Duration::from_millis(1);

/// Waits until `condition` holds. Panics with `what` when that takes longer than [`PATIENCE`].
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            sleep(TICK).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "not within {PATIENCE:?}: {what}");
}

//! What lanes pay for, in the sums of the month.

use super::{PAID_RETRY, Purger, State};
use crate::clock;

impl Purger {
    /// Adds what lanes paid for to the sums of the month, and tells them those. It waits for no other process: a lane of
    /// which the sum is not known rests for a moment.
    pub(super) fn count(&self, state: &mut State, more: impl Fn(usize) -> Option<u64>) {
        for (n, station) in self.stations.iter().enumerate() {
            let Some(account) = station.vendor.account() else { continue };
            let owed = state.paid.owes(&account);
            let Some(items) = more(n).or_else(|| owed.then_some(0)) else { continue };
            match state.paid.add(&account, items) {
                Ok(Some(sum)) => state.engine.lanes_mut()[n].set_paid(sum),
                Ok(None) => state.engine.lanes_mut()[n].rest_until(clock::now() + PAID_RETRY),
                Err(err) if items > 0 || owed => log::warn!("{account}: what is paid for is not kept: {err}"),
                Err(err) => log::debug!("{account}: what others paid for is not known: {err}"),
            }
        }
    }
}

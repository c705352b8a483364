//! A call to a provider while it is out. May import `clock`, `vitals` and `rules`.

use crate::clock::Clock;
use crate::rules::breaker::Call;
use crate::vitals::providers::ProviderVitals;

/// A call that is out. Dropped, because the job was given up, it says nothing of the provider.
pub(super) struct Out<'a> {
    pub(super) provider: &'a ProviderVitals,
    pub(super) call: Option<Call>,
    pub(super) clock: Clock,
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.provider.given_up(call, self.clock.now().mono);
        }
    }
}

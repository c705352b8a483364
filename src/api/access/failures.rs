//! Wrong tokens from one place are answered ever more slowly (FAULTS G03). Pure: time is an argument; bounded in number.
//!
//! A token does not say whose it is before it is right, so there is no name to count by: only where it came from.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// So many are answered at once.
const FREE: u32 = 4;
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(60);
/// After so long without one more, a place begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);
/// Places that are remembered.
const MOST: usize = 10_000;

/// Where tries come from: an address, or the /64 that one holder of IPv6 addresses has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::api) struct Source(Option<IpAddr>);

impl Source {
    pub(in crate::api) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
                address.to_bits() & !u128::from(u64::MAX),
            )),
            address @ IpAddr::V4(_) => address,
        }))
    }
}

/// The failures of late, by place.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<Source, Trouble>);

#[derive(Debug, Clone, Copy)]
struct Trouble {
    count: u32,
    last: Duration,
}

impl Failures {
    /// Notes a failure; how long to wait when it comes too early, which does not count as another one.
    pub(super) fn failed(&mut self, source: Source, now: Duration) -> Option<Duration> {
        let before = self.0.get(&source).filter(|trouble| !trouble.is_over(now));
        let count = before.map_or(0, |trouble| trouble.count);
        let until = before.map_or(now, |trouble| trouble.last + delay(count));
        if let Some(wait) = until.checked_sub(now).filter(|wait| !wait.is_zero()) {
            return Some(wait);
        }
        if before.is_none() {
            self.make_room(now);
        }
        self.0.insert(
            source,
            Trouble {
                count: count.saturating_add(1),
                last: now,
            },
        );
        None
    }

    fn make_room(&mut self, now: Duration) {
        if self.0.len() < MOST {
            return;
        }
        self.0.retain(|_, trouble| !trouble.is_over(now));
        while self.0.len() >= MOST {
            let oldest = self.0.iter().min_by_key(|(_, trouble)| trouble.last);
            let Some(oldest) = oldest.map(|(source, _)| *source) else {
                return;
            };
            self.0.remove(&oldest);
        }
    }
}

impl Trouble {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.last) >= FORGOTTEN_AFTER
    }
}

/// How long after the last of so many failures the next one may come: 1 s, 2 s, 4 s, …
fn delay(failures: u32) -> Duration {
    match failures.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(over) => Duration::from_secs(1 << over.min(6)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(Some(address.parse().unwrap()))
    }

    #[test]
    fn one_place_gets_at_most_ten_tries_in_a_minute_and_others_wait_for_nothing() {
        let (mut failures, start) = (Failures::default(), Duration::from_secs(1_000));
        let tried = |failures: &mut Failures, seconds: u64| {
            let at = start + Duration::from_secs(seconds);
            (0..100)
                .filter(|_| failures.failed(source("192.0.2.1"), at).is_none())
                .count()
        };
        let mut all = 0;
        for second in 0..60 {
            all += tried(&mut failures, second);
        }
        assert_eq!(all, 9, "4 at once, then after 1, 3, 7, 15 and 31 s");
        assert_eq!(failures.failed(source("192.0.2.2"), start), None);
        assert_eq!(tried(&mut failures, 63), 1);
        let hour: usize = (64..3_664).map(|second| tried(&mut failures, second)).sum();
        assert_eq!(hour, 60, "one a minute");
        assert_eq!(tried(&mut failures, 10_000), 4, "forgotten meanwhile");
    }

    #[test]
    fn all_addresses_of_one_holder_are_one_place() {
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }

    #[test]
    fn memory_is_bounded() {
        let mut failures = Failures::default();
        for number in 0..u32::try_from(MOST).unwrap() + 100 {
            let address = IpAddr::from(number.to_be_bytes());
            let now = Duration::from_millis(u64::from(number));
            assert_eq!(failures.failed(Source::of(Some(address)), now), None);
        }
        assert_eq!(failures.0.len(), MOST);
    }
}

//! How long to wait before the next try: of a message, and of a connection.

use std::time::Duration;

use super::units::Span;

/// The delays for which there is a delay queue; longer waits hop.
pub const DELAYS: [Span; 4] = [
    Span::from_secs(5),
    Span::from_secs(30),
    Span::from_secs(120),
    Span::from_secs(600),
];

/// The delay before attempt number `attempt` (the first retry is 1): 5 s, 30 s, 2 m, then 10 m each.
#[must_use]
pub fn retry_delay(attempt: u32) -> Span {
    let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    DELAYS[step.min(DELAYS.len() - 1)]
}

/// The delay queue for a wait: the longest that does not overshoot, at least the shortest.
#[must_use]
pub fn delay_for(wait: Duration) -> Span {
    DELAYS
        .into_iter()
        .rev()
        .find(|delay| delay.get() <= wait)
        .unwrap_or(DELAYS[0])
}

/// The wait before connection attempt `attempt` (from 0): anything up to 100 ms doubled each time, at most `cap`, by full
/// jitter; `draw` is a random number from 0 to 1.
#[must_use]
pub fn full_jitter(attempt: u32, cap: Duration, draw: f64) -> Duration {
    let ceiling = Duration::from_millis(100)
        .saturating_mul(1u32.checked_shl(attempt.min(16)).unwrap_or(u32::MAX))
        .min(cap);
    ceiling.mul_f64(draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_come_later_each_time() {
        let delays: Vec<String> = (1..=6)
            .map(|attempt| retry_delay(attempt).to_string())
            .collect();
        assert_eq!(delays, ["5s", "30s", "2m", "10m", "10m", "10m"]);
    }

    #[test]
    fn a_wait_takes_the_longest_delay_that_does_not_overshoot() {
        for (wait_s, delay) in [
            (0, "5s"),
            (7, "5s"),
            (30, "30s"),
            (119, "30s"),
            (3_600, "10m"),
        ] {
            assert_eq!(
                delay_for(Duration::from_secs(wait_s)).to_string(),
                delay,
                "{wait_s}"
            );
        }
    }

    #[test]
    fn jitter_is_full_and_capped() {
        let cap = Duration::from_secs(5);
        assert_eq!(full_jitter(0, cap, 1.0), Duration::from_millis(100));
        assert_eq!(full_jitter(3, cap, 0.5), Duration::from_millis(400));
        assert_eq!(full_jitter(40, cap, 1.0), cap);
        assert_eq!(full_jitter(40, cap, 0.0), Duration::ZERO);
    }
}

//! How much is offered: jobs per second by the time at which they were *published*, over the last stretch of such time.
//!
//! So the rate is right while a backlog is worked off or shed, however fast that goes, and nobody need ask the broker. Messages
//! come roughly in the order of their publishing; what is far behind the newest counts for nothing. Bounded memory.

/// Parts into which the stretch is cut.
const PARTS: usize = 40;
/// Parts that are remembered: a message may come a little behind others.
const KEPT: usize = 64;

/// The rate at which jobs were published.
#[derive(Debug, Clone)]
pub struct Offered {
    part_s: f64,
    counts: [f32; KEPT],
    /// The number of the newest part.
    newest: i64,
    latest_s: f64,
    first_s: Option<f64>,
}

impl Offered {
    /// Over the last `stretch_s` seconds of publishing: twice the deadline is good.
    #[must_use]
    pub fn over(stretch_s: f64) -> Self {
        Self {
            part_s: stretch_s.max(0.001) / PARTS as f64,
            counts: [0.0; KEPT],
            newest: i64::MIN,
            latest_s: f64::MIN,
            first_s: None,
        }
    }

    /// The stretch in seconds.
    #[must_use]
    pub fn stretch_s(&self) -> f64 {
        self.part_s * PARTS as f64
    }

    /// The latest time of publishing that was seen.
    #[must_use]
    pub fn latest_s(&self) -> f64 {
        self.latest_s
    }

    /// The same, over another stretch from now on; what was counted keeps its time.
    #[must_use]
    pub fn stretched(&self, stretch_s: f64) -> Self {
        let mut other = Self::over(stretch_s);
        for ago in (0..KEPT as i64).rev() {
            let number = self.newest.saturating_sub(ago);
            let count = self.counts[place(number)];
            if count > 0.0 {
                other.add((number as f64 + 0.5) * self.part_s, count);
            }
        }
        if self.first_s.is_some() {
            other.caught_up(self.latest_s);
            other.first_s = self.first_s;
        }
        other
    }

    /// A job was offered that was published at `published_s`, in seconds since the clock's start (below zero: before that).
    pub fn count(&mut self, published_s: f64) {
        self.add(published_s, 1.0);
    }

    /// Nothing waits any more: all that was published before `now_s` was seen.
    pub fn caught_up(&mut self, now_s: f64) {
        self.first_s.get_or_insert(now_s);
        self.latest_s = self.latest_s.max(now_s);
        self.forward_to(self.number(now_s));
    }

    /// Jobs per second over the last stretch of publishing (or since the first, when that is less).
    #[must_use]
    pub fn per_second(&self) -> f64 {
        let Some(first_s) = self.first_s else {
            return 0.0;
        };
        let from_s = self.latest_s - self.stretch_s();
        let oldest = self.number(from_s);
        let inside = 1.0 - (from_s / self.part_s - oldest as f64);
        let whole = (oldest + 1..=self.newest).map(|number| self.at(number));
        let jobs = whole.sum::<f64>() + inside * self.at(oldest);
        let known_s = (self.latest_s - first_s).clamp(self.stretch_s() / 8.0, self.stretch_s());
        jobs / known_s
    }

    fn add(&mut self, published_s: f64, count: f32) {
        let number = self.number(published_s);
        self.first_s = Some(self.first_s.unwrap_or(published_s).min(published_s));
        self.latest_s = self.latest_s.max(published_s);
        self.forward_to(number);
        if self.newest - number < KEPT as i64 {
            self.counts[place(number)] += count;
        }
    }

    fn forward_to(&mut self, number: i64) {
        if number <= self.newest {
            return;
        }
        let from = self.newest.saturating_add(1).max(number - KEPT as i64 + 1);
        for passed in from..=number {
            self.counts[place(passed)] = 0.0;
        }
        self.newest = number;
    }

    fn at(&self, number: i64) -> f64 {
        if self.newest - number < KEPT as i64 {
            f64::from(self.counts[place(number)])
        } else {
            0.0
        }
    }

    fn number(&self, published_s: f64) -> i64 {
        (published_s / self.part_s).floor() as i64
    }
}

fn place(number: i64) -> usize {
    number.rem_euclid(KEPT as i64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Jobs published at this rate in these seconds.
    fn publish(offered: &mut Offered, rate: f64, seconds: std::ops::Range<f64>) {
        let jobs = ((seconds.end - seconds.start) * rate) as u32;
        for number in 0..jobs {
            offered.count(seconds.start + f64::from(number) / rate);
        }
    }

    fn check(what: &str, offered: &Offered, expected: f64) {
        let rate = offered.per_second();
        assert!(
            (rate - expected).abs() <= 0.06 * expected + 1e-9,
            "{what}: {rate}, not {expected}"
        );
    }

    #[test]
    fn the_rate_is_that_of_publishing_and_ends_with_it() {
        let mut offered = Offered::over(20.0);
        check("nothing came", &offered, 0.0);
        publish(&mut offered, 50.0, -600.0..0.0);
        check("a backlog from before the start", &offered, 50.0);
        publish(&mut offered, 5.0, 0.0..10.0);
        check("half of the stretch is new", &offered, 27.5);
        offered.caught_up(40.0);
        check("nothing came for long", &offered, 0.0);
        publish(&mut offered, 5.0, 40.0..41.0);
        offered.count(12.0);
        check("late ones count for nothing", &offered, 0.25);
    }

    #[test]
    fn what_has_just_begun_is_taken_for_what_it_is() {
        let mut offered = Offered::over(80.0);
        publish(&mut offered, 50.0, 0.0..10.0);
        check("an eighth of the stretch", &offered, 50.0);
    }

    #[test]
    fn another_stretch_keeps_what_is_known() {
        let mut offered = Offered::over(60.0);
        publish(&mut offered, 20.0, 0.0..60.0);
        check("shorter", &offered.stretched(10.0), 20.0);
        check("longer", &offered.stretched(240.0), 20.0);
        check("nothing yet", &Offered::over(60.0).stretched(10.0), 0.0);
    }

    proptest! {
        #[test]
        fn a_steady_stream_has_its_rate(rate in 1.0..200.0_f64, stretch_s in 1.0..100.0_f64, from in -1e6..1e6_f64) {
            let mut offered = Offered::over(stretch_s);
            let jobs = (3.0 * stretch_s * rate) as u32;
            for number in 0..jobs {
                offered.count(from + f64::from(number) / rate);
            }
            let known = (stretch_s * rate).min(f64::from(jobs));
            let found = offered.per_second();
            prop_assert!((found / rate - 1.0).abs() < 0.01 + 2.0 / known, "{found} of {rate}");
        }
    }
}

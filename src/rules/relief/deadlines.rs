//! Several deadlines in one queue: the tightest one that matters, for which the limit is found.
//!
//! One limit for all keeps the classes' shares; a limit for each would starve the tight ones, because those with time to spare
//! would fill the queue before them. Which ones matter is counted in steps of a quarter of an octave, and fades.

/// A deadline matters from this share of the jobs on.
const MATTERS: f64 = 0.05;
/// Steps to an octave.
const STEPS: f64 = 4.0;
/// From a millisecond to about twelve days.
const KINDS: usize = 120;
const SHORTEST_S: f64 = 0.001;
/// Above so many jobs, the older ones fade.
const ENOUGH: f64 = 1_000.0;

/// How many jobs had which deadline lately.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// For each kind: how many, and the sum of their deadlines in seconds.
    kinds: Box<[(f64, f64); KINDS]>,
    all: f64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            kinds: Box::new([(0.0, 0.0); KINDS]),
            all: 0.0,
        }
    }
}

impl Deadlines {
    /// A job came that is useless so many seconds after its publishing.
    pub fn count(&mut self, deadline_s: f64) {
        let octaves = (deadline_s.max(SHORTEST_S) / SHORTEST_S).log2();
        let kind = ((octaves * STEPS) as usize).min(KINDS - 1);
        self.kinds[kind].0 += 1.0;
        self.kinds[kind].1 += deadline_s;
        self.all += 1.0;
        if self.all > ENOUGH {
            self.halve();
        }
    }

    /// The tightest deadline in seconds that at least 5 % of the jobs had, those with a tighter one among them; `None`: no job had one.
    #[must_use]
    pub fn tightest_s(&self) -> Option<f64> {
        let mut before = 0.0;
        let matters = |(jobs, _): &&(f64, f64)| {
            before += jobs;
            before > 0.0 && before >= MATTERS * self.all && *jobs > 0.0
        };
        self.kinds
            .iter()
            .find(matters)
            .map(|(jobs, sum_s)| sum_s / jobs)
    }

    fn halve(&mut self) {
        for (jobs, sum_s) in self.kinds.iter_mut() {
            *jobs /= 2.0;
            *sum_s /= 2.0;
        }
        self.all /= 2.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(what: &str, jobs: &[(u32, f64)], expected: Option<f64>) {
        let mut deadlines = Deadlines::default();
        let most = jobs.iter().map(|(count, _)| *count).max().unwrap_or(0);
        for turn in 0..most {
            for (count, deadline_s) in jobs {
                // Evenly spread over the turns.
                if (turn + 1) * count / most > turn * count / most {
                    deadlines.count(*deadline_s);
                }
            }
        }
        let found = deadlines.tightest_s();
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-6;
        let same = match (found, expected) {
            (Some(found), Some(expected)) => near(found, expected),
            (found, expected) => found == expected,
        };
        assert!(same, "{what}: {found:?}, not {expected:?}");
    }

    #[test]
    fn the_tightest_that_matters_counts() {
        check("nobody has one", &[], None);
        check("all the same", &[(500, 30.0)], Some(30.0));
        check("a tenth is tight", &[(100, 4.0), (900, 20.0)], Some(4.0));
        check(
            "one in a hundred is tight",
            &[(10, 4.0), (990, 20.0)],
            Some(20.0),
        );
        check(
            "a few of several kinds",
            &[(30, 1.0), (30, 4.0), (940, 20.0)],
            Some(4.0),
        );
        check("out of all bounds", &[(10, 1e-9)], Some(1e-9));
        check("for ever", &[(10, 1e12)], Some(1e12));
    }

    #[test]
    fn what_was_fades() {
        let mut deadlines = Deadlines::default();
        for _ in 0..100_000 {
            deadlines.count(1.0);
        }
        for _ in 0..10_000 {
            deadlines.count(60.0);
        }
        assert_eq!(deadlines.tightest_s(), Some(60.0));
    }
}

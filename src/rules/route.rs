//! To whom a job may go: what the flag of a pool says, what an operator forces on a provider, and which of several is next.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::lots::KeyHash;

/// What the flag `pool.<pool>.provider` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Route {
    /// As the pool is ordered or weighted.
    #[default]
    Auto,
    /// This one alone.
    Only(Arc<str>),
    /// These alone, in these shares of the whole.
    Weights(Arc<[(Arc<str>, u32)]>),
}

/// Why a text is no route.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} says no route; write auto, the name of a provider, or shares such as mailgun=90,sendgrid=10"
)]
pub struct NotARoute(String);

/// The largest weight.
const HEAVIEST: u32 = 100_000;

impl FromStr for Route {
    type Err = NotARoute;
    fn from_str(text: &str) -> Result<Self, NotARoute> {
        let wrong = || NotARoute(text.chars().take(80).collect());
        if text == "auto" {
            return Ok(Self::Auto);
        }
        if !text.contains('=') {
            let fine = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            return match fine && !text.contains(',') {
                true => Ok(Self::Only(text.into())),
                false => Err(wrong()),
            };
        }
        let mut weights: Vec<(Arc<str>, u32)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').ok_or_else(wrong)?;
            let (name, weight) = (name.trim(), weight.trim().trim_end_matches('%'));
            let weight: u32 = weight.parse().map_err(|_| wrong())?;
            let twice = weights.iter().any(|(other, _)| other.as_ref() == name);
            if name.is_empty() || twice || weight > HEAVIEST {
                return Err(wrong());
            }
            weights.push((name.into(), weight));
        }
        if weights.iter().all(|(_, weight)| *weight == 0) {
            return Err(wrong());
        }
        Ok(Self::Weights(weights.into()))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Only(name) => f.write_str(name),
            Self::Weights(weights) => {
                let parts: Vec<String> = weights
                    .iter()
                    .map(|(name, weight)| format!("{name}={weight}"))
                    .collect();
                f.write_str(&parts.join(","))
            }
        }
    }
}

impl Route {
    /// The providers that it names; none when it is for all.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Auto => Vec::new(),
            Self::Only(name) => vec![name],
            Self::Weights(weights) => weights.iter().map(|(name, _)| name.as_ref()).collect(),
        }
    }
}

/// What an operator forces on a provider: the flag `provider.<name>.force`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Force {
    /// Its breaker decides.
    #[default]
    None,
    /// It is not called.
    Rest,
    /// It is called whatever its breaker says.
    Pass,
}

impl Force {
    /// The words of the flag.
    pub const WORDS: [&'static str; 3] = ["none", "rest", "pass"];

    /// What a word of the flag means; any other forces nothing.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "rest" => Self::Rest,
            "pass" => Self::Pass,
            _ => Self::None,
        }
    }

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Rest => "rest",
            Self::Pass => "pass",
        }
    }
}

/// What flags say of one job of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Way {
    /// Which providers may have it.
    pub route: Route,
    /// Whether that is another route than everybody's: when its providers rest, others go on.
    pub own: bool,
    /// What is forced on the pool's providers, in their order; fewer than those: nothing on the rest.
    pub forced: Arc<[Force]>,
}

/// A provider of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: Arc<str>,
    /// Its weight in a weighted pool; 0 in an ordered one.
    pub weight: u32,
}

/// The members to ask for a job, by their number and in this order: the first that takes it has it. `lot` is the job's own, or that
/// of what it sticks to: the same lot asks the same member first while the weights stand.
#[must_use]
pub fn order(members: &[Member], route: &Route, lot: KeyHash) -> Vec<usize> {
    let weighed: Vec<(usize, u32)> = match route {
        Route::Auto => members
            .iter()
            .map(|member| member.weight)
            .enumerate()
            .collect(),
        Route::Only(only) => members
            .iter()
            .position(|member| member.name == *only)
            .map(|at| (at, 1))
            .into_iter()
            .collect(),
        Route::Weights(weights) => weights
            .iter()
            .filter_map(|(name, weight)| {
                let at = members.iter().position(|member| member.name == *name)?;
                Some((at, *weight))
            })
            .collect(),
    };
    let mut all: Vec<usize> = weighed.iter().map(|(at, _)| *at).collect();
    if let Some(first) = drawn(&weighed, lot) {
        all.remove(first);
        all.insert(0, weighed[first].0);
    }
    all
}

/// Whose share a lot falls in; none when nobody has a weight.
fn drawn(weighed: &[(usize, u32)], lot: KeyHash) -> Option<usize> {
    let total: u32 = weighed.iter().map(|(_, weight)| weight).sum();
    let mut left = lot.draw(17) * f64::from(total);
    (total > 0).then_some(())?;
    weighed.iter().position(|(_, weight)| {
        left -= f64::from(*weight);
        left < 0.0
    })
}

/// How a member stands for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may have it.
    May,
    /// All slots that it may hold are taken; the next one may have it.
    Full,
    /// It holds its share of the pool's slots and is well: its turn comes soon.
    Busy,
    /// Its rate, its daily limit or its own wish says not before this time (since the clock's start).
    Paced(Duration),
    /// It rests; until then, if that is known.
    Rests(Option<Duration>),
    /// It does not send for this domain, or has already said no to this job.
    NotThisOne,
}

/// Who gets a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The member of this number.
    Go(usize),
    /// Somebody would have it, and has no room now.
    Full,
    /// Somebody would have it, not before this time.
    At(Duration),
    /// Whoever would have it rests; until then, if that is known.
    Nobody(Option<Duration>),
    /// Nobody that it may go to can ever have it.
    NoneLeft,
}

/// The first member in `order` that may have the job. Room counts before pace and pace before rest, so that what is told is what
/// ends first.
#[must_use]
pub fn pick(order: &[usize], standing: impl Fn(usize) -> Standing) -> Pick {
    let mut best = Pick::NoneLeft;
    for &at in order {
        best = match (standing(at), best) {
            (Standing::May, _) => return Pick::Go(at),
            (Standing::Busy, _) => return Pick::Full,
            (Standing::Full, _) | (_, Pick::Full) => Pick::Full,
            (Standing::Paced(until), Pick::At(other)) => Pick::At(until.min(other)),
            (Standing::Paced(until), _) => Pick::At(until),
            (Standing::Rests(_) | Standing::NotThisOne, Pick::At(other)) => Pick::At(other),
            (Standing::Rests(until), Pick::Nobody(other)) => Pick::Nobody(sooner(until, other)),
            (Standing::Rests(until), _) => Pick::Nobody(until),
            (Standing::NotThisOne, other) => other,
        };
    }
    best
}

fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// What failing over may add to the load: one call for every five jobs, and twenty at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget(f64);

const PER_JOB: f64 = 0.2;
const AT_ONCE: f64 = 20.0;

impl Default for Budget {
    fn default() -> Self {
        Self(AT_ONCE)
    }
}

impl Budget {
    /// A job begins.
    pub fn job(&mut self) {
        self.0 = (self.0 + PER_JOB).min(AT_ONCE);
    }

    /// Whether one more call may be made for a job that already had one; takes it.
    pub fn again(&mut self) -> bool {
        let may = self.0 >= 1.0;
        if may {
            self.0 -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(text: &str) -> Vec<Member> {
        let member = |part: &str| {
            let (name, weight) = part.split_once('=').unwrap_or((part, "0"));
            Member {
                name: name.into(),
                weight: weight.parse().unwrap(),
            }
        };
        text.split(' ').map(member).collect()
    }

    #[test]
    fn a_route_is_read_as_it_is_written() {
        let check = |text: &str, expected: Result<&str, ()>| {
            let read = text.parse::<Route>();
            let said = read.as_ref().map(ToString::to_string).map_err(|_| ());
            assert_eq!(
                said.as_deref(),
                expected.as_ref().map(|said| &**said),
                "{text:?}"
            );
        };
        check("auto", Ok("auto"));
        check("mailgun", Ok("mailgun"));
        check("mailgun=90,sendgrid=10", Ok("mailgun=90,sendgrid=10"));
        check("mailgun = 90 %, sendgrid=10%", Err(()));
        check("mailgun=90%, sendgrid=10%", Ok("mailgun=90,sendgrid=10"));
        for bad in [
            "",
            "a b",
            "a,b",
            "a=1,b",
            "a=1,a=2",
            "a=0,b=0",
            "a=-1",
            "=1",
            "a=999999999",
        ] {
            check(bad, Err(()));
        }
    }

    fn check_order(pool: &str, route: &str, expected: &[&str]) {
        let pool = members(pool);
        let order = order(&pool, &route.parse().unwrap(), KeyHash(1));
        let names: Vec<&str> = order.iter().map(|at| &*pool[*at].name).collect();
        assert_eq!(names, expected, "{route}");
    }

    #[test]
    fn who_is_asked_first() {
        check_order("a b c", "auto", &["a", "b", "c"]);
        check_order("a b c", "b", &["b"]);
        check_order("a b c", "nobody", &[]);
        check_order("a b c", "c=1,a=0", &["c", "a"]);
        check_order("a=0 b=1 c=0", "auto", &["b", "a", "c"]);
    }

    #[test]
    fn shares_come_out_as_they_were_set() {
        let pool = members("a=90 b=10");
        let lots = (0..10_000u64).map(|n| KeyHash::of(&n.to_le_bytes()));
        let to_b = lots
            .filter(|lot| order(&pool, &Route::Auto, *lot)[0] == 1)
            .count();
        assert!((900..=1_100).contains(&to_b), "{to_b}");
    }

    fn check_pick(what: &str, standing: &[Standing], expected: Pick) {
        let order: Vec<usize> = (0..standing.len()).collect();
        assert_eq!(pick(&order, |at| standing[at]), expected, "{what}");
    }

    #[test]
    fn the_first_that_may_has_it() {
        use Standing::{Full, May, NotThisOne, Paced, Rests};
        let at = Duration::from_secs;
        check_pick("the first choice", &[May, May], Pick::Go(0));
        check_pick("the next in line", &[Rests(None), May], Pick::Go(1));
        check_pick("a full one is passed by", &[Full, May], Pick::Go(1));
        check_pick(
            "a busy one is waited for",
            &[Standing::Busy, May],
            Pick::Full,
        );
        check_pick(
            "room comes soonest",
            &[Rests(None), Full, Paced(at(3))],
            Pick::Full,
        );
        check_pick(
            "then pace",
            &[Paced(at(9)), Rests(Some(at(1))), Paced(at(3))],
            Pick::At(at(3)),
        );
        check_pick(
            "all rest",
            &[Rests(Some(at(4))), Rests(Some(at(2))), Rests(None)],
            Pick::Nobody(Some(at(2))),
        );
        check_pick(
            "one said no, the other rests",
            &[NotThisOne, Rests(None)],
            Pick::Nobody(None),
        );
        check_pick("all said no", &[NotThisOne, NotThisOne], Pick::NoneLeft);
        check_pick("an empty pool", &[], Pick::NoneLeft);
    }

    #[test]
    fn failing_over_adds_a_fifth_at_most() {
        let mut budget = Budget::default();
        let mut calls = 0;
        for _ in 0..1_000 {
            budget.job();
            calls += u32::from(budget.again());
        }
        assert!((200..=225).contains(&calls), "{calls}");
    }

    proptest! {
        /// Taking a member away never changes who is first for a lot whose first it was not, in an ordered pool.
        #[test]
        fn nobody_moves_but_those_of_who_left(lot: u64, rests in 0usize..3) {
            let pool = members("a=50 b=30 c=20");
            let order = order(&pool, &Route::Auto, KeyHash(lot));
            let standing = |at: usize| if at == rests { Standing::Rests(None) } else { Standing::May };
            let picked = pick(&order, standing);
            if order[0] == rests {
                prop_assert_eq!(picked, Pick::Go(order[1]));
            } else {
                prop_assert_eq!(picked, Pick::Go(order[0]));
            }
        }
    }
}

//! Live health of providers, shared by all queues of the daemon: their breakers, their pace, and what they said. May import `rules`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::rules::accepted::{Accepted, Heard, Later, Taken};
use crate::rules::breaker::{Breaker, Call, Odds, Said, Standing as BreakerStanding, Turn, View};
use crate::rules::lots::KeyHash;
use crate::rules::pace::Pace;
use crate::rules::reply::Reply;
use crate::rules::route::{Budget, Force, Standing};
use crate::rules::units::{Rate, Ratio};

/// How long a provider that refused a From domain is not asked for it again.
const SENDER_RESTS: Duration = Duration::from_secs(600);
/// How long a provider rests that refused our key, unless the key changes before.
const OURS_RESTS: Duration = Duration::from_secs(60);
/// So many refused domains are remembered of a provider.
const MOST_DOMAINS: usize = 1_000;
/// How many times the usual share of failures is illness.
const ILL_IS: f64 = 7.2;

/// What the file says of a provider, as far as its health asks.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most jobs out to it at once.
    pub slots: Option<usize>,
    /// The most jobs for each unit of time.
    pub rate: Option<Rate>,
    /// The most jobs of a day (UTC).
    pub per_day: Option<u64>,
    /// How long an answer may take.
    pub deadline: Duration,
    /// The share of its calls that fail when all is well.
    pub usual_failures: Ratio,
}

/// One provider.
#[derive(Debug)]
pub struct ProviderVitals {
    /// Its name.
    pub name: Arc<str>,
    /// How it is spoken to, for people.
    pub kind: &'static str,
    limits: Limits,
    inner: Mutex<Inner>,
    accepted: Mutex<Accepted>,
}

#[derive(Debug)]
struct Inner {
    breaker: Breaker,
    pace: Pace,
    replies: [u64; Reply::WORDS.len()],
    /// From domains that it refused, and until when it is not asked for them.
    refused: BTreeMap<String, Duration>,
    /// What it said last when something was wrong.
    last_cause: String,
    /// Why it does not accept us, while it does not.
    ours: Option<String>,
}

/// A job that asks for a provider.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The time since the clock's start.
    pub now: Duration,
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// Its lot, from 0 to 1, for a provider on its way back.
    pub lot: f64,
    /// What an operator forces.
    pub force: Force,
    /// The domain of its From; empty: it is no mail.
    pub domain: &'a str,
    /// The most jobs of its pool that may be out to one provider.
    pub most: usize,
}

/// A reading of a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderReport {
    /// The breaker's.
    pub breaker: View,
    /// How often it said what, in the order of [`Reply::WORDS`].
    pub replies: [u64; Reply::WORDS.len()],
    /// The From domains that it refused lately.
    pub refused_domains: Vec<String>,
    /// What it said last when something was wrong; may be empty.
    pub last_cause: String,
    /// Why it does not accept us.
    pub ours: Option<String>,
    /// Until when it asked us to wait, while that is to come.
    pub asked_until: Option<Duration>,
    /// Calls of this day.
    pub today: u64,
}

impl ProviderVitals {
    /// A provider that passes.
    #[must_use]
    pub fn new(name: &str, kind: &'static str, limits: Limits) -> Self {
        let usual = limits.usual_failures.get();
        let odds = Odds::of(usual, usual * ILL_IS);
        let seed = KeyHash::of(name.as_bytes());
        let breaker = Breaker::new(odds, limits.deadline, seed);
        let pace = Pace::new(limits.rate, limits.per_day);
        Self {
            name: name.into(),
            kind,
            limits,
            inner: Mutex::new(Inner {
                breaker,
                pace,
                replies: Default::default(),
                refused: BTreeMap::new(),
                last_cause: String::new(),
                ours: None,
            }),
            accepted: Mutex::default(),
        }
    }

    /// It took a job, and calls it so: what it tells of it later is known to be of that job.
    pub fn took(&self, name: &str, taken: Taken, now: Duration) {
        self.accepted().took(name, taken, now);
    }

    /// This is told of a job by the name that it gave it, of one recipient or of all (empty).
    pub fn hears(&self, name: &str, later: Later, recipient: &str, now: Duration) -> Heard {
        self.accepted().hears(name, later, recipient, now)
    }

    fn accepted(&self) -> MutexGuard<'_, Accepted> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call for a job, if it may have it now.
    ///
    /// # Errors
    /// How it stands for this job, when it may not.
    pub fn take(&self, asked: &Asked<'_>) -> Result<Call, Standing> {
        let mut inner = self.lock();
        inner.breaker.look(asked.now);
        match self.standing(&inner, asked) {
            Standing::May => {
                inner.pace.called(asked.now, asked.now_ms);
                Ok(inner.breaker.begin(asked.now))
            }
            other => Err(other),
        }
    }

    fn standing(&self, inner: &Inner, asked: &Asked<'_>) -> Standing {
        let refused = inner.refused.get(asked.domain);
        if refused.is_some_and(|until| *until > asked.now) {
            return Standing::NotThisOne;
        }
        let passes = match asked.force {
            Force::Rest => return Standing::Rests(None),
            Force::Pass => true,
            Force::None => inner.breaker.may(asked.now, asked.lot),
        };
        if !passes {
            return Standing::Rests(inner.breaker.view(asked.now).until);
        }
        let out = inner.breaker.out();
        if self.limits.slots.is_some_and(|most| out >= most) {
            return Standing::Full;
        }
        if out >= asked.most {
            // What is stuck there is not waited for.
            let stuck = inner.breaker.overdue() > 0;
            return if stuck {
                Standing::Full
            } else {
                Standing::Busy
            };
        }
        match inner.pace.next(asked.now, asked.now_ms) {
            next if next > asked.now => Standing::Paced(next),
            _ => Standing::May,
        }
    }

    /// A call is over, and this is what it said; `domain` is that of the job's From.
    pub fn came_back(
        &self,
        call: Call,
        reply: &Reply,
        domain: &str,
        now: Duration,
    ) -> Option<Turn> {
        let mut inner = self.lock();
        inner.replies[reply.number()] += 1;
        let turn = inner.breaker.answered(call, reply.said(), now);
        match reply {
            Reply::Done(_) => inner.ours = None,
            Reply::Throttled(wait) => inner.pace.asked_to_wait(*wait, now),
            Reply::Sender(_) if !domain.is_empty() => inner.refuses(domain, now),
            Reply::Ours(cause) => {
                inner.ours = Some(cause.clone());
                inner.last_cause = cause.clone();
                return inner.breaker.rest_for(OURS_RESTS, now);
            }
            _ => {}
        }
        if !reply.cause().is_empty() {
            reply.cause().clone_into(&mut inner.last_cause);
        }
        turn
    }

    /// A call ended without saying anything, because we gave it up.
    pub fn given_up(&self, call: Call, now: Duration) {
        self.lock().breaker.answered(call, Said::Nothing, now);
    }

    /// Counts what is overdue.
    pub fn look(&self, now: Duration) -> Option<Turn> {
        self.lock().breaker.look(now)
    }

    /// Its secret is another now: if it rests because it refused the old one, it is asked again.
    pub fn has_another_secret(&self, now: Duration) {
        let mut inner = self.lock();
        if inner.ours.take().is_some() {
            inner.breaker.ask_now(now);
        }
    }

    /// Whether it rests because it does not accept us.
    #[must_use]
    pub fn refuses_us(&self) -> bool {
        self.lock().ours.is_some()
    }

    /// A reading.
    #[must_use]
    pub fn report(&self, now: Duration, now_ms: i64) -> ProviderReport {
        let inner = self.lock();
        let refused = inner.refused.iter().filter(|(_, until)| **until > now);
        let asked_until = inner.pace.asked_until();
        ProviderReport {
            breaker: inner.breaker.view(now),
            replies: inner.replies,
            refused_domains: refused.map(|(domain, _)| domain.clone()).collect(),
            last_cause: inner.last_cause.clone(),
            ours: inner.ours.clone(),
            asked_until: (asked_until > now).then_some(asked_until),
            today: inner.pace.calls_today(now_ms),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn refuses(&mut self, domain: &str, now: Duration) {
        self.refused.retain(|_, until| *until > now);
        if self.refused.len() < MOST_DOMAINS {
            self.refused.insert(domain.to_owned(), now + SENDER_RESTS);
        }
    }
}

/// One pool: its providers, shared with other pools, and what failing over may add to the load.
#[derive(Debug)]
pub struct PoolVitals {
    /// Its name.
    pub name: Arc<str>,
    /// Its providers, the first choice first.
    pub providers: Vec<Arc<ProviderVitals>>,
    /// The most jobs that may be out to one of them.
    pub most: usize,
    budget: Mutex<Budget>,
}

impl PoolVitals {
    /// A pool whose queues have so many slots in all, of which one provider may hold this share.
    #[must_use]
    pub fn new(
        name: &str,
        providers: Vec<Arc<ProviderVitals>>,
        slots: u32,
        largest_share: Ratio,
    ) -> Self {
        let share = (f64::from(slots) * largest_share.get()).ceil() as usize;
        let alone = providers.len() < 2;
        Self {
            name: name.into(),
            most: if alone { usize::MAX } else { share.max(1) },
            providers,
            budget: Mutex::default(),
        }
    }

    /// A job begins.
    pub fn job(&self) {
        self.budget().job();
    }

    /// Whether a job that was refused may be given to the next provider now.
    #[must_use]
    pub fn again(&self) -> bool {
        self.budget().again()
    }

    /// Whether the first provider, as it is forced, does not carry all that is meant for it.
    #[must_use]
    pub fn on_backup(&self, force: Force, now: Duration, now_ms: i64) -> bool {
        let Some(first) = self.providers.first() else {
            return false;
        };
        match force {
            Force::Rest => true,
            Force::Pass => false,
            Force::None => {
                let view = first.report(now, now_ms).breaker;
                view.standing != BreakerStanding::Passing || view.share < 1.0
            }
        }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(slots: Option<usize>) -> ProviderVitals {
        let limits = Limits {
            slots,
            rate: None,
            per_day: None,
            deadline: Duration::from_secs(3),
            usual_failures: Ratio::try_from(0.05).unwrap(),
        };
        ProviderVitals::new("mailgun", "mailgun", limits)
    }

    fn asked(seconds: u64, domain: &str) -> Asked<'_> {
        Asked {
            now: Duration::from_secs(seconds),
            now_ms: 0,
            lot: 0.5,
            force: Force::None,
            domain,
            most: 6,
        }
    }

    fn say(provider: &ProviderVitals, seconds: u64, reply: &Reply) -> Option<Turn> {
        let call = provider.take(&asked(seconds, "shop.example")).unwrap();
        provider.came_back(call, reply, "shop.example", Duration::from_secs(seconds))
    }

    #[test]
    fn a_bad_recipient_never_marks_a_provider() {
        let provider = provider(None);
        for _ in 0..1_000 {
            assert_eq!(
                say(&provider, 1, &Reply::Recipient("no such user".into())),
                None
            );
        }
        let report = provider.report(Duration::from_secs(1), 0);
        assert_eq!(report.breaker.standing, BreakerStanding::Passing);
        assert_eq!(
            (report.replies[1], report.last_cause.as_str()),
            (1_000, "no such user")
        );
    }

    #[test]
    fn a_refused_domain_goes_elsewhere_and_others_stay() {
        let provider = provider(None);
        say(&provider, 1, &Reply::Sender("not verified".into()));
        let taken = |seconds, domain| provider.take(&asked(seconds, domain)).map(drop);
        assert_eq!(taken(2, "shop.example"), Err(Standing::NotThisOne));
        assert_eq!(taken(2, "other.example"), Ok(()));
        assert_eq!(taken(602, "shop.example"), Ok(()));
    }

    #[test]
    fn a_key_that_is_refused_rests_it_until_there_is_another() {
        let provider = provider(None);
        assert!(say(&provider, 1, &Reply::Ours("401".into())).is_some());
        assert!(provider.take(&asked(30, "")).is_err());
        provider.has_another_secret(Duration::from_secs(31));
        assert!(provider.take(&asked(31, "")).is_ok());
    }

    #[test]
    fn slots_and_wishes_are_kept() {
        let provider = provider(Some(2));
        let calls = [(); 2].map(|()| provider.take(&asked(1, "")).unwrap());
        assert_eq!(provider.take(&asked(1, "")).map(drop), Err(Standing::Full));
        for call in calls {
            let wait = Reply::Throttled(Some(Duration::from_secs(9)));
            provider.came_back(call, &wait, "", Duration::from_secs(1));
        }
        let until = Standing::Paced(Duration::from_secs(10));
        assert_eq!(provider.take(&asked(2, "")).map(drop), Err(until));
        let forced = Asked {
            force: Force::Rest,
            ..asked(20, "")
        };
        assert_eq!(provider.take(&forced).map(drop), Err(Standing::Rests(None)));
    }

    #[test]
    fn what_is_forced_to_pass_is_called_while_its_breaker_rests() {
        let provider = provider(None);
        for _ in 0..6 {
            say(&provider, 1, &Reply::Provider("500".into()));
        }
        assert!(provider.take(&asked(1, "")).is_err());
        let forced = Asked {
            force: Force::Pass,
            ..asked(1, "")
        };
        assert!(provider.take(&forced).is_ok());
    }
}

//! A pool of providers as a target: a job goes to the first that takes it, and within the same attempt to the next when one surely
//! did not do it. What is unknown goes on only where the queue says so. May import `config`, `seams`, `clock`, `vitals`, `metrics` and
//! `rules`.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::conclusion::Ending;
pub(crate) use super::conclusion::tell;
use super::mail::Mail;
use super::out::Out;
use super::provider::{Adapter, Work};
use super::results::Teller;
use super::suppression::Suppression;
use crate::clock::{Clock, Now};
use crate::config::OnUnknown;
use crate::config::pool::Pool as PoolSettings;
use crate::config::provider::Provider;
use crate::metrics::PoolMetrics;
use crate::rules::accepted::Taken;
use crate::rules::breaker::Call;
use crate::rules::lots::KeyHash;
use crate::rules::reply::Reply;
use crate::rules::route::{Force, Member, Pick, Standing, order, pick};
use crate::rules::snapshot::Snapshot;
use crate::seams::{Answer, Job, KeepsDoubts, Outcome, Outlet, Target};
use crate::vitals::providers::{Asked, PoolVitals, ProviderVitals};

/// A wait up to this is one for room; a longer one is told to people.
const SHORT_WAIT: Duration = Duration::from_secs(5);

/// What all queues of a pool share.
#[derive(Debug, Clone)]
pub struct SharedPool {
    /// What the file says of it.
    pub settings: Arc<PoolSettings>,
    /// What the file says of its providers, in its order.
    pub providers: Arc<[Provider]>,
    /// How they stand.
    pub vitals: Arc<PoolVitals>,
    /// Their numbers.
    pub metrics: Arc<PoolMetrics>,
    /// The flags in force: a segment says who gets no mail.
    pub flags: watch::Receiver<Arc<Snapshot>>,
    /// Where jobs are kept that may have been done.
    pub doubts: Arc<dyn KeepsDoubts>,
}

/// The pool as one queue's thread uses it, with connections of its own.
pub(super) struct Pool(Rc<Inner>);

struct Inner {
    shared: SharedPool,
    members: Vec<Member>,
    adapters: Vec<Adapter>,
    on_unknown: OnUnknown,
    attempts: u32,
    clock: Clock,
    teller: Option<Teller>,
    suppression: Suppression,
}

impl Pool {
    /// Connects when the first job comes. `outlet` is that of the queue, whose jobs are tried so often. The error says whose settings
    /// cannot be used, and why.
    pub(super) fn new(
        shared: &SharedPool,
        (on_unknown, attempts): (OnUnknown, u32),
        outlet: &impl Outlet,
        clock: Clock,
    ) -> Result<Self, String> {
        let adapter = |provider: &Provider| {
            Adapter::of(provider, clock).map_err(|why| format!("{}: {why}", provider.name))
        };
        let adapters: Result<Vec<Adapter>, String> = shared.providers.iter().map(adapter).collect();
        let results = shared.settings.results.as_ref();
        let of = (&shared.settings.name, &shared.metrics);
        let teller = results.map(|results| Teller::of(results, outlet, of, clock));
        Ok(Self(Rc::new(Inner {
            teller: teller.transpose()?,
            attempts,
            suppression: Suppression::default(),
            members: shared.settings.members.clone(),
            adapters: adapters?,
            shared: shared.clone(),
            on_unknown,
            clock,
        })))
    }
}

impl Target for Pool {
    fn hand_over(&self, job: Job) -> Pin<Box<dyn Future<Output = Answer>>> {
        let inner = Rc::clone(&self.0);
        Box::pin(async move { inner.run(job).await.into() })
    }
}

/// One job on its way through the pool.
struct Journey {
    work: Work,
    domain: String,
    order: Vec<usize>,
    lot: f64,
    ends: Duration,
    /// Addresses that get no mail.
    left_out: Vec<String>,
    /// Who was asked, by number, and what each said.
    calls: Vec<(usize, Reply)>,
}

impl Journey {
    fn was_asked(&self, at: usize) -> bool {
        self.calls.iter().any(|(asked, _)| *asked == at)
    }

    fn last(&self) -> Option<&Reply> {
        self.calls.last().map(|(_, reply)| reply)
    }
}

impl Inner {
    async fn run(&self, job: Job) -> Outcome {
        let (mut journey, ended) = self.begin(job);
        let outcome = match ended {
            Some(outcome) => outcome,
            None => self.travel(&mut journey).await,
        };
        self.conclude(&journey, &outcome).await;
        outcome
    }

    /// From provider to provider, until somebody has it or nobody is left.
    async fn travel(&self, journey: &mut Journey) -> Outcome {
        self.shared.vitals.job();
        loop {
            let now = self.clock.now();
            self.look_at_keys(now);
            let left = journey.ends.saturating_sub(now.mono);
            if left.is_zero() {
                return self.ended(journey, None, now);
            }
            let (picked, call) = self.pick(journey, now);
            let (Pick::Go(at), Some(call)) = (picked, call) else {
                return self.ended(journey, Some(picked), now);
            };
            let out = Out {
                provider: &self.shared.vitals.providers[at],
                call: Some(call),
                clock: self.clock,
            };
            if let Some((from, _)) = journey.calls.last() {
                if !self.shared.vitals.again() {
                    return self.ended(journey, None, now);
                }
                self.shared.metrics.failed_over(*from, at);
            }
            let reply = self.ask(out, at, journey, left, now).await;
            let goes_on = match &reply {
                Reply::Done(_) | Reply::Recipient(_) | Reply::Later(_) => false,
                Reply::Unknown(_) => self.on_unknown == OnUnknown::Failover,
                Reply::Sender(_) | Reply::Throttled(_) | Reply::Provider(_) | Reply::Ours(_) => {
                    true
                }
            };
            journey.calls.push((at, reply));
            if !goes_on {
                return self.ended(journey, None, now);
            }
        }
    }

    /// A job before anybody is asked; with its outcome, when nobody need be.
    fn begin(&self, job: Job) -> (Journey, Option<Outcome>) {
        let key = format!("{}:{}", job.queue, job.id);
        let mail = self.shared.settings.mail;
        let read = mail.then(|| Mail::read(&job.raw.body, &key)).transpose();
        let mut ended = read
            .as_ref()
            .err()
            .map(|why| Outcome::Failed(why.to_string()));
        let mut mail = read.ok().flatten();
        let left_out = mail
            .as_mut()
            .map(|mail| self.suppression.leave_out(mail, &self.shared))
            .unwrap_or_default();
        if mail.as_ref().is_some_and(|mail| mail.to.is_empty()) {
            tracing::debug!(queue = %job.queue, id = %job.id, "a mail is sent to nobody: all of its recipients are suppressed");
            ended = Some(Outcome::Done);
        }
        let own = KeyHash::of(key.as_bytes());
        let account = job.account.as_ref().filter(|_| self.shared.settings.sticky);
        let sticks = account.map_or(own, |account| KeyHash::of(account.as_bytes()));
        let journey = Journey {
            domain: mail.as_ref().map(Mail::domain).unwrap_or_default(),
            order: order(&self.members, &job.way.route, sticks),
            lot: own.draw(31),
            ends: self.clock.now().mono + job.timeout,
            left_out,
            calls: Vec::new(),
            work: Work { job, mail },
        };
        (journey, ended)
    }

    /// Tells whoever is to know what came of a job, before the worker hears of it and acknowledges its message.
    async fn conclude(&self, journey: &Journey, outcome: &Outcome) {
        let ending = Ending {
            job: &journey.work.job,
            mail: journey.work.mail.as_ref(),
            left_out: &journey.left_out,
            calls: &journey.calls,
            outcome,
        };
        let now = self.clock.now();
        if let Some(doubt) = ending.doubt(&self.shared, self.on_unknown, now) {
            self.shared.doubts.keep(doubt).await;
        }
        if let Some(teller) = &self.teller {
            let of_queue = (self.on_unknown, self.attempts);
            if let Some(result) = ending.result(&self.shared, of_queue, now) {
                teller.tell(&result).await;
            }
        }
    }

    /// A provider that did not accept us is asked again when it gets another key.
    fn look_at_keys(&self, now: Now) {
        for (adapter, vitals) in self.adapters.iter().zip(&self.shared.vitals.providers) {
            if adapter.keyring().has_changed(now.mono) {
                tracing::info!(provider = %vitals.name, "its secret was read again");
                vitals.has_another_secret(now.mono);
            }
        }
    }

    /// Who is next for a job, with the call that was begun there. A provider on its way back gets a share of the jobs; all of them,
    /// when there is nobody else: then the back-pressure of the queue is the ramp.
    fn pick(&self, journey: &Journey, now: Now) -> (Pick, Option<Call>) {
        match self.pick_by(journey.lot, journey, now) {
            (Pick::Nobody(_), _) => self.pick_by(0.0, journey, now),
            picked => picked,
        }
    }

    fn pick_by(&self, lot: f64, journey: &Journey, now: Now) -> (Pick, Option<Call>) {
        let taken = RefCell::new(None);
        let picked = pick(&journey.order, |at| {
            let sends =
                |domains: &[String]| domains.is_empty() || domains.contains(&journey.domain);
            if journey.was_asked(at) || !sends(&self.shared.providers[at].from_domains) {
                return Standing::NotThisOne;
            }
            let forced = &journey.work.job.way.forced;
            let asked = Asked {
                now: now.mono,
                now_ms: now.ms,
                lot,
                force: forced.get(at).copied().unwrap_or(Force::None),
                domain: &journey.domain,
                most: self.shared.vitals.most,
            };
            match self.shared.vitals.providers[at].take(&asked) {
                Ok(call) => {
                    taken.replace(Some(call));
                    Standing::May
                }
                Err(standing) => standing,
            }
        });
        (picked, taken.into_inner())
    }

    async fn ask(
        &self,
        mut out: Out<'_>,
        at: usize,
        journey: &Journey,
        left: Duration,
        began: Now,
    ) -> Reply {
        let within = self.shared.providers[at].deadline.min(left);
        let reply = self.adapters[at].ask(&journey.work, within).await;
        let now = self.clock.now().mono;
        let took = now.saturating_sub(began.mono);
        self.shared.metrics.answered(at, &reply, took);
        let vitals = out.provider;
        if let Some(call) = out.call.take() {
            tell(vitals, vitals.came_back(call, &reply, &journey.domain, now));
        }
        let (job, provider) = (&journey.work.job, &vitals.name);
        match &reply {
            Reply::Done(theirs) => {
                self.took(vitals, &journey.work, theirs.as_deref(), now);
                tracing::debug!(queue = %job.queue, id = %job.id, %provider, theirs, "a provider took a job");
            }
            Reply::Unknown(cause) => {
                tracing::warn!(queue = %job.queue, id = %job.id, %provider, cause, "a provider may have done a job");
            }
            other => {
                tracing::debug!(queue = %job.queue, id = %job.id, %provider, reply = other.word(), cause = other.cause(), "a provider did not take a job");
            }
        }
        reply
    }

    /// A provider has a job: what it tells of it later is known by its own name for it, and by that of the mail.
    fn took(&self, provider: &ProviderVitals, work: &Work, theirs: Option<&str>, now: Duration) {
        let ours = work.mail.as_ref().map(|mail| mail.message_id.as_str());
        for name in theirs.into_iter().chain(ours) {
            let taken = Taken {
                queue: work.job.queue.clone(),
                id: Arc::clone(&work.job.id),
            };
            provider.took(name, taken, now);
        }
    }

    /// What comes of a job for which nobody is asked any more.
    fn ended(&self, journey: &Journey, picked: Option<Pick>, now: Now) -> Outcome {
        let nobody_left = matches!(picked, Some(Pick::NoneLeft));
        match journey.last() {
            Some(Reply::Done(_)) => Outcome::Done,
            Some(Reply::Recipient(cause)) => Outcome::Failed(cause.clone()),
            Some(Reply::Later(cause) | Reply::Provider(cause)) => Outcome::Retry(cause.clone()),
            Some(Reply::Unknown(cause)) => Outcome::Unknown(cause.clone()),
            // It was surely not done, and the next one has no room: it stays in hand.
            Some(Reply::Throttled(_) | Reply::Sender(_) | Reply::Ours(_))
                if picked == Some(Pick::Full) =>
            {
                Outcome::Full
            }
            Some(Reply::Throttled(wait)) => match picked {
                Some(Pick::At(until)) => Outcome::Throttled(Some(until.saturating_sub(now.mono))),
                Some(Pick::Nobody(_)) => {
                    Outcome::NoProvider("one asks to wait, the others rest".to_owned())
                }
                _ => Outcome::Throttled(*wait),
            },
            Some(Reply::Sender(cause)) if nobody_left => Outcome::Failed(cause.clone()),
            Some(Reply::Sender(cause) | Reply::Ours(cause)) => Outcome::NoProvider(cause.clone()),
            None => self.not_asked(journey, picked, now),
        }
    }

    /// What comes of a job that was given to nobody.
    fn not_asked(&self, journey: &Journey, picked: Option<Pick>, now: Now) -> Outcome {
        let pool = &self.shared.settings.name;
        let why = match picked {
            Some(Pick::Full) => return Outcome::Full,
            Some(Pick::At(until)) if until <= now.mono + SHORT_WAIT => return Outcome::Full,
            Some(Pick::At(_)) => {
                format!("the providers of {pool} that pass want to wait, or are done for today")
            }
            Some(Pick::Nobody(_)) if journey.work.job.way.own => {
                return Outcome::NoProvider("the providers that its rule names rest".to_owned());
            }
            Some(Pick::Nobody(_)) => format!("no provider of the pool {pool} passes"),
            Some(Pick::NoneLeft) if journey.order.is_empty() => {
                format!("pool.{pool}.provider names nobody who is in the pool")
            }
            Some(Pick::NoneLeft) => {
                return Outcome::NoProvider(
                    "no provider sends for the domain of its From".to_owned(),
                );
            }
            Some(Pick::Go(_)) | None => return Outcome::Full,
        };
        Outcome::Held(why)
    }
}

//! What a pool costs: 100 jobs at once to a provider on the loopback that takes them at once, through a pool of two, and by the bare
//! client that the pool uses, with the same requests.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use peers::arguments::Arguments;
use peers::report::{Goal, Report};
use peers::rounds::Spread;
use peers::worker::since_1970;
use sluicegate::clock::Clock;
use sluicegate::fake::Fake;
use sluicegate::memory::MemoryQueue;
use sluicegate::rules::message::Raw;
use sluicegate::seams::{Job, Outcome, Target};
use sluicegate::{app, config, targets};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

const AT_ONCE: usize = 100;
const BODY: &str =
    r#"{"order": 4711, "customer": "ana", "lines": [{"article": "pen", "count": 12}]}"#;

/// Round by round, jobs a second by the pool over those by the client.
pub(crate) fn measure(arguments: Arguments, report: &mut Report) -> Result<()> {
    let jobs = arguments.of(40_000, 500);
    let (url, _stop) = provider()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (target, client) = (
        pool(&url)?,
        reqwest::Client::builder()
            .tcp_nodelay(true)
            .no_proxy()
            .build()?,
    );
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    runtime.block_on(by_pool(&target, jobs / 10))?;
    runtime.block_on(by_client(&client, &url, jobs / 10))?;
    for _ in 0..arguments.rounds {
        let ours = rate(jobs, || runtime.block_on(by_pool(&target, jobs)))?;
        let bare = rate(jobs, || runtime.block_on(by_client(&client, &url, jobs)))?;
        ratios.push(ours / bare);
        rates.push(ours);
    }
    let what = "jobs/s through a pool, 100 slots, real requests on the loopback";
    report.goal(
        what,
        "the bare client",
        Goal::AtLeast(0.95),
        "",
        Spread::of(ratios),
    );
    report.note("the same, as a number", "", "/s", Spread::of(rates));
    Ok(())
}

fn rate(jobs: usize, run: impl FnOnce() -> Result<()>) -> Result<f64> {
    let began = since_1970();
    run()?;
    let took = since_1970().saturating_sub(began);
    Ok(jobs as f64 * 1e9 / took as f64)
}

/// A provider on a thread of its own, until what comes with its address is dropped.
fn provider() -> Result<(String, oneshot::Sender<()>)> {
    let (stop, stopped) = oneshot::channel();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let url = format!("http://{}/jobs", listener.local_addr()?);
    std::thread::spawn(move || {
        let fake = Arc::new(Fake::new(Duration::ZERO, None));
        let stopped = async { drop(stopped.await) };
        runtime.block_on(fake.serve(listener, stopped));
    });
    Ok((url, stop))
}

/// A pool of two, the first of which is well.
fn pool(url: &str) -> Result<Rc<dyn Target>> {
    let text = format!(
        "[amqp]\nurl = 'amqp://127.0.0.1'\n[[queue]]\nname = 'jobs'\ntarget = {{ pool = 'work' }}\nslots = 200\n\
         [[pool]]\nname = 'work'\nproviders = ['first', 'second']\n\
         [[provider]]\nname = 'first'\nkind = 'http'\nurl = '{url}'\n[[provider]]\nname = 'second'\nkind = 'http'\nurl = '{url}'\n"
    );
    let settings = config::read_text("bench.toml", &text, &Default::default())?;
    let pools = app::pools::alone(&settings)?;
    let queue = settings.queues.first().context("the file has a queue")?;
    let clock = Clock::system();
    let (_, outlet) = MemoryQueue::new(clock).open();
    let handlers = (&targets::Handlers::default(), pools.as_slice());
    Ok(targets::build(
        &queue.target,
        handlers,
        clock,
        &outlet,
        (queue.on_unknown, queue.attempts),
    )?)
}

fn job(number: usize, raw: &Arc<Raw>) -> Result<Job> {
    Ok(Job {
        queue: "jobs".parse()?,
        id: number.to_string().into(),
        raw: Arc::clone(raw),
        attempt: 1,
        published_ms: None,
        deadline_ms: None,
        mode: None,
        account: None,
        flags: Arc::new([]),
        timeout: Duration::from_secs(30),
        way: Default::default(),
    })
}

async fn by_pool(target: &Rc<dyn Target>, jobs: usize) -> Result<()> {
    let raw = Arc::new(Raw {
        body: BODY.into(),
        ..Raw::default()
    });
    let mut out = FuturesUnordered::new();
    for number in 0..jobs {
        if out.len() == AT_ONCE {
            done(out.next().await)?;
        }
        out.push(target.hand_over(job(number, &raw)?));
    }
    while let Some(answer) = out.next().await {
        done(Some(answer))?;
    }
    Ok(())
}

fn done(answer: Option<sluicegate::seams::Answer>) -> Result<()> {
    let outcome = answer.map(|answer| answer.outcome);
    anyhow::ensure!(outcome == Some(Outcome::Done), "not done: {outcome:?}");
    Ok(())
}

async fn by_client(client: &reqwest::Client, url: &str, jobs: usize) -> Result<()> {
    let mut out = FuturesUnordered::new();
    for number in 0..jobs {
        if out.len() == AT_ONCE {
            out.next().await.context("one is out")??;
        }
        out.push(post(client, url, number));
    }
    while let Some(posted) = out.next().await {
        posted?;
    }
    Ok(())
}

/// The request that the pool makes of a job, and its answer read to the end.
async fn post(client: &reqwest::Client, url: &str, number: usize) -> Result<()> {
    let request = client
        .post(url)
        .timeout(Duration::from_secs(30))
        .header("ce-specversion", "1.0")
        .header("ce-id", number.to_string())
        .header("ce-source", "/queues/jobs")
        .header("ce-type", "sluicegate.message")
        .header("idempotency-key", format!("jobs:{number}"))
        .header("sluicegate-queue", "jobs")
        .header("sluicegate-attempt", "1")
        .body(BODY);
    let answer = request.send().await?.error_for_status()?;
    answer.bytes().await?;
    Ok(())
}

//! The contenders in other languages: Celery, pika and amqplib, installed below `target/peers` when they are first asked for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

use crate::arguments::Arguments;
use crate::consume::Order;

/// Whether one of Celery's pools or another.
#[derive(Debug, Clone, Copy)]
pub enum Pool {
    /// Two processes.
    Prefork,
    /// The worker's own process.
    Solo,
}

/// A consumer on pika.
///
/// # Errors
/// When it cannot be installed.
pub fn pika(order: &Order) -> Result<Command> {
    let mut command = Command::new(python()?.join("python"));
    command.arg(scripts().join("pika_consumer.py"));
    Ok(with_order(command, order))
}

/// A consumer on node's amqplib.
///
/// # Errors
/// When it cannot be installed.
pub fn amqplib(order: &Order) -> Result<Command> {
    let mut command = Command::new("node");
    command.arg(node()?.join("consumer.js"));
    Ok(with_order(command, order))
}

/// A worker of Celery's.
///
/// # Errors
/// When it cannot be installed.
pub fn celery(order: &Order, pool: Pool) -> Result<Command> {
    let quick = Arguments::read().quick;
    ensure!(
        !quick || matches!(pool, Pool::Solo),
        "left out of a quick run: it takes long to start"
    );
    let mut command = Command::new(python()?.join("celery"));
    command.args(["-A", "celery_tasks", "worker", "-l", "WARNING", "-Q"]);
    command.args([&order.queue, "--without-gossip", "--without-mingle"]);
    command.arg("--without-heartbeat");
    match pool {
        Pool::Prefork => command.args(["-P", "prefork", "-c", "2"]),
        Pool::Solo => command.args(["-P", "solo"]),
    };
    let tools = tools();
    command
        .current_dir(&tools)
        .env("PYTHONPATH", scripts())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Celery warns of root on each start, and a benchmark may run as it.
        .env("C_FORCE_ROOT", "1")
        .env("PEERS_URL", &order.url)
        .env("PEERS_COUNT", order.count.to_string());
    Ok(command)
}

fn with_order(mut command: Command, order: &Order) -> Command {
    command.args([&order.url, &order.queue]);
    command.args([order.count.to_string(), order.prefetch.to_string()]);
    command
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers")
}

/// The programs of a virtual environment with what `requirements.txt` pins.
fn python() -> Result<PathBuf> {
    static MADE: OnceLock<Result<(), String>> = OnceLock::new();
    let home = tools().join("venv");
    once(&MADE, || {
        let wanted = scripts().join("requirements.txt");
        made_of(&home, &wanted, || {
            run(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
            let mut pip = Command::new(home.join("bin/pip"));
            run(pip.args(["install", "-q", "-r"]).arg(&wanted))
        })
    })?;
    Ok(home.join("bin"))
}

/// A folder with `consumer.js` and what `package-lock.json` pins.
fn node() -> Result<PathBuf> {
    static MADE: OnceLock<Result<(), String>> = OnceLock::new();
    let home = tools().join("node");
    once(&MADE, || {
        std::fs::create_dir_all(&home)?;
        let from = scripts().join("node");
        for name in [".npmrc", "package.json", "consumer.js"] {
            std::fs::copy(from.join(name), home.join(name))?;
        }
        let wanted = from.join("package-lock.json");
        std::fs::copy(&wanted, home.join("package-lock.json"))?;
        made_of(&home, &wanted, || {
            run(Command::new("npm")
                .args(["ci", "--silent"])
                .current_dir(&home))
        })
    })?;
    Ok(home)
}

/// Makes it unless it was made of the same list before.
fn made_of(home: &Path, list: &Path, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let wanted = std::fs::read_to_string(list)?;
    let mark = home.join("made-of");
    if std::fs::read_to_string(&mark).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    ensure!(
        !Arguments::read().quick,
        "not installed yet, and not installed for a quick run"
    );
    make()?;
    std::fs::write(mark, wanted)?;
    Ok(())
}

fn once(made: &OnceLock<Result<(), String>>, make: impl FnOnce() -> Result<()>) -> Result<()> {
    match made.get_or_init(|| make().map_err(|error| format!("{error:#}"))) {
        Ok(()) => Ok(()),
        Err(why) => bail!("{why}"),
    }
}

fn run(command: &mut Command) -> Result<()> {
    let what = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("{what} does not start"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what} failed: {said}");
    Ok(())
}

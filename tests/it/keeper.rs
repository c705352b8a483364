//! Ends what the tests started, whatever happens to the tests.
//!
//! A small shell of its own process group reads a pipe that only this process holds open. When the tests end, are killed or
//! crash, the pipe closes, and the shell ends every process group that is still watched, by its id, and removes the files.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// `watch` and `forget` are told by group; at the end of the pipe everything goes. `$1` is the directory of all files.
const SCRIPT: &str = r#"
groups=' '
while read -r word group; do
  case $word in
    watch) groups="$groups$group " ;;
    forget) rest=' '; for each in $groups; do [ "$each" = "$group" ] || rest="$rest$each "; done; groups=$rest ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
[ -n "$SLUICEGATE_KEEP" ] || { sleep 0.2; rm -rf "$1"; }
"#;

struct Keeper {
    pipe: Mutex<ChildStdin>,
    files: PathBuf,
}

fn keeper() -> &'static Keeper {
    static KEEPER: OnceLock<Keeper> = OnceLock::new();
    KEEPER.get_or_init(|| {
        let files =
            std::env::temp_dir().join(format!("sluicegate-it.{}.{}", std::process::id(), seed()));
        std::fs::create_dir(&files).unwrap();
        // The broker may run as another user, who must be able to pass.
        std::fs::set_permissions(&files, std::fs::Permissions::from_mode(0o755)).unwrap();
        #[expect(
            clippy::zombie_processes,
            reason = "it outlives us: that is what it is for"
        )]
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "keeper"])
            .arg(&files)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Keeper {
            pipe: Mutex::new(shell.stdin.take().unwrap()),
            files,
        }
    })
}

fn tell(word: &str, group: u32) {
    let mut pipe = keeper().pipe.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(pipe, "{word} {group}").unwrap();
}

/// A directory of its own, removed when the tests end (`SLUICEGATE_KEEP=1` leaves it).
pub(crate) fn directory(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = keeper().files.join(format!("{name}.{number}"));
    std::fs::create_dir(&path).unwrap();
    path
}

/// A port on 127.0.0.1 that nobody listens on, below those that the system hands out to clients: a broker or daemon that is
/// started again finds it still free.
pub(crate) fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(10_000 + (seed() % 20_000) as u16));
    loop {
        let port = next.fetch_add(1, Ordering::Relaxed);
        if port >= 32_000 {
            next.store(10_000, Ordering::Relaxed);
        } else if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn seed() -> u32 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    std::process::id().wrapping_mul(7_919) ^ now.subsec_nanos()
}

/// A process that the tests started, with a process group of its own. Dropping it ends it.
pub(crate) struct Kept {
    child: Child,
}

impl Kept {
    /// Starts `command`.
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        tell("watch", child.id());
        Self { child }
    }

    /// Sends a signal, such as `TERM`, to the whole group.
    pub(crate) fn signal(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$1\" -- \"$2\"", "kill", name, &group])
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(
            sent.success() || name == "KILL",
            "no signal {name} for {group}"
        );
    }

    /// Waits for the end: the exit code, or `None` when a signal ended it.
    pub(crate) fn wait(&mut self, within: Duration) -> Option<i32> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                tell("forget", self.child.id());
                return status.code();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still running after {within:?}");
            std::thread::sleep(Duration::from_millis(10).min(left));
        }
    }

    /// Whether it runs.
    pub(crate) fn running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once.
    pub(crate) fn kill_9(&mut self) {
        if self.running() {
            self.signal("KILL");
            let _ = self.child.wait();
        }
        tell("forget", self.child.id());
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.kill_9();
    }
}

/// The last lines of a log, for the message of a test that failed.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Asks again until `ask` gives something, and says what was waited for when it never does.
pub(crate) fn eventually<T>(
    what: &str,
    within: Duration,
    mut ask: impl FnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match ask() {
            Ok(found) => return found,
            Err(last) if Instant::now() >= deadline => {
                panic!("{what}: not within {within:?}; {last}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

//! Features of the Rollout gem in a real Redis: taken over, asked, and given back byte for byte.

use std::path::Path;
use std::process::{Command, Stdio};

use sluicegate::compat::redis::{NoAnswer, Place, Redis as Client};
use sluicegate::compat::rollout::{Feature, Side, export};

use crate::daemon::command;
use crate::keeper::{Kept, directory, eventually, free_port};
use crate::scene::secs;

const REDIS: &str = "/usr/bin/redis-server";

/// A Redis of its own, in memory.
struct Redis {
    port: u16,
    _process: Kept,
}

impl Redis {
    fn start() -> Self {
        assert!(
            Path::new(REDIS).exists(),
            "there is no {REDIS}: `tests/run` installs it"
        );
        let port = free_port();
        let mut server = Command::new(REDIS);
        server.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        server.args([
            "--save",
            "",
            "--appendonly",
            "no",
            "--requirepass",
            "s3cret",
        ]);
        server.current_dir(directory("redis")).stdout(Stdio::null());
        let redis = Self {
            port,
            _process: Kept::start(&mut server),
        };
        eventually("Redis answers", secs(10), || match redis.cli(&["PING"]) {
            said if said == "PONG\n" => Ok(()),
            said => Err(said),
        });
        redis
    }

    /// What Redis' own client says, byte for byte.
    fn cli(&self, words: &[&str]) -> String {
        let mut client = Command::new("redis-cli");
        client.args([
            "-p",
            &self.port.to_string(),
            "-a",
            "s3cret",
            "--no-auth-warning",
            "-n",
            "2",
        ]);
        let output = client.args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Every key with what stands under it.
    fn all(&self) -> Vec<(String, String)> {
        let keys = self.cli(&["KEYS", "*"]);
        let mut all: Vec<_> = keys
            .lines()
            .map(|key| (key.to_owned(), self.get(key)))
            .collect();
        all.sort();
        all
    }

    fn get(&self, key: &str) -> String {
        self.cli(&["GET", key])
            .strip_suffix('\n')
            .unwrap()
            .to_owned()
    }

    /// `sluicegate compat rollout …` against it.
    fn compat(&self, words: &[&str], input: &Path) -> (Option<i32>, String, String) {
        let address = format!("127.0.0.1:{}", self.port);
        let mut all = vec!["compat", "rollout"];
        all.extend(words);
        all.extend([
            "--redis",
            &address,
            "--database",
            "2",
            "--namespace",
            "shop",
        ]);
        let script = "exec env SLUICEGATE_REDIS_PASSWORD=s3cret \"$@\"";
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script, "sh", crate::daemon::PROGRAM])
            .args(all);
        let output = shell
            .stdin(std::fs::File::open(input).unwrap())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }
}

/// Values as the gem writes them, in both of its ways; the last one has no equal.
const FEATURES: [(&str, &str); 6] = [
    (
        "chat",
        "20|7,1|beta|{\"updated_at\":1732190400.5,\"description\":\"Chat, new\"}",
    ),
    ("mail.v2", "20.0||"),
    ("search", "100|||{}"),
    ("off", "0|||{}"),
    ("old", ""),
    ("odd", "33.3333333||"),
];

#[test]
fn features_are_taken_over_and_given_back_byte_for_byte() {
    let redis = Redis::start();
    for (name, value) in FEATURES {
        redis.cli(&["SET", &format!("shop:feature:{name}"), value]);
    }
    let names = "chat,mail.v2,search,off,old,odd,gone";
    redis.cli(&["SET", "shop:feature:__features__", names]);
    let before = redis.all();
    assert_eq!(before.len(), FEATURES.len() + 1);
    let home = directory("rollout");
    let (nothing, file) = (home.join("nothing"), home.join("flags.toml"));
    std::fs::write(&nothing, "").unwrap();

    let (status, flags, said) = redis.compat(&["import"], &nothing);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("left out: `odd`: 33.3333333 %"), "{said}");
    assert_eq!(flags.matches("[[flag]]").count(), 6, "{flags}");
    std::fs::write(&file, &flags).unwrap();

    let (status, written, said) = redis.compat(&["export", "-"], &file);
    assert_eq!((status, written.as_str()), (Some(0), ""), "{said}");
    assert_eq!(redis.all(), before, "not a byte changed");

    let more = flags.replacen("share = 0.2", "share = 0.25", 1);
    assert_ne!(more, flags);
    std::fs::write(&file, &more).unwrap();
    let (_, written, _) = redis.compat(&["export", "-", "--dry-run"], &file);
    let wanted = FEATURES[0].1.replacen("20", "25", 1);
    assert_eq!(written, format!("shop:feature:chat {wanted}\n"));
    assert_eq!(redis.get("shop:feature:chat"), FEATURES[0].1, "a dry run");
    redis.compat(&["export", "-"], &file);
    assert_eq!(redis.get("shop:feature:chat"), wanted);
    assert_eq!(redis.get("shop:feature:__features__"), names);
}

#[test]
fn nothing_is_written_over_what_the_gem_writes_meanwhile() {
    let redis = Redis::start();
    redis.cli(&[
        "MSET",
        "feature:chat",
        "20||",
        "feature:__features__",
        "chat",
    ]);
    let place = Place {
        address: &format!("127.0.0.1:{}", redis.port),
        user: Some("default"),
        password: Some("s3cret"),
        database: 2,
    };
    let side = Side {
        namespace: String::new(),
        by: "account".to_owned(),
        randomized: false,
    };
    let flags = ["chat", "mail"].map(|name| Feature::read("50||").flag(name, &side).unwrap());
    let mut client = Client::connect(&place).unwrap();
    let written = export(&mut client, &flags, &side).unwrap();
    redis.cli(&["SET", "feature:__features__", "chat,new"]);
    let why = client.set_all(&written.pairs).unwrap_err();
    assert!(matches!(why, NoAnswer::Meanwhile), "{why}");
    assert_eq!(redis.get("feature:chat"), "20||");

    let written = export(&mut client, &flags, &side).unwrap();
    client.set_all(&written.pairs).unwrap();
    assert_eq!(redis.get("feature:chat"), "50|||{}");
    assert_eq!(redis.get("feature:mail"), "50|||{}");
    assert_eq!(redis.get("feature:__features__"), "chat,new,mail");
}

#[test]
fn a_redis_that_is_not_there_or_says_no_is_told_from_a_bad_file() {
    let redis = Redis::start();
    let address = format!("127.0.0.1:{}", redis.port);
    let (status, _, said) = command(&["compat", "rollout", "import", "--redis", &address]);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("SLUICEGATE_REDIS_PASSWORD"), "{said}");
    let nobody = format!("127.0.0.1:{}", free_port());
    let (status, _, said) = command(&["compat", "rollout", "import", "--redis", &nobody]);
    assert_eq!(status, Some(7), "{said}");
    let (status, _, said) = command(&["compat", "rollout", "import", "--redis", "redis://x"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("host:port"), "{said}");

    redis.cli(&["SADD", "shop:feature:__features__", "chat"]);
    let nothing = directory("odd").join("nothing");
    std::fs::write(&nothing, "").unwrap();
    let (status, _, said) = redis.compat(&["import"], &nothing);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("shop:feature:__features__ is not of the gem"),
        "{said}"
    );
    let elsewhere = [
        "compat", "rollout", "import", "--redis", &address, "--user", "ana",
    ];
    let (status, _, said) = command(&elsewhere);
    assert_eq!(status, Some(2), "{said}");

    let redis = Redis::start();
    let (status, _, said) = redis.compat(&["import"], &nothing);
    assert_eq!(status, Some(3), "{said}");
    assert!(
        said.contains("there is no shop:feature:__features__"),
        "{said}"
    );
}

//! Mail servers: a real one, Exim from Debian, which takes mails over STARTTLS from who has signed in; and one that misbehaves.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use crate::broker::we_are_root;
use crate::keeper::{Kept, directory, eventually, free_port, tail};
use crate::scene::secs;
use crate::tls::certificate;

const PROGRAM: &str = "/usr/sbin/exim4";
/// The user of Debian's package.
const USER: &str = "Debian-exim";

/// Without TLS it offers no sign-in, and without a sign-in it takes nothing. `nobody@…` is unknown, `grey@…` is to come again.
const SETTINGS: &str = r#"
primary_hostname = localhost
spool_directory = HOME/spool
log_file_path = HOME/%s.log
pid_file_path = HOME/exim.pid
daemon_smtp_ports = PORT
local_interfaces = 127.0.0.1
tls_certificate = HOME/cert.pem
tls_privatekey = HOME/key.pem
tls_advertise_hosts = *
auth_advertise_hosts = ${if def:tls_in_cipher {*}{}}
acl_smtp_mail = from
acl_smtp_rcpt = to
acl_smtp_data = mail
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
deliver_drop_privilege

begin acl
from:
  require message = 5.7.0 STARTTLS first
          encrypted = *
  require message = 5.7.0 sign in first
          authenticated = *
  accept
to:
  defer   message = 4.7.1 come again
          local_parts = grey
  deny    message = 5.1.1 no such user
          local_parts = nobody
  accept
mail:
  accept

begin routers
all:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = HOME/mail
  maildir_format
  envelope_to_add
  batch_max = 100

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{sluicegate}}{eq{$auth3}{canary-right}}}}
  server_set_id = $auth2
"#;

/// Exim, on a port and with files of its own. The user is `sluicegate`, the secret `canary-right`.
pub(crate) struct Exim {
    _process: Kept,
    home: PathBuf,
    port: u16,
}

impl Exim {
    /// Starts it, as somebody who may nothing else.
    pub(crate) fn start() -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "there is no {PROGRAM}; tests/run installs it"
        );
        let (home, port) = (directory("exim"), free_port());
        certificate(&home);
        let settings = SETTINGS
            .replace("HOME", home.to_str().unwrap())
            .replace("PORT", &port.to_string());
        std::fs::write(home.join("settings"), settings).unwrap();
        for folder in ["spool", "mail"] {
            std::fs::create_dir(home.join(folder)).unwrap();
        }
        let mut command = Command::new(PROGRAM);
        if we_are_root() {
            let owner = format!("{USER}:{USER}");
            let mut chown = Command::new("chown");
            let given = chown.args(["-R", &owner]).arg(&home).status();
            assert!(given.unwrap().success(), "there is no user {USER}");
            command = Command::new("setpriv");
            let user = [format!("--reuid={USER}"), format!("--regid={USER}")];
            command.args(user).args(["--clear-groups", PROGRAM]);
        }
        let log = std::fs::File::create(home.join("said")).unwrap();
        command.arg("-C").arg(home.join("settings")).arg("-bdf");
        let process = Kept::start(command.stdout(log.try_clone().unwrap()).stderr(log));
        eventually("exim listens", secs(10), || {
            let tried = TcpStream::connect(("127.0.0.1", port));
            tried.map_err(|_| tail(&home.join("said"), 20)).map(drop)
        });
        Self {
            _process: process,
            home,
            port,
        }
    }

    /// A section for it in the file, with a secret in a file and with whom to trust.
    pub(crate) fn provider(&self, key: &Path, trusts: &Path) -> String {
        format!(
            "[[provider]]\nname = \"exim\"\nkind = \"smtp\"\nurl = \"smtp://localhost:{}\"\nuser = \"sluicegate\"\n\
             api_key_file = \"{}\"\nca_file = \"{}\"\n",
            self.port,
            key.display(),
            trusts.display()
        )
    }

    /// The certificate that it is known by.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.home.join("cert.pem")
    }

    /// The mails that lie in the box of everybody.
    pub(crate) fn mails(&self) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.home.join("mail/new")) else {
            return Vec::new();
        };
        files
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect()
    }

    /// The lines of its log with this in them.
    pub(crate) fn log_with(&self, text: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.home.join("main.log")).unwrap_or_default();
        let lines = log.lines().filter(|line| line.contains(text));
        lines.map(str::to_owned).collect()
    }
}

/// A header of a mail, in one line.
pub(crate) fn header(mail: &str, name: &str) -> String {
    let mail = mail.replace("\r\n", "\n");
    let (headers, _) = mail.split_once("\n\n").unwrap();
    let unfolded = headers.replace("\n\t", " ").replace("\n ", " ");
    let mut found = unfolded
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let found = found.next().map(str::to_owned);
    found.unwrap_or_else(|| panic!("no {name} in {mail}"))
}

/// How the other server treats a recipient, given how often it was asked for it before: a reply, or `cut` at the end of the mail.
type Decide = dyn Fn(&str, usize) -> &'static str + Send + Sync;

/// A server on the loopback that writes down each mail before it answers, and misbehaves by recipient.
pub(crate) struct Misbehaving {
    port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

impl Misbehaving {
    /// Starts it. It ends with the tests.
    pub(crate) fn start(
        decide: impl Fn(&str, usize) -> &'static str + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            mails: Arc::default(),
        };
        let mails = Arc::clone(&server.mails);
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let decide: Arc<Decide> = Arc::new(decide);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mails, asked) = (Arc::clone(&mails), Arc::clone(&asked));
                let decide = Arc::clone(&decide);
                std::thread::spawn(move || converse(&stream.unwrap(), &*decide, &asked, &mails));
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// All mails that came.
    pub(crate) fn mails(&self) -> Vec<String> {
        let mails = self.mails.lock();
        mails.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One conversation. Its errors mean that the other side went away.
fn converse(
    mut stream: &TcpStream,
    decide: &Decide,
    asked: &Mutex<Vec<String>>,
    mails: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 here\r\n")?;
    let (mut line, mut cuts) = (String::new(), false);
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let said = match line.split([' ', '\r']).next().unwrap_or_default() {
            "EHLO" => "250-here\r\n250 8BITMIME",
            "MAIL" => {
                cuts = false;
                "250 go on"
            }
            "RCPT" => {
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                let before = asked.iter().filter(|known| **known == line).count();
                asked.push(line.clone());
                match decide(&line, before) {
                    "cut" => {
                        cuts = true;
                        "250 go on"
                    }
                    said => said,
                }
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    if reader.read_line(&mut mail)? == 0 {
                        return Ok(());
                    }
                }
                mails
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(mail);
                if cuts {
                    return Ok(());
                }
                "250 queued"
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n"),
            _ => "502 what",
        };
        stream.write_all(format!("{said}\r\n").as_bytes())?;
    }
}

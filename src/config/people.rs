//! Who may come in: `[[token]]` for programs, `[[user]]` for those whom a trusted proxy signs in, and what a door that is not on
//! loopback needs.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

use super::build::{Around, Section, file_that_exists};
use super::problems::Notes;
use super::secret::is_open_to_others;
use crate::rules::access::{Role, Scope};
use crate::rules::names::Glob;

/// `[[token]]`: a secret that a program shows, of which only the hash is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose it is. Two tokens of one name are both good: so one is replaced by another.
    pub name: String,
    /// What it is trusted with.
    pub role: Role,
    /// Within which names.
    pub scope: Scope,
    /// The SHA-256 of the secret.
    pub sha256: Fingerprint,
    /// When it stops being good, milliseconds since 1970; `None`: never.
    pub expires_ms: Option<i64>,
}

/// `[[user]]`: somebody whom a trusted proxy signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name that the proxy tells; `*`: everybody else whom it signs in.
    pub name: String,
    /// What they are trusted with.
    pub role: Role,
    /// Within which names.
    pub scope: Scope,
}

/// The certificate and key of the doors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// A PEM file with the certificate and those that lead to its authority.
    pub cert: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

/// Proxies whose word is taken for who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    /// Where they are.
    pub at: Vec<IpNet>,
    /// The header by which they tell whom they signed in.
    pub user_header: Option<String>,
}

impl Proxies {
    /// Whether this address is one of theirs.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.at.iter().any(|net| net.contains(&address))
    }
}

/// The SHA-256 of a secret. Shown in part: enough to tell two apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}…")
    }
}

impl FromStr for Fingerprint {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let digits: Option<Vec<u8>> = text.bytes().map(digit).collect();
        let bytes: Option<Vec<u8>> = digits.map(|digits| {
            digits
                .chunks(2)
                .map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit))
                .collect()
        });
        bytes
            .filter(|_| text.len() == 64)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| "this is no SHA-256 of 64 hexadecimal digits; paste what `sluicegate token new` printed".to_owned())
    }
}

/// An address, or a network of them: `10.0.0.5`, `10.0.0.0/24`.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let alone = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| alone()).map_err(|_| {
        format!("{text:?} is no address; write one such as \"10.0.0.5\", or a network such as \"10.0.0.0/24\"")
    })
}

/// All tokens, when nothing is wrong with them.
pub(super) fn tokens(sections: &[Section<'_>], notes: &mut Notes) -> Option<Vec<Token>> {
    let mut seen = HashSet::new();
    let token = |section: &Section<'_>| {
        let sha256: Fingerprint = section.get("sha256")?;
        if !seen.insert(sha256) {
            let what = "two tokens have the same `sha256`";
            notes.add(
                section.place("sha256"),
                what,
                "make another by `sluicegate token new`",
            );
        }
        Some(Token {
            name: section.get("name")?,
            role: section.get("role")?,
            scope: scope(section),
            sha256,
            expires_ms: section
                .get::<jiff::Timestamp>("expires")
                .map(|at| at.as_millisecond()),
        })
    };
    sections.iter().map(token).collect()
}

/// All users, when nothing is wrong with them.
pub(super) fn users(
    sections: &[Section<'_>],
    daemon: Section<'_>,
    notes: &mut Notes,
) -> Option<Vec<User>> {
    let mut seen = HashSet::new();
    let told = daemon.table.get("proxy_user_header").is_some();
    let user = |section: &Section<'_>| {
        let name: String = section.get("name")?;
        if !told {
            notes.add(
                section.place("name"),
                "a `user` is one whom a proxy signs in, and no proxy says whom it did",
                "name the header by `proxy_user_header` in [daemon], or use a [[token]]",
            );
        }
        if !seen.insert(name.clone()) {
            notes.add(
                section.place("name"),
                format!("there are two users of the name {name:?}"),
                "leave one out",
            );
        }
        Some(User {
            role: section.get("role")?,
            scope: scope(section),
            name,
        })
    };
    sections.iter().map(user).collect()
}

fn scope(section: &Section<'_>) -> Scope {
    Scope::new(
        section.get::<Vec<Glob>>("queues"),
        section.get::<Vec<Glob>>("flags"),
    )
}

/// The certificate and key, when both are named; none of the two is fine, too.
pub(super) fn tls(daemon: Section<'_>, around: &Around<'_>, notes: &mut Notes) -> Option<TlsFiles> {
    let both = ["tls_cert_file", "tls_key_file"];
    let written = both.map(|name| daemon.table.get(name).is_some());
    if let ([true, false], [here, missing]) | ([false, true], [missing, here]) = (written, both) {
        notes.add(
            daemon.place(here),
            format!("`daemon.{here}` is of use only with `{missing}`"),
            format!("name both, or leave `{here}` out"),
        );
    }
    let cert = file_that_exists(daemon, "tls_cert_file", around, notes);
    let key = file_that_exists(daemon, "tls_key_file", around, notes)?;
    if std::fs::metadata(&key).is_ok_and(|about| is_open_to_others(&about)) {
        notes.add(
            daemon.place("tls_key_file"),
            "others may read or change the private key in `daemon.tls_key_file`",
            format!("run `chmod o-rwx {}`", key.display()),
        );
    }
    Some(TlsFiles { cert: cert?, key })
}

/// The proxies whose word is taken.
pub(super) fn proxies(daemon: Section<'_>, notes: &mut Notes) -> Proxies {
    let at: Vec<String> = daemon.get("trusted_proxies").unwrap_or_default();
    let user_header: Option<String> = daemon.get("proxy_user_header");
    if user_header.is_some() && at.is_empty() {
        notes.add(
            daemon.place("proxy_user_header"),
            "`daemon.proxy_user_header` is believed of trusted proxies only, and there is none",
            "name the proxy's address by `trusted_proxies`, such as [\"10.0.0.5\"]",
        );
    }
    Proxies {
        at: at.iter().filter_map(|text| network(text).ok()).collect(),
        user_header: user_header.map(|name| name.to_ascii_lowercase()),
    }
}

/// Refuses a door that strangers can reach, unless it asks who is there, and nobody on the way can listen.
pub(super) fn check_door(
    (setting, address): (&str, Option<SocketAddr>),
    section: Section<'_>,
    daemon: Section<'_>,
    known: bool,
    notes: &mut Notes,
) {
    if address.is_none_or(|address| address.ip().is_loopback()) {
        return;
    }
    let covered = ["tls_cert_file", "trusted_proxies"]
        .iter()
        .any(|name| daemon.table.get(name).is_some());
    let cover = "`tls_cert_file` and `tls_key_file` in [daemon], or `trusted_proxies` with the proxy that does TLS";
    let (what, cure) = match (known, covered) {
        (true, true) => return,
        (false, _) => (
            "and there are no tokens: everybody who reaches it could turn every valve",
            format!(
                "add a [[token]] (`sluicegate token new` prints one), and {cover}; or listen on 127.0.0.1 or [::1]"
            ),
        ),
        (true, false) => (
            "and everybody on the way could read the tokens",
            format!("name {cover}; or listen on 127.0.0.1 or [::1]"),
        ),
    };
    notes.add(
        section.place("listen"),
        format!("`{setting}` is not on loopback, {what}"),
        cure,
    );
}

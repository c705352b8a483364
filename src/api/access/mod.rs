//! Who asks: a token, a user whom a trusted proxy signed in, or, while the file names nobody, whoever is on this machine.
//!
//! All of it is read again by a reload, and holds from the next request on. May import `config`, `clock` and `rules`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::clock::Now;
use crate::config::Settings;
use crate::config::people::{Proxies, Token, User};
use crate::rules::access::{Role, Scope, is_secret};
use failures::Failures;

pub(super) use caller::Caller;
pub(super) use failures::Source;
pub(super) use peer::Peer;

mod caller;
mod failures;
mod history;
mod peer;

/// The cure of every stranger: it does not say what was wrong.
pub(super) const SIGN_IN_BY: &str = "send a token that is good now, by the header Authorization: Bearer sg_…; who keeps the file of this daemon makes one by `sluicegate token new`";
/// The name that stands for everybody else whom a proxy signs in.
const EVERYBODY_ELSE: &str = "*";

/// The other header by which programs that speak OFREP may show their token.
const API_KEY: &str = "x-api-key";

/// By which headers a token may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// `Authorization: Bearer …`
    Bearer,
    /// The same, or `X-API-Key: …`, as OFREP has it.
    BearerOrKey,
}

/// Who may come in.
#[derive(Debug)]
pub struct Access {
    book: RwLock<Arc<Book>>,
    failures: Mutex<Failures>,
}

/// Who may come in, as the file has it.
#[derive(Debug, Default)]
struct Book {
    hosts: Vec<String>,
    tokens: HashMap<[u8; 32], Known>,
    users: HashMap<String, Arc<Person>>,
    proxies: Proxies,
    /// Cancelled when the file says otherwise who may come in: whoever listens signs in again.
    over: CancellationToken,
}

#[derive(Debug, PartialEq, Eq)]
struct Known {
    person: Arc<Person>,
    sha256: [u8; 32],
}

/// Somebody, and what they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) scope: Scope,
    /// When they are let in no more, milliseconds since 1970; `None`: never.
    pub(super) expires_ms: Option<i64>,
}

/// Why somebody is not let in. Metrics tell these apart; the answer does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stranger {
    /// Shows nothing.
    NoToken,
    /// Shows what is no token of ours.
    WrongToken,
    /// Shows a token whose time is over.
    ExpiredToken,
    /// Signed in by the proxy, and unknown here.
    UnknownUser,
    /// Tried too often; may try again after this time.
    TooOften(Duration),
}

impl Stranger {
    /// The word in metrics.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::ExpiredToken => "expired_token",
            Self::UnknownUser => "unknown_user",
            Self::TooOften(_) => "too_often",
        }
    }
}

impl Access {
    /// Who may come in by this file.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self::of(Book::new(settings))
    }

    /// Whoever is on this machine, by these names of it beside loopback's own.
    #[must_use]
    pub fn open(hosts: Vec<String>) -> Self {
        Self::of(Book {
            hosts,
            ..Book::default()
        })
    }

    fn of(book: Book) -> Self {
        Self {
            book: RwLock::new(Arc::new(book)),
            failures: Mutex::default(),
        }
    }

    /// Takes up what the file says now.
    pub fn renew(&self, settings: &Settings) {
        let mut new = Book::new(settings);
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        if new.knows_the_same_as(&book) {
            new.over = book.over.clone();
        } else {
            book.over.cancel();
        }
        *book = Arc::new(new);
    }

    fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the daemon is called so, beside the names of loopback.
    pub(super) fn is_host(&self, is_it: impl Fn(&str) -> bool) -> bool {
        self.book().hosts.iter().any(|host| is_it(host))
    }

    /// Who asks, by address.
    pub(super) fn client(&self, headers: &HeaderMap, peer: Peer) -> IpAddr {
        peer::client(headers, peer.address, &self.book().proxies)
    }

    /// Whether this address is a trusted proxy's, which speaks for many.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        self.book().proxies.has(address)
    }

    /// Who asks.
    ///
    /// A right token is let in however many wrong ones came from the same place, so that nobody can lock others out; a wrong one
    /// is answered ever more slowly. That is enough: nobody guesses 256 bits.
    pub(super) fn sign_in(
        &self,
        headers: &HeaderMap,
        shown: Shown,
        peer: Option<Peer>,
        now: Now,
    ) -> Result<Caller, Stranger> {
        let book = self.book();
        let address = peer.map(|peer| peer::client(headers, peer.address, &book.proxies));
        let guess = match book.who((headers, shown), (peer, address), now.ms) {
            Ok((person, auth)) => {
                return Ok(Caller::new(person, auth, address, book.over.clone()));
            }
            Err(guess @ (Stranger::WrongToken | Stranger::ExpiredToken)) => guess,
            Err(stranger) => return Err(stranger),
        };
        let source = Source::of(address);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = failures.failed(source, now.mono);
        Err(wait.map_or(guess, Stranger::TooOften))
    }
}

impl Book {
    fn new(settings: &Settings) -> Self {
        let token = |token: &Token| {
            let person = Person {
                name: token.name.clone(),
                role: token.role,
                scope: token.scope.clone(),
                expires_ms: token.expires_ms,
            };
            let (person, sha256) = (Arc::new(person), token.sha256.0);
            (sha256, Known { person, sha256 })
        };
        let user = |user: &User| {
            let person = Person {
                name: user.name.clone(),
                role: user.role,
                scope: user.scope.clone(),
                expires_ms: None,
            };
            (user.name.clone(), Arc::new(person))
        };
        Self {
            hosts: settings.daemon.hosts.clone(),
            tokens: settings.tokens.iter().map(token).collect(),
            users: settings.users.iter().map(user).collect(),
            proxies: settings.daemon.proxies.clone(),
            over: CancellationToken::new(),
        }
    }

    fn knows_the_same_as(&self, other: &Self) -> bool {
        (&self.tokens, &self.users, &self.proxies) == (&other.tokens, &other.users, &other.proxies)
    }

    fn who(
        &self,
        (headers, shown): (&HeaderMap, Shown),
        (peer, client): (Option<Peer>, Option<IpAddr>),
        now_ms: i64,
    ) -> Result<(Arc<Person>, &'static str), Stranger> {
        if self.tokens.is_empty() && self.users.is_empty() {
            // A proxy may pass its own callers' credentials on: nobody is asked for any here.
            return whoever_is_here(client).map(|person| (person, ""));
        }
        if let Some(secret) = shown.secret(headers) {
            return self.token(secret, now_ms).map(|person| (person, "token"));
        }
        if let Some(name) = self.signed_in(headers, peer) {
            return self.user(name?).map(|person| (person, "proxy"));
        }
        Err(Stranger::NoToken)
    }

    fn token(&self, secret: &[u8], now_ms: i64) -> Result<Arc<Person>, Stranger> {
        // A weak secret of somebody's own making is none, even if its hash stands in the file.
        if !is_secret(secret) {
            return Err(Stranger::WrongToken);
        }
        let hash: [u8; 32] = Sha256::digest(secret).into();
        let known = self
            .tokens
            .get(&hash)
            .filter(|known| known.sha256.ct_eq(&hash).into());
        match known {
            Some(Known { person, .. }) if person.expires_ms.is_some_and(|end| now_ms >= end) => {
                Err(Stranger::ExpiredToken)
            }
            Some(Known { person, .. }) => Ok(Arc::clone(person)),
            None => Err(Stranger::WrongToken),
        }
    }

    /// Whom the proxy says it signed in; only a trusted one is heard, and only if it says one name.
    fn signed_in<'h>(
        &self,
        headers: &'h HeaderMap,
        peer: Option<Peer>,
    ) -> Option<Result<&'h str, Stranger>> {
        let header = self.proxies.user_header.as_deref()?;
        if !peer.is_some_and(|peer| self.proxies.has(peer.address)) {
            return None;
        }
        let mut all = headers.get_all(header).iter();
        let (first, second) = (all.next()?, all.next());
        let name = first
            .to_str()
            .ok()
            .filter(|name| !name.is_empty() && second.is_none());
        Some(name.ok_or(Stranger::UnknownUser))
    }

    fn user(&self, name: &str) -> Result<Arc<Person>, Stranger> {
        if name != EVERYBODY_ELSE
            && let Some(person) = self.users.get(name)
        {
            return Ok(Arc::clone(person));
        }
        let fine =
            (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
        let anybody = self
            .users
            .get(EVERYBODY_ELSE)
            .filter(|_| fine && name != EVERYBODY_ELSE);
        let person = anybody.ok_or(Stranger::UnknownUser)?;
        Ok(Arc::new(Person {
            name: name.to_owned(),
            ..Person::clone(person)
        }))
    }
}

/// On this machine everybody may all, while the file names nobody.
fn whoever_is_here(client: Option<IpAddr>) -> Result<Arc<Person>, Stranger> {
    if client.is_some_and(|client| !client.is_loopback()) {
        return Err(Stranger::NoToken);
    }
    Ok(Arc::new(Person {
        name: "local".to_owned(),
        role: Role::Admin,
        scope: Scope::default(),
        expires_ms: None,
    }))
}

impl Shown {
    /// What is shown as a token; where both headers are there, the bearer's.
    fn secret(self, headers: &HeaderMap) -> Option<&[u8]> {
        bearer(headers).or_else(|| match self {
            Self::Bearer => None,
            Self::BearerOrKey => key(headers),
        })
    }
}

/// The key of `X-API-Key: …`. Two such headers are a wrong token.
fn key(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(API_KEY).iter();
    let (first, second) = (all.next()?.as_bytes(), all.next());
    Some(if second.is_some() {
        b""
    } else {
        first.trim_ascii()
    })
}

/// The credentials of `Authorization: Bearer …`. Two such headers are a wrong token.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (all.next()?.as_bytes(), all.next());
    let (scheme, secret) = first.split_at_checked(b"bearer ".len())?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return None;
    }
    Some(if second.is_some() {
        b""
    } else {
        secret.trim_ascii()
    })
}

#[cfg(test)]
mod tests;

//! Who is let in, and as whom.

use axum::http::HeaderValue;

use super::*;
use crate::config::{Environment, read_text};
use crate::rules::access::{SECRET_CHARACTERS, SECRET_PREFIX};

const NOON: i64 = 1_795_262_400_000; // 2026-11-21T12:00:00Z

fn secret(letter: char) -> String {
    format!(
        "{SECRET_PREFIX}{}",
        String::from(letter).repeat(SECRET_CHARACTERS)
    )
}

fn sha256(secret: &str) -> String {
    Sha256::digest(secret)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn settings(daemon: &str, more: &str) -> Settings {
    let text = format!(
        "[daemon]\n{daemon}\n[amqp]\nurl = 'amqp://127.0.0.1'\n[[queue]]\nname = 'orders'\ntarget.http = 'http://127.0.0.1:1'\n{more}"
    );
    read_text("sluicegate.toml", &text, &Environment::new())
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn token(name: &str, letter: char, more: &str) -> String {
    format!(
        "[[token]]\nname = '{name}'\nrole = 'operator'\nsha256 = '{}'\n{more}\n",
        sha256(&secret(letter))
    )
}

fn peer(address: &str) -> Option<Peer> {
    Some(Peer {
        address: address.parse().unwrap(),
        tls: false,
    })
}

fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn at(ms: i64, seconds: u64) -> Now {
    Now {
        ms,
        mono: Duration::from_secs(seconds),
    }
}

/// Who is let in: `name/auth`, or the word of the stranger.
fn who(access: &Access, said: &[(&'static str, &str)], from: Option<Peer>, now: Now) -> String {
    match access.sign_in(&headers(said), Shown::Bearer, from, now) {
        Ok(caller) => caller.mark(),
        Err(stranger) => stranger.word().to_owned(),
    }
}

#[test]
fn a_token_is_good_until_its_time_and_while_it_stands_in_the_file() {
    let both = token("ana", 'a', "expires = '2026-11-21T12:00:00Z'") + &token("ana", 'b', "");
    let access = Access::new(&settings("", &both));
    let (old, new) = (
        format!("Bearer {}", secret('a')),
        format!("bearer  {}", secret('b')),
    );
    let elsewhere = peer("192.0.2.1");
    for (said, ms, awaited) in [
        (old.as_str(), NOON - 1, "token:ana"),
        (&old, NOON, "expired_token"),
        (&new, NOON - 1, "token:ana"),
        (&new, NOON, "token:ana"),
        ("Bearer sg_", NOON, "wrong_token"),
        ("Bearer ", NOON, "wrong_token"),
        (&format!("Bearer {}", secret('c')), NOON, "wrong_token"),
        ("Basic YW5hOng=", NOON, "no_token"),
        ("", NOON, "no_token"),
        (&secret('b'), NOON, "no_token"),
    ] {
        let fresh = Access::new(&settings("", &both));
        assert_eq!(
            who(&fresh, &[("authorization", said)], elsewhere, at(ms, 0)),
            awaited,
            "{said:?}"
        );
    }
    let twice = [("authorization", new.as_str()), ("authorization", &new)];
    assert_eq!(who(&access, &twice, elsewhere, at(NOON, 0)), "wrong_token");
    assert_eq!(
        who(&access, &[], peer("127.0.0.1"), at(NOON, 0)),
        "no_token",
        "also on this machine"
    );
    access.renew(&settings("", &token("bo", 'c', "")));
    assert_eq!(
        who(&access, &[("authorization", &new)], elsewhere, at(NOON, 0)),
        "wrong_token"
    );
}

#[test]
fn a_token_may_be_shown_as_a_key_where_ofrep_is_spoken() {
    let (good, bad, other) = (secret('a'), secret('x'), format!("Bearer {}", secret('b')));
    let both = token("web", 'a', "") + &token("ana", 'b', "");
    for (said, as_ofrep, elsewhere) in [
        (&[("x-api-key", good.as_str())][..], "token:web", "no_token"),
        (&[("x-api-key", &bad)], "wrong_token", "no_token"),
        (&[("x-api-key", "")], "wrong_token", "no_token"),
        (
            &[("x-api-key", &good), ("x-api-key", &good)],
            "wrong_token",
            "no_token",
        ),
        (
            &[("x-api-key", &good), ("authorization", &other)],
            "token:ana",
            "token:ana",
        ),
        (
            &[("x-api-key", &good), ("authorization", "Bearer sg_")],
            "wrong_token",
            "wrong_token",
        ),
        (
            &[("x-api-key", &good), ("authorization", "Basic YW5hOng=")],
            "token:web",
            "no_token",
        ),
    ] {
        for (shown, awaited) in [(Shown::BearerOrKey, as_ofrep), (Shown::Bearer, elsewhere)] {
            let access = Access::new(&settings("", &both));
            let found = access.sign_in(&headers(said), shown, None, at(NOON, 0));
            let found = found.map_or_else(|why| why.word().to_owned(), |caller| caller.mark());
            assert_eq!(found, awaited, "{said:?} {shown:?}");
        }
    }
}

#[test]
fn a_weak_secret_of_somebodys_own_is_no_token() {
    let weak = format!(
        "[[token]]\nname = 'ana'\nrole = 'admin'\nsha256 = '{}'\n",
        sha256("admin")
    );
    let access = Access::new(&settings("", &weak));
    assert_eq!(
        who(
            &access,
            &[("authorization", "Bearer admin")],
            None,
            at(NOON, 0)
        ),
        "wrong_token"
    );
}

#[test]
fn while_the_file_names_nobody_only_this_machine_is_let_in() {
    let access = Access::open(Vec::new());
    for (address, awaited) in [
        ("127.0.0.1", ":local"),
        ("::1", ":local"),
        ("::ffff:127.0.0.1", ":local"),
        ("192.0.2.1", "no_token"),
    ] {
        for said in [
            &[][..],
            &[("authorization", "Bearer of-a-proxys-own-caller")],
        ] {
            assert_eq!(
                who(&access, said, peer(address), at(NOON, 0)),
                awaited,
                "{address}"
            );
        }
    }
    let access = Access::new(&settings("trusted_proxies = ['127.0.0.1']", ""));
    let afar = [("x-forwarded-for", "192.0.2.1")];
    let found = who(&access, &afar, peer("127.0.0.1"), at(NOON, 0));
    assert_eq!(
        found, "no_token",
        "a proxy's callers are not on this machine"
    );
}

#[test]
fn whoever_listens_signs_in_again_when_the_file_says_otherwise_who_may() {
    let access = Access::new(&settings("", &token("ana", 'a', "")));
    let right = format!("Bearer {}", secret('a'));
    let sign_in = || {
        access.sign_in(
            &headers(&[("authorization", &right)]),
            Shown::Bearer,
            None,
            at(NOON, 0),
        )
    };
    let ana = sign_in().unwrap();
    access.renew(&settings("log = 'debug'", &token("ana", 'a', "")));
    assert!(!ana.over().is_cancelled(), "the same people");
    access.renew(&settings("", &token("bo", 'b', "")));
    assert!(ana.over().is_cancelled() && sign_in().is_err());
}

#[test]
fn a_wrong_token_is_answered_ever_more_slowly_and_nobody_else_is_locked_out() {
    let access = Access::new(&settings("", &token("ana", 'a', "")));
    let wrong = format!("Bearer {}", secret('x'));
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(who(
            &access,
            &[("authorization", &wrong)],
            peer("192.0.2.1"),
            at(NOON, 0),
        ));
    }
    assert_eq!(answers[3..], ["wrong_token", "too_often", "too_often"]);
    let right = format!("Bearer {}", secret('a'));
    assert_eq!(
        who(
            &access,
            &[("authorization", &right)],
            peer("192.0.2.1"),
            at(NOON, 0)
        ),
        "token:ana"
    );
    assert_eq!(
        who(
            &access,
            &[("authorization", &wrong)],
            peer("192.0.2.2"),
            at(NOON, 0)
        ),
        "wrong_token"
    );
    assert_eq!(
        who(
            &access,
            &[("authorization", &wrong)],
            peer("192.0.2.1"),
            at(NOON, 1)
        ),
        "wrong_token"
    );
}

#[test]
fn a_user_is_believed_of_a_trusted_proxy_alone() {
    let proxy = "trusted_proxies = ['10.0.0.5']\nproxy_user_header = 'x-remote-user'";
    let users = "[[user]]\nname = 'ana'\nrole = 'admin'\n[[user]]\nname = '*'\nrole = 'viewer'\n";
    let access = Access::new(&settings(
        proxy,
        &(users.to_owned() + &token("ci", 'a', "")),
    ));
    let right = format!("Bearer {}", secret('a'));
    for (from, said, awaited) in [
        ("10.0.0.5", &[("x-remote-user", "ana")][..], "proxy:ana"),
        ("10.0.0.5", &[("x-remote-user", "bo")], "proxy:bo"),
        ("10.0.0.5", &[("x-remote-user", "*")], "unknown_user"),
        ("10.0.0.5", &[("x-remote-user", "")], "unknown_user"),
        (
            "10.0.0.5",
            &[("x-remote-user", "bo"), ("x-remote-user", "ana")],
            "unknown_user",
        ),
        ("10.0.0.5", &[], "no_token"),
        (
            "10.0.0.5",
            &[("x-remote-user", "ana"), ("authorization", &right)],
            "token:ci",
        ),
        (
            "10.0.0.5",
            &[("x-remote-user", "ana"), ("authorization", "Bearer x")],
            "wrong_token",
        ),
        ("10.0.0.6", &[("x-remote-user", "ana")], "no_token"),
        ("127.0.0.1", &[("x-remote-user", "ana")], "no_token"),
        (
            "127.0.0.1",
            &[("x-remote-user", "ana"), ("x-forwarded-for", "10.0.0.5")],
            "no_token",
        ),
    ] {
        assert_eq!(
            who(&access, said, peer(from), at(NOON, 0)),
            awaited,
            "{from} {said:?}"
        );
    }
    let nobody_else = Access::new(&settings(proxy, "[[user]]\nname = 'ana'\nrole = 'admin'\n"));
    assert_eq!(
        who(
            &nobody_else,
            &[("x-remote-user", "bo")],
            peer("10.0.0.5"),
            at(NOON, 0)
        ),
        "unknown_user"
    );
}

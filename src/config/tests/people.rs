//! Who may come in, and the doors that strangers can reach (FAULTS G24).

use super::*;
use crate::rules::access::Role;

const SHA: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn token(lines: &str) -> String {
    format!("{SMALL}[[token]]\nname = 'ana'\nrole = 'operator'\nsha256 = '{SHA}'\n{lines}\n")
}

#[test]
fn a_token_is_read_with_its_scope_and_end() {
    let read = settings(&token(
        "queues = ['orders', 'mail.*']\nexpires = '2027-01-31T00:00:00Z'",
    ));
    let ana = &read.tokens[0];
    assert_eq!((ana.name.as_str(), ana.role), ("ana", Role::Operator));
    assert_eq!(ana.expires_ms, Some(1_801_353_600_000));
    assert_eq!(ana.sha256.0[..2], [0x9f, 0x86]);
    assert!(ana.scope.has_flag("queue.mail.eu.skip") && !ana.scope.has_flag("queue.billing.skip"));
    let text = format!(
        "[daemon]\nproxy_user_header = 'X-Remote-User'\ntrusted_proxies = ['10.0.0.0/24']\n{SMALL}[[user]]\nname = '*'\nrole = 'viewer'\n"
    );
    let read = settings(&text);
    assert!(read.users[0].scope.is_everything());
    assert_eq!(
        read.daemon.proxies.user_header.as_deref(),
        Some("x-remote-user")
    );
    for (address, trusted) in [
        ("10.0.0.7", true),
        ("::ffff:10.0.0.7", true),
        ("10.0.1.7", false),
        ("::1", false),
    ] {
        assert_eq!(
            read.daemon.proxies.has(address.parse().unwrap()),
            trusted,
            "{address}"
        );
    }
}

/// What is said of a file with these lines; `None`: nothing.
fn said(text: &str) -> Option<String> {
    with(text, &[])
        .map(drop)
        .err()
        .map(|problems| problems.to_string())
}

fn check(text: &str, part: &str) {
    let said = said(text).unwrap_or_default();
    assert!(
        said.contains(part) && said.matches("help:").count() == 1,
        "awaited {part:?} of:\n{text}\n{said}"
    );
    assert!(!said.contains(&SHA[..12]), "{said}");
}

#[test]
fn a_bad_token_or_user_is_refused_with_its_cure() {
    for (lines, part) in [
        ("expires = 'tomorrow'", "is no time"),
        ("queues = ['a b']", "no pattern of names"),
        ("secret = 'sg_x'", "there is no setting `token.ana.secret`"),
        (
            "[[user]]\nname = 'bo'\nrole = 'viewer'",
            "proxy_user_header",
        ),
        (
            &format!(
                "[[token]]\nname = 'bo'\nrole = 'viewer'\nsha256 = '{}'",
                SHA.to_uppercase()
            ),
            "the same `sha256`",
        ),
    ] {
        check(&token(lines), part);
    }
    check(
        &token("").replace("operator", "owner"),
        "\"owner\" is not known",
    );
    check(&token("").replace(SHA, &SHA[1..]), "`sluicegate token new`");
    check(
        &token("").replace(SHA, "sg_canary"),
        "64 hexadecimal digits",
    );
    check(
        &token("").replace("role = 'operator'\n", ""),
        "`token.ana.role` is missing",
    );
    check(
        &format!("[daemon]\nproxy_user_header = 'x-user'\n{SMALL}"),
        "there is none",
    );
    check(
        &format!("[daemon]\nproxy_user_header = 'x user'\ntrusted_proxies = ['::1']\n{SMALL}"),
        "name of a header",
    );
    check(
        &format!("[daemon]\ntrusted_proxies = ['proxy']\n{SMALL}"),
        "is no address",
    );
    check(
        &format!("[ofrep]\nlisten = '127.0.0.1:7070'\n{SMALL}"),
        "the address of another door",
    );
}

/// A certificate and a key, as far as the file is concerned.
fn files(key_mode: u32) -> (tempfile::TempDir, String) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    for (name, mode) in [("cert", 0o644), ("key", key_mode)] {
        let path = folder.path().join(name);
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let at = folder.path().display();
    let lines = format!("tls_cert_file = '{at}/cert'\ntls_key_file = '{at}/key'\n");
    (folder, lines)
}

#[test]
fn strangers_reach_a_door_only_if_it_asks_who_they_are_and_nobody_listens() {
    let (_folder, tls) = files(0o640);
    let proxy = "trusted_proxies = ['10.0.0.5']\n".to_owned();
    for (setting, section) in [
        ("daemon.listen", "[daemon]\n"),
        ("ofrep.listen", "[ofrep]\n"),
    ] {
        for (cover, tokens, part) in [
            ("", false, "there are no tokens"),
            (tls.as_str(), false, "there are no tokens"),
            ("", true, "everybody on the way"),
            (&tls, true, ""),
            (&proxy, true, ""),
        ] {
            let listen = format!("{section}listen = '0.0.0.0:7443'\n");
            let daemon = if section == "[daemon]\n" {
                String::new()
            } else {
                "[daemon]\n".to_owned()
            };
            let text = if tokens { token("") } else { SMALL.to_owned() };
            let text = format!("{listen}{daemon}{cover}{text}");
            match part {
                "" => assert_eq!(said(&text), None, "{text}"),
                part => check(&text, part),
            }
            let said = said(&text).unwrap_or_default();
            assert_eq!(said.contains(setting), !part.is_empty(), "{said}");
        }
    }
}

#[test]
fn a_certificate_comes_with_a_key_that_others_may_not_read() {
    let (_folder, open) = files(0o644);
    check(&format!("[daemon]\n{open}{SMALL}"), "chmod o-rwx");
    let (_folder, tls) = files(0o600);
    let read = settings(&format!("[daemon]\n{tls}{SMALL}"));
    assert!(read.daemon.tls.is_some());
    for (line, missing) in [(0, "tls_key_file"), (1, "tls_cert_file")] {
        let line = tls.lines().nth(line).unwrap();
        check(
            &format!("[daemon]\n{line}\n{SMALL}"),
            &format!("only with `{missing}`"),
        );
    }
}

#[test]
fn who_may_changes_while_it_runs() {
    let old = settings(&token(""));
    for (text, live) in [
        (token("queues = ['orders']"), vec!["token.ana"]),
        (
            token("").replace("ana", "bo"),
            vec!["token.ana", "token.bo"],
        ),
        (
            token(&format!(
                "[[token]]\nname = 'ana'\nrole = 'admin'\nsha256 = '{}'",
                SHA.replace('9', "8")
            )),
            vec!["token.ana"],
        ),
        (SMALL.to_owned(), vec!["token.ana"]),
        (token(""), vec![]),
    ] {
        let found = difference(&old, &settings(&text));
        let names: Vec<&str> = found.iter().map(|one| one.setting.as_str()).collect();
        assert_eq!(names, live, "{text}");
        assert!(found.iter().all(|one| one.live));
    }
    let (_a, one) = files(0o600);
    let (_b, other) = files(0o600);
    let of = |tls: &str| settings(&format!("[daemon]\n{tls}{SMALL}"));
    let found = difference(&of(&one), &of(&other));
    assert!(
        found.len() == 2 && found.iter().all(|one| one.live),
        "{found:?}"
    );
    let found = difference(&of(""), &of(&other));
    assert!(
        found.len() == 2 && found.iter().all(|one| !one.live),
        "{found:?}"
    );
}

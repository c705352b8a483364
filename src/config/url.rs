//! URLs, as far as the file needs to understand them: to refuse bad ones with a cure, and to show them without passwords.
//!
//! Nothing here repeats a URL in an error: its parts may be parts of a password that was not percent-encoded.

use std::net::IpAddr;

/// What of a URL the settings ask for.
#[derive(PartialEq)]
pub(super) struct Parts {
    pub(super) scheme: String,
    pub(super) password: bool,
    pub(super) userinfo: bool,
    pub(super) host: String,
    /// From the first `/` on; empty when there is none.
    pub(super) path: String,
    pub(super) query: Option<String>,
}

impl Parts {
    /// Whether the host is this machine.
    pub(super) fn loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// A URL without user and password, for people: `amqp://broker:5672/%2f`.
///
/// Everything up to the last `@` is taken out, so that a password that was not percent-encoded does not show either.
#[must_use]
pub fn without_userinfo(url: &str) -> String {
    let (scheme, rest) = match url.find("://") {
        Some(at) => url.split_at(at + 3),
        None => ("", url),
    };
    let shown = rest.rsplit_once('@').map_or(rest, |(_, shown)| shown);
    format!("{scheme}{shown}")
}

const ENCODE: &str =
    "percent-encode `/` (%2f), `@` (%40), `:` (%3a), `#` (%23) and `?` (%3f) in user and password";

/// Takes a URL apart.
///
/// # Errors
/// A sentence with its cure, divided by `; `.
pub(super) fn parts(url: &str) -> Result<Parts, String> {
    if !url.bytes().all(fits_a_url) {
        return Err(
            "the URL holds a character that URLs do not have; percent-encode it (a space is %20)"
                .into(),
        );
    }
    let (scheme, rest) = url
        .split_once("://")
        .ok_or("the URL has no `://`; write scheme, host and port, such as scheme://host:port")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if rest.contains('@') {
        return Err(format!(
            "the URL has an `@` after its first `/`, `?` or `#`; {ENCODE}"
        ));
    }
    if rest.contains('#') {
        return Err("the URL has a part after `#`, which nobody would read; leave it out".into());
    }
    let (userinfo, place) = match authority.rsplit_once('@') {
        Some((userinfo, place)) => (Some(userinfo), place),
        None => (None, authority),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (rest, None),
    };
    Ok(Parts {
        scheme: scheme.to_ascii_lowercase(),
        password: userinfo.is_some_and(|info| info.contains(':')),
        userinfo: userinfo.is_some(),
        host: host_of(place)?,
        path: path.to_owned(),
        query,
    })
}

/// The letters of RFC 3986, and `%`.
fn fits_a_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

fn host_of(place: &str) -> Result<String, String> {
    let (host, port) = match (place.rfind(']'), place.rfind(':')) {
        (bracket, Some(colon)) if bracket.is_none_or(|bracket| bracket < colon) => {
            (&place[..colon], Some(&place[colon + 1..]))
        }
        _ => (place, None),
    };
    if port.is_some_and(|port| !port.parse().is_ok_and(|port: u16| port != 0)) {
        return Err(format!(
            "what stands for the port in the URL is no port; write 1 to 65535, and {ENCODE}"
        ));
    }
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let fine = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !host.is_empty() && host.bytes().all(named)
        }
    };
    if fine {
        Ok(host.to_owned())
    } else {
        Err(format!(
            "the URL names no host that can be read; write a host name or an address, and {ENCODE}"
        ))
    }
}

const PARAMETERS: [&str; 4] = [
    "auth_mechanism",
    "channel_max",
    "connection_timeout",
    "frame_max",
];

/// Takes the URL of a broker apart.
///
/// # Errors
/// A sentence with its cure, divided by `; `.
pub(super) fn broker(url: &str) -> Result<Parts, String> {
    let parts = parts(url)?;
    if !["amqp", "amqps"].contains(&parts.scheme.as_str()) {
        return Err(
            "the broker's URL is neither amqp:// nor amqps://; begin it with one of them".into(),
        );
    }
    // lapin's reader of URLs takes an IPv6 address for no host at all, and goes to localhost.
    if parts.host.starts_with('[') && !parts.loopback() {
        return Err(
            "the broker's URL names an IPv6 address, which cannot be used here; name the host"
                .into(),
        );
    }
    if parts.path == "/" {
        return Err("the broker's URL ends with `/`, which names a vhost without a name; write `/%2f` for the default vhost, or leave the slash out".into());
    }
    vhost(&parts)?;
    let names = parts.query.iter().flat_map(|query| query.split('&'));
    for name in names.map(|pair| pair.split('=').next().unwrap_or_default()) {
        if name == "heartbeat" {
            return Err("the broker's URL asks for a heartbeat; leave it out and write `heartbeat` in [amqp]".into());
        }
        if !PARAMETERS.contains(&name) {
            let known = PARAMETERS.join(", ");
            return Err(format!(
                "the broker's URL has a parameter that is not known; there are {known}"
            ));
        }
    }
    Ok(parts)
}

/// The vhost that the URL of a broker names.
pub(super) fn vhost(broker: &Parts) -> Result<String, String> {
    match broker.path.strip_prefix('/') {
        None => Ok("/".to_owned()),
        Some(encoded) => decoded(encoded).ok_or_else(|| {
            "the vhost in the broker's URL cannot be read; percent-encode it as UTF-8, such as %2f for `/`".to_owned()
        }),
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Takes the URL of RabbitMQ's management API apart.
///
/// # Errors
/// A sentence with its cure, divided by `; `.
pub(super) fn management(url: &str) -> Result<Parts, String> {
    let parts = parts(url)?;
    if !["http", "https"].contains(&parts.scheme.as_str()) {
        return Err("the URL of the management API is neither http:// nor https://; write it as \"http://user@127.0.0.1:15672\"".into());
    }
    if !parts.userinfo {
        return Err("the URL of the management API names no user; write it before the host, as in \"http://user@127.0.0.1:15672\"".into());
    }
    if parts.query.is_some() {
        return Err("the URL of the management API has a part after `?`; leave it out".into());
    }
    Ok(parts)
}

/// Who is named in a URL.
pub(super) struct UserInfo {
    pub(super) user: String,
    pub(super) password: Option<String>,
}

/// The user and password of a URL that [`parts`] has read; none when they are not UTF-8.
pub(super) fn userinfo(url: &str) -> Option<UserInfo> {
    let (_, rest) = url.split_once("://")?;
    let (info, _) = rest.rsplit_once('@')?;
    let (user, password) = match info.split_once(':') {
        Some((user, password)) => (user, Some(decoded(password)?)),
        None => (info, None),
    };
    let user = decoded(user)?;
    Some(UserInfo { user, password })
}

/// Takes the URL of a webhook apart.
///
/// # Errors
/// A sentence with its cure, divided by `; `.
pub(super) fn webhook(url: &str) -> Result<Parts, String> {
    let parts = parts(url)?;
    if !["http", "https"].contains(&parts.scheme.as_str()) {
        return Err(
            "the URL of a webhook is neither http:// nor https://; begin it with one of them"
                .into(),
        );
    }
    if parts.userinfo {
        return Err("the URL of a webhook holds user or password; leave them out, and name a secret that signs the notices by `secret_file`".into());
    }
    Ok(parts)
}

/// Looks whether a text is the URL of an HTTP worker.
///
/// # Errors
/// A sentence with its cure, divided by `; `.
pub(super) fn http(url: &str) -> Result<(), String> {
    let parts = parts(url)?;
    match parts.scheme.as_str() {
        "http" => {}
        "https" => return Err("workers are called by plain http in this version; write http://… to a worker or proxy on this machine or in a trusted network".into()),
        _ => return Err("a worker's URL begins with http://; write it as \"http://127.0.0.1:8081/jobs\"".into()),
    }
    if parts.userinfo {
        return Err(
            "a worker's URL may not hold user or password, since it is shown; leave them out"
                .into(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_shown_without_user_and_password() {
        for (url, shown) in [
            (
                "amqp://guest:guest@127.0.0.1:5672/%2f",
                "amqp://127.0.0.1:5672/%2f",
            ),
            ("amqp://broker/", "amqp://broker/"),
            ("amqps://u:p@ss/w@rd@broker:5671", "amqps://broker:5671"),
            ("u:canary@broker", "broker"),
            ("nonsense", "nonsense"),
            ("", ""),
        ] {
            assert_eq!(without_userinfo(url), shown, "{url}");
        }
    }

    #[test]
    fn brokers_are_understood() {
        for (url, loopback, password, host_vhost) in [
            (
                "amqp://guest:guest@127.0.0.1:5672/%2f",
                true,
                true,
                "127.0.0.1 /",
            ),
            ("amqp://localhost", true, false, "localhost /"),
            ("amqp://u:p@[::1]:5672/billing", true, true, "[::1] billing"),
            (
                "AMQPS://u@broker.example:5671/a%2Fb?frame_max=8192",
                false,
                false,
                "broker.example a/b",
            ),
        ] {
            let parts = broker(url).unwrap_or_else(|why| panic!("{url}: {why}"));
            assert_eq!(
                (parts.loopback(), parts.password),
                (loopback, password),
                "{url}"
            );
            assert_eq!(
                format!("{} {}", parts.host, vhost(&parts).unwrap()),
                host_vhost
            );
        }
    }

    #[test]
    fn what_is_no_broker_is_refused_with_its_cure_and_never_repeated() {
        for (url, part) in [
            ("canary", "no `://`"),
            ("http://canary@h", "neither amqp:// nor"),
            ("amqp://u:canary/x@h:1/", "`@` after"),
            ("amqp://u:canary", "no port"),
            ("amqp://u:canary@h:0", "no port"),
            ("amqp://u:canary@h:70000", "no port"),
            ("amqp://u:canary@", "no host"),
            ("amqp://u:canary@h/", "vhost without a name"),
            ("amqp://u:canary@h/%zz", "vhost in the broker's URL"),
            ("amqp://u:can ary@h", "character"),
            ("amqp://u:canary@h?heartbeat=3", "heartbeat"),
            ("amqp://u:canary@h?verify=none", "parameter"),
            ("amqp://u:canary@[2001:db8::1]", "IPv6"),
            ("amqp://u:canary@h#x", "after `#`"),
        ] {
            let why = broker(url).err().unwrap_or_else(|| panic!("{url} passed"));
            assert!(why.contains(part), "{url}: {why}");
            assert!(
                why.contains("; ") && !why.contains("canary"),
                "{url}: {why}"
            );
        }
    }

    #[test]
    fn only_plain_http_without_userinfo_is_a_worker() {
        for url in [
            "http://127.0.0.1:8081/jobs",
            "http://worker",
            "http://[::1]:80/a?b=c",
        ] {
            assert_eq!(http(url), Ok(()), "{url}");
        }
        for url in [
            "https://w/",
            "http://u:p@w/",
            "ftp://w/",
            "w:80",
            "http://",
            "http:///x",
            "http://a b/",
            "",
        ] {
            assert!(http(url).unwrap_err().contains("; "), "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_password_survives_being_shown(user in "[a-z]{0,8}", password in "canary[!-~]{0,12}", host in "[a-z]{1,8}") {
            let shown = without_userinfo(&format!("amqp://{user}:{password}@{host}"));
            prop_assert!(!shown.contains("canary"), "{}", shown);
        }

        #[test]
        fn what_passes_as_a_worker_can_be_called(rest in "[ -~]{0,30}") {
            let url = format!("http://w{rest}");
            if http(&url).is_ok() {
                prop_assert!(url.parse::<hyper::Uri>().is_ok(), "{}", url);
            }
        }
    }
}

//! Where a request comes from: the other end of the connection, or whom a trusted proxy speaks for.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use crate::config::people::Proxies;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Peer {
    /// Its address.
    pub(in crate::api) address: IpAddr,
    /// Whether the connection speaks TLS.
    pub(in crate::api) tls: bool,
}

/// Who the caller is, by address. What anybody else than a trusted proxy says of others is not heard; of a chain of proxies
/// the nearest one counts that is not ours.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, proxies: &Proxies) -> IpAddr {
    let mut client = peer.to_canonical();
    let said = headers.get_all(FORWARDED_FOR).iter();
    let said: Vec<&str> = said
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .collect();
    for one in said.into_iter().rev() {
        if !proxies.has(client) {
            break;
        }
        let Some(before) = address(one.trim()) else {
            break;
        };
        client = before;
    }
    client
}

/// An address as proxies write it, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let alone = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    alone()
        .or_else(with_port)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trusted_proxy_alone_says_for_whom_it_speaks() {
        let proxies = Proxies {
            at: vec!["10.0.0.0/24".parse().unwrap()],
            user_header: None,
        };
        for (peer, said, client_is) in [
            ("10.0.0.5", &["198.51.100.7"][..], "198.51.100.7"),
            ("10.0.0.5", &["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
            (
                "10.0.0.5",
                &["127.0.0.1", "198.51.100.7:4711, 10.0.0.6"],
                "198.51.100.7",
            ),
            ("10.0.0.5", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("10.0.0.5", &["unknown"], "10.0.0.5"),
            ("10.0.0.5", &["198.51.100.7, unknown"], "10.0.0.5"),
            ("10.0.0.5", &[], "10.0.0.5"),
            ("::ffff:10.0.0.5", &["198.51.100.7"], "198.51.100.7"),
            ("192.0.2.1", &["127.0.0.1"], "192.0.2.1"),
            ("127.0.0.1", &["10.0.0.5"], "127.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(FORWARDED_FOR, value.parse().unwrap());
            }
            let found = client(&headers, peer.parse().unwrap(), &proxies);
            assert_eq!(
                found,
                client_is.parse::<IpAddr>().unwrap(),
                "{peer} says {said:?}"
            );
        }
    }
}

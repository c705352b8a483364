//! TLS at the real program: spoken, and another certificate taken up while it runs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::daemon::command;
use crate::keeper::{directory, eventually, tail};
use crate::scene::secs;
use crate::who_may::{Door, token};

/// A certificate for `localhost` that is its own authority, in `cert.pem` and `key.pem`.
pub(crate) fn certificate(home: &Path) {
    let script = "exec 2>openssl.log; openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -keyout new.pem -out cert.pem && chmod 600 new.pem && mv new.pem key.pem";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(home)
        .status()
        .unwrap();
    assert!(made.success(), "{}", tail(&home.join("openssl.log"), 20));
}

/// The answer to a GET over TLS, for whoever trusts the certificate in `home`.
fn over_tls(home: &Path, port: u16, headers: &str) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_file(home.join("cert.pem")).unwrap();
    roots.add(trusted).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|why| why.to_string())?;
    stream.set_read_timeout(Some(secs(10))).unwrap();
    let mut stream = StreamOwned::new(client, stream);
    let ask = format!(
        "GET /api/v1/flags HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n"
    );
    stream
        .write_all(ask.as_bytes())
        .map_err(|why| why.to_string())?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if answer.is_empty() {
        return Err(format!("{read:?}"));
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn tls_is_spoken_and_another_certificate_taken_up_while_it_runs() {
    let home = directory("who-tls");
    certificate(&home);
    let (ana, table) = token(&["ana", "--role", "viewer"]);
    let door = Door::open(
        home.clone(),
        "tls_cert_file = \"cert.pem\"\ntls_key_file = \"key.pem\"",
        &table,
    );
    let known = format!("authorization: {ana}\r\n");
    let answer =
        over_tls(&home, door.port, &known).unwrap_or_else(|why| panic!("{why}\n{}", door.log()));
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("strict-transport-security"),
        "{answer}"
    );
    assert!(
        over_tls(&home, door.port, "")
            .unwrap()
            .starts_with("HTTP/1.1 401")
    );
    let plain = door.raw(b"GET /api/v1/flags HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(
        !plain.contains("HTTP/1.1"),
        "plain words are not answered: {plain:?}"
    );
    certificate(&home);
    assert!(
        over_tls(&home, door.port, &known).is_err(),
        "the new certificate is not in force yet"
    );
    door.reads_again(|text| text);
    eventually("the new certificate is in force", secs(10), || {
        over_tls(&home, door.port, &known)
    });
    std::fs::write(home.join("cert.pem"), "broken").unwrap();
    door.reads_again(|text| text);
    eventually("the broken one is told", secs(10), || {
        let log = door.log();
        log.contains("the certificate stays")
            .then_some(())
            .ok_or(log)
    });
    let (status, said, _) = command(&[
        "check",
        "--config",
        home.join("sluicegate.toml").to_str().unwrap(),
    ]);
    assert_eq!(
        (status, said.contains("no certificate that can be read")),
        (Some(1), true),
        "{said}"
    );
}

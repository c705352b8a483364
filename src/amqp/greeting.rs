//! The broker's greeting: the one thing that lapin reads and does not tell. May import no room.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The greeting of a broker is shorter than this.
const LONGEST: usize = 4_096;
const GREET: Duration = Duration::from_secs(3);

/// The version that the broker at `host` tells in its greeting; none when it tells none, or speaks TLS.
pub(super) async fn version(host: &str, port: u16) -> Option<String> {
    timeout(GREET, greeting(host, port))
        .await
        .ok()?
        .ok()
        .and_then(|greeting| version_in(&greeting))
}

async fn greeting(host: &str, port: u16) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    let mut greeting = vec![0; LONGEST];
    let mut filled = 0;
    // A frame ends with 0xCE.
    while filled < LONGEST && (filled == 0 || greeting[filled - 1] != 0xce) {
        let read = stream.read(&mut greeting[filled..]).await?;
        if read == 0 {
            break;
        }
        filled += read;
    }
    greeting.truncate(filled);
    Ok(greeting)
}

/// The entry `version`, a long string, of the table in the frame.
fn version_in(greeting: &[u8]) -> Option<String> {
    const ENTRY: &[u8] = b"\x07versionS";
    let at = greeting
        .windows(ENTRY.len())
        .position(|window| window == ENTRY)?;
    let (len, rest) = greeting.get(at + ENTRY.len()..)?.split_first_chunk()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    String::from_utf8(rest.get(..len)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_in_the_table() {
        for (greeting, version) in [
            (
                &b"..\x07productS\x00\x00\x00\x08RabbitMQ\x07versionS\x00\x00\x00\x063.10.8\xce"[..],
                Some("3.10.8"),
            ),
            (b"\x07versionS\x00\x00\xff\xff3.10.8", None),
            (b"\x07versionS\x00", None),
            (b"HTTP/1.1 400 Bad Request", None),
        ] {
            assert_eq!(version_in(greeting).as_deref(), version, "{greeting:?}");
        }
    }
}

//! As much of Redis' protocol (RESP 2) as it takes to read and write a few keys, one after the other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use thiserror::Error;

/// The longest that Redis may take to connect or answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer, in bytes.
const LARGEST: usize = 16 << 20;
/// The longest line.
const LONGEST_LINE: u64 = 64 << 10;

/// Why Redis could not be asked.
#[derive(Debug, Error)]
pub enum NoAnswer {
    /// It cannot be reached, or left.
    #[error("Redis at {0} does not answer: {1}")]
    Gone(String, io::Error),
    /// It says no.
    #[error("Redis says: {0}")]
    Refused(String),
    /// What it says is not of its protocol, or not of the kind that was asked for.
    #[error("this is not an answer of Redis: {0}")]
    Odd(String),
}

/// A connection to Redis.
#[derive(Debug)]
pub struct Redis {
    address: String,
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Plain(String),
    Number(i64),
    Text(Option<Vec<u8>>),
}

impl Redis {
    /// Connects to `address`, such as `127.0.0.1:6379`; signs in if there is a password; chooses a database.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub fn connect(address: &str, password: Option<&str>, database: u32) -> Result<Self, NoAnswer> {
        let gone = |why| NoAnswer::Gone(address.to_owned(), why);
        let place = address.to_socket_addrs().map_err(gone)?.next();
        let place = place.ok_or_else(|| gone(io::ErrorKind::NotFound.into()))?;
        let stream = TcpStream::connect_timeout(&place, PATIENCE).map_err(gone)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(gone)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(gone)?;
        let mut redis = Self {
            address: address.to_owned(),
            stream: BufReader::new(stream),
        };
        if let Some(password) = password {
            redis.ask(&[b"AUTH", password.as_bytes()])?;
        }
        if database != 0 {
            redis.ask(&[b"SELECT", database.to_string().as_bytes()])?;
        }
        Ok(redis)
    }

    /// The text under a key; `None`: there is none.
    ///
    /// # Errors
    /// See [`NoAnswer`]; also when the key holds something else than UTF-8 text.
    pub fn get(&mut self, key: &str) -> Result<Option<String>, NoAnswer> {
        match self.ask(&[b"GET", key.as_bytes()])? {
            Answer::Text(None) => Ok(None),
            Answer::Text(Some(text)) => match String::from_utf8(text) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(NoAnswer::Odd(format!("{key} is not UTF-8"))),
            },
            other => Err(NoAnswer::Odd(format!("{other:?} under {key}"))),
        }
    }

    /// Puts texts under keys, all at once.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub fn set_all(&mut self, pairs: &[(String, String)]) -> Result<(), NoAnswer> {
        let mut command: Vec<&[u8]> = vec![b"MSET"];
        for (key, text) in pairs {
            command.extend([key.as_bytes(), text.as_bytes()]);
        }
        self.ask(&command).map(|_| ())
    }

    fn ask(&mut self, command: &[&[u8]]) -> Result<Answer, NoAnswer> {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for part in command {
            bytes.extend(format!("${}\r\n", part.len()).into_bytes());
            bytes.extend_from_slice(part);
            bytes.extend(b"\r\n");
        }
        let sent = self.stream.get_mut().write_all(&bytes);
        sent.map_err(|why| NoAnswer::Gone(self.address.clone(), why))?;
        match read(&mut self.stream) {
            Ok(answer) => answer,
            Err(why) => Err(NoAnswer::Gone(self.address.clone(), why)),
        }
    }
}

fn read(from: &mut impl BufRead) -> io::Result<Result<Answer, NoAnswer>> {
    let mut line = Vec::new();
    from.by_ref()
        .take(LONGEST_LINE)
        .read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = String::from_utf8_lossy(&line);
    let odd = || Ok(Err(NoAnswer::Odd(line.chars().take(80).collect())));
    let Some(line) = line.strip_suffix("\r\n") else {
        return odd();
    };
    let mut rest = line.chars();
    let sort = rest.next();
    let rest = rest.as_str();
    Ok(match (sort, rest.parse::<i64>()) {
        (Some('+'), _) => Ok(Answer::Plain(rest.to_owned())),
        (Some('-'), _) => Err(NoAnswer::Refused(rest.to_owned())),
        (Some(':'), Ok(number)) => Ok(Answer::Number(number)),
        (Some('$'), Ok(-1)) => Ok(Answer::Text(None)),
        (Some('$'), Ok(length)) => match usize::try_from(length)
            .ok()
            .filter(|length| *length <= LARGEST)
        {
            Some(length) => {
                let mut text = vec![0; length + 2];
                from.read_exact(&mut text)?;
                if !text.ends_with(b"\r\n") {
                    return odd();
                }
                text.truncate(length);
                Ok(Answer::Text(Some(text)))
            }
            None => return odd(),
        },
        _ => return odd(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let said = match read(&mut io::Cursor::new(bytes)) {
            Ok(Ok(answer)) => format!("{answer:?}"),
            Ok(Err(why)) => why.to_string(),
            Err(why) => format!("{:?}", why.kind()),
        };
        assert_eq!(said, expected, "{:?}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn answers_are_read_to_their_last_byte_or_refused() {
        check(b"+OK\r\n", "Plain(\"OK\")");
        check(b":12\r\n", "Number(12)");
        check(b"$-1\r\n", "Text(None)");
        check(b"$4\r\na\r\nb\r\n", "Text(Some([97, 13, 10, 98]))");
        check(
            b"-NOAUTH Authentication required.\r\n",
            "Redis says: NOAUTH Authentication required.",
        );
        check(b"", "UnexpectedEof");
        check(b"$4\r\na", "UnexpectedEof");
        check(b"$1\r\nabc", "this is not an answer of Redis: $1\r\n");
        check(
            b"$99999999999\r\n",
            "this is not an answer of Redis: $99999999999",
        );
        check(b"$-2\r\n", "this is not an answer of Redis: $-2");
        check(
            b"HTTP/1.1 400 Bad Request\r\n",
            "this is not an answer of Redis: HTTP/1.1 400 Bad Request",
        );
        check(b"+OK", "this is not an answer of Redis: +OK");
    }
}

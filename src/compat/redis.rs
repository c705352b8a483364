//! A Redis, as far as the Rollout gem's keys need one: texts read one by one, and written all at once or not at all. May import
//! `redis`, and nothing else does.

use std::time::Duration;

use redis::{
    Client, Commands, Connection, ConnectionAddr, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError,
};
use thiserror::Error;

/// The longest that Redis may take to connect or answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why Redis could not be asked.
#[derive(Debug, Error)]
pub enum NoAnswer {
    /// It cannot be reached, or left.
    #[error("Redis at {0} does not answer: {1}")]
    Gone(String, RedisError),
    /// It asks for a user or a password, or for others.
    #[error("Redis at {0} says no: {1}; put its password into SLUICEGATE_REDIS_PASSWORD")]
    Denied(String, RedisError),
    /// It cannot do this, or it is no Redis.
    #[error("Redis at {0} cannot do this: {1}; look whether it is a Redis, and has this database")]
    Odd(String, RedisError),
    /// What stands under a key is no text.
    #[error("what stands under {0} is not of the gem: {1}; look whether the namespace is right")]
    NotText(String, String),
    /// What an `address` has to look like.
    #[error("{0:?} is no address of Redis; write it as host:port, such as 127.0.0.1:6379")]
    NoAddress(String),
    /// Somebody wrote to keys since they were read.
    #[error("somebody changed features meanwhile, so nothing was written; try again")]
    Meanwhile,
}

/// Where Redis is, and as who to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<'a> {
    /// Host and port, such as `127.0.0.1:6379` or `[::1]:6379`.
    pub address: &'a str,
    /// The user; without one, Redis' default user.
    pub user: Option<&'a str>,
    /// The password, if there is one.
    pub password: Option<&'a str>,
    /// The number of the database.
    pub database: u32,
}

impl Place<'_> {
    fn host_and_port(&self) -> Option<ConnectionAddr> {
        let (host, port) = self.address.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = bare.or(Some(host).filter(|host| !host.contains([':', '/', '@'])))?;
        let port = port.parse().ok().filter(|_| !host.is_empty())?;
        Some(ConnectionAddr::Tcp(host.to_owned(), port))
    }

    fn sign_in(&self) -> RedisConnectionInfo {
        let mut how = RedisConnectionInfo::default()
            .set_db(self.database.into())
            .set_skip_set_lib_name();
        if let Some(user) = self.user {
            how = how.set_username(user);
        }
        match self.password {
            Some(password) => how.set_password(password),
            None => how,
        }
    }
}

/// A connection to Redis.
pub struct Redis {
    address: String,
    connection: Connection,
}

impl Redis {
    /// Connects, signs in and chooses the database.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub fn connect(place: &Place<'_>) -> Result<Self, NoAnswer> {
        let address = place.address.to_owned();
        let Some(to) = place.host_and_port() else {
            return Err(NoAnswer::NoAddress(address));
        };
        let connect = || {
            let how = to.into_connection_info()?;
            let client = Client::open(how.set_redis_settings(place.sign_in()))?;
            let connection = client.get_connection_with_timeout(PATIENCE)?;
            connection.set_read_timeout(Some(PATIENCE))?;
            connection.set_write_timeout(Some(PATIENCE))?;
            Ok(connection)
        };
        match connect() {
            Ok(connection) => Ok(Self {
                address,
                connection,
            }),
            Err(why) => Err(said(&address, why)),
        }
    }

    /// The text under a key; `None`: there is none.
    ///
    /// # Errors
    /// See [`NoAnswer`]; also when the key holds something else than UTF-8 text.
    pub fn get(&mut self, key: &str) -> Result<Option<String>, NoAnswer> {
        let found: Option<Vec<u8>> = match self.connection.get(key) {
            Ok(found) => found,
            Err(why) if why.code() == Some("WRONGTYPE") => {
                return Err(NoAnswer::NotText(key.to_owned(), why.to_string()));
            }
            Err(why) => return Err(said(&self.address, why)),
        };
        let text = found.map(String::from_utf8).transpose();
        text.map_err(|why| NoAnswer::NotText(key.to_owned(), why.to_string()))
    }

    /// From now on, [`Self::set_all`] writes only if nobody else wrote to these keys.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub fn watch(&mut self, keys: &[String]) -> Result<(), NoAnswer> {
        let watched = redis::cmd("WATCH").arg(keys).exec(&mut self.connection);
        watched.map_err(|why| said(&self.address, why))
    }

    /// Puts texts under keys, all at once.
    ///
    /// # Errors
    /// See [`NoAnswer`]; nothing is written then, unless it is gone: then it is unknown.
    pub fn set_all(&mut self, pairs: &[(String, String)]) -> Result<(), NoAnswer> {
        let mut all = redis::pipe();
        all.atomic().mset(pairs).ignore();
        match all.query(&mut self.connection) {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(NoAnswer::Meanwhile),
            Err(why) => Err(said(&self.address, why)),
        }
    }
}

/// What an error of Redis means to whoever asked.
fn said(address: &str, why: RedisError) -> NoAnswer {
    let address = address.to_owned();
    match (why.kind(), why.code()) {
        (ErrorKind::Io, _) => NoAnswer::Gone(address, why),
        (ErrorKind::AuthenticationFailed, _)
        | (_, Some("NOAUTH" | "NOPERM" | "WRONGPASS" | "DENIED")) => NoAnswer::Denied(address, why),
        _ => NoAnswer::Odd(address, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let read = |address| {
            let place = Place {
                address,
                user: None,
                password: None,
                database: 0,
            };
            place.host_and_port().map(|found| found.to_string())
        };
        for address in ["127.0.0.1:6379", "redis.example:6380"] {
            assert_eq!(read(address).as_deref(), Some(address));
        }
        assert_eq!(read("[::1]:6379").as_deref(), Some("::1:6379"));
        for address in [
            "",
            "6379",
            ":6379",
            "[]:6379",
            "redis",
            "redis:",
            "redis:99999",
            "::1:6379",
            "redis://127.0.0.1:6379",
            "ana:secret@127.0.0.1:6379",
        ] {
            assert_eq!(read(address), None, "{address:?}");
        }
    }
}

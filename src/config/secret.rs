//! A secret: read from a file, the environment or (for loopback) the file itself; never shown, logged or serialised.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::overlay::Environment;

/// The longest secret, in bytes.
const LONGEST: u64 = 65_536;

/// A text that nobody shall see.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the one place that must say it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What signs webhooks: some 24 to 64 bytes that nobody shall see.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// The bytes, for the one place that signs with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl FromStr for Key {
    type Err = String;
    /// Reads a secret as Standard Webhooks writes it: base64, with `whsec_` before it or without.
    fn from_str(text: &str) -> Result<Self, String> {
        let encoded = text.strip_prefix("whsec_").unwrap_or(text);
        match STANDARD.decode(encoded) {
            Ok(bytes) if (24..=64).contains(&bytes.len()) => Ok(Self(bytes)),
            _ => Err("this is no secret of a webhook, which is `whsec_` and 24 to 64 bytes in base64; make one with `echo whsec_$(openssl rand -base64 32)`".to_owned()),
        }
    }
}

/// The secret in a variable of the environment; `what` it is, for people.
///
/// # Errors
/// A sentence with its cure, divided by `; `.
pub(super) fn from_variable(
    name: &str,
    environment: &Environment,
    what: &str,
) -> Result<String, String> {
    match environment.get(name).map(|value| value.trim()) {
        None => Err(format!(
            "the variable {name} is not set; set it to {what}, or name another one"
        )),
        Some("") => Err(format!("the variable {name} is empty; set it to {what}")),
        Some(value) if value.contains('\u{fffd}') => Err(format!(
            "the variable {name} is not UTF-8; set it to {what} as UTF-8"
        )),
        Some(value) => Ok(value.to_owned()),
    }
}

/// The secret in a file that others may not read; `what` it is, for people.
///
/// # Errors
/// A sentence with its cure, divided by `; `.
pub(super) fn from_file(path: &Path, what: &str) -> Result<String, String> {
    let shown = path.display();
    let unreadable = |why: std::io::Error| {
        format!("the file {shown} cannot be read ({why}); mend its path or its permissions")
    };
    let file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(format!(
            "{shown} is no file; name the file that holds {what}"
        ));
    }
    if is_open_to_others(&about) {
        return Err(format!(
            "others may read or change the secret in {shown}; run `chmod o-rwx {shown}`"
        ));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!(
            "the file {shown} is too long; let it hold {what} alone"
        ));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("the file {shown} is not UTF-8; write {what} into it as UTF-8"))?;
    match text.trim() {
        "" => Err(format!("the file {shown} is empty; write {what} into it")),
        secret => Ok(secret.to_owned()),
    }
}

/// Whether others than a file's owner and group may read or change it.
#[cfg(unix)]
pub(super) fn is_open_to_others(about: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    about.permissions().mode() & 0o007 != 0
}

#[cfg(not(unix))]
pub(super) fn is_open_to_others(_about: &std::fs::Metadata) -> bool {
    false
}

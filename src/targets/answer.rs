//! What an HTTP worker's answer means. Pure: the time is an argument. May import `seams`.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::seams::Outcome;

/// The longest wait that a worker may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// The forms in which HTTP writes a date (RFC 9110, 5.6.7): today's, and the two that are obsolete and must still be read.
const DATES: [&str; 3] = [
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %e %H:%M:%S %Y",
];

/// The longest name that a worker's version may have, in characters.
const LONGEST_VERSION: usize = 64;

/// What a complete answer means; `now_ms`, milliseconds since 1970, is what a date in `Retry-After` is held against.
pub(super) fn outcome_of(
    status: StatusCode,
    retry_after: Option<&HeaderValue>,
    now_ms: i64,
) -> Outcome {
    let cause = || format!("the worker answered {}", status.as_u16());
    let wait = || retry_after.and_then(|value| wait_of(value.to_str().ok()?, now_ms));
    match status.as_u16() {
        200..=299 => Outcome::Done,
        429 => Outcome::Throttled(wait()),
        503 if retry_after.is_some() => Outcome::Throttled(wait()),
        408 | 425 | 500..=599 => Outcome::Retry(cause()),
        _ => Outcome::Failed(cause()),
    }
}

/// The wait that `Retry-After` asks for, in seconds or as a date, from nothing to an hour; `None`: it cannot be read.
pub(super) fn wait_of(text: &str, now_ms: i64) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only a number too large to be held cannot be parsed here.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_WAIT));
    }
    let date = DATES
        .iter()
        .find_map(|form| DateTime::strptime(form, text).ok())?;
    let at_ms = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let left = at_ms.as_millisecond().saturating_sub(now_ms);
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    Some(left.min(LONGEST_WAIT))
}

/// What the worker calls its version: the visible characters of its header, at most 64.
pub(super) fn version_of(header: Option<&HeaderValue>) -> Option<String> {
    let version: String = header?
        .to_str()
        .ok()?
        .chars()
        .filter(char::is_ascii_graphic)
        .take(LONGEST_VERSION)
        .collect();
    (!version.is_empty()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, the example of the standard.
    const NOW_MS: i64 = 784_111_777_000;

    fn check(status: u16, retry_after: Option<&str>, expected: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let header = retry_after.map(|text| HeaderValue::from_str(text).unwrap());
        let said = match outcome_of(status, header.as_ref(), NOW_MS) {
            Outcome::Throttled(Some(wait)) => format!("throttled {} s", wait.as_secs()),
            Outcome::Retry(cause) | Outcome::Failed(cause) if !cause.ends_with(status.as_str()) => {
                format!("no cause in {cause:?}")
            }
            outcome => outcome.word().to_owned(),
        };
        assert_eq!(said, expected, "{status}, Retry-After: {retry_after:?}");
    }

    #[test]
    fn every_status_has_one_meaning() {
        for status in [200, 201, 202, 204, 206, 226, 299] {
            check(status, None, "done");
        }
        for status in [408, 425, 500, 501, 502, 503, 504, 507, 599] {
            check(status, None, "retry");
        }
        for status in [101, 199, 300, 301, 302, 304, 307, 308] {
            check(status, None, "failed");
        }
        for status in [400, 401, 403, 404, 409, 410, 413, 422, 499, 600, 999] {
            check(status, None, "failed");
        }
        check(429, None, "throttled");
    }

    #[test]
    fn retry_after_is_read_and_bounded() {
        for status in [429, 503] {
            check(status, Some("0"), "throttled 0 s");
            check(status, Some("7"), "throttled 7 s");
            check(status, Some("1000000000"), "throttled 3600 s");
            check(status, Some("99999999999999999999"), "throttled 3600 s");
            for later in [
                "Sun, 06 Nov 1994 08:49:42 GMT",
                "Sunday, 06-Nov-94 08:49:42 GMT",
                "Sun Nov  6 08:49:42 1994",
            ] {
                check(status, Some(later), "throttled 5 s");
            }
            check(
                status,
                Some("Sun, 06 Nov 1994 07:00:00 GMT"),
                "throttled 0 s",
            );
            check(
                status,
                Some("Fri, 06 Nov 2093 07:00:00 GMT"),
                "throttled 3600 s",
            );
            for garbage in ["", "-1", "1.5", "soon", "0x10", "Sun, 99 Nov 1994"] {
                check(status, Some(garbage), "throttled");
            }
        }
        check(500, Some("7"), "retry");
        check(404, Some("7"), "failed");
    }

    #[test]
    fn a_version_is_short_and_visible() {
        for (header, version) in [
            ("1.4.2", Some("1.4.2")),
            ("two words", Some("twowords")),
            ("", None),
            (" \t", None),
            (&"x".repeat(200), Some(&*"x".repeat(64))),
        ] {
            let value = HeaderValue::from_str(header).unwrap();
            assert_eq!(version_of(Some(&value)).as_deref(), version, "{header:?}");
        }
        let bytes = HeaderValue::from_bytes(b"\xff").unwrap();
        assert_eq!(version_of(Some(&bytes)), None);
    }
}

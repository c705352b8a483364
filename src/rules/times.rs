//! Times as publishers write them: numbers since 1970, or ISO 8601 text as Celery writes `eta` and `expires`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The latest time that is read: the year 33658. Later ones are mistakes, and arithmetic stays far from its limits.
const LATEST_MS: i64 = 1_000_000_000_000_000;
/// A number from here on is milliseconds, below it seconds (until the year 5138).
const FIRST_MS: f64 = 1e11;

/// A time in milliseconds since 1970, read from seconds or milliseconds since 1970 (with or without a fraction), or from a date
/// and time after ISO 8601 and RFC 3339, such as `2026-11-21T14:05:00.25+01:00`; without a zone it is UTC. `None`: it is neither,
/// or lies before 1970 or absurdly late.
#[must_use]
pub fn time_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(number) => from_number(number),
        Err(_) => from_date(text),
    }
}

fn from_number(number: f64) -> Option<i64> {
    if !(0.0..=LATEST_MS as f64).contains(&number) {
        return None;
    }
    let ms = if number >= FIRST_MS {
        number as i64
    } else {
        (number * 1_000.0) as i64
    };
    Some(ms)
}

/// A date alone is refused: whether its beginning or its end is meant, nobody can know.
fn from_date(text: &str) -> Option<i64> {
    let has_time = text.contains(':') || text.contains(['T', 't']);
    let time = text.parse::<Timestamp>().ok().filter(|_| has_time);
    let time = time.or_else(|| {
        let local: DateTime = text.parse().ok().filter(|_| has_time)?;
        Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })?;
    let ms = time.as_millisecond();
    (0..=LATEST_MS).contains(&ms).then_some(ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(time_ms(text), expected, "{text:?}");
    }

    #[test]
    fn times_are_read_however_publishers_write_them() {
        let noon = Some(1_795_262_400_000);
        check("1795262400", noon);
        check("1795262400000", noon);
        check(" 1795262400.0 ", noon);
        check("2026-11-21T12:00:00Z", noon);
        check("2026-11-21T12:00:00+00:00", noon);
        check("2026-11-21T13:00:00+01:00", noon);
        check("2026-11-21t12:00:00z", noon);
        check("2026-11-21 12:00:00", noon);
        check("2026-11-21T12:00:00", noon);
        check("2026-11-21T12:00:00.250000+00:00", Some(1_795_262_400_250));
        check("2026-11-21T12:00:00.250999", Some(1_795_262_400_250));
    }

    #[test]
    fn what_is_no_time_is_unknown() {
        for text in [
            "",
            "soon",
            "NaN",
            "inf",
            "-5",
            "1e300",
            "2026-11-21",
            "12:00:00",
            "2026-13-01T00:00:00Z",
            "2026-11-21T25:00:00Z",
            "2026-11-21T12:00:00+99:00",
            "1969-12-31T23:59:59Z",
            "None",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = time_ms(&text);
        }

        #[test]
        fn a_time_is_the_same_as_text_and_as_number(ms in 100_000_000_000_i64..200_000_000_000_000) {
            let text = Timestamp::from_millisecond(ms).unwrap().to_string();
            prop_assert_eq!(time_ms(&text), Some(ms));
            prop_assert_eq!(time_ms(&ms.to_string()), Some(ms));
        }
    }
}

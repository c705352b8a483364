//! Values, times and figures as people type and read them. May import `rules`.

use serde_json::Value as Json;

use crate::rules::units::Span;

/// What somebody typed, as JSON: what reads as a boolean, a number, null, an object or a quoted string is that, all else is text;
/// the daemon reads `70%`, `30s`, `50/s` and `none` itself. A flag of type `string` takes the text as it stands.
pub(super) fn typed(text: &str, value_type: &str) -> Json {
    let plain = || Json::from(text);
    match serde_json::from_str(text) {
        Ok(Json::String(quoted)) => Json::String(quoted),
        Ok(_) if value_type == "string" => plain(),
        Ok(value) => value,
        Err(_) => plain(),
    }
}

/// A flag's value for people.
pub(super) fn shown(value: &Json, value_type: &str) -> String {
    match value {
        Json::Null => "none".to_owned(),
        Json::String(text) => text.clone(),
        Json::Number(number) if value_type == "ratio" => share(number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

/// A ratio in percent, to a thousandth.
pub(super) fn share(ratio: f64) -> String {
    format!("{}%", (ratio * 100_000.0).round() / 1_000.0)
}

/// A measured ratio in percent, to a tenth.
pub(super) fn about(ratio: f64) -> String {
    format!("{:.1}%", ratio * 100.0)
}

/// A measured figure for each second, to a tenth.
pub(super) fn per_second(figure: f64) -> String {
    format!("{figure:.1}")
}

/// A measured time: milliseconds below a second, a tenth below ten, then the two largest units.
pub(super) fn lasting(seconds: f64) -> String {
    let millis = (seconds.max(0.0) * 1_000.0).round() as u64;
    match millis {
        0 if seconds > 0.0 => "<1ms".to_owned(),
        0..1_000 => format!("{millis}ms"),
        1_000..10_000 => format!("{seconds:.1}s"),
        _ => {
            let all = Span::from_secs(millis / 1_000).to_string();
            let largest: Vec<&str> = all.split(' ').take(2).collect();
            largest.join(" ")
        }
    }
}

/// When something ends, seen from `now_ms` (milliseconds since 1970): `in 29m 58s`, `over`.
pub(super) fn until(ends_at: &str, now_ms: i64) -> String {
    match ends_at.parse::<jiff::Timestamp>() {
        Ok(end) => match end.as_millisecond().saturating_sub(now_ms) {
            ..=0 => "over".to_owned(),
            left => format!("in {}", lasting(left as f64 / 1_000.0)),
        },
        Err(_) => ends_at.to_owned(),
    }
}

/// When an opening ends: `2026-11-21 18:00:00Z (in 30m)`, or `on-time >= 98% for 10m, at most 8h (in 8h)`.
pub(super) fn end_of(ends_at: &str, until_well: Option<&str>, now_ms: i64) -> String {
    let end = until_well.map_or_else(|| moment(ends_at), str::to_owned);
    format!("{end} ({})", until(ends_at, now_ms))
}

/// A time of the daemon's to the second: `2026-11-21 18:00:00Z`.
pub(super) fn moment(time: &str) -> String {
    time.parse::<jiff::Timestamp>().map_or_else(
        |_| time.to_owned(),
        |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_typed_becomes_what_the_daemon_reads() {
        for (text, value_type, wanted) in [
            ("70%", "ratio", json!("70%")),
            ("0.7", "ratio", json!(0.7)),
            ("30s", "duration", json!("30s")),
            ("100/m burst 20", "rate", json!("100/m burst 20")),
            ("true", "boolean", json!(true)),
            ("none", "rate", json!("none")),
            ("-3", "integer", json!(-3)),
            ("{\"a\": [1]}", "object", json!({"a": [1]})),
            ("{a: 1}", "object", json!("{a: 1}")),
            ("new", "string", json!("new")),
            ("true", "string", json!("true")),
            ("5", "string", json!("5")),
            ("\"5\"", "string", json!("5")),
            ("", "string", json!("")),
        ] {
            assert_eq!(typed(text, value_type), wanted, "{text} as {value_type}");
        }
    }

    #[test]
    fn values_are_shown_as_they_are_typed() {
        for (value, value_type, wanted) in [
            (json!(0.7), "ratio", "70%"),
            (json!(0.07), "ratio", "7%"),
            (json!(0.00125), "ratio", "0.125%"),
            (json!(0.7), "number", "0.7"),
            (json!(null), "rate", "none"),
            (json!("1m 30s"), "duration", "1m 30s"),
            (json!(false), "boolean", "false"),
        ] {
            assert_eq!(shown(&value, value_type), wanted);
        }
    }

    #[test]
    fn measured_times_are_short() {
        for (seconds, wanted) in [
            (0.0, "0ms"),
            (0.0001, "<1ms"),
            (0.25, "250ms"),
            (1.23, "1.2s"),
            (42.9, "42s"),
            (3_725.0, "1h 2m"),
            (200_000.0, "2d 7h"),
        ] {
            assert_eq!(lasting(seconds), wanted, "{seconds}");
        }
    }

    #[test]
    fn ends_are_seen_from_now() {
        let end = "1970-01-01T00:30:00Z";
        for (now_ms, wanted) in [(0, "in 30m"), (1_790_000, "in 10s"), (1_800_000, "over")] {
            assert_eq!(until(end, now_ms), wanted);
        }
        assert_eq!(moment(end), "1970-01-01 00:30:00Z");
        assert_eq!(until("soon", 0), "soon");
    }
}

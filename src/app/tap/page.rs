//! What a tap says to people. Imports `cli`, `rules` and what was seen.

use std::fmt::Write as _;

use super::report::{Dropped, Over, Relief, Report, Share, Unknown};
use crate::amqp::beside::MOST;
use crate::cli::{TapOptions, harmless};
use crate::rules::binding::Bound;
use crate::rules::units::Span;

/// Lines between two heads, on a terminal.
const HEAD_EVERY: u64 = 20;
/// Names in a list.
const NAMED: usize = 5;

/// What is about to happen.
pub(super) fn begins(options: &TapOptions, bound: &[Bound], own: &str) -> String {
    let one = |bound: &Bound| {
        let binding = &bound.binding;
        let key = match (binding.key.as_str(), binding.arguments.len()) {
            ("", 0) => String::new(),
            ("", _) => " (by headers)".to_owned(),
            (key, _) => format!(" ({})", harmless(key)),
        };
        format!(
            "{} exchange {}{key}",
            bound.kind,
            harmless(&binding.exchange)
        )
    };
    let mut ways: Vec<String> = bound.iter().take(NAMED).map(one).collect();
    if bound.len() > NAMED {
        ways.push(format!("{} more", bound.len() - NAMED));
    }
    format!(
        "looking at what comes to {} by the {}, for {}; Ctrl-C ends it sooner\n\
         the copies lie in a queue of our own, {own}, which is removed at the end; what is published straight to {} by its name is not seen",
        options.queue,
        ways.join(", "),
        options.lasting,
        options.queue
    )
}

/// Whether a head stands above the next line.
pub(super) fn wants_a_head(lines: u64, terminal: bool) -> bool {
    lines == 1 || (terminal && lines % HEAD_EVERY == 1)
}

pub(super) fn head() -> String {
    "    time      rate   age p50       p99  size p50   waiting   on time  relieved      shed  top account".to_owned()
}

/// One line since the one before.
pub(super) fn line(report: &Report) -> String {
    let seconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), seconds);
    let (now, relieved, shed) = match &report.relief {
        Relief::Unknown(_) => (None, None, None),
        Relief::Rehearsed(of) => (of.on_time_now, of.on_time_relieved, of.shed),
    };
    let percent = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
    let waiting = report
        .queue
        .map_or_else(|| "-".to_owned(), |queue| queue.ready.to_string());
    let size = report.size_bytes.p50.map_or_else(|| "-".to_owned(), bytes);
    let mut line = format!(
        "{:>8} {:>9} {:>9} {:>9} {size:>9} {waiting:>9} {:>9} {:>9} {:>9}",
        clock(report.seconds),
        rate(report.per_second),
        seconds(report.age_seconds.p50),
        seconds(report.age_seconds.p99),
        percent(now),
        percent(relieved),
        percent(shed),
    );
    if let Some(top) = report.accounts.iter().flatten().next() {
        let _ = write!(
            line,
            "  {} {}",
            harmless(&top.name),
            self::percent(top.share)
        );
    }
    if !report.dropped.surely_none {
        line.push_str("  (not all seen)");
    }
    line
}

/// All that was seen.
pub(super) fn whole(report: &Report, queue: &str) -> String {
    let mut page = format!("\n{queue}, seen for {}:\n", clock(report.seconds));
    let mut item = |name: &str, text: String| {
        let _ = writeln!(page, "  {name:<10} {text}");
    };
    let most = rate(report.most_per_second.max(report.per_second));
    item(
        "came",
        format!(
            "{} messages, {} ({most} at most), {}/s",
            report.came,
            rate(report.per_second),
            bytes(report.bytes_per_second)
        ),
    );
    item("age", ages(report));
    item("size", sizes(report));
    match &report.accounts {
        Some(accounts) => item("accounts", shares(accounts)),
        None => item(
            "accounts",
            "not known: name the attribute by `key` in the file".to_owned(),
        ),
    }
    if !report.types.is_empty() {
        item("types", shares(&report.types));
    }
    if report.unreadable > 0 {
        let text = format!("{} would be dead-lettered as malformed", report.unreadable);
        item("unreadable", text);
    }
    if report.not_yet > 0 {
        let text = format!(
            "{} are not to be done yet, and are left out below",
            report.not_yet
        );
        item("later", text);
    }
    if let Some(theirs) = report.queue {
        let text = format!(
            "{} messages wait in it, {} consumers",
            theirs.ready, theirs.consumers
        );
        item("the queue", text);
    }
    item("not seen", dropped(report.dropped));
    for (name, text) in relief(&report.relief) {
        item(name, text);
    }
    page.trim_end().to_owned()
}

fn ages(report: &Report) -> String {
    let (Some(p50), Some(p99)) = (report.age_seconds.p50, report.age_seconds.p99) else {
        return "no message carries one: max_age and relief cannot work; `check --connect` says the cure".to_owned();
    };
    let mut text = format!("p50 {}, p99 {} when they came", seconds(p50), seconds(p99));
    if report.without_age > 0 {
        let _ = write!(text, "; {} carry none", report.without_age);
    }
    text
}

fn sizes(report: &Report) -> String {
    let of = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), bytes);
    format!(
        "p50 {}, p99 {}",
        of(report.size_bytes.p50),
        of(report.size_bytes.p99)
    )
}

fn shares(all: &[Share]) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    let one = |one: &Share| format!("{} {}", harmless(&one.name), percent(one.share));
    let named: Vec<String> = all.iter().take(NAMED).map(one).collect();
    named.join(", ")
}

fn dropped(dropped: Dropped) -> String {
    match dropped {
        Dropped {
            surely_none: true, ..
        } => "nothing fell out of our own queue".to_owned(),
        Dropped { at_least: 0, .. } => format!(
            "our own queue was full for a while ({MOST} messages or 64 MiB), or may have been: what fell out is not counted, so there may be more of everything"
        ),
        Dropped { at_least, .. } => format!(
            "at least {at_least} fell out of our own queue, which was full: there is more of everything"
        ),
    }
}

fn relief(relief: &Relief) -> Vec<(&'static str, String)> {
    let of = match relief {
        Relief::Rehearsed(of) => of,
        Relief::Unknown(unknown) => return unrehearsed(unknown),
    };
    let known = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
    let (can, came, wanted) = (
        of.capacity_per_second,
        of.offered_per_second,
        of.slots_wanted,
    );
    let mut lines = vec![
        (
            "load",
            format!(
                "{} slots can do {}, {} came: {wanted:.1} slots would do that",
                of.slots,
                rate(can),
                rate(came)
            ),
        ),
        (
            "without",
            format!(
                "{} on time, {} of what the slots can do",
                known(of.on_time_now),
                known(of.on_time_of_possible_now)
            ),
        ),
        (
            "relief",
            format!(
                "{} on time, {} of what the slots can do; {} shed, and parked",
                known(of.on_time_relieved),
                known(of.on_time_of_possible_relieved),
                known(of.shed)
            ),
        ),
        (
            "",
            "(as if both queues had been empty at the beginning; rules of flags, such as protect, are not asked)".to_owned(),
        ),
    ];
    let over = of.over_fair_share.iter().take(NAMED);
    lines.extend(over.map(|over| ("too much", too_much(over))));
    lines
}

fn unrehearsed(unknown: &Unknown) -> Vec<(&'static str, String)> {
    let mut lines = vec![("relief", unknown.unknown.clone())];
    if let Some(below) = unknown.keeps_up_below_service_seconds {
        let (slots, below) = (unknown.slots, seconds(below));
        let text = format!("{slots} slots keep up as long as a job takes less than {below}");
        lines.push(("", text));
    }
    lines
}

fn too_much(over: &Over) -> String {
    format!(
        "{} asks for {:.1} slots, {} of all work; its fair share is {:.1}",
        harmless(&over.account),
        over.slots,
        percent(over.share),
        over.fair_slots
    )
}

fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    if seconds >= 3_600 {
        return Span::from_secs(seconds).to_string();
    }
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

fn rate(per_second: f64) -> String {
    if per_second >= 100.0 {
        format!("{per_second:.0}/s")
    } else {
        format!("{per_second:.1}/s")
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{:.0}ms", value * 1_000.0)
    } else if value < 600.0 {
        format!("{value:.1}s")
    } else {
        format!("{:.1}h", value / 3_600.0)
    }
}

fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let mut value = value;
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < units.len() {
        value /= 1_024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{value:.0} B")
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_people_read_them() {
        let check = |found: String, expected: &str| assert_eq!(found, expected);
        check(seconds(0.012), "12ms");
        check(seconds(1.24), "1.2s");
        check(seconds(7_200.0), "2.0h");
        check(bytes(512.0), "512 B");
        check(bytes(2_200.0), "2.1 KiB");
        check(bytes(5.0 * 1_073_741_824.0 * 1_024.0), "5120.0 GiB");
        check(rate(12.34), "12.3/s");
        check(rate(1_203.4), "1203/s");
        check(percent(0.9876), "98.8%");
        check(clock(75.2), "01:15");
        check(clock(3_600.0), "1h");
    }

    #[test]
    fn what_is_not_seen_is_said_as_it_is_known() {
        let check = |surely_none, at_least, part: &str| {
            let said = dropped(Dropped {
                surely_none,
                at_least,
            });
            assert!(said.contains(part), "{said}");
        };
        check(true, 0, "nothing fell out");
        check(false, 0, "not counted");
        check(false, 7, "at least 7 fell out");
    }

    #[test]
    fn a_head_stands_above_the_first_line_and_again_on_a_terminal() {
        let heads = |terminal| {
            (1..=41)
                .filter(|line| wants_a_head(*line, terminal))
                .count()
        };
        assert_eq!((heads(false), heads(true)), (1, 3));
    }
}

//! `[limits]` and `[flags]`: what no change may do, whoever makes it. Live: a reload puts them in force.

use super::build::{FromValue, Section};
use super::tree::Value;
use crate::rules::names::Glob;
use crate::rules::policy::Policy;
use crate::rules::units::Ratio;

/// What the file lets no change do, and how many changes it lets one actor make.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// What no change may cross.
    pub policy: Policy,
    /// How many changes one actor may make a minute.
    pub changes_per_minute: u32,
    /// How many evaluations one token or address may ask for a second.
    pub evaluations_per_second: u32,
}

/// The largest share to skip, by queue, in the order of the file.
struct ByQueue(Vec<(Glob, Ratio)>);

impl FromValue for ByQueue {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Table(table) = value else {
            return None;
        };
        let one = |name: &str, value: &Value| {
            Some((name.parse().ok()?, value.text()?.parse::<Ratio>().ok()?))
        };
        let entries = table.entries().iter();
        entries
            .map(|entry| one(&entry.name, &entry.written.value))
            .collect::<Option<_>>()
            .map(Self)
    }
}

/// The limits of the sections `[limits]` and `[flags]`.
pub(super) fn read(limits: Section<'_>, flags: Section<'_>) -> Option<Limits> {
    let of_queues: Option<ByQueue> = limits.get("skip_by_queue");
    let mut largest_skip = of_queues.map(|all| all.0).unwrap_or_default();
    largest_skip.push((
        "*".parse().ok()?,
        limits.get::<String>("skip")?.parse().ok()?,
    ));
    let most: usize = flags.get("releases_of_a_team")?;
    Some(Limits {
        policy: Policy {
            largest_skip,
            release_name: flags.get("release_name")?,
            releases_of_a_team: (most > 0).then_some(most),
        },
        changes_per_minute: limits.get("changes_per_minute")?,
        evaluations_per_second: limits.get("evaluations_per_second")?,
    })
}

#[cfg(test)]
mod tests {
    use crate::config::{Environment, Limits, read_text};

    const SMALL: &str =
        "[amqp]\nurl = 'amqp://localhost'\n[[queue]]\nname = 'orders'\ntarget.handler = 'x'\n";

    fn limits(text: &str) -> Limits {
        let settings = read_text("a.toml", &format!("{SMALL}{text}"), &Environment::new());
        settings.unwrap_or_else(|why| panic!("{why}")).limits
    }

    #[test]
    fn nothing_said_limits_little() {
        let usual = limits("");
        assert_eq!(
            (usual.changes_per_minute, usual.evaluations_per_second),
            (60, 5_000)
        );
        assert_eq!(usual.policy.largest_skip("orders").get(), 1.0);
        assert_eq!(usual.policy.release_name, "<stakeholder>.<team>.<id>");
        assert_eq!(usual.policy.releases_of_a_team, Some(20));
    }

    #[test]
    fn the_first_pattern_that_fits_a_queue_counts() {
        let limits = limits(
            "[limits]\nskip = '90%'\nskip_by_queue = { 'mail.urgent' = '10%', 'mail.*' = 0.5 }\n\
             [flags]\nrelease_name = ''\nreleases_of_a_team = 0\n"
                .replace("0.5", "'50%'")
                .as_str(),
        );
        for (queue, most) in [("mail.urgent", 0.1), ("mail.bulk", 0.5), ("orders", 0.9)] {
            assert_eq!(limits.policy.largest_skip(queue).get(), most, "{queue}");
        }
        assert_eq!(limits.policy.release_name, "");
        assert_eq!(limits.policy.releases_of_a_team, None);
    }

    #[test]
    fn what_is_no_limit_is_refused_with_its_cure() {
        for (text, part) in [
            ("[limits]\nskip = '140%'", "between 0 and 1"),
            ("[limits]\nskip = 0.5", "in quotes"),
            (
                "[limits]\nskip_by_queue = { 'mail.*' = 'half' }",
                "between 0 and 1",
            ),
            ("[limits]\nchanges_per_minute = 0", "from 1 to"),
            ("[limits]\nevaluations_per_second = 0", "from 1 to"),
            ("[limits]\nskipp = '1%'", "did you mean `skip`?"),
            ("[flags]\nrelease_name = 'a..b'", "parts"),
        ] {
            let read = read_text("a.toml", &format!("{SMALL}{text}\n"), &Environment::new());
            let told = read.expect_err(text).to_string();
            assert!(told.contains(part), "{text}: {told}");
        }
    }
}

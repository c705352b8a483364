//! What the automatic valve of a queue may do: `[queue.relief]`.

use super::build::Section;
use super::problems::Notes;
use super::{BadActor, ReliefSettings};
use crate::rules::relief::valve::Bounds;

/// The section of this queue. `path` is the queue's, for people.
pub(super) fn of(queue: Section<'_>, path: &str, notes: &mut Notes) -> Option<ReliefSettings> {
    let section = queue.section("relief");
    let bounds = Bounds {
        floor: section.get("floor")?,
        ceiling: section.get("ceiling")?,
        step: section.get("step")?,
    };
    if bounds.floor > bounds.ceiling {
        let what = format!("`{path}.relief.floor` is above `ceiling`");
        let help =
            "more than the ceiling is never shed; write a smaller floor, or a larger ceiling";
        notes.add(section.place("floor"), what, help);
    }
    let said: String = section.get("bad_actor")?;
    let bad_actor = BadActor::ALL.into_iter().find(|one| one.word() == said)?;
    if bad_actor != BadActor::Observe && queue.get::<String>("key").is_none() {
        let what = format!("`{path}.relief.bad_actor` is {said:?}, and the queue has no `key`");
        let help = "name the attribute by which those who bring the load are told apart, as in key = \"account\"";
        notes.add(section.place("bad_actor"), what, help);
    }
    let degrade_to: String = section.get("degrade_to")?;
    let modes: Vec<String> = queue.get("modes").unwrap_or_default();
    if degrade_to != "reject" && !modes.contains(&degrade_to) {
        let what =
            format!("`{path}.relief.degrade_to` is {degrade_to:?}, which is none of `modes`");
        let help = "write \"reject\", or name it under `modes`";
        notes.add(section.place("degrade_to"), what, help);
    }
    Some(ReliefSettings {
        bounds,
        bad_actor,
        degrade_to,
        degrade_for: section.get("degrade_for")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, read_text};

    fn check(queue: &str, expected: Result<BadActor, &str>) {
        let text = format!(
            "[amqp]\nurl = 'amqp://localhost'\n[[queue]]\nname = 'orders'\ntarget.handler = 'x'\nattributes.account = 'header:x'\n{queue}"
        );
        let read = read_text("sluicegate.toml", &text, &Environment::default());
        match (read, expected) {
            (Ok(settings), expected) => {
                let is = settings.queues[0].relief.bad_actor;
                assert_eq!(Ok(is), expected, "{queue}");
            }
            (Err(problems), Err(said)) => {
                assert!(problems.to_string().contains(said), "{queue}: {problems}");
            }
            (Err(problems), Ok(_)) => panic!("{queue}: {problems}"),
        }
    }

    #[test]
    fn who_is_limited_has_a_name_and_what_is_degraded_a_mode() {
        check("", Ok(BadActor::Observe));
        check("relief.bad_actor = 'limit'", Err("has no `key`"));
        check(
            "key = 'account'\nrelief.bad_actor = 'limit'",
            Ok(BadActor::Limit),
        );
        let degrade = "key = 'account'\nrelief = { bad_actor = 'degrade', degrade_to = 'light' }";
        check(degrade, Err("which is none of `modes`"));
        check(
            &format!("modes = ['light']\n{degrade}"),
            Ok(BadActor::Degrade),
        );
        check(
            "relief = { floor = '20%', ceiling = '10%' }",
            Err("is above `ceiling`"),
        );
        check("relief.bad_actor = 'punish'", Err("degrade"));
    }
}

//! "Did you mean": the nearest of the names that there are.

/// The longest name that is compared: longer ones are no slip of the finger.
const LONGEST: usize = 64;

/// The name that `typed` was probably meant to be: the nearest one, if no more than a third of its letters differ.
pub(super) fn nearest<'a>(
    typed: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if typed.len() > LONGEST {
        return None;
    }
    let typed = typed.to_lowercase();
    names
        .into_iter()
        .map(|name| (distance(&typed, name), name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before_last = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let changed = last[column] + usize::from(letter != other);
            let mut best = changed.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped =
                row > 0 && column > 0 && *letter == to[column - 1] && from[row - 1] == *other;
            if swapped {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_word_is_not() {
        let names = ["slots", "prefetch", "on_skip", "on_expired", "target"];
        for (typed, meant) in [
            ("slot", Some("slots")),
            ("Slots", Some("slots")),
            ("sltos", Some("slots")),
            ("prefech", Some("prefetch")),
            ("on-expired", Some("on_expired")),
            ("tragte", Some("target")),
            ("colour", None),
            ("", None),
            ("größe", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
        assert_eq!(nearest(&"slots".repeat(100), names), None);
    }
}

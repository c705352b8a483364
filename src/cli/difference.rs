//! What differs between two texts, line by line. Imports no room.

/// How many lines that stay are shown around those that do not.
const AROUND: usize = 2;
/// More pairs of lines than this are not compared one by one.
const MOST_PAIRS: usize = 4_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'t> {
    Stays(&'t str),
    Goes(&'t str),
    Comes(&'t str),
}

/// The lines that go (`-`) and come (`+`), with a few around them; empty when the texts are the same.
pub(super) fn difference(before: &str, after: &str) -> String {
    let (before, after): (Vec<&str>, Vec<&str>) =
        (before.lines().collect(), after.lines().collect());
    let all = compared(&before, &after);
    let changed: Vec<usize> = all
        .iter()
        .enumerate()
        .filter(|(_, line)| !matches!(line, Line::Stays(_)))
        .map(|(at, _)| at)
        .collect();
    let mut text = String::new();
    let mut skipped = false;
    for (at, line) in all.iter().enumerate() {
        let next = changed.partition_point(|change| *change < at.saturating_sub(AROUND));
        let near = changed
            .get(next)
            .is_some_and(|change| *change <= at + AROUND);
        if !near {
            skipped = true;
            continue;
        }
        if skipped && !text.is_empty() {
            text.push_str("  ...\n");
        }
        skipped = false;
        let (sign, line) = match line {
            Line::Stays(line) => (' ', line),
            Line::Goes(line) => ('-', line),
            Line::Comes(line) => ('+', line),
        };
        text.push_str(format!("{sign} {line}").trim_end());
        text.push('\n');
    }
    text
}

/// Every line of both, in order: what both begin and end with, and between that the longest common sequence.
fn compared<'t>(before: &[&'t str], after: &[&'t str]) -> Vec<Line<'t>> {
    let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (old, new) = (&before[head..], &after[head..]);
    let tail = old.iter().rev().zip(new.iter().rev());
    let tail = tail.take_while(|(a, b)| a == b).count();
    let (old, ending) = old.split_at(old.len() - tail);
    let new = &new[..new.len() - tail];
    let mut all: Vec<Line<'t>> = before[..head]
        .iter()
        .map(|line| Line::Stays(line))
        .collect();
    if old.len().saturating_mul(new.len()) > MOST_PAIRS {
        all.extend(old.iter().map(|line| Line::Goes(line)));
        all.extend(new.iter().map(|line| Line::Comes(line)));
    } else {
        middle(old, new, &mut all);
    }
    all.extend(ending.iter().map(|line| Line::Stays(line)));
    all
}

fn middle<'t>(old: &[&'t str], new: &[&'t str], all: &mut Vec<Line<'t>>) {
    // longest[i][j]: how many lines the rests from i and j have in common.
    let mut longest = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i][j] = if old[i] == new[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            all.push(Line::Stays(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            all.push(Line::Goes(old[i]));
            i += 1;
        } else {
            all.push(Line::Comes(new[j]));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(before: &str, after: &str, wanted: &str) {
        let text = |words: &str| words.replace(' ', "\n");
        assert_eq!(
            difference(&text(before), &text(after)),
            wanted,
            "{before} | {after}"
        );
    }

    #[test]
    fn lines_go_and_come_with_a_few_around_them() {
        check("a b c", "a b c", "");
        check("a b c", "a x c", "  a\n- b\n+ x\n  c\n");
        check("", "a", "+ a\n");
        check("a", "", "- a\n");
        check("a b c d e f g", "a b c d e f g h", "  f\n  g\n+ h\n");
        check(
            "a b c d e f g h",
            "x b c d e f g y",
            "- a\n+ x\n  b\n  c\n  ...\n  f\n  g\n- h\n+ y\n",
        );
        check("a b c", "b c a", "- a\n  b\n  c\n+ a\n");
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_from_what_is_compared(
            before in prop::collection::vec("[ab]", 0..12),
            after in prop::collection::vec("[ab]", 0..12),
        ) {
            let before: Vec<&str> = before.iter().map(String::as_str).collect();
            let after: Vec<&str> = after.iter().map(String::as_str).collect();
            let all = compared(&before, &after);
            let old: Vec<&str> = all.iter().filter_map(|line| match line {
                Line::Stays(text) | Line::Goes(text) => Some(*text),
                Line::Comes(_) => None,
            }).collect();
            let new: Vec<&str> = all.iter().filter_map(|line| match line {
                Line::Stays(text) | Line::Comes(text) => Some(*text),
                Line::Goes(_) => None,
            }).collect();
            prop_assert_eq!(old, before);
            prop_assert_eq!(new, after);
        }
    }
}

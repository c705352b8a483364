//! All that is wrong with a file, each with its line, a caret under the culprit, and a cure.
//!
//! Lines are shown, so this is also where secrets are kept out of sight: values of settings that are secret, of settings that
//! nobody knows, and whatever looks like the user and password of a URL.

use std::fmt;
use std::ops::Range;

use super::tree::Place;

/// The most problems that are told at once.
const MOST: usize = 50;
/// The longest sentence, in characters: some repeat what was written.
const LONGEST: usize = 300;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `config/sluicegate.toml:14:1`, or the variable of the environment, or the file alone.
    pub place: String,
    /// The line of the file, from 1; none for a variable and for the file as a whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
    excerpt: Option<Excerpt>,
}

/// A line as it is shown, with the columns of the culprit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    text: String,
    caret: usize,
    carets: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.place, self.message)?;
        let mut margin = String::new();
        if let (Some(line), Some(excerpt)) = (self.line, &self.excerpt) {
            let number = line.to_string();
            margin = " ".repeat(number.len());
            let carets = "^".repeat(excerpt.carets);
            writeln!(f, "{margin} |")?;
            writeln!(f, "{number} | {}", excerpt.text)?;
            writeln!(f, "{margin} | {}{carets}", " ".repeat(excerpt.caret))?;
        }
        write!(f, "{margin} = help: {}", self.help)
    }
}

/// Everything that is wrong, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    name: String,
    all: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// The problems, at most 50.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.all
    }

    /// One problem of the file as a whole.
    pub(super) fn of_file(name: &str, message: String, help: &str) -> Self {
        let mut notes = Notes::default();
        notes.add(&Place::Whole, message, help);
        notes.conclude(name, "")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.all {
            writeln!(f, "{problem}\n")?;
        }
        match self.all.len() + self.more {
            1 => write!(f, "1 problem in {}", self.name),
            count => write!(f, "{count} problems in {}", self.name),
        }?;
        match self.more {
            0 => Ok(()),
            more => write!(f, ", of which {more} are not shown"),
        }
    }
}

impl std::error::Error for Problems {}

/// What is found while a file is walked.
#[derive(Debug, Default)]
pub(super) struct Notes {
    noted: Vec<Noted>,
    hidden: Vec<Range<usize>>,
}

#[derive(Debug)]
struct Noted {
    place: Place,
    message: String,
    help: String,
}

impl Notes {
    pub(super) fn add(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.noted.push(Noted {
            place: place.clone(),
            message: told(&message.into()),
            help: told(&help.into()),
        });
    }

    /// Adds a sentence of the form "what is wrong; what to do", as the readers of values give them.
    pub(super) fn add_sentence(&mut self, place: &Place, setting: &str, sentence: &str) {
        let (message, help) = sentence
            .split_once("; ")
            .unwrap_or((sentence, "write another value"));
        self.add(place, format!("`{setting}`: {message}"), help);
    }

    /// Keeps what stands at `place` out of every line that is shown.
    pub(super) fn hide(&mut self, place: &Place) {
        if let Place::Bytes(span) = place {
            self.hidden.push(span.clone());
        }
    }

    /// Takes over only what another walk wants hidden.
    pub(super) fn hide_as(&mut self, other: Notes) {
        self.hidden.extend(other.hidden);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.noted.is_empty()
    }

    /// Everything that was noted, in the order of the file.
    pub(super) fn conclude(mut self, name: &str, text: &str) -> Problems {
        self.noted.sort_by_key(|noted| match &noted.place {
            Place::Whole => (0, 0),
            Place::Bytes(span) => (1, span.start),
            Place::Variable(_) => (2, 0),
        });
        let more = self.noted.len().saturating_sub(MOST);
        self.noted.truncate(MOST);
        let page = Page::new(name, text, &self.hidden);
        Problems {
            name: name.to_owned(),
            all: self
                .noted
                .into_iter()
                .map(|noted| page.problem(noted))
                .collect(),
            more,
        }
    }
}

/// A sentence as it may be told: on one line, not too long, and without users and passwords of URLs.
fn told(sentence: &str) -> String {
    let hidden: Vec<_> = userinfo(sentence).into_iter().collect();
    let mut told: String = Excerpt::new(sentence, &hidden, 0..0).text;
    if let Some((at, _)) = told.char_indices().nth(LONGEST) {
        told.truncate(at);
        told.push('…');
    }
    told
}

/// The bytes between the first `://` and the last `@` of a line.
fn userinfo(line: &str) -> Option<Range<usize>> {
    let first = line.find("://").map(|at| at + 3);
    let last = line.rfind('@');
    match (first, last) {
        (Some(first), Some(last)) if first < last => Some(first..last),
        _ => None,
    }
}

/// The text of a file, ready to show lines of it.
struct Page<'a> {
    name: &'a str,
    text: &'a str,
    hidden: &'a [Range<usize>],
    starts: Vec<usize>,
}

impl<'a> Page<'a> {
    fn new(name: &'a str, text: &'a str, hidden: &'a [Range<usize>]) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(breaks).collect();
        Self {
            name,
            text,
            hidden,
            starts,
        }
    }

    fn problem(&self, noted: Noted) -> Problem {
        let span = match &noted.place {
            Place::Bytes(span) if span.start <= self.text.len() => Some(span.clone()),
            _ => None,
        };
        let line = span
            .as_ref()
            .map(|span| self.starts.partition_point(|start| *start <= span.start));
        let (place, excerpt) = match (&noted.place, span, line) {
            (Place::Variable(name), ..) => (name.to_string(), None),
            (_, Some(span), Some(line)) => {
                let (column, excerpt) = self.excerpt(line, span);
                (format!("{}:{line}:{column}", self.name), Some(excerpt))
            }
            _ => (self.name.to_owned(), None),
        };
        Problem {
            place,
            line,
            message: noted.message,
            help: noted.help,
            excerpt,
        }
    }

    /// The column of the culprit, from 1, and its line as it is shown; of a very long line what stands around the culprit.
    fn excerpt(&self, line: usize, culprit: Range<usize>) -> (usize, Excerpt) {
        const BEFORE: usize = 60;
        const WIDTH: usize = 140;
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let rest = self.text.get(start..).unwrap_or_default();
        let whole = rest.lines().next().unwrap_or_default();
        let at = (culprit.start - start).min(whole.len());
        let (from, to) = if whole.len() <= WIDTH {
            (0, whole.len())
        } else {
            let from = whole.floor_char_boundary(at.saturating_sub(BEFORE));
            (from, whole.ceil_char_boundary(from + WIDTH))
        };
        let within = |at: usize| at.saturating_sub(start + from).min(to - from);
        let spans = self.hidden.iter().cloned();
        let urls = userinfo(whole);
        let hidden: Vec<Range<usize>> = spans
            .chain(urls.iter().map(|span| span.start + start..span.end + start))
            .map(|span| within(span.start)..within(span.end))
            .filter(|span| !span.is_empty())
            .collect();
        let culprit = within(culprit.start)..within(culprit.end);
        let mut excerpt = Excerpt::new(&whole[from..to], &hidden, culprit);
        if from > 0 {
            excerpt.text.insert(0, '…');
            excerpt.caret += 1;
        }
        if to < whole.len() {
            excerpt.text.push('…');
        }
        let before = whole.get(..at).unwrap_or(whole);
        (before.chars().count() + 1, excerpt)
    }
}

impl Excerpt {
    /// A line with what is hidden taken out of it, and where the culprit stands in what is left.
    fn new(line: &str, hidden: &[Range<usize>], culprit: Range<usize>) -> Self {
        let mut text = String::with_capacity(line.len());
        let (mut column, mut caret, mut end) = (0, None, 0);
        let mut in_hidden = false;
        for (at, letter) in line.char_indices() {
            let hide = hidden.iter().any(|span| span.contains(&at));
            if !(hide && in_hidden) {
                text.push(if hide { '…' } else { visible(letter) });
                column += 1;
            }
            in_hidden = hide;
            if at >= culprit.start {
                caret.get_or_insert(column - 1);
            }
            if at < culprit.end {
                end = column;
            }
        }
        let caret = caret.unwrap_or(column);
        Self {
            text,
            caret,
            carets: end.saturating_sub(caret).max(1),
        }
    }
}

/// A letter that a terminal shows in one column and does not obey.
fn visible(letter: char) -> char {
    match letter {
        '\t' => ' ',
        _ if letter.is_control() => '·',
        _ => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, span: Range<usize>, hidden: Option<Range<usize>>) -> String {
        let mut notes = Notes::default();
        if let Some(span) = hidden {
            notes.hide(&Place::Bytes(span));
        }
        notes.add(&Place::Bytes(span), "it is wrong", "mend it");
        notes.conclude("a.toml", text).to_string()
    }

    #[test]
    fn a_problem_is_shown_with_line_caret_and_cure() {
        assert_eq!(
            one("[a]\nslot = 8\n", 4..8, None),
            "a.toml:2:1: it is wrong\n  |\n2 | slot = 8\n  | ^^^^\n  = help: mend it\n\n1 problem in a.toml"
        );
    }

    #[test]
    fn what_is_hidden_is_not_shown_and_the_caret_stays_under_the_culprit() {
        let text = "a = { url = \"canary\", b = 1 }";
        assert_eq!(
            one(text, 22..23, Some(12..20)),
            "a.toml:1:23: it is wrong\n  |\n1 | a = { url = …, b = 1 }\n  |                ^\n  = help: mend it\n\n1 problem in a.toml"
        );
    }

    #[test]
    fn any_place_in_any_text_can_be_shown() {
        for text in ["", "\n", "ö\r\n", "\u{1b}[31m\tx", &"x".repeat(5_000)] {
            for at in [0, 1, 2, 4_000, 4_999, 5_000, 9_000] {
                for wide in [0, 1, 100] {
                    let shown = one(text, at..at + wide, None);
                    assert!(
                        shown.contains("it is wrong") && !shown.contains('\u{1b}'),
                        "{text:?} {at}"
                    );
                    assert!(
                        shown.lines().all(|line| line.chars().count() < 200),
                        "{shown}"
                    );
                }
            }
        }
    }

    #[test]
    fn users_and_passwords_of_urls_are_hidden_in_lines_and_sentences() {
        let shown = one("url = 'amqp://u:canary@h/x'", 0..3, None);
        assert!(
            shown.contains("amqp://…@h/x") && !shown.contains("canary"),
            "{shown}"
        );
        assert_eq!(told("no file amqp://u:canary@h\n"), "no file amqp://…@h·");
        assert_eq!(told(&"ö".repeat(400)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn a_flood_of_problems_is_counted_and_cut() {
        let mut notes = Notes::default();
        for _ in 0..60 {
            notes.add(&Place::Whole, "it is wrong", "mend it");
        }
        let problems = notes.conclude("a.toml", "");
        assert_eq!(problems.all().len(), 50);
        assert!(
            problems
                .to_string()
                .ends_with("60 problems in a.toml, of which 10 are not shown")
        );
    }
}

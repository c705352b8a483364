//! Reads PromQL as far as the laws of boards and rules need: which series a query asks for, and which labels it names.

use std::collections::BTreeSet;

/// What a query asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) name: String,
    /// The label, how it is compared, and with what.
    pub(crate) matchers: Vec<(String, String, String)>,
    /// The functions and aggregations around it, the innermost last.
    pub(crate) within: Vec<String>,
    /// The range, such as `5m`; empty when it has none.
    pub(crate) range: String,
}

/// A query, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub(crate) selectors: Vec<Selector>,
    /// Labels by which it groups or joins.
    pub(crate) labels: BTreeSet<String>,
}

const OPERATORS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];
const GROUPINGS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];

/// Takes a query apart; it must be one that Prometheus takes.
pub(crate) fn read(query: &str) -> Query {
    let mut reader = Reader {
        rest: query,
        within: Vec::new(),
        last_word: String::new(),
        found: Query::default(),
    };
    while !reader.rest.is_empty() {
        reader.step();
    }
    assert!(
        reader.within.is_empty(),
        "{query}: a bracket is left open after {:?}",
        reader.within
    );
    reader.found
}

struct Reader<'a> {
    rest: &'a str,
    within: Vec<String>,
    /// The word before this place, if it may be a function.
    last_word: String,
    found: Query,
}

impl<'a> Reader<'a> {
    fn step(&mut self) {
        let first = self.rest.chars().next().unwrap();
        if first.is_ascii_alphabetic() || first == '_' || first == ':' {
            let word = self
                .take(|character| character.is_ascii_alphanumeric() || "_:$".contains(character));
            self.word(word);
        } else if first.is_ascii_digit() {
            self.take(|character| character.is_ascii_alphanumeric() || "_.".contains(character));
        } else {
            self.rest = &self.rest[first.len_utf8()..];
            match first {
                '(' => self.within.push(std::mem::take(&mut self.last_word)),
                // A grouping may stand behind the brackets: `sum(…) by (queue)`.
                ')' => self.last_word = self.within.pop().expect("a bracket too many"),
                '[' => {
                    let range = self.take(|character| character != ']').to_owned();
                    let last = self.found.selectors.last_mut();
                    last.expect("a range of nothing").range = range;
                }
                _ => {}
            }
        }
    }

    fn word(&mut self, word: &str) {
        let next = self.rest.trim_start();
        if GROUPINGS.contains(&word) && next.starts_with('(') {
            let end = next.find(')').expect("a grouping is closed");
            let labels = next[1..end].split(',').map(str::trim);
            self.found
                .labels
                .extend(labels.filter(|label| !label.is_empty()).map(str::to_owned));
            self.rest = &next[end + 1..];
        } else if next.starts_with('(') && !OPERATORS.contains(&word) {
            word.clone_into(&mut self.last_word);
        } else if is_aggregation(word) {
            word.clone_into(&mut self.last_word); // its grouping comes first: `sum by (queue) (…)`
        } else if !OPERATORS.contains(&word) && !GROUPINGS.contains(&word) {
            let matchers = self.matchers();
            self.found.selectors.push(Selector {
                name: word.to_owned(),
                matchers,
                within: self.within.clone(),
                range: String::new(),
            });
        }
    }

    fn matchers(&mut self) -> Vec<(String, String, String)> {
        let Some(mut inner) = self.rest.strip_prefix('{') else {
            return Vec::new();
        };
        let mut matchers = Vec::new();
        loop {
            inner = inner.trim_start_matches([',', ' ']);
            if let Some(rest) = inner.strip_prefix('}') {
                self.rest = rest;
                return matchers;
            }
            let (label, rest) = inner.split_at(inner.find(['=', '!']).expect("a comparison"));
            let (how, rest) = rest.split_at(rest.find('"').expect("a text"));
            let end = rest[1..].find('"').expect("an end of the text") + 1;
            matchers.push((
                label.trim().to_owned(),
                how.trim().to_owned(),
                rest[1..end].to_owned(),
            ));
            inner = &rest[end + 1..];
        }
    }

    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|character| !belongs(character));
        let (taken, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }
}

fn is_aggregation(word: &str) -> bool {
    ["sum", "min", "max", "avg", "count", "topk", "bottomk"].contains(&word)
}

#[test]
fn queries_are_taken_apart() {
    let check = |query: &str, expected: &[(&str, usize, &str, &str)], labels: &[&str]| {
        let found = read(query);
        let selectors: Vec<_> = found
            .selectors
            .iter()
            .map(|one| {
                let around = one.within.iter().rfind(|word| !word.is_empty());
                (
                    one.name.as_str(),
                    one.matchers.len(),
                    around.map_or("", String::as_str),
                    one.range.as_str(),
                )
            })
            .collect();
        assert_eq!(selectors, expected, "{query}");
        let named: Vec<&str> = found.labels.iter().map(String::as_str).collect();
        assert_eq!(named, labels, "{query}");
    };
    check("up == 0", &[("up", 0, "", "")], &[]);
    check(
        "sum by (queue) (rate(a_total{job=~\"$job\", q!=\"x, }\"}[$__rate_interval])) / on (queue) b > bool 0",
        &[("a_total", 2, "rate", "$__rate_interval"), ("b", 0, "", "")],
        &["queue"],
    );
    check(
        "sum(a) without (le, x) * 1000 and c offset 6h or vector(0)",
        &[("a", 0, "sum", ""), ("c", 0, "", "")],
        &["le", "x"],
    );
    check(
        "histogram_quantile(0.99, sum by (le) (rate(a_bucket[5m])))",
        &[("a_bucket", 0, "rate", "5m")],
        &["le"],
    );
    check(
        "flag_arm:a:increase1h / ignoring () b",
        &[("flag_arm:a:increase1h", 0, "", ""), ("b", 0, "", "")],
        &[],
    );
}

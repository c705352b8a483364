//! The Redis keys of the Rollout gem (fetlife/rollout, 2.x and 3.x, which write alike), byte for byte.
//!
//! `feature:<name>` holds `<percentage>|<user,user,…>|<group,group,…>|<data as JSON>`, `feature:__features__` the names, joined by
//! commas; a namespace stands before both. A feature becomes a boolean flag: listed users and groups (segments of the same name)
//! get `true`, and so does the same share of users as before, drawn by the gem's own formula. What the gem keeps beside (its data,
//! how a percentage is written) stays as it is in Redis.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::redis::{NoAnswer, Redis};
use super::{Imported, NoEqual};
use crate::rules::clause::{ClauseDocument, Op, one_of};
use crate::rules::flag::{Flag, FlagDocument, RuleDocument, ShareDocument};
use crate::rules::lots::Bucketing;

/// The rules that a feature becomes.
const USERS: &str = "users";
const GROUP: &str = "group-";
const SHARE: &str = "share";

/// Under this name stand the names of all features.
const NAMES: &str = "__features__";

/// A feature that is off for all, as the gem writes it.
const OFF: &str = "0|||{}";

/// Which features are meant, and how their users are known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// What `redis-namespace` puts before the keys, such as `development`; empty: nothing.
    pub namespace: String,
    /// The attribute that holds the gem's user id, usually `account`.
    pub by: String,
    /// Whether the gem runs with `randomize_percentage: true`.
    pub randomized: bool,
}

impl Side {
    fn key(&self, name: &str) -> String {
        match self.namespace.as_str() {
            "" => format!("feature:{name}"),
            namespace => format!("{namespace}:feature:{name}"),
        }
    }

    /// The key under which the names of all features stand.
    #[must_use]
    pub fn names(&self) -> String {
        self.key(NAMES)
    }
}

/// A feature as it stands in Redis: its fields as they are written. Reading and writing it again gives the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    percentage: String,
    /// Users, groups and data, as far as they are written.
    rest: Vec<String>,
}

impl Feature {
    /// The feature of a text.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut fields = text.splitn(4, '|').map(str::to_owned);
        Self {
            percentage: fields.next().unwrap_or_default(),
            rest: fields.collect(),
        }
    }

    /// The text of a feature.
    #[must_use]
    pub fn write(&self) -> String {
        let rest = self.rest.iter().map(String::as_str);
        let fields: Vec<&str> = std::iter::once(self.percentage.as_str())
            .chain(rest)
            .collect();
        fields.join("|")
    }

    /// The percentage, as Ruby's `to_f` reads it: as much of the text as is a number.
    #[must_use]
    pub fn percent(&self) -> f64 {
        let text = self.percentage.trim_start();
        let ends = (1..=text.len())
            .rev()
            .filter(|end| text.is_char_boundary(*end));
        let number = |end: usize| {
            let part = text.get(..end)?;
            let plain = part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            let whole = plain && part.ends_with(|last: char| last.is_ascii_digit());
            whole.then(|| part.parse::<f64>().ok()).flatten()
        };
        ends.filter(|end| *end <= 40)
            .find_map(number)
            .unwrap_or(0.0)
    }

    fn list(&self, field: usize) -> Vec<&str> {
        let text = self.rest.get(field).map_or("", String::as_str);
        text.split(',').filter(|one| !one.is_empty()).collect()
    }

    /// The users listed.
    #[must_use]
    pub fn users(&self) -> Vec<&str> {
        self.list(0)
    }

    /// The groups listed.
    #[must_use]
    pub fn groups(&self) -> Vec<&str> {
        self.list(1)
    }

    fn description(&self) -> String {
        let data = self.rest.get(2).map_or("", String::as_str);
        let data: Json = serde_json::from_str(data).unwrap_or_default();
        let text = data.get("description").and_then(Json::as_str);
        text.unwrap_or_default().to_owned()
    }

    /// The flag that says what this feature says.
    ///
    /// # Errors
    /// What has no equal here.
    pub fn flag(&self, name: &str, side: &Side) -> Result<FlagDocument, String> {
        let percent = self.percent();
        if !(0.0..=100.0).contains(&percent) {
            return Err(format!("{percent} % lies outside 0 to 100"));
        }
        let share = percent / 100.0;
        if (share * 1e7).round() / 1e5 != percent {
            return Err(format!(
                "{percent} % has more than five decimals: some users would change sides; round it there first"
            ));
        }
        let on = Some(Json::from(true));
        let mut rules = Vec::new();
        if !self.users().is_empty() {
            rules.push(RuleDocument {
                name: USERS.to_owned(),
                when: vec![one_of(&side.by, &self.users())],
                value: on.clone(),
                ..RuleDocument::default()
            });
        }
        for group in self.groups() {
            rules.push(RuleDocument {
                name: format!("{GROUP}{group}"),
                when: vec![ClauseDocument {
                    segment: Some(group.to_owned()),
                    ..ClauseDocument::default()
                }],
                value: on.clone(),
                ..RuleDocument::default()
            });
        }
        let for_all = percent == 100.0;
        if percent > 0.0 && !for_all {
            rules.push(RuleDocument {
                name: SHARE.to_owned(),
                by: Some(side.by.clone()),
                split: vec![ShareDocument {
                    value: true.into(),
                    share,
                }],
                ..RuleDocument::default()
            });
        }
        let base = json!({"key": name, "kind": "permission", "type": "boolean", "value": for_all});
        let base: FlagDocument = serde_json::from_value(base).map_err(|why| why.to_string())?;
        let document = FlagDocument {
            rules,
            description: self.description(),
            bucketing: Bucketing::Rollout,
            seed: side.randomized.then(|| name.to_owned()),
            ..base
        };
        let flag = Flag::try_from(document).map_err(|why| why.to_string())?;
        Ok(flag.document())
    }

    /// This feature, saying what `flag` says; what says so already keeps its bytes.
    ///
    /// # Errors
    /// What has no equal there.
    pub fn saying(&self, flag: &FlagDocument, side: &Side) -> Result<Self, String> {
        let wanted = Wanted::of(flag, side)?;
        let mut feature = self.clone();
        feature
            .rest
            .resize(feature.rest.len().max(2), String::new());
        if feature.percent() != wanted.percent {
            feature.percentage = wanted.percent.to_string();
        }
        for (field, list) in [&wanted.users, &wanted.groups].into_iter().enumerate() {
            if feature.list(field) != *list {
                let bad = list.iter().find(|one| one.contains([',', '|']));
                if let Some(bad) = bad {
                    return Err(format!(
                        "{bad:?} has a comma or bar, which would corrupt the gem's value"
                    ));
                }
                feature.rest[field] = list.join(",");
            }
        }
        if feature.percent() == self.percent()
            && feature.users() == self.users()
            && feature.groups() == self.groups()
        {
            return Ok(self.clone());
        }
        feature.rest.resize(3, "{}".to_owned());
        Ok(feature)
    }
}

/// What a feature is to say.
#[derive(Default)]
struct Wanted {
    percent: f64,
    users: Vec<String>,
    groups: Vec<String>,
}

impl Wanted {
    fn of(flag: &FlagDocument, side: &Side) -> Result<Self, String> {
        if !flag.enabled {
            return Err(
                "it is disabled; the gem would forget its users too, so set its value instead"
                    .to_owned(),
            );
        }
        let mut wanted = Self::default();
        match flag.value {
            Json::Bool(on) => wanted.percent = if on { 100.0 } else { 0.0 },
            _ => return Err("a feature is on or off, this flag is no boolean".to_owned()),
        }
        for rule in &flag.rules {
            wanted.add(rule, flag, side)?;
        }
        Ok(wanted)
    }

    fn add(&mut self, rule: &RuleDocument, flag: &FlagDocument, side: &Side) -> Result<(), String> {
        let on = |value: &Json| *value == Json::Bool(true);
        match (rule.when.as_slice(), &rule.value, rule.split.as_slice()) {
            ([clause], Some(value), []) if on(value) => {
                match (&clause.attribute, &clause.segment, clause.op) {
                    (Some(by), None, Some(Op::In)) if *by == side.by => {
                        let texts = clause
                            .values
                            .iter()
                            .filter_map(crate::rules::context::plain_text);
                        self.users.extend(texts);
                        return Ok(());
                    }
                    (None, Some(segment), None | Some(Op::In)) => {
                        self.groups.push(segment.clone());
                        return Ok(());
                    }
                    _ => {}
                }
            }
            // At 100 % the gem lets those in of whom it knows no user; a share does not.
            ([], None, [share]) if on(&share.value) && share.share < 1.0 && self.percent == 0.0 => {
                let seed = side.randomized.then_some(flag.key.as_str());
                let alike = flag.bucketing == Bucketing::Rollout && flag.seed.as_deref() == seed;
                if !alike || flag.draws_by(rule) != side.by {
                    return Err(format!(
                        "rule {:?} draws its lots otherwise: other users would be in",
                        rule.name
                    ));
                }
                self.percent = (share.share * 1e7).round() / 1e5;
                return Ok(());
            }
            _ => {}
        }
        Err(format!(
            "rule {:?} has no equal: a feature knows listed users, groups and one percentage",
            rule.name
        ))
    }
}

/// Reads all features of a Redis.
///
/// # Errors
/// When Redis does not answer; single features are refused in [`Imported::refused`].
pub fn import(redis: &mut Redis, side: &Side) -> Result<Imported, NoAnswer> {
    let names = redis.get(&side.names())?.unwrap_or_default();
    let mut imported = Imported::default();
    let mut seen = BTreeSet::from([""]);
    for name in names.split(',').filter(|name| seen.insert(name)) {
        // A name without a key is a feature at 0 %.
        let text = redis.get(&side.key(name))?.unwrap_or_default();
        match Feature::read(&text).flag(name, side) {
            Ok(flag) => imported.flags.push(flag),
            Err(what) => imported.refused.push(NoEqual::new(name, what)),
        }
    }
    Ok(imported)
}

/// What an export writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The keys with their new texts; those that say so already are left alone.
    pub pairs: Vec<(String, String)>,
    /// The flags that were left out.
    pub refused: Vec<NoEqual>,
}

/// What there is to write so that the gem says what these flags say; nothing is written yet (see [`Redis::set_all`], which writes
/// none of it if the gem wrote meanwhile).
///
/// # Errors
/// When Redis does not answer.
pub fn export(redis: &mut Redis, flags: &[FlagDocument], side: &Side) -> Result<Written, NoAnswer> {
    let mut written = Written::default();
    let read = flags.iter().map(|flag| side.key(&flag.key));
    redis.watch(&read.chain([side.names()]).collect::<Vec<_>>())?;
    let names = redis.get(&side.names())?.unwrap_or_default();
    let listed: BTreeSet<&str> = names.split(',').collect();
    let mut more = Vec::new();
    for flag in flags {
        let key = side.key(&flag.key);
        let found = redis.get(&key)?;
        match text(flag, found.as_deref(), side) {
            Ok(text) => {
                let there = listed.contains(flag.key.as_str());
                if !there && !more.contains(&flag.key.as_str()) {
                    more.push(&flag.key);
                }
                // A name without a key says 0 % already.
                if found.as_ref() != Some(&text) && !(there && found.is_none() && text == OFF) {
                    written.pairs.push((key, text));
                }
            }
            Err(what) => written.refused.push(NoEqual::new(&flag.key, what)),
        }
    }
    if !more.is_empty() {
        more.splice(..0, (!names.is_empty()).then_some(names.as_str()));
        written.pairs.push((side.names(), more.join(",")));
    }
    Ok(written)
}

/// What stands under a flag's key when it says what the flag says; as it is `found`, if it says so already.
fn text(flag: &FlagDocument, found: Option<&str>, side: &Side) -> Result<String, String> {
    if flag.key.contains([',', '|']) || flag.key == NAMES {
        return Err("a feature of this name would corrupt the gem's list of names".to_owned());
    }
    let feature = Feature::read(found.unwrap_or(OFF));
    Ok(feature.saying(flag, side)?.write())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::context::Attribute;
    use crate::rules::snapshot::{Snapshot, Stored};

    fn side() -> Side {
        Side {
            namespace: String::new(),
            by: "account".to_owned(),
            randomized: false,
        }
    }

    fn is_on(flag: &FlagDocument, user: Option<&str>) -> bool {
        let stored = Stored {
            flags: vec![Flag::try_from(flag.clone()).unwrap()],
            ..Stored::default()
        };
        let snapshot = Snapshot::of(Vec::new(), stored);
        let context = snapshot.context(user.map(|user| ("account", Attribute::of(user))));
        let handle = snapshot.handle(&flag.key).unwrap();
        snapshot.ask(handle, &*context).unwrap().value.to_json() == true
    }

    #[test]
    fn a_percentage_is_read_as_ruby_reads_it() {
        for (text, percent) in [
            ("20", 20.0),
            ("20.0", 20.0),
            ("", 0.0),
            ("  7.5abc", 7.5),
            ("1e1", 10.0),
            ("abc", 0.0),
            ("33.333", 33.333),
            ("5.", 5.0),
        ] {
            assert_eq!(
                Feature::read(&format!("{text}||")).percent(),
                percent,
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_same_twenty_percent_are_in() {
        let flag = Feature::read("20|7,1|||{}").flag("chat", &side()).unwrap();
        let on: Vec<u32> = (1..57)
            .filter(|id| is_on(&flag, Some(&id.to_string())))
            .collect();
        assert_eq!(on, [1, 2, 6, 7, 23, 27, 33, 37, 42, 52, 56]);
        assert!(!is_on(&flag, None));
        let all = Feature::read("100|7||").flag("chat", &side()).unwrap();
        assert!(is_on(&all, None) && is_on(&all, Some("599757210")));
        let randomized = Side {
            randomized: true,
            ..side()
        };
        let flag = Feature::read("20.0||").flag("chat", &randomized).unwrap();
        assert_eq!(flag.seed.as_deref(), Some("chat"));
    }

    #[test]
    fn only_what_changed_is_written_otherwise() {
        let text = "20.0|7,1|beta|{\"updated_at\":1.5}";
        let feature = Feature::read(text);
        let flag = feature.flag("chat", &side()).unwrap();
        assert_eq!(feature.saying(&flag, &side()).unwrap().write(), text);
        let mut more = flag.clone();
        more.rules[2].split[0].share = 0.25;
        assert_eq!(
            feature.saying(&more, &side()).unwrap().write(),
            "25|7,1|beta|{\"updated_at\":1.5}"
        );
        more.rules.remove(0);
        assert_eq!(
            feature.saying(&more, &side()).unwrap().write(),
            "25||beta|{\"updated_at\":1.5}"
        );
        assert_eq!(
            Feature::read("0||").saying(&more, &side()).unwrap().write(),
            "25||beta|{}"
        );
    }

    #[test]
    fn what_would_corrupt_the_list_of_names_is_refused() {
        let flag = Feature::read("20").flag("chat", &side()).unwrap();
        for key in ["a,b", "a|b", NAMES] {
            let flag = FlagDocument {
                key: key.to_owned(),
                ..flag.clone()
            };
            let why = text(&flag, None, &side()).unwrap_err();
            assert!(why.contains("corrupt"), "{key}: {why}");
        }
        assert_eq!(text(&flag, None, &side()).unwrap(), "20|||{}");
        assert_eq!(text(&flag, Some("20.0"), &side()).unwrap(), "20.0");
    }

    #[test]
    fn what_has_no_equal_is_refused_by_name() {
        for (text, sentence) in [
            ("150||", "outside 0 to 100"),
            ("-1||", "outside"),
            ("33.33333333||", "five decimals"),
        ] {
            let why = Feature::read(text).flag("chat", &side()).unwrap_err();
            assert!(why.contains(sentence), "{text}: {why}");
        }
        let flag = Feature::read("20|7||{}").flag("chat", &side()).unwrap();
        let other = |change: &dyn Fn(&mut FlagDocument)| {
            let mut flag = flag.clone();
            change(&mut flag);
            Feature::read("0||").saying(&flag, &side()).unwrap_err()
        };
        for (why, sentence) in [
            (
                other(&|flag| flag.bucketing = Bucketing::Sluicegate),
                "draws its lots otherwise",
            ),
            (
                other(&|flag| flag.seed = Some("x".to_owned())),
                "draws its lots otherwise",
            ),
            (other(&|flag| flag.enabled = false), "disabled"),
            (other(&|flag| flag.value = "x".into()), "no boolean"),
            (
                other(&|flag| flag.rules[1].split[0].share = 1.0),
                "no equal",
            ),
            (
                other(&|flag| flag.rules[0].value = Some(false.into())),
                "no equal",
            ),
            (
                other(&|flag| flag.rules[0].when = vec![one_of("account", &["a,b"])]),
                "corrupt",
            ),
            (
                other(&|flag| flag.rules[0].when = vec![one_of("plan", &["a"])]),
                "no equal",
            ),
        ] {
            assert!(why.contains(sentence), "{why}");
        }
    }

    proptest! {
        #[test]
        fn read_and_written_again_it_is_the_same_bytes(text in "[0-9.]{0,4}(\\|[a-z0-9,]{0,8}){0,2}(\\|.{0,12})?") {
            let feature = Feature::read(&text);
            prop_assert_eq!(feature.write(), text.clone());
            if let Ok(flag) = feature.flag("chat", &side()) {
                // A user or group listed twice is one rule's value here, so it may come back once.
                prop_assert_eq!(feature.saying(&flag, &side()).unwrap().write(), text);
            }
        }
    }
}

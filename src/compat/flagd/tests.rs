//! flagd's JSON read, asked, and written again.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::rules::context::Attribute;
use crate::rules::snapshot::{Snapshot, Stored};

fn read(targeting: Json) -> Result<FlagDocument, String> {
    let file = json!({
        "$schema": "https://flagd.dev/schema/v0/flags.json",
        "flags": {"header": {
            "state": "ENABLED", "variants": {"red": "#f00", "blue": "#00f", "grey": "#888"},
            "defaultVariant": "grey", "targeting": targeting,
            "metadata": {"description": "Colour of the header"}}},
        "$evaluators": {"at acme": {"ends_with": [{"var": "email"}, "@acme.com"]}},
    });
    let mut imported = import(&file.to_string()).map_err(|why| why.to_string())?;
    imported
        .flags
        .pop()
        .ok_or_else(|| imported.refused[0].what.clone())
}

fn ask(flag: &FlagDocument, given: &[(&str, &str)]) -> String {
    let stored = Stored {
        flags: vec![Flag::try_from(flag.clone()).unwrap()],
        ..Stored::default()
    };
    let snapshot = Snapshot::of(Vec::new(), stored);
    let context = snapshot.context(
        given
            .iter()
            .map(|(name, text)| (*name, Attribute::of(text))),
    );
    let chosen = snapshot
        .ask(snapshot.handle(&flag.key).unwrap(), &*context)
        .unwrap();
    match chosen.value.to_json().as_str() {
        Some("#f00") => "red".to_owned(),
        Some("#00f") => "blue".to_owned(),
        Some("#888") => "grey".to_owned(),
        other => format!("{other:?}"),
    }
}

/// What flagd answers (its documents and its test bed say so), from the flag read here, and from the one written and read again.
fn check(targeting: Json, answers: &[(&[(&str, &str)], &str)]) {
    let flag = read(targeting.clone()).unwrap();
    let written = export([&flag]);
    assert_eq!(written.refused, [], "{targeting}");
    let again = import(&written.json.to_string()).unwrap();
    assert_eq!(again.refused, [], "{targeting} became {}", written.json);
    for (given, variant) in answers {
        assert_eq!(ask(&flag, given), *variant, "{targeting} for {given:?}");
        assert_eq!(
            ask(&again.flags[0], given),
            *variant,
            "{} for {given:?}",
            written.json
        );
    }
}

#[test]
fn chains_of_if_become_rules() {
    check(json!({}), &[(&[], "grey")]);
    check(
        json!({"if": [{"$ref": "at acme"}, "red"]}),
        &[
            (&[("email", "x@acme.com")], "red"),
            (&[("email", "x@acme.org")], "grey"),
            (&[], "grey"),
        ],
    );
    check(
        json!({"if": [
            {"==": [{"var": "plan"}, "gold"]}, "red",
            {"in": [{"var": "country"}, ["no", "se"]]}, "blue",
            null]}),
        &[
            (&[("plan", "gold"), ("country", "no")], "red"),
            (&[("country", "se")], "blue"),
            (&[], "grey"),
        ],
    );
}

#[test]
fn who_is_in_an_inner_if_never_falls_to_the_outer_else() {
    let inner = json!({"if": [{"==": [{"var": "plan"}, "gold"]}, "red"]});
    check(
        json!({"if": [{"==": [{"var": "country"}, "no"]}, inner, "blue"]}),
        &[
            (&[("country", "no"), ("plan", "gold")], "red"),
            (&[("country", "no")], "grey"),
            (&[("plan", "gold")], "blue"),
        ],
    );
}

#[test]
fn and_or_and_not_are_turned_inside_out() {
    let acme = || json!({"==": [{"var": "account"}, "acme"]});
    let gold = || json!({"==": [{"var": "plan"}, "gold"]});
    check(
        json!({"if": [{"!": [{"and": [acme(), gold()]}]}, "red", "blue"]}),
        &[
            (&[("account", "acme"), ("plan", "gold")], "blue"),
            (&[("account", "acme")], "red"),
            (&[], "red"),
        ],
    );
    check(
        json!({"if": [{"!": [{"or": [acme(), {"!": gold()}]}]}, "red"]}),
        &[
            (&[("plan", "gold")], "red"),
            (&[("account", "acme"), ("plan", "gold")], "grey"),
            (&[], "grey"),
        ],
    );
    check(
        json!({"if": [{"!=": [{"var": "account"}, null]}, "red", "blue"]}),
        &[(&[("account", "")], "red"), (&[], "blue")],
    );
    check(json!({"if": [false, "red", "blue"]}), &[(&[], "blue")]);
}

#[test]
fn versions_match_by_their_first_numbers_alone() {
    for (op, version, holds, fails) in [
        (
            "^",
            "1.4.2",
            ["1.0.0", "1.9.0", "v1.4.2"],
            ["2.0.0", "0.9.0", "x"],
        ),
        (
            "~",
            "1.4.2",
            ["1.4.0", "1.4.9", "1.4.0-rc.1"],
            ["1.5.0", "1.3.9", "2.4.2"],
        ),
        (
            ">=",
            "v1.4",
            ["1.4.0", "1.4.0+b7", "2"],
            ["1.3.9", "1.4.0-rc.1", ""],
        ),
    ] {
        let targeting = json!({"if": [{"sem_ver": [{"var": "v"}, op, version]}, "red"]});
        for (versions, variant) in [(holds, "red"), (fails, "grey")] {
            for found in versions {
                check(targeting.clone(), &[(&[("v", found)], variant)]);
            }
        }
    }
}

#[test]
fn shares_keep_their_keys() {
    let by_email =
        json!({"fractional": [{"var": "email"}, ["red", 37], ["blue", 39], ["grey", 24]]});
    // The buckets of flagd's own test bed: 36 and 76 of 100.
    check(
        by_email,
        &[
            (&[("email", "jon@company.com")], "red"),
            (&[("email", "user1")], "grey"),
            // flagd would draw by the targeting key.
            (&[("targetingKey", "user1")], "grey"),
        ],
    );
    let half = json!({"fractional": [["red"], ["blue"]]});
    let flag = read(half.clone()).unwrap();
    for key in ["a", "b", "c", "user1", "jon@company.com"] {
        let hash = crate::rules::lots::Lots::of(Bucketing::Flagd, "header", None)
            .draw(&Attribute::of(key));
        let variant = if hash < 50_000 { "red" } else { "blue" };
        check(half.clone(), &[(&[("targetingKey", key)], variant)]);
    }
    assert_eq!((flag.bucketing, flag.seed), (Bucketing::Flagd, None));
    let inside = json!({"if": [{"==": [{"var": "plan"}, "gold"]}, half, "red"]});
    check(inside, &[(&[("plan", "gold")], "grey"), (&[], "red")]);
}

#[test]
fn a_boolean_answer_names_a_variant() {
    let file = json!({"flags": {"on": {"state": "DISABLED", "variants": {"true": true, "false": false},
        "defaultVariant": "false", "targeting": {"in": ["@acme.", {"var": "email"}]}}}});
    let imported = import(&file.to_string()).unwrap();
    let flag = &imported.flags[0];
    assert_eq!((flag.enabled, flag.rules.len()), (false, 1));
    assert_eq!(export([flag]).json["flags"]["on"]["state"], "DISABLED");
}

/// A targeting that is refused, with a sentence that says so.
fn refused(targeting: Json, sentence: &str) {
    let why = read(targeting.clone()).unwrap_err();
    assert!(why.contains(sentence), "{targeting}: {why}");
}

#[test]
fn conditions_without_an_equal_are_refused_by_name() {
    let refused = |condition: Json, sentence| refused(json!({"if": [condition, "red"]}), sentence);
    refused(json!({"<": [{"var": "age"}, 18]}), "`<` with");
    refused(json!({"var": "beta"}), "`var` with [\"beta\"] has no equal");
    refused(
        json!({"!": {"starts_with": [{"var": "a"}, "b"]}}),
        "`!` of `starts_with`",
    );
    refused(
        json!({"==": [{"var": "$flagd.timestamp"}, 1]}),
        "open the flag for a time",
    );
    refused(
        json!({"==": [1, {"var": "$flagd.timestamp"}]}),
        "open the flag for a time",
    );
    refused(
        json!({"==": [{"var": "a"}, {"var": "b"}]}),
        "cannot be compared",
    );
    refused(json!({"==": [1, 1]}), "only an attribute");
    refused(
        json!({"==": [{"var": ["a", "b"]}, 1]}),
        "for what is missing",
    );
    refused(json!({"==": [{"var": "a"}, ""]}), "the empty text");
    refused(json!({"$ref": "nobody"}), "not among `$evaluators`");
    refused(
        json!({"sem_ver": [{"var": "v"}, "!=", "1.0"]}),
        "\"!=\" has no equal",
    );
    refused(json!({"and": []}), "`and` of nothing");
}

#[test]
fn outcomes_without_an_equal_are_refused_by_name() {
    refused(json!("green"), "\"green\" is none of its variants");
    refused(
        json!({"fractional": [["red", 1], ["blue", 2]]}),
        "a total weight of 3",
    );
    refused(
        json!({"fractional": [["red", {"var": "w"}], ["blue", 1]]}),
        "computed ones",
    );
    let by_two = json!({"cat": [{"var": "a"}, {"var": "b"}]});
    refused(json!({"fractional": [by_two, ["red"]]}), "has no equal");
    refused(json!({"fractional": [["red", 0]]}), "no share above zero");
    let (by_key, by_email) = (
        json!({"fractional": [["red"], ["blue"]]}),
        json!({"fractional": [{"var": "email"}, ["red"]]}),
    );
    refused(
        json!({"if": [{"$ref": "at acme"}, by_key, by_email]}),
        "a flag has one seed",
    );
}

#[test]
fn a_file_or_a_flag_that_is_not_flagds_is_refused_by_name() {
    assert!(import("{\"flags\": []}").is_err());
    let check = |flag: Json, sentence: &str| {
        let imported = import(&json!({"flags": {"f": flag}}).to_string()).unwrap();
        let why = imported.refused[0].to_string();
        assert!(why.contains(sentence), "{flag}: {why}");
    };
    let flag = |state: &str, variants: Json, default: &str| json!({"state": state, "variants": variants, "defaultVariant": default});
    check(
        json!({"state": "ENABLED", "variants": {"a": 1}}),
        "no `defaultVariant`",
    );
    check(
        flag("ENABLED", json!({"a": 1}), "b"),
        "\"b\" is none of its variants",
    );
    check(flag("ENABLED", json!({}), "a"), "no `variants`");
    check(
        flag("ENABLED", json!({"a": 1, "b": "x"}), "a"),
        "not all of one type",
    );
    check(flag("ON", json!({"a": 1}), "a"), "`ENABLED` or `DISABLED`");
    check(flag("ENABLED", json!({"a": []}), "a"), "neither boolean");
}

#[test]
fn ours_that_have_no_equal_there_are_refused_by_name() {
    for (rule, sentence) in [
        (
            json!({"name": "r", "value": true, "when": [{"segment": "beta"}]}),
            "a segment",
        ),
        (
            json!({"name": "r", "value": true, "when": [{"attribute": "a", "op": "lt", "values": [1]}]}),
            "Lt has no equal",
        ),
        (
            json!({"name": "r", "split": [{"value": true, "share": 0.2}]}),
            "another formula",
        ),
    ] {
        let flag = json!({"key": "f", "kind": "config", "type": "boolean", "value": false, "rules": [rule]});
        let flag: FlagDocument = serde_json::from_value(flag).unwrap();
        let why = export([&flag]).refused[0].to_string();
        assert!(why.contains(sentence), "{why}");
    }
}

/// Nothing that is read makes it panic, nor grow without bounds.
const OPERATORS: [&str; 10] = [
    "if",
    "and",
    "or",
    "!",
    "==",
    "in",
    "fractional",
    "cat",
    "sem_ver",
    "$ref",
];

fn any_logic() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!("red")),
        Just(json!(true)),
        Just(json!(3)),
        Just(json!({"var": "a"})),
        Just(json!({"==": [{"var": "a"}, "b"]})),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        (
            prop::sample::select(&OPERATORS[..]),
            prop::collection::vec(inner.clone(), 0..5),
        )
            .prop_map(|(operator, given)| json!({operator: given}))
            .boxed()
    })
}

proptest! {
    #[test]
    fn whatever_is_read_can_be_written_and_says_the_same_again(targeting in any_logic(), a in "[ab]?") {
        if let Ok(flag) = read(targeting) {
            let given = [("a", a.as_str())];
            let written = export([&flag]);
            prop_assert!(written.refused.is_empty(), "{:?}", written.refused);
            let again = import(&written.json.to_string()).unwrap();
            prop_assert!(again.refused.is_empty(), "{} {:?}", written.json, again.refused);
            prop_assert_eq!(ask(&flag, &given), ask(&again.flags[0], &given));
        }
    }
}

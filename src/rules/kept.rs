//! A flag's document as memory keeps it: its JSON, in which the words that every flag says again take one byte each.
//!
//! JSON has no control characters of its own, so each of them may stand for a word.

use super::document::FlagDocument;

/// The words, whose bytes are 1, 2, 3 and so on; a longer one stands before those that begin like it.
const WORDS: [&str; 31] = [
    r#"{"key":""#,
    r#"","kind":"release","type":""#,
    r#"","kind":"ops","type":""#,
    r#"","kind":""#,
    r#"","type":""#,
    r#"boolean","value":"#,
    r#"","value":"#,
    r#","min":"#,
    r#","max":"#,
    r#","choices":[""#,
    r#","description":""#,
    r#"","owner":""#,
    r#"","runbook":"https://"#,
    r#"","rules":[{"name":""#,
    r#","rules":[{"name":""#,
    r#"","when":[{"attribute":""#,
    r#"","when":[{"segment":""#,
    r#""},{"name":""#,
    r#"},{"name":""#,
    r#"},{"attribute":""#,
    r#"","op":"in","values":[""#,
    r#"","op":""#,
    r#"","values":[""#,
    r#""]}],"value":"#,
    r#"","split":[{"value":"#,
    r#","share":"#,
    r#"}]}],"revision":"#,
    r#"}],"revision":"#,
    r#"",""#,
    "false",
    "true",
];

/// The document of one flag.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept(Box<str>);

impl Kept {
    /// The kept form of a document.
    pub(super) fn of(document: &FlagDocument) -> Self {
        let text = serde_json::to_string(document).unwrap_or_default();
        let signs = (1..=u8::MAX).map(char::from);
        let short = WORDS.iter().zip(signs).fold(text, |text, (word, sign)| {
            text.replace(word, sign.encode_utf8(&mut [0; 4]))
        });
        Self(short.into())
    }

    /// The document.
    ///
    /// # Errors
    /// When it was nested deeper than JSON is read.
    pub(super) fn document(&self) -> Result<FlagDocument, serde_json::Error> {
        let mut text = String::with_capacity(self.0.len() * 3);
        for sign in self.0.chars() {
            match WORDS.get((sign as usize).wrapping_sub(1)) {
                Some(word) => text.push_str(word),
                None => text.push(sign),
            }
        }
        serde_json::from_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(document: serde_json::Value) {
        let document: FlagDocument = serde_json::from_value(document).unwrap();
        assert_eq!(Kept::of(&document).document().unwrap(), document);
    }

    #[test]
    fn a_usual_flag_takes_a_fraction_of_its_text() {
        let document = json!({"key": "shop.checkout.7", "kind": "release", "type": "boolean", "value": false, "rules": [
            {"name": "plans", "value": true, "when": [{"attribute": "plan", "op": "in", "values": ["free", "trial"]}]},
            {"name": "ring", "split": [{"value": true, "share": 0.25}]}]});
        let document: FlagDocument = serde_json::from_value(document).unwrap();
        let text = serde_json::to_string(&document).unwrap();
        let kept = Kept::of(&document);
        assert!(kept.0.len() * 3 < text.len(), "{}: {text}", kept.0.len());
        assert_eq!(kept.document().unwrap(), document);
    }

    #[test]
    fn what_looks_like_a_sign_or_a_word_stays_what_it_is() {
        for said in WORDS
            .into_iter()
            .chain(["\u{1}\u{1f}\u{7f}\u{85}", "\\u0001", "\"", "ø"])
        {
            check(
                json!({"key": "a", "kind": "config", "type": "object", "value": {said: [said, 1.0, null]},
                "description": said, "choices": [said], "min": 0.1, "seed": said}),
            );
        }
    }

    #[test]
    fn one_that_is_too_deep_to_be_read_again_is_told() {
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        let document =
            json!({"key": "a", "kind": "config", "type": "object", "value": {"deep": deep}});
        let document: FlagDocument = serde_json::from_value(document).unwrap();
        assert!(Kept::of(&document).document().is_err());
    }

    proptest! {
        #[test]
        fn any_text_comes_back(said in ".{0,40}", number in proptest::num::f64::NORMAL) {
            check(json!({"key": "a", "kind": "ops", "type": "number", "value": number, "max": number, "owner": said,
                "rules": [{"name": said, "value": null}, {"name": "b", "when": [{"segment": said}]}]}));
        }
    }
}

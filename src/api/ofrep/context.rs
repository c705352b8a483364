//! Reads the context of an evaluation: what a service tells of whoever it asks for. May import `rules`.

use serde_json::{Map, Value as Json};

use super::failure::{Failure, INVALID_CONTEXT, PARSE_ERROR};
use crate::rules::context::Attribute;
use crate::rules::json::strict;

/// The largest body of an evaluation, in bytes.
pub(super) const LARGEST: usize = 64 * 1024;
/// The most attributes of a context.
const MOST: usize = 1_000;
/// The longest name of an attribute, in bytes; no flag can ask for a longer one.
const LONGEST_NAME: usize = 200;
/// How deep objects may lie in each other.
const DEEPEST: usize = 8;

const TARGETING_KEY: &str = "targetingKey";
const ACCOUNT: &str = "account";

/// What a service told, each attribute by its name: what lies in an object by `object.name`, and each entry of a list, such as
/// `roles: ["admin"]`, as `roles.admin` with the text `true`.
#[derive(Debug, Default)]
pub(super) struct Told {
    attributes: Vec<(String, Attribute)>,
    /// Whether a targeting key was given.
    pub(super) targeted: bool,
}

impl Told {
    /// Reads the body of a request. A body without a context is one of whom nothing is known.
    pub(super) fn read(body: &[u8]) -> Result<Self, Failure> {
        let request = strict(body).map_err(|why| {
            Failure::new(
                PARSE_ERROR,
                format!("the body is not good JSON: {why}; send {{\"context\": {{…}}}}"),
            )
        })?;
        let Json::Object(mut request) = request else {
            return Err(Failure::new(
                PARSE_ERROR,
                "the body is not a JSON object; send {\"context\": {…}}",
            ));
        };
        match request.swap_remove("context") {
            None | Some(Json::Null) => Ok(Self::default()),
            Some(Json::Object(context)) => Self::of(&context),
            Some(_) => Err(invalid(
                "`context` is not an object; send {\"context\": {…}}",
            )),
        }
    }

    fn of(context: &Map<String, Json>) -> Result<Self, Failure> {
        let mut told = Self::default();
        let targeting_key = match context.get(TARGETING_KEY) {
            None | Some(Json::Null) => None,
            Some(Json::String(text)) => Some(text).filter(|text| !text.is_empty()),
            Some(_) => return Err(invalid("`targetingKey` is not a text; send it quoted")),
        };
        told.targeted = targeting_key.is_some();
        let account = context
            .get(ACCOUNT)
            .is_some_and(|account| !account.is_null());
        if let Some(key) = targeting_key.filter(|_| !account) {
            told.put(ACCOUNT, Attribute::of(key))?;
        }
        told.put_all(&mut String::new(), context, DEEPEST)?;
        Ok(told)
    }

    /// The attributes with their names.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&str, Attribute)> {
        let attributes = self.attributes.iter();
        attributes.map(|(name, attribute)| (name.as_str(), attribute.clone()))
    }

    fn put_all(
        &mut self,
        above: &mut String,
        object: &Map<String, Json>,
        deeper: usize,
    ) -> Result<(), Failure> {
        let Some(deeper) = deeper.checked_sub(1) else {
            return Err(invalid(&format!(
                "objects lie more than {DEEPEST} deep in each other; tell what flags ask for at the top"
            )));
        };
        let here = above.len();
        for (name, value) in object {
            above.push_str(name);
            match value {
                Json::Object(inner) => {
                    above.push('.');
                    self.put_all(above, inner, deeper)?;
                }
                Json::Array(entries) => self.put_list(above, entries)?,
                plain => {
                    if let Some(attribute) = Attribute::of_json(plain) {
                        self.put(above, attribute)?;
                    }
                }
            }
            above.truncate(here);
        }
        Ok(())
    }

    fn put_list(&mut self, above: &mut String, entries: &[Json]) -> Result<(), Failure> {
        let here = above.len();
        for entry in entries.iter().filter_map(Attribute::of_json) {
            above.push('.');
            above.push_str(entry.text());
            self.put(above, Attribute::of("true"))?;
            above.truncate(here);
        }
        Ok(())
    }

    fn put(&mut self, name: &str, attribute: Attribute) -> Result<(), Failure> {
        if self.attributes.len() >= MOST {
            return Err(invalid(&format!(
                "a context has at most {MOST} attributes; tell only what flags ask for"
            )));
        }
        if name.len() <= LONGEST_NAME {
            self.attributes.push((name.to_owned(), attribute));
        }
        Ok(())
    }
}

fn invalid(what: &str) -> Failure {
    Failure::new(INVALID_CONTEXT, what)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(context: &Json, attributes: &[(&str, &str)]) {
        let body = json!({ "context": context }).to_string();
        let told = Told::read(body.as_bytes()).unwrap();
        let told: Vec<(String, String)> = told
            .attributes()
            .map(|(name, attribute)| (name.to_owned(), attribute.text().to_string()))
            .collect();
        let wanted: Vec<(String, String)> = attributes
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        assert_eq!(told, wanted, "{context}");
    }

    #[test]
    fn what_a_service_tells_has_names_as_rules_ask_for_them() {
        check(&json!({}), &[]);
        check(
            &json!({"targetingKey": "acme"}),
            &[("account", "acme"), ("targetingKey", "acme")],
        );
        check(
            &json!({"targetingKey": "user-1", "account": "acme"}),
            &[("targetingKey", "user-1"), ("account", "acme")],
        );
        check(
            &json!({"node": "web-1", "port": 80, "ratio": 0.5, "beta": true, "nothing": null}),
            &[
                ("node", "web-1"),
                ("port", "80"),
                ("ratio", "0.5"),
                ("beta", "true"),
            ],
        );
        check(
            &json!({"user": {"plan": "gold", "address": {"city": "Oslo"}}, "route": "/a"}),
            &[
                ("user.plan", "gold"),
                ("user.address.city", "Oslo"),
                ("route", "/a"),
            ],
        );
        check(
            &json!({"roles": ["admin", "ops", {"odd": 1}]}),
            &[("roles.admin", "true"), ("roles.ops", "true")],
        );
    }

    #[test]
    fn a_body_that_says_nothing_is_fine_and_one_that_cannot_be_read_is_not() {
        let deep = (0..DEEPEST).fold(json!(1), |inner, _| json!({ "a": inner }));
        let deep = json!({"context": deep}).to_string();
        let deeper = (0..=DEEPEST).fold(json!(1), |inner, _| json!({ "a": inner }));
        let deeper = json!({"context": deeper}).to_string();
        let many: Map<String, Json> = (0..=MOST).map(|n| (n.to_string(), json!(1))).collect();
        let many = json!({ "context": many }).to_string();
        for (body, verdict) in [
            ("{}", "fine"),
            (r#"{"context": null}"#, "fine"),
            (r#"{"context": {"targetingKey": ""}}"#, "fine"),
            (&deep, "fine"),
            ("", "400 PARSE_ERROR"),
            ("[]", "400 PARSE_ERROR"),
            (r#"{"context": {"a": 1, "a": 2}}"#, "400 PARSE_ERROR"),
            (r#"{"context": []}"#, "400 INVALID_CONTEXT"),
            (r#"{"context": {"targetingKey": 7}}"#, "400 INVALID_CONTEXT"),
            (&deeper, "400 INVALID_CONTEXT"),
            (&many, "400 INVALID_CONTEXT"),
        ] {
            let read = Told::read(body.as_bytes());
            let got = read.map_or_else(|failure| failure.verdict(), |_| "fine".to_owned());
            let short: String = body.chars().take(60).collect();
            assert_eq!(got, verdict, "{short}");
        }
    }
}

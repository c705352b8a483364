//! The flags that steer pools and their providers, as they exist from the start.

use std::sync::Arc;

use super::document::{FlagDocument, Kind};
use super::flag::Flag;
use super::lots::Bucketing;
use super::names::FlagKey;
use super::route::Force;
use super::value::ValueType;

impl Flag {
    /// The flag that says which of these providers of a pool gets a job, as it exists from the start.
    #[must_use]
    pub fn neutral_pool(pool: &str, providers: &[Arc<str>]) -> Self {
        let names = providers.iter().map(ToString::to_string);
        Self::steering(
            FlagKey::of_pool(pool),
            "auto",
            ["auto".to_owned()].into_iter().chain(names).collect(),
            "Which provider of the pool gets a job: auto (as the file orders or weighs them), a name, or shares such as mailgun=90,sendgrid=10.",
        )
    }

    /// The flag by which an operator forces a provider, as it exists from the start.
    #[must_use]
    pub fn neutral_force(provider: &str) -> Self {
        Self::steering(
            FlagKey::of_force(provider),
            Force::None.word(),
            Force::WORDS.map(str::to_owned).to_vec(),
            "rest: the provider gets nothing; pass: it gets jobs whatever its breaker says; none: the breaker decides.",
        )
    }

    fn steering(key: FlagKey, neutral: &str, choices: Vec<String>, description: &str) -> Self {
        let document = FlagDocument {
            key: key.to_string(),
            kind: Kind::Ops,
            value_type: ValueType::String,
            value: neutral.into(),
            enabled: true,
            min: None,
            max: None,
            choices,
            description: description.to_owned(),
            owner: String::new(),
            runbook: String::new(),
            rules: Vec::new(),
            by: None,
            seed: None,
            bucketing: Bucketing::default(),
            managed: None,
            revision: 0,
        };
        Self::of_words(key, &document)
    }
}

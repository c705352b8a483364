//! The evaluators of two other systems, in their own crates: LaunchDarkly's and Unleash's, each with flags that say the same.
//!
//! A flag has three rules that look at `plan`, `country` and `app`, and a share of accounts; its last rule may name accounts one
//! by one instead. Each evaluator is asked in the way that is fastest for it, with its context made beforehand.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use launchdarkly_server_sdk_evaluation as launchdarkly;
use serde_json::{Value as Json, json};
use unleash_yggdrasil as yggdrasil;

/// Who asks: an account that none of the three rules takes.
pub struct Asking {
    launchdarkly: launchdarkly::Context,
    yggdrasil: yggdrasil::Context,
}

impl Asking {
    /// An account as the evaluators know it.
    ///
    /// # Errors
    /// When a crate does not take it.
    pub fn of(account: &str) -> Result<Self> {
        let facts = [("plan", "gold"), ("country", "no"), ("app", "shop.web")];
        let mut builder = launchdarkly::ContextBuilder::new(account);
        for (name, value) in facts {
            builder.set_string(name, value);
        }
        let properties = facts.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Self {
            launchdarkly: builder.build().map_err(anyhow::Error::msg)?,
            yggdrasil: serde_json::from_value(json!({
                "userId": account,
                "properties": HashMap::from(properties),
            }))?,
        })
    }
}

/// LaunchDarkly's evaluator with its flags.
#[derive(Default)]
pub struct LaunchDarkly {
    flags: HashMap<String, launchdarkly::Flag>,
}

impl launchdarkly::Store for LaunchDarkly {
    fn flag(&self, key: &str) -> Option<launchdarkly::Flag> {
        self.flags.get(key).cloned()
    }

    fn segment(&self, _: &str) -> Option<launchdarkly::Segment> {
        None
    }
}

impl LaunchDarkly {
    /// Flags of these keys, and one more, `targeted`, that is for these accounts.
    ///
    /// # Errors
    /// When the crate does not take them.
    pub fn new(keys: &[String], targeted: &[String]) -> Result<Self> {
        let clause = |attribute: &str, op: &str, values: Json| {
            json!({"variation": 1, "trackEvents": false, "clauses": [
                {"attribute": attribute, "op": op, "values": values, "negate": false}]})
        };
        let flag = |key: &str, targets: &[String], share: u32| {
            json!({
                "key": key, "version": 1, "on": true, "salt": "salt", "prerequisites": [],
                "targets": [{"values": targets, "variation": 1}],
                "rules": [
                    clause("plan", "in", json!(["free", "trial", "demo"])),
                    clause("country", "in", json!(["se", "dk"])),
                    clause("app", "startsWith", json!(["bulk."])),
                ],
                "fallthrough": {"rollout": {"variations": [
                    {"variation": 1, "weight": share}, {"variation": 0, "weight": 100_000 - share}]}},
                "offVariation": 0, "variations": [false, true],
            })
        };
        let all = keys.iter().map(|key| flag(key, &[], 25_000));
        let targeted = (!targeted.is_empty()).then(|| flag("targeted", targeted, 0));
        let read = |flag: Json| {
            let flag: launchdarkly::Flag = serde_json::from_value(flag)?;
            Ok((flag.key.clone(), flag))
        };
        let flags = all.chain(targeted).map(read).collect::<Result<_>>()?;
        Ok(Self { flags })
    }

    /// Whether a flag is on for whoever asks.
    #[must_use]
    pub fn is_on(&self, key: &str, asking: &Asking) -> bool {
        self.flags.get(key).is_some_and(|flag| {
            let detail = launchdarkly::evaluate(self, flag, &asking.launchdarkly, None);
            detail.value.and_then(launchdarkly::FlagValue::as_bool) == Some(true)
        })
    }
}

/// Unleash's evaluator with its flags.
#[derive(Default)]
pub struct Yggdrasil {
    engine: yggdrasil::EngineState,
}

impl Yggdrasil {
    /// Flags of these keys, and one more, `targeted`, that is for these accounts.
    ///
    /// # Errors
    /// When the crate does not take them.
    pub fn new(keys: &[String], targeted: &[String]) -> Result<Self> {
        let own = Self::default();
        own.take(keys, targeted)?;
        Ok(own)
    }

    /// Puts a new state in the place of the old one.
    ///
    /// # Errors
    /// When the crate does not take it.
    pub fn take(&self, keys: &[String], targeted: &[String]) -> Result<()> {
        self.publish(Self::state(keys, targeted)?)
    }

    /// A state that was read, for [`Yggdrasil::publish`].
    ///
    /// # Errors
    /// When the crate does not take it.
    pub fn state(keys: &[String], targeted: &[String]) -> Result<yggdrasil::UpdateMessage> {
        let strategy = |share: u32, constraint: Option<Json>| {
            json!({"name": "flexibleRollout", "constraints": constraint.into_iter().collect::<Vec<_>>(),
                "parameters": {"rollout": share.to_string(), "stickiness": "userId", "groupId": "salt"}})
        };
        let when = |name: &str, op: &str, values: Json| {
            Some(json!({"contextName": name, "operator": op, "values": values}))
        };
        let rules = || {
            vec![
                strategy(100, when("plan", "IN", json!(["free", "trial", "demo"]))),
                strategy(100, when("country", "IN", json!(["se", "dk"]))),
                strategy(100, when("app", "STR_STARTS_WITH", json!(["bulk."]))),
            ]
        };
        let feature = |key: &str, last: Json| {
            let mut strategies = rules();
            strategies.push(last);
            json!({"name": key, "enabled": true, "strategies": strategies})
        };
        let all = keys.iter().map(|key| feature(key, strategy(25, None)));
        let targeted = (!targeted.is_empty()).then(|| {
            feature(
                "targeted",
                strategy(100, when("userId", "IN", json!(targeted))),
            )
        });
        let features: Vec<Json> = all.chain(targeted).collect();
        let state = json!({"version": 2, "features": features});
        Ok(yggdrasil::UpdateMessage::FullResponse(
            serde_json::from_value(state)?,
        ))
    }

    /// Compiles a state and swaps it in.
    ///
    /// # Errors
    /// When the crate does not take it.
    pub fn publish(&self, state: yggdrasil::UpdateMessage) -> Result<()> {
        let warnings = self.engine.take_state(state).unwrap_or_default();
        warnings
            .is_empty()
            .then_some(())
            .context("the state has faults")
    }

    /// Whether a flag is on for whoever asks.
    #[must_use]
    pub fn is_on(&self, key: &str, asking: &Asking) -> bool {
        self.engine.is_enabled(key, &asking.yggdrasil, &None)
    }
}

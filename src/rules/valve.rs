//! The valves: the flags that every queue obeys, declared once as data. Flags, gate, help and README are drawn from this list.

use serde_json::{Value as Json, json};

use super::relief::asking::SkipMode;
use super::value::{Value, ValueType};

/// One valve of a queue, in the order in which a message meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Valve {
    /// `pause`
    Pause,
    /// `max_age`
    MaxAge,
    /// `degrade`
    Degrade,
    /// `protect`
    Protect,
    /// `skip`
    Skip,
    /// `skip_mode`
    SkipMode,
    /// `rate`
    Rate,
    /// `rate_each`
    RateEach,
    /// `concurrency`
    Concurrency,
    /// `concurrency_each`
    ConcurrencyEach,
    /// `concurrency_mode`
    ConcurrencyMode,
    /// `timeout`
    Timeout,
}

/// What a valve is: its name, its type and its help.
#[derive(Debug)]
pub struct ValveFacts {
    /// The valve.
    pub valve: Valve,
    /// The last part of the flag's key.
    pub name: &'static str,
    /// The type of its value.
    pub value_type: ValueType,
    /// Whether a rule of the flag may choose who it is for.
    pub by_rules: bool,
    /// One sentence for people, with unit and range.
    pub help: &'static str,
}

/// What each valve is, in the order of the enum.
const FACTS: &[ValveFacts; Valve::ALL.len()] = &[
    ValveFacts {
        valve: Valve::Pause,
        name: "pause",
        value_type: ValueType::Boolean,
        by_rules: false,
        help: "Stops the queue: nothing more is dispatched, what is in hand and not dispatched is given back.",
    },
    ValveFacts {
        valve: Valve::MaxAge,
        name: "max_age",
        value_type: ValueType::Duration,
        by_rules: true,
        help: "Sheds messages older than this, also those already queued; none: any age.",
    },
    ValveFacts {
        valve: Valve::Degrade,
        name: "degrade",
        value_type: ValueType::String,
        by_rules: true,
        help: "none, reject (sheds the message), or one of the queue's modes, which the worker is told to do the light version by.",
    },
    ValveFacts {
        valve: Valve::Protect,
        name: "protect",
        value_type: ValueType::Boolean,
        by_rules: true,
        help: "Exempts messages from skip and from automatic shedding, not from max_age and degrade.",
    },
    ValveFacts {
        valve: Valve::Skip,
        name: "skip",
        value_type: ValueType::Ratio,
        by_rules: true,
        help: "Share of messages shed, from 0 to 1; the same messages for the same share.",
    },
    ValveFacts {
        valve: Valve::SkipMode,
        name: "skip_mode",
        value_type: ValueType::String,
        by_rules: false,
        help: "Who turns skip: manual; observe counts what auto would shed, and does nothing; auto sheds what would come too late, as much as it must.",
    },
    ValveFacts {
        valve: Valve::Rate,
        name: "rate",
        value_type: ValueType::Rate,
        by_rules: false,
        help: "Messages of the whole queue for each unit of time, with burst; 0/s: stop; none: no limit.",
    },
    ValveFacts {
        valve: Valve::RateEach,
        name: "rate_each",
        value_type: ValueType::Rate,
        by_rules: false,
        help: "Messages of each key (the queue's `key` names the attribute) for each unit of time; none: no limit.",
    },
    ValveFacts {
        valve: Valve::Concurrency,
        name: "concurrency",
        value_type: ValueType::Integer,
        by_rules: false,
        help: "Messages of the queue at the target at once, at most its `slots`; 0: stop; none: as many as slots.",
    },
    ValveFacts {
        valve: Valve::ConcurrencyEach,
        name: "concurrency_each",
        value_type: ValueType::Integer,
        by_rules: false,
        help: "Messages of each key at the target at once; 0: stop; none: no limit.",
    },
    ValveFacts {
        valve: Valve::ConcurrencyMode,
        name: "concurrency_mode",
        value_type: ValueType::String,
        by_rules: false,
        help: "Who turns concurrency: manual.",
    },
    ValveFacts {
        valve: Valve::Timeout,
        name: "timeout",
        value_type: ValueType::Duration,
        by_rules: true,
        help: "How long the target may take for one message, from 1ms to 25m.",
    },
];

impl Valve {
    /// All valves, in the order in which a message meets them.
    pub const ALL: [Valve; 12] = [
        Valve::Pause,
        Valve::MaxAge,
        Valve::Degrade,
        Valve::Protect,
        Valve::Skip,
        Valve::SkipMode,
        Valve::Rate,
        Valve::RateEach,
        Valve::Concurrency,
        Valve::ConcurrencyEach,
        Valve::ConcurrencyMode,
        Valve::Timeout,
    ];

    /// What the valve is.
    #[must_use]
    pub const fn facts(self) -> &'static ValveFacts {
        &FACTS[self as usize]
    }

    /// The last part of the flag's key.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The value at which the valve does nothing.
    #[must_use]
    pub fn neutral(self) -> Json {
        match self {
            Self::Pause | Self::Protect => json!(false),
            Self::Degrade => json!("none"),
            Self::Skip => json!(0.0),
            Self::SkipMode | Self::ConcurrencyMode => json!("manual"),
            Self::Timeout => json!("30s"),
            Self::MaxAge
            | Self::Rate
            | Self::RateEach
            | Self::Concurrency
            | Self::ConcurrencyEach => Json::Null,
        }
    }

    /// Whether the valve sheds or stops messages at this value, so that it must not stay there unseen.
    #[must_use]
    pub fn sheds_at(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Pause, Value::Boolean(paused)) => *paused,
            (Self::MaxAge, Value::Duration(_)) => true,
            (Self::Degrade, Value::Text(mode)) => mode.as_ref() != "none",
            (Self::Skip, Value::Ratio(share)) => share.get() > 0.0,
            (Self::SkipMode, Value::Text(mode)) => mode.as_ref() == SkipMode::Auto.word(),
            (Self::Rate | Self::RateEach, Value::Rate(rate)) => rate.is_stop(),
            (Self::Concurrency | Self::ConcurrencyEach, Value::Integer(count)) => *count == 0,
            _ => false,
        }
    }

    /// Whether it keeps a queue that gets more than its workers can do from failing all of it: its end may hurt.
    #[must_use]
    pub const fn relieves(self) -> bool {
        matches!(
            self,
            Self::MaxAge | Self::Skip | Self::SkipMode | Self::Rate | Self::RateEach
        )
    }

    /// The values a string valve may take; `modes` are the queue's own.
    #[must_use]
    pub fn choices(self, modes: &[String]) -> Vec<String> {
        match self {
            Self::Degrade => ["none", "reject"]
                .into_iter()
                .map(str::to_owned)
                .chain(modes.iter().cloned())
                .collect(),
            Self::SkipMode => SkipMode::ALL.map(|mode| mode.word().to_owned()).to_vec(),
            Self::ConcurrencyMode => vec!["manual".to_owned()],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_stand_in_the_order_of_the_valves() {
        for (number, valve) in Valve::ALL.into_iter().enumerate() {
            assert_eq!(valve as usize, number, "{}", valve.name());
            assert_eq!(valve.facts().valve, valve, "{}", valve.name());
        }
    }
}

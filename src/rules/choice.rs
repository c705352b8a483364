//! A flag, compiled: which value whoever asks gets, and why. The one function that answers for messages, services, preview and
//! explanation is [`Choice::choose`].

use std::sync::Arc;

use super::audience::Audiences;
use super::clause::{Clause, all_hold};
use super::context::{Attribute, Context, Slot};
use super::lots::Lots;
use super::opening::OpeningId;
use super::rule_name::{RuleName, RuleNames};

/// Why a flag gave the value that it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The value for everybody, of a flag without rules.
    Static,
    /// The value for everybody: no rule held.
    Default,
    /// The rule of this number (from 0) held.
    Rule(u16),
    /// The rule of this number held, and its split drew this lot.
    Split(u16),
    /// This opening lies over the flag, or its value is on its way by it.
    Opening(OpeningId),
    /// The flag is disabled: the value for everybody.
    Disabled,
}

/// A value, and why it is this one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen<'a, T> {
    /// The value.
    pub value: &'a T,
    /// Why.
    pub reason: Reason,
}

impl<T> Chosen<'_, T> {
    /// The opening that laid the value there.
    #[must_use]
    pub fn opening(&self) -> Option<OpeningId> {
        match self.reason {
            Reason::Opening(id) => Some(id),
            _ => None,
        }
    }
}

/// A compiled flag.
#[derive(Debug, Clone)]
pub struct Choice<T> {
    /// Newest first.
    pub(super) laid: Arc<[Laid<T>]>,
    pub(super) enabled: bool,
    pub(super) rules: Arc<[Rule<T>]>,
    /// As many as there are rules.
    pub(super) names: RuleNames,
    /// The value for everybody.
    pub(super) value: T,
    /// The opening by which that value is on its way.
    pub(super) way: Option<OpeningId>,
}

/// What an opening lays over a flag.
#[derive(Debug, Clone)]
pub(super) struct Laid<T> {
    pub(super) opening: OpeningId,
    /// For whom; empty: for everybody.
    pub(super) when: Box<[Clause]>,
    pub(super) value: T,
}

/// One rule.
#[derive(Debug, Clone)]
pub(super) struct Rule<T> {
    pub(super) when: Box<[Clause]>,
    pub(super) gives: Gives<T>,
}

/// What those get for whom a rule holds.
#[derive(Debug, Clone)]
pub(super) enum Gives<T> {
    /// One value for all of them.
    Value(T),
    /// Shares of them get values; the rest falls through.
    Split(Box<Split<T>>),
}

/// Values for shares of keys.
#[derive(Debug, Clone)]
pub(super) struct Split<T> {
    /// The attribute that draws.
    pub(super) by: Slot,
    pub(super) lots: Lots,
    /// Draws below each limit, which the one before did not take, get its value.
    pub(super) shares: Box<[(u64, T)]>,
}

impl<T> Split<T> {
    /// The draw of a key.
    pub(super) fn draw(&self, key: &Attribute) -> u64 {
        self.lots.draw(key)
    }

    pub(super) fn value_of(&self, draw: u64) -> Option<&T> {
        let mut shares = self.shares.iter();
        shares
            .find(|(limit, _)| draw < *limit)
            .map(|(_, value)| value)
    }
}

impl<T> Choice<T> {
    /// One value for everybody.
    #[must_use]
    pub fn always(value: T) -> Self {
        Self {
            laid: Arc::default(),
            enabled: true,
            rules: Arc::default(),
            names: RuleNames::default(),
            value,
            way: None,
        }
    }

    /// The value for whoever asks, and why.
    pub fn choose<C: Context + ?Sized>(&self, context: &C, audiences: &Audiences) -> Chosen<'_, T> {
        for laid in self.laid.iter() {
            if all_hold(&laid.when, context, audiences) {
                let reason = Reason::Opening(laid.opening);
                return Chosen {
                    value: &laid.value,
                    reason,
                };
            }
        }
        let reason = match (self.enabled, self.rules.is_empty()) {
            (false, _) => Reason::Disabled,
            (true, true) => Reason::Static,
            (true, false) => {
                if let Some(chosen) = self.by_rules(context, audiences) {
                    return chosen;
                }
                Reason::Default
            }
        };
        Chosen {
            value: &self.value,
            reason: self.way.map_or(reason, Reason::Opening),
        }
    }

    fn by_rules<C: Context + ?Sized>(
        &self,
        context: &C,
        audiences: &Audiences,
    ) -> Option<Chosen<'_, T>> {
        for (number, rule) in (0..).zip(self.rules.iter()) {
            if !all_hold(&rule.when, context, audiences) {
                continue;
            }
            match &rule.gives {
                Gives::Value(value) => {
                    return Some(Chosen {
                        value,
                        reason: Reason::Rule(number),
                    });
                }
                Gives::Split(split) => {
                    let key = context.attribute(split.by);
                    if let Some(value) = key.and_then(|key| split.value_of(split.draw(key))) {
                        return Some(Chosen {
                            value,
                            reason: Reason::Split(number),
                        });
                    }
                }
            }
        }
        None
    }

    /// What everybody gets for whom nothing else is said: the newest opening for everybody, else the value.
    #[must_use]
    pub fn for_everybody(&self) -> Chosen<'_, T> {
        let laid = self.laid.iter().find(|laid| laid.when.is_empty());
        match laid {
            Some(laid) => Chosen {
                value: &laid.value,
                reason: Reason::Opening(laid.opening),
            },
            None => Chosen {
                value: &self.value,
                reason: match self.way {
                    Some(opening) => Reason::Opening(opening),
                    None if self.enabled => Reason::Static,
                    None => Reason::Disabled,
                },
            },
        }
    }

    /// The name of the rule that a reason speaks of.
    #[must_use]
    pub fn rule(&self, reason: Reason) -> Option<RuleName> {
        match reason {
            Reason::Rule(number) | Reason::Split(number) => Some(self.names.get(number)),
            _ => None,
        }
    }

    /// The same choice among other values.
    pub fn map<U>(&self, convert: impl Fn(&T) -> U) -> Choice<U> {
        let gives = |gives: &Gives<T>| match gives {
            Gives::Value(value) => Gives::Value(convert(value)),
            Gives::Split(split) => Gives::Split(Box::new(Split {
                by: split.by,
                lots: split.lots.clone(),
                shares: split
                    .shares
                    .iter()
                    .map(|(limit, value)| (*limit, convert(value)))
                    .collect(),
            })),
        };
        Choice {
            laid: self
                .laid
                .iter()
                .map(|laid| Laid {
                    opening: laid.opening,
                    when: laid.when.clone(),
                    value: convert(&laid.value),
                })
                .collect(),
            enabled: self.enabled,
            rules: self
                .rules
                .iter()
                .map(|rule| Rule {
                    when: rule.when.clone(),
                    gives: gives(&rule.gives),
                })
                .collect(),
            names: self.names.clone(),
            value: convert(&self.value),
            way: self.way,
        }
    }

    /// All values that it may give.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        let laid = self.laid.iter().map(|laid| &laid.value);
        laid.chain([&self.value])
            .chain(self.rules.iter().flat_map(Self::of_rule))
    }

    fn of_rule(rule: &Rule<T>) -> Vec<&T> {
        match &rule.gives {
            Gives::Value(value) => vec![value],
            Gives::Split(split) => split.shares.iter().map(|(_, value)| value).collect(),
        }
    }

    /// The attributes that its splits draw by.
    pub fn draws_by(&self) -> impl Iterator<Item = Slot> {
        self.rules.iter().filter_map(|rule| match &rule.gives {
            Gives::Value(_) => None,
            Gives::Split(split) => Some(split.by),
        })
    }

    /// The names of its rules, in their order.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.names.iter()
    }

    /// Its openings, newest first, and whether each lies there for everybody.
    pub fn openings(&self) -> impl Iterator<Item = (OpeningId, bool)> {
        let laid = self.laid.iter();
        laid.map(|laid| (laid.opening, laid.when.is_empty()))
    }

    /// Whether it says different things to different people.
    #[must_use]
    pub fn is_by_rules(&self) -> bool {
        !self.rules.is_empty() || self.laid.iter().any(|laid| !laid.when.is_empty())
    }

    /// The numbers of the segments that it asks about.
    pub fn segments(&self) -> impl Iterator<Item = u16> {
        let of_openings = self.laid.iter().flat_map(|laid| laid.when.iter());
        let of_rules = self.rules.iter().flat_map(|rule| rule.when.iter());
        of_openings.chain(of_rules).filter_map(Clause::segment)
    }
}

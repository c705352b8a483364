//! What the automatic valve says of a message, with the numbers behind it, in words that people read.

use std::fmt;

use super::fresh::Limit;

/// Why a message may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It is fresh enough.
    Fresh,
    /// The valve `protect` exempts it.
    Protected,
    /// It has no deadline, or its age is not known.
    Ageless,
    /// Nothing else was begun for a while: one message finds out whether that is still right.
    Probe,
    /// More may not be shed: the operator set a ceiling, or a largest step.
    Ceiling,
}

/// Why a message is shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grounds {
    /// It is older than jobs may be when they start: older than `T × gamma`.
    TooOld,
    /// What is left of its time is less than its job needs.
    NoTime,
    /// The operator set a share that is always shed.
    Floor,
    /// Jobs of a higher priority take all that the workers can do.
    Outranked,
}

impl Grounds {
    /// One word, as in metrics and logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::NoTime => "no_time",
            Self::Floor => "floor",
            Self::Outranked => "outranked",
        }
    }
}

/// The word of what is shed because its account brings more than its fair share.
pub const FAIR_SHARE: &str = "fair_share";

/// What the valve says of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// It may go on.
    Pass(Pass),
    /// It is to be shed.
    Shed(Grounds, Numbers),
}

impl Decision {
    /// Whether it is to be shed.
    #[must_use]
    pub fn sheds(&self) -> bool {
        matches!(self, Self::Shed(..))
    }
}

/// The numbers behind a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbers {
    /// How old the message will be when its job begins, in seconds.
    pub age_s: f64,
    /// From its publishing until it is useless, in seconds.
    pub deadline_s: f64,
    /// What its job needs, in seconds.
    pub need_s: f64,
    /// The limit of its class.
    pub limit: Limit,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass(Pass::Fresh) => write!(f, "fresh enough"),
            Self::Pass(Pass::Protected) => write!(f, "protected"),
            Self::Pass(Pass::Ageless) => write!(f, "no deadline, or its age is not known"),
            Self::Pass(Pass::Probe) => write!(f, "a probe: nothing else was begun for a while"),
            Self::Pass(Pass::Ceiling) => write!(f, "no more may be shed: ceiling or largest step"),
            Self::Shed(grounds, numbers) => numbers.say(*grounds, f),
        }
    }
}

impl Numbers {
    fn say(&self, grounds: Grounds, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            age_s,
            deadline_s,
            need_s,
            limit,
        } = self;
        match grounds {
            Grounds::TooOld => write!(
                f,
                "too old to start: {age_s:.2} s, at most {:.2} s ({limit})",
                limit.oldest_s()
            ),
            Grounds::NoTime => write!(
                f,
                "no time left: {:.2} s of {deadline_s:.2} s, its job needs {need_s:.2} s ({limit})",
                deadline_s - age_s
            ),
            Grounds::Floor => write!(f, "in the share that is always shed"),
            Grounds::Outranked => write!(
                f,
                "jobs of a higher priority take all that the workers can do ({limit})"
            ),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "T {:.2} s, need {:.2} s, gamma {:.2}, offered {:.2}/s",
            self.age_s, self.need_s, self.gamma, self.offered
        )?;
        match self.capacity {
            Some(capacity) => write!(f, ", capacity {capacity:.2}/s"),
            None => write!(f, ", capacity not known yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_says_its_numbers() {
        let limit = Limit {
            age_s: 7.5,
            need_s: 0.7,
            gamma: 0.8,
            offered: 120.0,
            capacity: Some(40.0),
            ..Limit::of_deadline(10.0)
        };
        let numbers = Numbers {
            age_s: 8.2,
            deadline_s: 10.0,
            need_s: 2.0,
            limit,
        };
        let check = |decision: Decision, expected: &str| assert_eq!(decision.to_string(), expected);
        let said = "T 7.50 s, need 0.70 s, gamma 0.80, offered 120.00/s, capacity 40.00/s";
        check(
            Decision::Shed(Grounds::TooOld, numbers),
            &format!("too old to start: 8.20 s, at most 6.00 s ({said})"),
        );
        check(
            Decision::Shed(Grounds::NoTime, numbers),
            &format!("no time left: 1.80 s of 10.00 s, its job needs 2.00 s ({said})"),
        );
        check(Decision::Pass(Pass::Fresh), "fresh enough");
        assert!(
            Limit::of_deadline(10.0)
                .to_string()
                .ends_with("capacity not known yet")
        );
    }
}

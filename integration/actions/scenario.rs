//! A scenario as one line of text: what the program does, what clients do when, and how the run ends.
//!
//! `cross-first | call 17: rm d/b; ln m/a d/b | killed at 17`

use std::fmt;
use std::str::FromStr;

use super::kind::Kind;

/// When clients act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Before the run; the program knows the files as they were before.
    Before,
    /// While the program is held at the entry of this call.
    Call(usize),
    /// After the kill, before `resume`.
    AfterKill,
    /// While `resume` is held at the entry of this call.
    ResumeCall(usize),
    /// After the run, or after `resume`.
    After,
}

/// How the run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// By itself.
    GoesOn,
    /// Killed at the entry of this call, after the client; then `resume`.
    Killed(usize),
    /// The same, and `resume` is killed at the entry of its call; then `resume` once more.
    KilledTwice(usize, usize),
}

impl Ending {
    /// The name of the row in the table.
    pub(super) fn row(self) -> &'static str {
        match self {
            Self::GoesOn => "goes on",
            Self::Killed(_) => "killed",
            Self::KilledTwice(..) => "killed twice",
        }
    }
}

/// One scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scenario {
    pub(super) kind: Kind,
    pub(super) acts: Vec<(When, String)>,
    pub(super) ending: Ending,
}

impl Scenario {
    /// The call of the run at which the program is killed.
    pub(super) fn kill_call(&self) -> Option<usize> {
        match self.ending {
            Ending::GoesOn => None,
            Ending::Killed(n) | Ending::KilledTwice(n, _) => Some(n),
        }
    }

    /// The call of `resume` at which that is killed.
    pub(super) fn resume_kill_call(&self) -> Option<usize> {
        match self.ending {
            Ending::KilledTwice(_, m) => Some(m),
            Ending::GoesOn | Ending::Killed(_) => None,
        }
    }

    /// What clients do then.
    pub(super) fn acts_at(&self, when: When) -> impl Iterator<Item = &str> {
        let acts = self.acts.iter().filter(move |(at, _)| *at == when);
        acts.map(|(_, script)| script.as_str())
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before => write!(f, "before"),
            Self::Call(n) => write!(f, "call {n}"),
            Self::AfterKill => write!(f, "after kill"),
            Self::ResumeCall(n) => write!(f, "resume call {n}"),
            Self::After => write!(f, "after"),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GoesOn => write!(f, "goes on"),
            Self::Killed(n) => write!(f, "killed at {n}"),
            Self::KilledTwice(n, m) => write!(f, "killed at {n}, resume killed at {m}"),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | ", self.kind)?;
        for (when, script) in &self.acts {
            write!(f, "{when}: {script} | ")?;
        }
        write!(f, "{}", self.ending)
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |rest: &str| rest.parse().map_err(|e| format!("{text}: {e}"));
        match text {
            "before" => Ok(Self::Before),
            "after kill" => Ok(Self::AfterKill),
            "after" => Ok(Self::After),
            _ => match (text.strip_prefix("call "), text.strip_prefix("resume call ")) {
                (Some(n), _) => number(n).map(Self::Call),
                (_, Some(n)) => number(n).map(Self::ResumeCall),
                _ => Err(format!("no moment {text:?}")),
            },
        }
    }
}

impl FromStr for Ending {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "goes on" {
            return Ok(Self::GoesOn);
        }
        let number = |n: &str| n.parse().map_err(|e| format!("{text}: {e}"));
        let rest = text.strip_prefix("killed at ");
        let rest = rest.ok_or_else(|| format!("no ending {text:?}"))?;
        match rest.split_once(", resume killed at ") {
            Some((n, m)) => Ok(Self::KilledTwice(number(n)?, number(m)?)),
            None => number(rest).map(Self::Killed),
        }
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('|').map(str::trim).collect();
        let [kind, acts @ .., ending] = parts.as_slice() else {
            return Err(format!("no scenario: {text:?}"));
        };
        let act = |part: &&str| {
            let (when, script) =
                part.split_once(": ").ok_or_else(|| format!("no moment in {part:?}"))?;
            Ok((when.parse()?, script.to_owned()))
        };
        Ok(Self {
            kind: kind.parse()?,
            acts: acts.iter().map(act).collect::<Result<_, String>>()?,
            ending: ending.parse()?,
        })
    }
}

#[test]
fn a_scenario_is_read_as_it_is_printed() {
    for text in [
        "local | goes on",
        "cross-first | call 17: rm d/b; ln m/a d/b | killed at 17",
        "set | before: write d/b | after: chmod m/a | goes on",
        "undo-first | after kill: rm d/b | resume call 2: mv d dd | killed at 3, resume killed at 4",
    ] {
        let scenario: Scenario = text.parse().unwrap();
        assert_eq!(scenario.to_string(), text);
    }
    for text in ["local", "nothing | goes on", "local | call x: rm a | goes on", "local | dies"] {
        assert!(text.parse::<Scenario>().is_err(), "{text}");
    }
}

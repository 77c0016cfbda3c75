//! The states under which ops are counted and reported: one word per op, the same in text, JSON and the summary.

use crate::execute::{Halt, Outcome};
use crate::plan::refusal::Reason;

/// The state of an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileState {
    /// Planned in a dry run.
    Planned,
    /// Replaced.
    Done,
    /// Not done: another process uses a file.
    Busy,
    /// Not done for another reason.
    Failed,
    /// Not begun: the run was stopped.
    Left,
    /// Begun by an earlier run, finished by this run.
    Recovered,
    /// Begun by an earlier run, taken back by this run.
    Restored,
    /// Begun by an earlier run. Another program has changed a file since then, and both copies stay.
    Conflict,
    /// Begun by an earlier run, and neither finished nor taken back.
    Open,
}

impl FileState {
    /// The state under which an outcome is counted. Ops of earlier runs (`recovered`) are counted apart from ops
    /// planned now.
    #[must_use]
    pub fn of(outcome: &Outcome, recovered: bool) -> Self {
        match outcome {
            Outcome::Done { .. } if recovered => Self::Recovered,
            Outcome::NotDone(_) if recovered => Self::Restored,
            Outcome::Conflict(..) if recovered => Self::Conflict,
            Outcome::Open(_) if recovered => Self::Open,
            Outcome::Done { .. } => Self::Done,
            Outcome::Conflict(..) => Self::Failed,
            Outcome::NotDone(halt) | Outcome::Open(halt) => match halt.reason {
                Reason::Busy => Self::Busy,
                Reason::Interrupted | Reason::Limit if matches!(outcome, Outcome::NotDone(_)) => {
                    Self::Left
                }
                _ => Self::Failed,
            },
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Done => "done",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Left => "left",
            Self::Recovered => "recovered",
            Self::Restored => "restored",
            Self::Conflict => "conflict",
            Self::Open => "open",
        }
    }

    /// Whether the op ended as it should, so that no person has to act.
    #[must_use]
    pub fn is_well(self) -> bool {
        matches!(self, Self::Planned | Self::Done | Self::Recovered | Self::Restored)
    }
}

/// Why an op was not done.
pub(super) fn halt(outcome: &Outcome) -> Option<&Halt> {
    match outcome {
        Outcome::Done { .. } => None,
        Outcome::NotDone(halt) | Outcome::Open(halt) | Outcome::Conflict(halt, _) => Some(halt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_as_one_thing() {
        use FileState::{Busy, Conflict, Done, Failed, Left, Open, Recovered, Restored};
        let done = Outcome::Done { reclaimed: 1 };
        let not = |reason| Outcome::NotDone(Halt::new(reason, ""));
        let open = |reason| Outcome::Open(Halt::new(reason, ""));
        let conflict = Outcome::Conflict(Halt::new(Reason::Conflict, ""), Vec::new());
        for (outcome, now, earlier) in [
            (done, Done, Recovered),
            (not(Reason::Busy), Busy, Restored),
            (not(Reason::Interrupted), Left, Restored),
            (not(Reason::Limit), Left, Restored),
            (not(Reason::Differs), Failed, Restored),
            (not(Reason::NoLease), Failed, Restored),
            (open(Reason::Busy), Busy, Open),
            (open(Reason::Interrupted), Failed, Open),
            (open(Reason::Io), Failed, Open),
            (conflict, Failed, Conflict),
        ] {
            assert_eq!(FileState::of(&outcome, false), now, "{outcome:?}");
            assert_eq!(FileState::of(&outcome, true), earlier, "{outcome:?}");
        }
    }
}

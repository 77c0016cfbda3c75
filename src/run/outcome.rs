//! How a run ended.

use super::{CarriedOut, RunError, StatCache, Terms, Unfinished};
use crate::fs::Timestamp;
use crate::fs::real::Space;
use crate::plan::Plan;

/// How a run ended.
#[derive(Debug)]
pub enum Outcome<S> {
    /// It was stopped while it looked for duplicates; nothing was changed.
    Stopped,
    /// It ended with a plan; nothing was changed.
    Planned(Box<Planned<S>>),
    /// It carried its plan out.
    Ran(Ran<S>),
}

/// A plan that was not carried out.
#[derive(Debug)]
pub struct Planned<S> {
    /// The pool.
    pub site: S,
    /// The terms of the run.
    pub terms: Terms,
    /// The plan.
    pub plan: Plan,
    /// The directories of the plan, as far as they were looked up.
    pub looks: StatCache,
    /// When the run began to look for duplicates.
    pub began: Timestamp,
    /// The room on each branch, in branch order.
    pub space: Vec<Option<Space>>,
    /// Why carrying the plan out would not begin.
    pub obstacles: Vec<RunError>,
    /// Interrupted runs that would be finished or taken back first; their files are not planned.
    pub unfinished: Vec<Unfinished>,
}

/// A plan that was carried out.
#[derive(Debug)]
pub struct Ran<S> {
    /// The pool.
    pub site: S,
    /// How many ops of earlier runs had to stay open.
    pub still_open: usize,
    /// The work that the run did.
    pub carried_out: CarriedOut,
    /// Whether the user's command after the run failed.
    pub after_failed: bool,
}

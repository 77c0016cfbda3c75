//! Every point at which a run can be cut, with everything that can cut it: the executor, recovery and the journal over
//! a simulated pool, call by call.
//!
//! After each cut the pool must be complete *at once* (invariant 1), and recovery must end every op, leave no
//! name of ours, and be as cuttable itself (invariant 5).

mod actions;
mod at_once;
mod branches;
mod claims;
mod clients;
mod deaths;
mod directories;
mod errors;
mod held;
mod identity;
mod knowing;
mod matrix;
mod meddling;
mod power;
mod reflinking;
mod salvaging;
mod same_program;
mod scenario;
mod session;
mod shadows;
mod sharing;
mod swaps;
mod undoing;
mod unsynced;
mod writes;

//! What starts from the journal, or from what is left of it: undo, verify, salvage, and what ended ops left.

pub(crate) mod leftovers;
pub mod old_script;
pub mod salvage;
pub mod undo;
pub mod unsettled;
pub mod verify;

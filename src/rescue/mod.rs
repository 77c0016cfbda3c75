//! What starts from the journal, or from what is left of it: undo, verify, salvage, and what ended ops left.

pub(crate) mod leftovers;
pub mod old_script;
pub mod read_kept;
pub mod resume;
pub mod salvage;
pub mod salvage_run;
pub mod undo;
pub mod undo_run;
pub mod unsettled;
pub mod verify;

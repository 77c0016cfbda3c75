//! Everything that starts from the journal or from its remains: undo, verify, salvage, and the files that ended ops
//! left.

pub(crate) mod leftovers;
pub mod noted;
pub mod old_script;
pub mod read_kept;
pub mod resume;
pub mod salvage;
pub mod salvage_run;
pub mod undo;
pub mod undo_run;
pub mod unsettled;
pub mod verify;

//! The dry run as a shell script.
use super::Scene;
use crate::journal::DirIntent;
use crate::plan::Plan;
use std::io::{self, Write};
/// What a directory to be made will look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirLook {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
}
pub(super) fn write(
    _out: &mut dyn Write,
    _scene: &Scene<'_>,
    _plan: &Plan,
    _look: &dyn Fn(&DirIntent) -> Option<DirLook>,
) -> io::Result<()> {
    Ok(())
}

//! The dry run as a shell script.
use super::Scene;
use crate::fs::Place;
use crate::plan::Plan;
use std::io::{self, Write};
/// Writes it.
///
/// # Errors
/// When `out` fails.
pub fn write(
    _out: &mut dyn Write,
    _scene: &Scene<'_>,
    _plan: &Plan,
    _look: &mut dyn FnMut(&Place) -> Option<(u32, u32, u32)>,
) -> io::Result<()> {
    Ok(())
}

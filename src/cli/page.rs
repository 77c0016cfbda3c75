//! The report page of a run or a dry run.

use crate::fs::real::Space;
use crate::plan::Refusal;
use crate::report::html::{self, Chronicle, DiskFigures, Page};
use crate::report::{BranchUse, Scene, Tally};

/// The contents of the page.
pub(super) struct Figures<'p> {
    pub(super) scene: &'p Scene<'p>,
    /// When the run began, as a person reads it.
    pub(super) time: &'p str,
    pub(super) refusals: &'p [Refusal],
    pub(super) tally: &'p Tally,
    pub(super) chronicle: &'p Chronicle,
    /// The room on each branch, in branch order.
    pub(super) space: &'p [Option<Space>],
}

/// Returns the page as HTML.
pub(super) fn render(figures: &Figures<'_>) -> String {
    html::render(&Page {
        scene: figures.scene,
        time: figures.time,
        refusals: figures.refusals,
        tally: figures.tally,
        chronicle: figures.chronicle,
        disks: &disks(figures),
    })
}

fn disks(figures: &Figures<'_>) -> Vec<DiskFigures> {
    let branches = figures.tally.per_branch(figures.scene.pool);
    let disk = |(branch, space): (BranchUse, &Option<Space>)| {
        let before_free = branch.before_free.unwrap_or(0);
        let reclaimed = if figures.scene.dry_run { branch.reclaimable } else { branch.reclaimed };
        DiskFigures {
            path: branch.path,
            // As df counts: without the blocks that are reserved for root.
            size: space.map_or(before_free, |space| space.used_bytes() + space.available_bytes()),
            before_free,
            after_free: branch.after_free.unwrap_or(before_free + reclaimed),
            reclaimed,
        }
    };
    branches.into_iter().zip(figures.space).map(disk).collect()
}

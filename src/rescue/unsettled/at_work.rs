//! The hidden files of ops that are open: where the files are while `resume` has not finished them or put them back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Branches, beside};
use crate::fs::Place;
use crate::journal::{OpenOp, RunStarted};
use crate::plan::OpId;
use crate::plan::hidden_name::{Role, hidden_name};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// Returns the hidden files of each of `ops` of the journal `id` that are there now, as far as branches are mounted.
pub(crate) fn hidden_files(
    id: u32,
    ops: &[OpenOp],
    branches: &Branches,
) -> BTreeMap<OpId, Vec<PathBuf>> {
    let of = |op: &OpenOp| (op.intent.op, of_op(id, op, branches));
    ops.iter().map(of).filter(|(_, files)| !files.is_empty()).collect()
}

fn of_op(id: u32, op: &OpenOp, branches: &Branches) -> Vec<PathBuf> {
    let at = |branch: BranchIdx, path: &RelPath| place(&op.run, branches, branch, path);
    let mut places: Vec<Place> = Vec::new();
    if let Some(made) = &op.undo {
        places.extend(at(op.intent.master.branch, &made.copy));
    }
    for (k, name) in op.intent.names.iter().enumerate() {
        for branch in [name.from, name.to] {
            let Some(own) = at(branch, &name.path) else { continue };
            let hidden = [Role::Temp, Role::Retired, Role::Withdrawn]
                .map(|role| hidden_name(id, op.intent.op, k, role));
            places.extend(hidden.iter().filter_map(|name| beside(&own, name.as_encoded_bytes())));
        }
    }
    places.sort();
    places.dedup();
    places.retain(|at| matches!(branches.file(at), Ok(Some(_))));
    places.iter().map(|at| branches.path_of(at)).collect()
}

fn place(
    run: &RunStarted,
    branches: &Branches,
    branch: BranchIdx,
    path: &RelPath,
) -> Option<Place> {
    branches.place(run.branches.get(branch.index())?, path)
}

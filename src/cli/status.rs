//! `status`: what is open, what ended in a conflict, what the last run did, and names of ours that none of it explains.
//! Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::args::{Common, OutputFormat};
use super::failure::Failure;
use super::session::{self, DiskJournal};
use crate::fs::real::RealFs;
use crate::journal::{self, BranchRecord};
use crate::leftovers;
use crate::names::parse_hidden_name;
use crate::pool::{Branch, BranchIdx};
use crate::report::status::{self, Leftovers};

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let dir = session::journal_dir(common)?;
    let mut out = session::stdout();
    let json = common.format == OutputFormat::Json;
    let written = match journal::open_existing(&dir, None)? {
        None if json => status::json(&mut out, &[], None, &[], &Leftovers::default()),
        None => writeln!(out, "no journal at {dir:?}: nothing was ever begun"),
        Some(journal) => {
            let open = journal.open_ops();
            let show = if json { status::json } else { status::text };
            let (last, conflicts) = (journal.runs().last(), journal.conflicts());
            show(&mut out, &open, last, conflicts, &unexplained(&journal))
        }
    };
    written
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(0)
}

/// Names of ours in the uppermost directories of the branches that runs used, without those the journal knows of.
fn unexplained(journal: &DiskJournal) -> Leftovers {
    let mut branches: BTreeMap<&Path, &BranchRecord> = BTreeMap::new();
    let pools: BTreeMap<&Path, _> = journal
        .runs()
        .map(|run| (run.started.pool.as_path(), run))
        .collect();
    for run in pools.values() {
        branches.extend(run.started.branches.iter().map(|b| (b.path.as_path(), b)));
    }
    let known = known(journal);
    let mut found = Leftovers::default();
    for branch in branches.into_values() {
        let branch = Branch {
            path: branch.path.clone(),
            mode: branch.mode,
        };
        let Ok(fs) = RealFs::open(std::slice::from_ref(&branch)) else {
            found.not_looked_at.push(branch.path);
            continue;
        };
        let looked = leftovers::look(&fs, BranchIdx(0), true);
        found.partly |= looked.more || looked.unreadable > 0;
        let paths = looked.names.iter();
        let paths = paths.map(|at| branch.path.join(at.path.as_path()));
        found
            .names
            .extend(paths.filter(|path| !known.explain(journal, path)));
    }
    found.names.sort();
    found
}

/// What the journal knows of.
struct Known {
    open: BTreeSet<journal::OpId>,
    left: BTreeSet<PathBuf>,
}

fn known(journal: &DiskJournal) -> Known {
    let open = journal.open_ops();
    let left = journal.conflicts().iter().flat_map(|conflict| {
        let branches = &conflict.run.branches;
        let path = |(branch, path): &(BranchIdx, crate::relpath::RelPath)| {
            let root = branches.get(branch.index())?;
            Some(root.path.join(path.as_path()))
        };
        conflict.left.iter().filter_map(path)
    });
    Known {
        open: open.iter().map(|op| op.intent.op).collect(),
        left: left.collect(),
    }
}

impl Known {
    fn explain(&self, journal: &DiskJournal, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        let name = parse_hidden_name(name.as_encoded_bytes());
        let open = |name: crate::names::HiddenName| {
            name.journal == journal.id() && self.open.contains(&name.op)
        };
        name.is_some_and(open) || self.left.contains(path)
    }
}

//! `resume --discard` removes hidden files that ended runs left. It removes no other file, and only with `-e`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::args::{Common, OutputFormat};
use super::failure::Failure;
use super::places;
use super::status::branches;
use super::stdout::stdout;
use crate::fs::{Change, Look, Place};
use crate::journal;
use crate::plan::hidden_name::is_hidden_name;
use crate::pool::lock::PoolLock;
use crate::report::discard::{self as report, DiscardState, Discarded};
use crate::report::{number, sanitised, size};
use crate::rescue::unsettled::{Branches, Discard, NotRemoved, Refused, places_of};
use crate::run::DiskJournal;
use crate::run::real_path::real_name;

pub(super) fn run(common: &Common, named: &[PathBuf], execute: bool) -> Result<u8, Failure> {
    let dir = places::journal_dir(common)?;
    let mut out = stdout();
    let Some(journal) = journal::open_existing(&dir, None)? else {
        return match named {
            [] => nothing(&mut out, common, "no journal: no run has left anything"),
            _ => Err(Failure::usage(format!("no journal is at {}", dir.display()))
                .hint("name the journal of the run that left the file with --journal")),
        };
    };
    let open = journal.open_ops().len();
    if open > 0 {
        let message = format!(
            "{} of an interrupted run {} open: nothing was removed",
            number(open, "replacement"),
            if open == 1 { "is" } else { "are" }
        );
        return Err(Failure::recovery(message)
            .hint("run `mergerfs.xdedup resume` first: it may still need the hidden files"));
    }
    let branches = branches(&journal)?;
    let _lock = if execute {
        Some(PoolLock::acquire(branches.indices().map(|at| branches.root(at)))?)
    } else {
        None
    };
    let places = match named {
        [] => left(&journal, &branches),
        _ => places(&journal, &branches, named)?,
    };
    let files = look(&journal, &branches, &places, !named.is_empty())?;
    if files.is_empty() {
        return nothing(&mut out, common, "no hidden file of a conflict was found");
    }
    let discarding = Discarding { common, branches: &branches, files: &files };
    if execute { discarding.execute(&mut out) } else { discarding.dry_run(&mut out) }
}

fn nothing(out: &mut dyn Write, common: &Common, what: &str) -> Result<u8, Failure> {
    if !common.quiet && common.format != OutputFormat::Json {
        writeln!(out, "{what}").and_then(|()| out.flush()).map_err(Failure::output)?;
    }
    Ok(0)
}

/// The hidden places of every conflict. Places on disks that are not mounted are reported, and stay.
fn left(journal: &DiskJournal, branches: &Branches) -> Vec<Place> {
    let mut places = BTreeSet::new();
    for conflict in journal.conflicts() {
        for (branch, path) in &conflict.left {
            if !is_hidden_name(path.file_name().as_encoded_bytes()) {
                continue;
            }
            let Some(record) = conflict.run.branches.get(branch.index()) else {
                continue;
            };
            match branches.place(record, path) {
                Some(at) => drop(places.insert(at)),
                None => {
                    let path = record.path.join(path.as_path());
                    let path = sanitised(path.as_os_str().as_encoded_bytes());
                    tracing::warn!(%path, "not looked at: its disk is not mounted");
                }
            }
        }
    }
    places.into_iter().collect()
}

/// The places that the user named.
fn places(
    journal: &DiskJournal,
    branches: &Branches,
    named: &[PathBuf],
) -> Result<Vec<Place>, Failure> {
    let mut places = BTreeSet::new();
    for path in named {
        // Links in the parent path are followed, but the name itself is not.
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let real = real_name(path);
        let mut found = places_of(journal, branches, &real);
        if found.is_empty() {
            found = places_of(journal, branches, &absolute);
        }
        let there = found.iter().filter(|at| !matches!(branches.fs.stat(at), Ok(None)));
        let there: Vec<Place> = there.cloned().collect();
        match (there.is_empty(), found.is_empty()) {
            (false, _) => places.extend(there),
            (true, false) => return Err(not_one(path, Refused::Gone.why())),
            (true, true) => {
                return Err(not_one(
                    path,
                    "it is not on a mounted branch of a pool that this journal has a run on",
                ));
            }
        }
    }
    Ok(places.into_iter().collect())
}

fn not_one(path: &Path, why: &str) -> Failure {
    let path = sanitised(path.as_os_str().as_encoded_bytes());
    Failure::usage(format!("cannot discard {path}: {why}"))
        .hint("nothing was removed; `mergerfs.xdedup status` lists the hidden files")
}

/// Examines each place. A place that the user named and that may not be removed is an error. Of a conflict's places,
/// only the places that a person has already settled are left out.
fn look(
    journal: &DiskJournal,
    branches: &Branches,
    places: &[Place],
    named: bool,
) -> Result<Vec<Discard>, Failure> {
    let mut files = Vec::new();
    for (at, looked) in places.iter().zip(Discard::look(journal, branches, places)?) {
        match looked? {
            Ok(file) => files.push(file),
            Err(refused) if named => return Err(not_one(&branches.path_of(at), refused.why())),
            Err(_) => {}
        }
    }
    Ok(files)
}

struct Discarding<'d> {
    common: &'d Common,
    branches: &'d Branches,
    files: &'d [Discard],
}

impl Discarding<'_> {
    fn dry_run(&self, out: &mut dyn Write) -> Result<u8, Failure> {
        for file in self.files {
            self.tell(out, file, DiscardState::Planned)?;
        }
        let sum = format!(
            "would remove {}. Nothing was changed. Run again with -e to apply.",
            self.sum(self.files)
        );
        self.conclude(out, &sum)?;
        Ok(0)
    }

    fn execute(&self, out: &mut dyn Write) -> Result<u8, Failure> {
        let (mut removed, mut dirs) = (Vec::new(), BTreeSet::new());
        let mut code = 0;
        for file in self.files {
            warn_of_last_copy(file);
            let state = match file.remove(self.branches) {
                Ok(()) => DiscardState::Removed,
                Err(NotRemoved::Busy) => DiscardState::Busy,
                Err(NotRemoved::Changed) => DiscardState::Changed,
                Err(NotRemoved::Failed(error)) => {
                    DiscardState::Failed(format!("{error}: {}", error.source))
                }
            };
            if state == DiscardState::Removed {
                dirs.insert(file.at.dir());
                removed.push(file.clone());
            } else {
                code = 1;
            }
            self.tell(out, file, state)?;
        }
        for dir in dirs {
            if let Err(error) = self.branches.fs.sync_dir(&dir) {
                tracing::error!(%error, why = %error.source, "after a power cut a removed name may be back");
                code = 1;
            }
        }
        let sum = format!("removed {}", self.sum(&removed));
        self.conclude(out, &sum)?;
        Ok(code)
    }

    fn sum(&self, files: &[Discard]) -> String {
        let frees: u64 = files.iter().map(|file| file.frees).sum();
        let count = number(files.len(), "hidden file");
        format!("{count}, {} freed", size(frees))
    }

    fn tell(
        &self,
        out: &mut dyn Write,
        file: &Discard,
        state: DiscardState,
    ) -> Result<(), Failure> {
        let well = matches!(state, DiscardState::Planned | DiscardState::Removed);
        let told = Discarded {
            file: &file.file,
            op: file.op,
            pool_path: file.pool_path.as_deref(),
            frees: file.frees,
            last_copy: file.last_copy,
            state,
        };
        let written = match self.common.format {
            OutputFormat::Json => report::json(out, &told),
            OutputFormat::Text | OutputFormat::Script if self.common.quiet && well => Ok(()),
            OutputFormat::Text | OutputFormat::Script => report::text(out, &told),
        };
        written.map_err(Failure::output)
    }

    fn conclude(&self, out: &mut dyn Write, sum: &str) -> Result<(), Failure> {
        let written = match self.common.format {
            OutputFormat::Text if !self.common.quiet => writeln!(out, "{sum}"),
            _ => Ok(()),
        };
        written.and_then(|()| out.flush()).map_err(Failure::output)
    }
}

fn warn_of_last_copy(file: &Discard) {
    if file.last_copy {
        let path = &file.file.path;
        tracing::warn!(?path, "this is the last copy: no file you can see has these bytes");
    }
}

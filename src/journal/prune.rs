//! Forgetting old runs. The database's file never becomes shorter by itself: a new journal is built beside the old
//! one and put in its place.
//!
//! Kept are the runs that are young enough, every run with something open or left in a conflict, and the newest,
//! whose number must not be given again. The journal's id stays: hidden names of open ops have it.

use std::collections::BTreeSet;
use std::path::Path;

use super::codec;
use super::durable::MarkFile;
use super::mark::Mark;
use super::rebuilding::Rebuilding;
use super::sled_store::Database;
use super::{Journal, JournalError, RunSummary, SledStore, csv, open_existing};

/// Records written to the new database at a time.
const BATCH: usize = 2_000;

/// The result of pruning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Runs the journal no longer has.
    pub forgotten: usize,
    /// Runs the journal still has.
    pub kept: usize,
    /// Bytes of the database before.
    pub bytes_before: u64,
    /// Bytes of the database after.
    pub bytes_after: u64,
}

/// Forgets the runs of the journal in `dir` that began before `oldest` (seconds since the epoch), as far as they may
/// be forgotten. `None` where there is no journal.
///
/// # Errors
/// As [`open_existing`]; when the new journal cannot be built, in which case the old one stays as it is.
pub fn prune(dir: &Path, oldest: i64) -> Result<Option<Pruned>, JournalError> {
    let Some(old) = open_existing(dir, None)? else {
        return Ok(None);
    };
    let keep = kept(&old, oldest);
    let all = old.runs().count();
    let new = Rebuilding::begin(old.place())?;
    let before = new.database_bytes(old.place())?;
    if keep.len() == all {
        new.discard()?;
        return Ok(Some(Pruned {
            forgotten: 0,
            kept: all,
            bytes_before: before,
            bytes_after: before,
        }));
    }
    let mark = fill(&old, &new, &keep)?;
    MarkFile::create(&new.mark(), old.id())?;
    // Twice, so that both slots hold the mark: a mark of no records would vouch for a lost database.
    let mut file = MarkFile::open(&new.mark())?;
    file.write(&mark)?;
    file.write(&mark)?;
    new.copy_log(|log| csv::of_runs(log, &keep))?;
    let open = old.open_ops();
    let conflicts = old.conflicts().to_vec();
    let new = new.finish(|rebuilt| {
        // Before it takes the place of the old one: nothing that must be known may be missing.
        rebuilt.open_ops() == open && rebuilt.conflicts() == conflicts
    })?;
    let after = new.database_bytes(new.place())?;
    new.take_place(old)?;
    Ok(Some(Pruned {
        forgotten: all - keep.len(),
        kept: keep.len(),
        bytes_before: before,
        bytes_after: after,
    }))
}

/// Returns the runs that [`prune`] would forget, and how many it would keep. `None` where there is no journal.
///
/// # Errors
/// As [`open_existing`].
pub fn prunable(dir: &Path, oldest: i64) -> Result<Option<(Vec<u64>, usize)>, JournalError> {
    let Some(journal) = open_existing(dir, None)? else {
        return Ok(None);
    };
    let keep = kept(&journal, oldest);
    let runs = journal.runs().map(|run| run.started.run);
    Ok(Some((runs.filter(|run| !keep.contains(run)).collect(), keep.len())))
}

/// The runs that stay known.
fn kept(journal: &Journal<SledStore>, oldest: i64) -> BTreeSet<u64> {
    let told: BTreeSet<u64> = journal.conflicts().iter().map(|c| c.op.run).collect();
    let newest = journal.runs().last().map(|run| run.started.run);
    let stays = |run: &&RunSummary| {
        let number = run.started.run;
        run.started.time.secs >= oldest
            || run.open > 0
            || told.contains(&number)
            || Some(number) == newest
    };
    journal.runs().filter(stays).map(|run| run.started.run).collect()
}

/// Writes the records of the runs kept to the new database, with sequence numbers and a chain of their own; returns
/// the mark that belongs to these records.
fn fill(
    old: &Journal<SledStore>,
    new: &Rebuilding,
    keep: &BTreeSet<u64>,
) -> Result<Mark, JournalError> {
    Database::create(&new.database())?;
    let database = Database::open_existing(&new.database())?;
    let mut tip = Mark::genesis(old.id());
    let (mut pairs, mut records) = (Vec::new(), 0);
    old.replay::<JournalError>(None, |entry| {
        let run = entry.record.run();
        if !keep.contains(&run) {
            return Ok(());
        }
        if entry.record.begins_run() {
            tip.run = run;
        }
        tip.seq += 1;
        let encoded = codec::encode(tip.seq, entry.time, &entry.record, tip.chain);
        let (bytes, chain) =
            encoded.map_err(|error| JournalError::Unexpected(error.to_string()))?;
        tip.chain = chain;
        pairs.extend(codec::split(tip.run, tip.seq, &bytes));
        records += 1;
        if records % BATCH == 0 {
            database.commit(&std::mem::take(&mut pairs))?;
        }
        Ok(())
    })?;
    database.commit(&pairs)?;
    Ok(tip)
}

//! Checks that the kept copies still are as the journal recorded them. Only one copy of each is left, so damage to it
//! must be noticed. Reads only.

use std::collections::BTreeMap;

use crate::fs::reading::{AHEAD, ahead, hash_of};
use crate::fs::real::{RealFile, RealFs};
use crate::fs::{FsError, InodeId, Look, Place, Stat, Timestamp};
use crate::journal::{
    BranchRecord, Finished, Journal, RecordedFile, RunStarted, RunSummary, SharedFiles,
    SharedRecord, Store,
};
use crate::pool::BranchIdx;
use crate::pool::relpath::RelPath;

/// A kept file, with its recorded facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Names it had.
    pub names: Vec<RelPath>,
    /// The branch the file is on; `None` if that branch is missing.
    pub branch: Option<BranchIdx>,
    /// Its inode number.
    pub ino: u64,
    /// Its birth.
    pub btime: Option<Timestamp>,
    /// Its size.
    pub size: u64,
    /// Its mtime.
    pub mtime: Timestamp,
    /// Its contents.
    pub blake3: [u8; 32],
}

/// The result for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The recorded bytes.
    Sound,
    /// Other bytes, though size and mtime are those recorded: no program wrote them.
    Damaged,
    /// A program wrote to the file since.
    Changed,
    /// No recorded name leads to it any more.
    Gone,
    /// It cannot be read.
    Unreadable(String),
}

/// Returns the newest run that is no undo and of which a file is kept: an undo made separate copies of what it took back.
#[must_use]
pub fn newest_kept<S: Store>(journal: &Journal<S>) -> Option<&RunSummary> {
    journal.runs().rfind(|run| run.links() && run.done + run.shared > run.undone)
}

/// Returns the kept files, each once, in the order of branches and inodes, which is near the order on disk.
#[must_use]
pub fn subjects(branches: &[BranchRecord], finished: &Finished) -> Vec<Subject> {
    let mut found = Found { branches, subjects: BTreeMap::new() };
    for done in &finished.ops {
        let (run, intent) = (&done.run, &done.intent);
        let names = intent.names.iter().filter(|n| n.to == intent.master.branch);
        found.add(run, &intent.master, intent.blake3, names.map(|name| &name.path));
        // Both share the blocks that are left.
        if let Some(kept) = &done.cloned {
            found.add(run, kept, intent.blake3, std::iter::empty());
        }
    }
    for SharedFiles { run, record, blake3 } in &finished.shared {
        let Some(blake3) = *blake3 else { continue };
        let SharedRecord { master, duplicate, names, .. } = record;
        found.add(run, master, blake3, std::iter::empty());
        let names = names.iter().filter(|(branch, _)| *branch == duplicate.branch);
        found.add(run, duplicate, blake3, names.map(|(_, path)| path));
    }
    found.subjects.into_values().collect()
}

/// The files found so far, by branch, inode and contents.
struct Found<'b> {
    branches: &'b [BranchRecord],
    subjects: BTreeMap<(Option<BranchIdx>, u64, [u8; 32]), Subject>,
}

impl Found<'_> {
    fn add<'n>(
        &mut self,
        run: &RunStarted,
        file: &RecordedFile,
        blake3: [u8; 32],
        names: impl Iterator<Item = &'n RelPath>,
    ) {
        let record = &run.branches[file.branch.index()];
        let at = self.branches.iter().position(|now| now.is_same(record));
        let branch = at.and_then(|at| u16::try_from(at).ok()).map(BranchIdx);
        let key = (branch, file.id.ino, blake3);
        let subject = self.subjects.entry(key).or_insert_with(|| Subject {
            names: vec![file.path.clone()],
            branch,
            ino: file.id.ino,
            btime: file.id.btime,
            size: file.size,
            mtime: file.mtime,
            blake3,
        });
        for name in names {
            if !subject.names.contains(name) {
                subject.names.push(name.clone());
            }
        }
    }
}

/// A kept file that is to be read.
#[derive(Debug)]
pub struct Unread<'s> {
    file: RealFile,
    subject: &'s Subject,
}

/// Opens a file to read it from the disk; returns the verdict instead if there is nothing to read.
///
/// # Errors
/// The verdict.
pub fn unread<'s>(fs: &RealFs, subject: &'s Subject) -> Result<Unread<'s>, Verdict> {
    let opened = || -> Result<Result<Unread<'s>, Verdict>, FsError> {
        let Some((file, before)) = open(fs, subject)? else {
            return Ok(Err(Verdict::Gone));
        };
        if !subject.is_as_recorded(&before) {
            return Ok(Err(Verdict::Changed));
        }
        // Bytes cached in memory say nothing about the disk.
        fs.forget_cached(&file)?;
        Ok(Ok(Unread { file, subject }))
    };
    opened().unwrap_or_else(|error| Err(unreadable(&error)))
}

/// Returns where on its disk the contents of a file begin; `None` if that is not known.
#[must_use]
pub fn place_on_disk(fs: &RealFs, subject: &Subject) -> Option<u64> {
    fs.first_extent(&open(fs, subject).ok()??.0)
}

impl Unread<'_> {
    /// Reads the file and compares it with its record. Announces the beginning of the file `next` once all of this file
    /// is announced. Calls `read` for every part; if `read` returns `false`, stops and returns `None`.
    pub fn check(
        &self,
        fs: &RealFs,
        next: Option<&Self>,
        read: &mut dyn FnMut(u64) -> bool,
    ) -> Option<Verdict> {
        let (file, size) = (&self.file, self.subject.size);
        let part = |buf: &mut [u8], offset: u64| {
            if let Some((from, len)) = ahead(offset).filter(|(from, _)| *from < size) {
                fs.expect(file, from, len);
                if from + len >= size
                    && let Some(next) = next
                {
                    fs.expect(&next.file, 0, next.subject.size.min(AHEAD));
                }
            }
            fs.read_at(file, buf, offset)
        };
        let mut stopped = false;
        let hash = hash_of(size, &mut Vec::new(), part, &mut |bytes| {
            stopped = !read(bytes);
            !stopped
        });
        let (hash, after) = match hash.and_then(|hash| Ok((hash, fs.stat_open(file)?))) {
            Ok(found) => found,
            Err(error) => return Some(unreadable(&error)),
        };
        if stopped {
            return None;
        }
        Some(if !self.subject.is_as_recorded(&after) {
            Verdict::Changed
        } else if hash == Some(self.subject.blake3) {
            Verdict::Sound
        } else {
            Verdict::Damaged
        })
    }
}

impl Subject {
    fn is_as_recorded(&self, stat: &Stat) -> bool {
        stat.size == self.size && stat.mtime == self.mtime
    }
}

fn unreadable(error: &FsError) -> Verdict {
    Verdict::Unreadable(format!("{error}: {}", error.source))
}

/// Opens the file by any of its names that still leads to it.
fn open(fs: &RealFs, subject: &Subject) -> Result<Option<(RealFile, Stat)>, FsError> {
    let Some(branch) = subject.branch else {
        return Ok(None);
    };
    let id = InodeId { dev: fs.root_id(branch).dev, ino: subject.ino };
    let mut failed = None;
    for name in &subject.names {
        let place = Place::new(branch, name.clone());
        match fs.stat(&place) {
            Ok(Some(stat)) if stat.id == id => {}
            Ok(_) => continue,
            // A symlink is on the way, say: another name may lead to the file.
            Err(error) => {
                failed.get_or_insert(error);
                continue;
            }
        }
        let file = fs.open(&place)?;
        let stat = fs.stat_open(&file)?;
        let born = subject.btime.is_none_or(|born| stat.btime == Some(born));
        if stat.id == id && born {
            return Ok(Some((file, stat)));
        }
    }
    failed.map_or(Ok(None), Err)
}

//! A journal store in memory for crash tests: the store can fail or die at every step, and shows what a killed
//! process or a power cut would leave.
//!
//! Each of the three writes is two steps: the write, which a later reader sees, and the sync, which a power cut
//! does not undo. A power cut between them may leave the write, a part of it, or nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use super::JournalError;
use super::csv;
use super::mark::{self, Mark};
use super::store::{Pair, PairVisitor, Store};

/// The steps a store goes through, in this order for each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Lines are written to the CSV log.
    CsvWrite,
    /// The written data is synced.
    CsvSync,
    /// Records are written.
    CommitWrite,
    /// The written data is synced.
    CommitSync,
    /// The mark is written.
    MarkWrite,
    /// The mark is synced.
    MarkSync,
}

/// A fault at a step; the step itself then has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call returns `EIO`.
    Fail,
    /// The process is dead: neither this call nor any later one has an effect (they return `EIO` too).
    Die,
}

/// The part of an unsynced write that a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Nothing of the write.
    Nothing,
    /// All of the write.
    Everything,
    /// The first half of the bytes of a line or a mark; records are written whole or not at all.
    Torn,
}

/// A handle of the store; clones share it, so a test keeps one beside the journal's.
#[derive(Clone)]
pub struct MemStore {
    disk: Rc<RefCell<MemDisk>>,
}

type Gate = Box<dyn FnMut(Step) -> Option<Fault>>;

struct MemDisk {
    files: Files,
    gate: Option<Gate>,
    dead: bool,
    steps: u64,
    fault: Option<(u64, Fault)>,
}

/// The data a reader sees, and how much of the data a power cut would undo.
#[derive(Debug, Clone)]
struct Files {
    id: u32,
    csv: Vec<u8>,
    csv_synced: usize,
    log: BTreeMap<Vec<u8>, Vec<u8>>,
    log_unsynced: Vec<Vec<u8>>,
    mark: Vec<u8>,
    /// Where a mark was written and what was there before.
    mark_unsynced: Option<(usize, Vec<u8>)>,
    index: Option<Vec<u8>>,
}

impl MemStore {
    /// The store of a new journal.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self::of(Files {
            id,
            csv: csv::HEADER.to_vec(),
            csv_synced: csv::HEADER.len(),
            log: BTreeMap::new(),
            log_unsynced: Vec::new(),
            mark: mark::new_file(id),
            mark_unsynced: None,
            index: None,
        })
    }

    fn of(mut files: Files) -> Self {
        // As the log on disk is completed when it is opened.
        let mut torn = csv::TornLine::default();
        torn.read(&files.csv);
        files.csv.extend_from_slice(torn.completion());
        let disk = MemDisk { files, gate: None, dead: false, steps: 0, fault: None };
        Self { disk: Rc::new(RefCell::new(disk)) }
    }

    /// Another handle of the same store.
    #[must_use]
    pub fn handle(&self) -> Self {
        self.clone()
    }

    /// How many steps were begun.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.disk.borrow().steps
    }

    /// Lets `fault` happen at the step `after` steps from now (0: the next).
    pub fn set_fault(&self, after: u64, fault: Fault) {
        let mut disk = self.disk.borrow_mut();
        disk.fault = Some((disk.steps + after, fault));
    }

    /// Asks `gate` before every step, so that a test can share one count among several stores and disks.
    pub fn set_gate(&self, gate: impl FnMut(Step) -> Option<Fault> + 'static) {
        self.disk.borrow_mut().gate = Some(Box::new(gate));
    }

    /// Kills the process now.
    pub fn kill(&self) {
        self.disk.borrow_mut().dead = true;
    }

    /// The CSV log as a reader sees it.
    #[must_use]
    pub fn csv(&self) -> Vec<u8> {
        self.disk.borrow().files.csv.clone()
    }

    /// Every byte a reader would see: log, records and mark.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let files = &self.disk.borrow().files;
        let records = files.log.iter().flat_map(|(key, value)| [key, value]);
        let mut bytes = files.csv.clone();
        records.for_each(|part| bytes.extend_from_slice(part));
        bytes.extend_from_slice(&files.mark);
        bytes
    }

    /// Returns the store the next process finds after a kill of this process: everything written. Unsynced data is
    /// still unsynced.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        Self::of(self.disk.borrow().files.clone())
    }

    /// Returns the store as a power cut now would leave it.
    #[must_use]
    pub fn after_power_loss(&self, kept: Kept) -> Self {
        let mut files = self.disk.borrow().files.clone();
        files.lose_unsynced(kept);
        Self::of(files)
    }

    fn step<T>(&self, step: Step, act: impl FnOnce(&mut Files) -> T) -> Result<T, JournalError> {
        let mut disk = self.disk.borrow_mut();
        let at = disk.steps;
        disk.steps += 1;
        let mut fault = disk.gate.as_mut().and_then(|gate| gate(step));
        if let Some((planned, what)) = disk.fault {
            fault = fault.or((planned == at).then_some(what));
        }
        disk.dead |= fault == Some(Fault::Die);
        if disk.dead || fault.is_some() {
            return Err(JournalError::Io {
                what: "reach the journal in memory",
                path: self.place().to_path_buf(),
                source: io::Error::from_raw_os_error(libc::EIO),
            });
        }
        Ok(act(&mut disk.files))
    }
}

impl Files {
    fn lose_unsynced(&mut self, kept: Kept) {
        let csv_unsynced = self.csv.len() - self.csv_synced;
        match kept {
            Kept::Everything => {}
            Kept::Nothing => self.csv.truncate(self.csv_synced),
            Kept::Torn => self.csv.truncate(self.csv_synced + csv_unsynced / 2),
        }
        self.csv_synced = self.csv.len();

        let unsynced = std::mem::take(&mut self.log_unsynced);
        if kept != Kept::Everything {
            for key in unsynced {
                self.log.remove(&key);
            }
        }

        if let Some((at, before)) = self.mark_unsynced.take() {
            let lost = match kept {
                Kept::Everything => before.len(),
                Kept::Nothing => 0,
                Kept::Torn => before.len() / 2,
            };
            self.mark[at + lost..at + before.len()].copy_from_slice(&before[lost..]);
        }
    }
}

impl Store for MemStore {
    fn id(&self) -> u32 {
        self.disk.borrow().files.id
    }

    fn place(&self) -> &Path {
        Path::new("/journal-in-memory")
    }

    fn load(&self, from: &[u8], visit: &mut PairVisitor<'_>) -> Result<(), JournalError> {
        let log = self.disk.borrow().files.log.clone();
        log.range(from.to_vec()..).try_for_each(|(key, value)| visit(key, value))
    }

    fn saved_index(&self) -> Option<Vec<u8>> {
        self.disk.borrow().files.index.clone()
    }

    fn save_index(&self, index: &[u8]) {
        self.disk.borrow_mut().files.index = Some(index.to_vec());
    }

    fn append_csv(&mut self, lines: &[u8]) -> Result<(), JournalError> {
        self.step(Step::CsvWrite, |files| {
            files.csv.extend_from_slice(lines);
        })?;
        self.step(Step::CsvSync, |files| files.csv_synced = files.csv.len())
    }

    fn commit(&mut self, pairs: &[Pair]) -> Result<(), JournalError> {
        if !pairs.is_empty() {
            self.step(Step::CommitWrite, |files| {
                for (key, value) in pairs {
                    files.log.insert(key.clone(), value.clone());
                    files.log_unsynced.push(key.clone());
                }
            })?;
        }
        self.step(Step::CommitSync, |files| files.log_unsynced.clear())
    }

    fn write_mark(&mut self, mark: &Mark) -> Result<(), JournalError> {
        let file = self.parsed_mark()?;
        self.step(Step::MarkWrite, |files| {
            let (at, bytes) = mark::slot_bytes(file.next, mark);
            let slot = &mut files.mark[at..at + bytes.len()];
            files.mark_unsynced = Some((at, slot.to_vec()));
            slot.copy_from_slice(&bytes);
        })?;
        self.step(Step::MarkSync, |files| files.mark_unsynced = None)
    }

    fn read_mark(&self) -> Result<Mark, JournalError> {
        self.parsed_mark().map(|file| file.mark)
    }
}

impl MemStore {
    fn parsed_mark(&self) -> Result<mark::MarkFile, JournalError> {
        mark::parse(&self.disk.borrow().files.mark).map_err(|error| JournalError::Damaged {
            path: self.place().to_path_buf(),
            what: error.to_string(),
        })
    }
}

impl std::fmt::Debug for MemStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemStore").finish_non_exhaustive()
    }
}

#[cfg(test)]
impl MemStore {
    pub(super) fn log_len(&self) -> usize {
        self.disk.borrow().files.log.len()
    }

    pub(super) fn truncate_log(&self, keep: usize) {
        while self.log_len() > keep {
            self.remove_pair(keep);
        }
    }

    pub(super) fn remove_pair(&self, at: usize) {
        let mut disk = self.disk.borrow_mut();
        let key = disk.files.log.keys().nth(at).cloned();
        key.map(|key| disk.files.log.remove(&key));
    }

    pub(super) fn flip(&self, at: usize, byte: usize) {
        let mut disk = self.disk.borrow_mut();
        if let Some(value) = disk.files.log.values_mut().nth(at) {
            let byte = byte % value.len();
            value[byte] ^= 0x10;
        }
    }

    pub(super) fn swap_values(&self, a: usize, b: usize) {
        let mut disk = self.disk.borrow_mut();
        let mut values: Vec<Vec<u8>> = disk.files.log.values().cloned().collect();
        values.swap(a, b);
        for (old, new) in disk.files.log.values_mut().zip(values) {
            *old = new;
        }
    }

    pub(super) fn replace_mark(&self, id: u32) {
        self.disk.borrow_mut().files.mark = mark::new_file(id);
    }
}

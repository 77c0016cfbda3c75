//! Files that share all their blocks: one of them is read, and the others have the same contents.
//!
//! Where the blocks lie is asked of a file that is about to be read and is open for that. Most files share nothing, and the
//! first answer says so.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::Scan;
use super::candidates::{Candidate, Candidates};
use super::catalog::{Catalog, Stamp};
use super::opener::Opener;
use crate::fs::real::ScanFile;
use crate::fs::{InodeId, Layout};

/// Which file of a step stands for all that share its blocks.
pub(super) struct Twins<'t> {
    scan: &'t Scan<'t>,
    catalog: &'t Catalog,
    candidates: &'t Candidates,
    /// The candidates that are to be read in this step; the hashes of all others are known.
    unread: Vec<bool>,
    met: Mutex<Met>,
}

#[derive(Default)]
struct Met {
    /// The first file with a layout, by device and size.
    first: HashMap<(u16, u64, Layout), u32>,
    /// The devices and sizes of which the files with known hashes were looked at.
    looked_at: HashSet<(u16, u64)>,
}

impl<'t> Twins<'t> {
    /// The twins among `candidates`, of which `unread` are to be read.
    pub(super) fn new(
        scan: &'t Scan<'t>,
        catalog: &'t Catalog,
        candidates: &'t Candidates,
        unread: impl Iterator<Item = u32>,
    ) -> Self {
        let mut marks = vec![false; candidates.all.len()];
        unread.for_each(|at| marks[at as usize] = true);
        Self { scan, catalog, candidates, unread: marks, met: Mutex::default() }
    }

    /// Returns the candidate whose contents `file`, the open candidate `at`, has too because both share all blocks; `None`
    /// if `file` has to be read.
    pub(super) fn other(&self, at: u32, file: &ScanFile) -> Option<u32> {
        let (device, size) = self.kind_of(at);
        let layout = self.layout(at, file)?;
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        if met.looked_at.insert((device, size)) {
            for (known, layout) in self.known_beside(at) {
                met.first.insert((device, size, layout), known);
            }
        }
        let first = *met.first.entry((device, size, layout)).or_insert(at);
        (first != at).then_some(first)
    }

    fn candidate(&self, at: u32) -> &Candidate {
        &self.candidates.all[at as usize]
    }

    fn kind_of(&self, at: u32) -> (u16, u64) {
        let file = self.catalog.file_of(self.candidate(at));
        (self.catalog.device_of(file), file.stamp.size)
    }

    /// The layout of a candidate that is still as the walk saw it.
    fn layout(&self, at: u32, open: &ScanFile) -> Option<Layout> {
        let file = self.catalog.file_of(self.candidate(at));
        if !self.scan.fs.can_share(self.catalog.file_place(file).branch) {
            return None;
        }
        let stat = open.stat().ok()?;
        let layout = open.layout(&stat)?;
        let id = InodeId { dev: self.scan.dev_of(self.catalog.device_of(file)), ino: file.ino };
        let stat = open.stat().ok()?;
        ((stat.id, Stamp::of(&stat)) == (id, file.stamp)).then_some(layout)
    }

    /// The layouts of the candidates of the same size and device as `at` whose hashes are known. Candidates of one size are
    /// neighbours.
    fn known_beside(&self, at: u32) -> Vec<(u32, Layout)> {
        let (device, size) = self.kind_of(at);
        let alike = |other: &u32| self.kind_of(*other).1 == size;
        let all = u32::try_from(self.candidates.all.len()).unwrap_or(u32::MAX);
        let before = (0..at).rev().take_while(alike);
        let known = before.chain((at..all).take_while(alike));
        let known = known.filter(|at| !self.unread[*at as usize] && self.kind_of(*at).0 == device);
        let mut opener = Opener::new(self.scan.fs, self.catalog);
        let layouts = known.filter_map(|at| {
            let mut names = self.catalog.names_of(self.candidate(at)).iter();
            let file = opener.open(names.find(|name| !name.is_excluded())?).ok()?;
            Some((at, self.layout(at, &file)?))
        });
        layouts.collect()
    }
}

//! Which inodes may be copies of each other, narrowed down step by step. No I/O.

use std::sync::atomic::{AtomicU32, Ordering};

use super::catalog::{Catalog, File};
use super::read::WHOLE;
use crate::plan::{LeftOut, Rules};
use crate::pool::relpath::RelPath;

/// Files up to this size are read at once on a disk whose arm has to move, where few files share the size. Most of them
/// are copies of each other, and a look at beginning and end costs the arm as long as some megabytes take.
const AT_ONCE: u64 = 16 << 20;
/// How many files of one size are few.
const FEW: usize = 4;

/// An inode that may have a copy: its names are neighbours in the catalog.
#[derive(Debug)]
pub(super) struct Candidate {
    /// The first of its names in the catalog.
    pub(super) first: u32,
    /// In quarters, so that a candidate takes 20 bytes.
    key: [AtomicU32; 4],
}

impl Candidate {
    /// The known hash of its contents: candidates that may be copies of each other have equal keys.
    pub(super) fn key(&self) -> [u64; 2] {
        let quarter = |at: usize| u64::from(self.key[at].load(Ordering::Relaxed));
        [0, 2].map(|at| quarter(at) << 32 | quarter(at + 1))
    }

    /// Stores the key. Only the thread that reads this candidate stores its key, and the scan waits for all threads.
    pub(super) fn learn(&self, key: [u64; 2]) {
        for (half, known) in key.into_iter().zip(self.key.chunks(2)) {
            for (quarter, known) in [half >> 32, half & u64::from(u32::MAX)].into_iter().zip(known)
            {
                known.store(quarter as u32, Ordering::Relaxed);
            }
        }
    }
}

/// The remaining inodes. Inodes that may be copies of each other are neighbours.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) all: Vec<Candidate>,
    /// How many were dropped because of where they and the files that may equal them lie.
    pub(super) left_out: LeftOut,
}

impl Candidates {
    /// Returns the inodes that share their size with another inode, and with an inode that was named if any was. Drops
    /// all other files from the catalog. Whatever else keeps two equal files apart is for the plan, which says so.
    /// `rotates` tells which devices have an arm.
    pub(super) fn of(catalog: &mut Catalog, rules: &Rules, rotates: impl Fn(u16) -> bool) -> Self {
        let mut files = std::mem::take(&mut catalog.files);
        files.sort_unstable_by_key(|file| (file.stamp.size, catalog.inode_of(file)));
        let linked = catalog.inodes(&files).map(|names| further_names(names, rules)).sum();
        let mut kept: Vec<Option<bool>> = Vec::new();
        for of_size in files.chunk_by(|a, b| a.stamp.size == b.stamp.size) {
            let count = catalog.inodes(of_size).count();
            let size = of_size[0].stamp.size;
            let at_once = size <= WHOLE
                || (size <= AT_ONCE
                    && count <= FEW
                    && of_size.iter().any(|f| rotates(catalog.device_of(f))));
            let wanted = count > 1 && (rules.only.is_none() || of_size.iter().any(File::is_named));
            kept.extend(of_size.iter().map(|_| wanted.then_some(at_once)));
        }
        let mut kept = kept.into_iter();
        files.retain_mut(|file| match kept.next().flatten() {
            Some(at_once) => {
                if at_once {
                    file.read_at_once();
                }
                true
            }
            None => false,
        });
        catalog.files = files;
        catalog.shrink();
        let mut candidates = Self::default();
        candidates.left_out.linked = linked;
        let mut at = 0;
        let inodes = catalog.inodes(&catalog.files).count();
        candidates.all.reserve_exact(inodes);
        for names in catalog.files.chunk_by(|a, b| catalog.inode_of(a) == catalog.inode_of(b)) {
            let first = at;
            at += names.len();
            if names.iter().any(|name| !name.is_excluded()) {
                candidates.all.push(Candidate {
                    first: u32::try_from(first).unwrap_or(u32::MAX),
                    key: Default::default(),
                });
            }
        }
        candidates.drop_hopeless(catalog, rules);
        candidates
    }

    /// Groups the candidates with equal keys. Drops a candidate whose key no other candidate has, and a group without a
    /// copy under a primary.
    pub(super) fn narrow(&mut self, catalog: &Catalog, rules: &Rules) {
        let mut all = std::mem::take(&mut self.all);
        for run in all.chunk_by_mut(|a, b| catalog.alike(a, b)) {
            run.sort_unstable_by_key(|c| (c.key(), c.first));
        }
        self.all = all;
        self.drop_hopeless(catalog, rules);
    }

    /// Drops the files of inodes that are no longer candidates, and frees the memory.
    pub(super) fn drop_others(&mut self, catalog: &mut Catalog) {
        self.all.shrink_to_fit();
        let mut in_order: Vec<&mut Candidate> = self.all.iter_mut().collect();
        in_order.sort_unstable_by_key(|c| c.first);
        let mut to = 0;
        for candidate in in_order {
            let from = candidate.first as usize;
            let names = catalog.names_of(candidate).len();
            // The value fits 32 bits, like the value that it replaces.
            candidate.first = u32::try_from(to).unwrap_or(u32::MAX);
            for at in from..from + names {
                catalog.files.swap(to, at);
                to += 1;
            }
        }
        catalog.files.truncate(to);
        catalog.shrink();
        catalog.drop_other_names();
    }

    /// Keeps the candidates for which `keep` returns true.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Candidate) -> bool) {
        self.all.retain(keep);
    }

    /// The present groups.
    pub(super) fn groups<'c>(
        &'c self,
        catalog: &'c Catalog,
    ) -> impl Iterator<Item = &'c [Candidate]> {
        self.all.chunk_by(|a, b| catalog.equal_so_far(a, b))
    }

    /// Drops the groups of one candidate, and the groups without a copy under a primary, without a copy that may be
    /// replaced, or without a copy that was named.
    fn drop_hopeless(&mut self, catalog: &Catalog, rules: &Rules) {
        let needed = !rules.primaries.is_empty() && !rules.any_master;
        // Whether there are primaries beside the directories whose files are replaced.
        let beside = rules.primaries.iter().any(|primary| !rules.may_replace(primary));
        let mut left_out = self.left_out;
        let mut kept: Vec<bool> = Vec::with_capacity(self.all.len());
        for group in self.groups(catalog) {
            let named = |c: &Candidate| catalog.names_of(c).iter().any(File::is_named);
            let enough = group.len() > 1 && (rules.only.is_none() || group.iter().any(named));
            let master = !needed
                || group
                    .iter()
                    .any(|c| catalog.has_name(c, |path| path.is_below_any(&rules.primaries)));
            let duplicate = !beside
                || group.iter().any(|c| catalog.has_name(c, |path| rules.may_replace(path)));
            let count = if enough { group.len() as u64 } else { 0 };
            match (duplicate, master) {
                (false, _) => left_out.by_directory += count,
                (true, false) => left_out.by_primary += count,
                (true, true) => {}
            }
            kept.extend(group.iter().map(|_| enough && master && duplicate));
        }
        let mut kept = kept.into_iter();
        self.all.retain(|_| kept.next().unwrap_or(false));
        self.left_out = left_out;
    }
}

/// How many names an inode has beside the first, if the run is about it.
fn further_names(names: &[File], rules: &Rules) -> u64 {
    let wanted = rules.only.is_none() || names.iter().any(File::is_named);
    let names = names.iter().filter(|name| wanted && !name.is_excluded()).count();
    names.saturating_sub(1) as u64
}

impl Catalog {
    /// The inodes of a sorted run that have at least one name that is not excluded.
    fn inodes<'f>(&self, run: &'f [File]) -> impl Iterator<Item = &'f [File]> {
        run.chunk_by(|a, b| self.inode_of(a) == self.inode_of(b))
            .filter(|names| names.iter().any(|name| !name.is_excluded()))
    }

    /// The names of a candidate.
    pub(super) fn names_of(&self, candidate: &Candidate) -> &[File] {
        let names = &self.files[candidate.first as usize..];
        let inode = self.inode_of(&names[0]);
        let others = names.iter().position(|name| self.inode_of(name) != inode);
        &names[..others.unwrap_or(names.len())]
    }

    /// One name of a candidate, for the facts that are the same for all names of the inode.
    pub(super) fn file_of(&self, candidate: &Candidate) -> &File {
        &self.files[candidate.first as usize]
    }

    fn alike(&self, a: &Candidate, b: &Candidate) -> bool {
        self.file_of(a).stamp.size == self.file_of(b).stamp.size
    }

    fn equal_so_far(&self, a: &Candidate, b: &Candidate) -> bool {
        self.alike(a, b) && a.key() == b.key()
    }

    /// Whether a candidate has a name that no filter leaves out and that is `wanted`.
    fn has_name(&self, candidate: &Candidate, wanted: impl Fn(&RelPath) -> bool) -> bool {
        let mut names = self.names_of(candidate).iter().filter(|name| !name.is_excluded());
        names.any(|name| wanted(&self.file_place(name).path))
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::{Batch, FileFacts, Stamp};
    use super::*;
    use crate::plan::Only;
    use crate::pool::BranchIdx;

    /// Name, size, device, inode, excluded.
    type Row = (&'static str, u64, u16, u64, bool);

    fn catalog(rows: &[Row]) -> Catalog {
        let mut catalog = Catalog::default();
        for of in 0..2 {
            let root = catalog.start(BranchIdx(of), of, RelPath::root()).unwrap();
            let mut batch = Batch::default();
            for (name, size, _, ino, excluded) in rows.iter().filter(|row| row.2 == of) {
                let facts = FileFacts {
                    stamp: Stamp { size: *size, mtime: 0, ctime: 0 },
                    ino: *ino,
                    excluded: *excluded,
                    named: *name == "b",
                };
                batch.file(root, name.as_bytes(), facts);
            }
            catalog.add(root, batch).unwrap();
        }
        catalog
    }

    fn names(catalog: &Catalog, candidates: &Candidates) -> Vec<Vec<String>> {
        let name = |file: &File| {
            let place = catalog.file_place(file);
            place.path.as_path().to_str().unwrap().to_owned()
        };
        let groups = candidates.groups(catalog).map(|group| {
            let files = group.iter().flat_map(|c| catalog.names_of(c));
            let mut names: Vec<_> = files.map(name).collect();
            names.sort();
            names
        });
        groups.collect()
    }

    #[test]
    fn only_sizes_with_two_inodes_are_candidates() {
        let mut catalog = catalog(&[
            ("a", 10, 0, 1, false),
            ("b", 10, 1, 1, false),
            ("b2", 10, 1, 1, false),
            ("alone", 11, 0, 2, false),
            ("linked", 12, 0, 3, false),
            ("linked2", 12, 0, 3, false),
            ("in", 14, 0, 6, false),
            ("out", 14, 0, 7, true),
            ("out2", 14, 0, 7, true),
        ]);
        let candidates = Candidates::of(&mut catalog, &Rules::default(), |_| false);
        assert_eq!(names(&catalog, &candidates), [["a", "b", "b2"]]);
        assert_eq!(catalog.files.len(), 3);
        // A second name of b, and of the one that is alone.
        assert_eq!(candidates.left_out, LeftOut { linked: 2, ..LeftOut::default() });
    }

    #[test]
    fn few_files_of_one_size_are_read_at_once_where_an_arm_moves() {
        let row = |size, ino| ("f", size, 0, ino, false);
        let mut rows: Vec<Row> = vec![row(WHOLE, 1), row(WHOLE, 2)];
        rows.extend([row(AT_ONCE, 3), row(AT_ONCE, 4), row(AT_ONCE + 1, 5), row(AT_ONCE + 1, 6)]);
        rows.extend((10..=10 + FEW as u64).map(|ino| row(WHOLE + 1, ino)));
        for (arm, expected) in [(false, vec![1, 2]), (true, vec![1, 2, 3, 4])] {
            let mut found = catalog(&rows);
            drop(Candidates::of(&mut found, &Rules::default(), |_| arm));
            let at_once = found.files.iter().filter(|file| file.is_read_at_once());
            assert_eq!(at_once.map(|file| file.ino).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_group_without_a_copy_under_a_primary_is_not_read() {
        let rows = [
            ("m", 10, 0, 1, false),
            ("b", 10, 0, 2, false),
            ("c", 11, 0, 3, false),
            ("d", 11, 0, 4, false),
        ];
        let rules = Rules { primaries: vec![RelPath::new("m").unwrap()], ..Rules::default() };
        let mut found = catalog(&rows);
        let candidates = Candidates::of(&mut found, &rules, |_| false);
        assert_eq!(names(&found, &candidates), [["b", "m"]]);
        assert_eq!(candidates.left_out, LeftOut { by_primary: 2, ..LeftOut::default() });
        let mut found = catalog(&rows);
        let rules = Rules { any_master: true, ..rules };
        assert_eq!(Candidates::of(&mut found, &rules, |_| false).all.len(), 4);
        // Only c may be replaced: nothing is to be gained from the other pair.
        let mut found = catalog(&rows);
        let rules = Rules { only_below: vec![RelPath::new("c").unwrap()], ..rules };
        let candidates = Candidates::of(&mut found, &rules, |_| false);
        assert_eq!(names(&found, &candidates), [["c", "d"]]);
        assert_eq!(candidates.left_out, LeftOut { by_directory: 2, ..LeftOut::default() });
    }

    #[test]
    fn only_what_may_equal_a_named_file_is_read() {
        let mut found = catalog(&[
            ("a", 10, 0, 1, false),
            ("b", 10, 1, 1, false),
            ("c", 10, 1, 2, false),
            ("d", 11, 0, 4, false),
            ("e", 11, 0, 5, false),
        ]);
        let only = Some(Only::new([&RelPath::new("b").unwrap()]));
        let rules = Rules { only, ..Rules::default() };
        let mut candidates = Candidates::of(&mut found, &rules, |_| false);
        assert_eq!(names(&found, &candidates), [["a", "b", "c"]]);
        for (candidate, key) in candidates.all.iter().zip([7, 8, 7]) {
            candidate.learn([key, 0]);
        }
        candidates.narrow(&found, &rules);
        assert!(candidates.all.is_empty(), "a and c are equal, and neither was named");
        assert_eq!(candidates.left_out, LeftOut::default());
    }

    #[test]
    fn what_is_alone_with_its_key_goes() {
        let mut found = catalog(&[
            ("a", 10, 0, 1, false),
            ("b", 10, 0, 2, false),
            ("c", 10, 0, 3, false),
            ("d", 11, 0, 4, false),
            ("e", 11, 0, 5, false),
        ]);
        let rules = Rules::default();
        let mut candidates = Candidates::of(&mut found, &rules, |_| false);
        for (candidate, key) in candidates.all.iter().zip([7, 8, 7, 7, 8]) {
            candidate.learn([key, 0]);
        }
        candidates.narrow(&found, &rules);
        assert_eq!(names(&found, &candidates), [["a", "c"]]);
        assert_eq!(candidates.left_out, LeftOut::default(), "what has no copy is not left out");
        candidates.drop_others(&mut found);
        assert_eq!(names(&found, &candidates), [["a", "c"]]);
        assert_eq!(found.files.len(), 2);
    }
}

//! Files that an interrupted run left half done: their paths may be on two disks, and no rule about them holds before the
//! run is finished or taken back.

use std::collections::{HashMap, HashSet};

use super::hidden_name::parse_hidden_name;
use super::refusal::Reason;
use super::{Op, OpId, Plan, Refusal};
use crate::pool::relpath::RelPath;

/// The paths of such files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HalfDone {
    names: HashMap<OpId, Vec<RelPath>>,
    replaced: HashSet<RelPath>,
    kept: HashSet<RelPath>,
}

impl HalfDone {
    /// Adds an op that is open, with the names that it replaces and the path of its kept copy.
    pub fn add(&mut self, op: OpId, names: impl Iterator<Item = RelPath>, kept: RelPath) {
        let names: Vec<RelPath> = names.collect();
        self.replaced.extend(names.iter().cloned());
        self.kept.insert(kept);
        self.names.insert(op, names);
    }

    fn has(&self, op: &Op) -> bool {
        let mut paths = op.names.iter().map(|name| &name.path);
        self.replaced.contains(&op.master.path) || paths.any(|path| self.replaced.contains(path))
    }

    /// Returns the path under which people know the file of a refusal that comes of an open op.
    fn path_of(&self, refusal: &Refusal) -> Option<&RelPath> {
        let by_copies = matches!(
            refusal.reason,
            Reason::Unfinished
                | Reason::Shadowed
                | Reason::ShadowsDiffer
                | Reason::FreshShadow
                | Reason::UnknownLinks
        );
        let path = RelPath::new(&refusal.path).ok().filter(|_| by_copies)?;
        let known = self.replaced.get(&path).or_else(|| self.kept.get(&path));
        known.or_else(|| self.path_of_hidden(path.file_name().as_encoded_bytes()))
    }

    fn path_of_hidden(&self, name: &[u8]) -> Option<&RelPath> {
        let hidden = parse_hidden_name(name)?;
        self.names.get(&hidden.op)?.get(hidden.index)
    }
}

impl Plan {
    /// Refuses the ops on files that are `half_done`, and sets the true reason of the refusals that come of it.
    pub fn set_aside(&mut self, half_done: &HalfDone) {
        if half_done.names.is_empty() {
            return;
        }
        let ops = self.ops.iter().enumerate().filter(|(_, op)| half_done.has(op));
        let refused =
            ops.map(|(at, op)| (at, Refusal::of_op(op, Reason::Unfinished, String::new())));
        self.leave_out(refused.collect());
        let mut said = HashSet::new();
        self.refusals.retain_mut(|refusal| {
            let Some(path) = half_done.path_of(refusal) else { return true };
            (refusal.reason, refusal.detail) = (Reason::Unfinished, String::new());
            refusal.path = path.as_bytes().to_vec();
            said.insert(path)
        });
    }
}

//! Writes the dry run as a shell script that does what `-e` would do. A person can read the script and run it by hand.
//!
//! The script is plain `sh` with GNU coreutils and cmp, and follows the protocol's order: compare, link, sync, remove.
//! The first lines of the script list the protections that the script lacks. Names stand raw between single quotes,
//! where a shell obeys no byte but the quote. In comments, names are spelled out, because a newline would end the
//! comment.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Scene;
use super::shown::{number, sanitised};
use super::tally::Tally;
use super::text::{self, Style, exactly};
use crate::fs::Place;
use crate::plan::Plan;
use crate::plan::hidden_name::PREFIX;
use crate::plan::{DirIntent, OpKind};
use crate::plan::{Op, OpName};
use crate::pool::{BranchIdx, BranchMode};

/// Returns owner, group and mode of the directory at a place, if they are known.
pub type Look<'l> = dyn FnMut(&Place) -> Option<(u32, u32, u32)> + 'l;

/// The part of every script before its ops.
const FUNCTIONS: &str = include_str!("script.sh");

/// The maximum number of ops that share a sync.
const BATCH_OPS: usize = 128;
/// The approximate number of bytes compared before a sync, so that little time passes between comparing a file and
/// removing the file.
const BATCH_BYTES: u64 = 4 << 30;

const PROMISE: &str = "\
# For each file it compares both copies (cmp), links the kept copy without overwriting anything, syncs the filesystem, and
# only then removes the duplicate, if nobody changed it. What fails is left as it was, and the rest goes on.
#
# mergerfs.xdedup -e does the same plan, and more. This script LACKS the protection against programs that use the
# files meanwhile, the journal (recovery after a power cut), and the care for the times of directories.
# Run it as root while nothing else uses the pool. It can be run again.
";

/// Writes the script for a plan with its figures. `look` returns the attributes of the directories on which new
/// directories are modelled.
///
/// # Errors
/// When `out` fails.
pub fn write(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    (plan, tally): (&Plan, &Tally),
    look: &mut Look<'_>,
) -> io::Result<()> {
    let mut script = Script { out, scene, made: HashSet::new() };
    script.header(plan)?;
    script.new_directories(plan)?;
    script.refusals(plan)?;
    if !plan.ops.is_empty() {
        script.out.write_all(b"\n")?;
        script.out.write_all(FUNCTIONS.as_bytes())?;
        script.ops(plan, look)?;
        script.ending()?;
    }
    script.summary(tally)
}

struct Script<'s> {
    out: &'s mut dyn Write,
    scene: &'s Scene<'s>,
    /// Directories the script makes, each once.
    made: HashSet<(BranchIdx, PathBuf)>,
}

impl Script<'_> {
    fn header(&mut self, plan: &Plan) -> io::Result<()> {
        let pool = self.scene.pool;
        let version = sanitised(pool.version.as_bytes());
        writeln!(self.out, "#!/bin/sh")?;
        writeln!(self.out, "# What mergerfs.xdedup -e would do; nothing has been changed.")?;
        writeln!(self.out, "#\n# pool:   {} (mergerfs {version})", spelled(&pool.mount))?;
        for branch in &pool.branches {
            let mode = match branch.mode {
                BranchMode::Rw => "RW",
                BranchMode::Ro => "RO",
                BranchMode::Nc => "NC",
            };
            writeln!(self.out, "# branch: {} ({mode})", spelled(&branch.path))?;
        }
        if self.scene.terminal {
            let warning = "# Names are made harmless for the terminal: to run this, write it to a file instead.";
            writeln!(self.out, "#\n{warning}")?;
        }
        match plan.ops.is_empty() {
            true => writeln!(self.out, "#\n# Nothing to do."),
            false => write!(self.out, "#\n{PROMISE}"),
        }
    }

    fn new_directories(&mut self, plan: &Plan) -> io::Result<()> {
        let dirs: BTreeSet<PathBuf> = plan
            .ops
            .iter()
            .flat_map(|op| &op.dirs)
            .map(|dir| self.branch_path(dir.to, dir))
            .collect();
        if dirs.is_empty() {
            return Ok(());
        }
        writeln!(
            self.out,
            "#\n# New directories, on branches that do not have them yet. Under path-preserving create policies (ep*,\n\
             # msp*) they attract files that are written there later:"
        )?;
        for dir in dirs {
            writeln!(self.out, "#   {}", spelled(&dir))?;
        }
        Ok(())
    }

    fn refusals(&mut self, plan: &Plan) -> io::Result<()> {
        if plan.refusals.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "#")?;
        let style = self.comment();
        text::skipped_that(self.out, self.scene, &plan.refusals, style, |_| true)
    }

    fn comment(&self) -> Style {
        Style { prefix: "# ", sanitise: true, screen: self.scene.screen }
    }

    fn ops(&mut self, plan: &Plan, look: &mut Look<'_>) -> io::Result<()> {
        let (mut ops, mut bytes) = (0, 0);
        let mut branches = BTreeSet::new();
        for (number, op) in (1_usize..).zip(&plan.ops) {
            if op.shares() {
                self.share(number, op)?;
            } else {
                self.op(number, op, look)?;
                branches.extend(op.names.iter().map(|name| name.to));
            }
            (ops, bytes) = (ops + 1, bytes + op.size);
            if ops >= BATCH_OPS || bytes >= BATCH_BYTES || number == plan.ops.len() {
                if !branches.is_empty() {
                    self.out.write_all(b"\nsettle")?;
                    for branch in std::mem::take(&mut branches) {
                        self.argument(self.scene.root(branch))?;
                    }
                    self.out.write_all(b"\n")?;
                }
                (ops, bytes) = (0, 0);
            }
        }
        Ok(())
    }

    fn share(&mut self, number: usize, op: &Op) -> io::Result<()> {
        let [kept, own] =
            [&op.master, &op.duplicate].map(|at| self.scene.pool.branch_path(at.branch, &at.path));
        let master = spelled(&self.scene.pool_path(&op.master.path));
        writeln!(
            self.out,
            "\n# file {number}, frees {}. It stays a file of its own, and shares its blocks with {master}:",
            exactly(op.bytes)
        )?;
        writeln!(self.out, "#   {}", spelled(&self.scene.pool_path(&op.duplicate.path)))?;
        write!(self.out, "share")?;
        self.argument(&kept)?;
        self.argument(&own)?;
        writeln!(self.out, " {}", op.size)
    }

    fn op(&mut self, number: usize, op: &Op, look: &mut Look<'_>) -> io::Result<()> {
        let (kind, why) = match op.kind {
            _ if op.reflinks() => (
                "clone",
                "the same content on another disk: a clone of the kept copy gets its path",
            ),
            OpKind::Cross => {
                ("cross", "the same content on another disk: its path becomes a link there")
            }
            OpKind::Local => ("local", "the same content on the same disk: replaced by a link"),
        };
        let master = spelled(&self.scene.pool_path(&op.master.path));
        writeln!(
            self.out,
            "\n# file {number}, {kind}, frees {}. The kept copy is {master}; {why}:",
            exactly(op.bytes)
        )?;
        for name in &op.names {
            writeln!(self.out, "#   {}", spelled(&self.scene.pool_path(&name.path)))?;
        }
        for dir in &op.dirs {
            self.make_dir(dir, look)?;
        }
        write!(self.out, "op_{number}() {{\n\t\"$1\" {number} {kind}")?;
        let master = self.scene.pool.branch_path(op.master.branch, &op.master.path);
        self.argument(&master)?;
        for (k, name) in op.names.iter().enumerate() {
            self.out.write_all(b" \\\n\t\t")?;
            let own = self.scene.pool.branch_path(name.from, &name.path);
            self.out.write_all(&self.quoted(&own))?;
            self.argument(&self.new_name(number, k, op.kind, name))?;
        }
        write!(self.out, "\n}}\nreplace {number}\n")
    }

    /// Where the master is linked: the new name, or for a local op a hidden name that is then moved over the name.
    fn new_name(&self, number: usize, k: usize, kind: OpKind, name: &OpName) -> PathBuf {
        let path = self.scene.pool.branch_path(name.to, &name.path);
        match kind {
            OpKind::Cross => path,
            OpKind::Local => path.with_file_name(format!("{PREFIX}script-{number}-{k}")),
        }
    }

    fn make_dir(&mut self, dir: &DirIntent, look: &mut Look<'_>) -> io::Result<()> {
        let target = self.branch_path(dir.to, dir);
        if !self.made.insert((dir.to, target.clone())) {
            return Ok(());
        }
        self.out.write_all(b"make_dir")?;
        self.argument(&self.branch_path(dir.from, dir))?;
        self.argument(&target)?;
        // If the attributes are unknown, the script looks them up itself.
        if let Some((uid, gid, mode)) = look(&Place::new(dir.from, dir.path.clone())) {
            // Five digits: with fewer, chmod leaves setgid as it is inherited.
            write!(self.out, " {uid} {gid} {:05o}", mode & 0o7777)?;
        }
        // The ops that need the directory fail, and are counted.
        self.out.write_all(b" || :\n")
    }

    fn ending(&mut self) -> io::Result<()> {
        self.out.write_all(
            b"\nsay \"$ops_done done, $ops_not_done not done\"\n[ \"$ops_not_done\" -eq 0 ] || exit 1\n",
        )
    }

    fn summary(&mut self, tally: &Tally) -> io::Result<()> {
        if tally.planned > 0 {
            let style = self.comment();
            writeln!(self.out, "#")?;
            text::figures(self.out, self.scene, tally, style)?;
        }
        text::left_out(self.out, tally, "# ")?;
        writeln!(
            self.out,
            "# {} planned, {} skipped, {} already linked, {}in {}; frees {}; planned in {:.1} s",
            number(tally.planned, "file"),
            tally.refused,
            tally.already_linked,
            match tally.already_shared {
                0 => String::new(),
                files => format!("{files} already sharing blocks, "),
            },
            number(tally.groups, "group"),
            exactly(tally.bytes_reclaimable),
            tally.elapsed_s,
        )?;
        text::shared(self.out, tally, "# ")
    }

    fn branch_path(&self, branch: BranchIdx, dir: &DirIntent) -> PathBuf {
        self.scene.pool.branch_path(branch, &dir.path)
    }

    fn argument(&mut self, path: &Path) -> io::Result<()> {
        self.out.write_all(b" ")?;
        self.out.write_all(&self.quoted(path))
    }

    fn quoted(&self, path: &Path) -> Vec<u8> {
        match self.scene.terminal {
            true => quoted(spelled(path).as_bytes()),
            false => quoted(path.as_os_str().as_bytes()),
        }
    }
}

/// A path in a comment: on one line, whatever it is made of.
fn spelled(path: &Path) -> String {
    sanitised(path.as_os_str().as_bytes())
}

/// `bytes` as one word of a shell.
fn quoted(bytes: &[u8]) -> Vec<u8> {
    let mut word = vec![b'\''];
    for byte in bytes {
        match byte {
            b'\'' => word.extend_from_slice(br"'\''"),
            byte => word.push(*byte),
        }
    }
    word.push(b'\'');
    word
}

#[cfg(test)]
mod tests;

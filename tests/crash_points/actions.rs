//! Everything a client may do to a kept copy, its duplicate and their directories, as sequences done at one call.

use mergerfs_xdedup::fs::sim::place;
use mergerfs_xdedup::pool::BranchIdx;
use mergerfs_xdedup::pool::relpath::RelPath;

use super::meddling::Step;

/// A sequence of steps, and how a shell would say it.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

impl Action {
    /// Whether it frees inode numbers.
    pub(super) fn frees(&self) -> bool {
        self.steps.iter().any(|step| {
            matches!(step, Step::Remove(_) | Step::Save(_) | Step::RemoveTree(_) | Step::Rmdir(_))
        })
    }
}

fn path(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

/// The steps of `rm a b; ln m/a d/b` and the like; files that are saved land on branch `on`.
fn steps(line: &str, on: BranchIdx) -> Vec<Step> {
    let mut all = Vec::new();
    for command in line.split("; ") {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["rm", "-r", dir] => all.push(Step::RemoveTree(path(dir))),
            ["rm", ref files @ ..] => all.extend(files.iter().map(|f| Step::Remove(path(f)))),
            ["ln", "-s", to, link] => {
                all.push(Step::Symlink(path(to), place(on, link)));
            }
            ["ln", "-f", from, to] => all.push(Step::LinkOver(path(from), path(to))),
            ["ln", from, to] => all.push(Step::Link(path(from), path(to))),
            ["mv", from, to] => all.push(Step::Mv(path(from), path(to))),
            ["rename", from, to] => all.push(Step::Rename(path(from), path(to))),
            ["write", file] => all.push(Step::Write(path(file))),
            ["write-keeping-times", file] => all.push(Step::WriteKeepingTimes(path(file))),
            ["write-apart", file] => all.push(Step::WriteApart(path(file))),
            ["truncate", file] => all.push(Step::Truncate(path(file))),
            ["save", file] => all.push(Step::Save(place(on, file))),
            ["create", file] => all.push(Step::Create(place(on, file))),
            ["rmdir", dir] => all.push(Step::Rmdir(path(dir))),
            ["mkdir", dir] => all.push(Step::Mkdir(place(on, dir))),
            ["chmod", file] => all.push(Step::Chmod(path(file))),
            ["setfattr", file] => all.push(Step::Setxattr(path(file))),
            ["read", file] => all.push(Step::OpenRead(path(file))),
            ["hold", file] => all.push(Step::OpenWrite(path(file))),
            _ => panic!("{command}"),
        }
    }
    all
}

fn action(line: &str, on: BranchIdx) -> Action {
    Action { name: line.to_owned(), steps: steps(line, on) }
}

const EACH: &[&str] = &[
    "write F",
    "write-keeping-times F",
    "write-apart F",
    "truncate F",
    "rm F",
    "mv F DIR/moved",
    "mv F x/moved",
    "chmod F",
    "setfattr F",
];

const ALL: &[&str] = &[
    "create d/new",
    "create m/new",
    "rm d/b; ln m/a d/b",
    "ln -f m/a d/b",
    "mv m/a3 d/b",
    "rename m/a3 d/b",
    "mv m/a d/b",
    "rename m/a d/b",
    "mv d/b m/a",
    "rename d/b m/a",
    "mv d/b d/c; ln m/a d/b",
    "rm m/a d/b",
    "rm m/a m/a3 d/b",
    "mv m/a m/z; mv d/b d/c",
    "ln d/b d/l",
    "ln m/a d/l",
    "mv d dd",
    "mv d dd; rm dd/b",
    "mv d dd; write dd/b",
    "mv d dd; mkdir d",
    "mv d dd; mv dd d",
    "rm -r d",
    "rm d/b d/o; rmdir d",
    "rm d/b; mv m/a d/b",
    "rm d/b; ln m/a d/b; rm m/a",
    "mv d/o d/b",
    "ln -f d/o d/b",
    "mv m d-moved",
    "mv m d-moved; mv d dd",
    "ln d/b d/l; rm d/b",
    "mv d x/d",
    "write d/b; mv d/b d/c",
    "chmod d/b; chmod m/a",
];

/// Those that put another directory at the path of one, and some that put the first one back.
const SWAPS: &[&str] = &[
    "mv d dd; mv s d",
    "mv d dd; mv s d; mv d s; mv dd d",
    "mv d dd; mv s d; rm dd/b",
    "rm -r d; mv s d",
    "mv m mm; mv s m",
    "mv m mm; mv s m; mv m s; mv mm m",
    "mv m mm; mv mm m",
    "mv d dd; mv m d",
    "mv d dd; mv m d; mv dd m",
];

/// Those that put a symlink there; the branch that it lands on is up to the create policy.
const SYMLINKS: &[&str] = &[
    "mv d dd; ln -s s d",
    "mv d dd; ln -s s d; rm d; mv dd d",
    "rm -r d; ln -s s d",
    "mv m mm; ln -s s m",
    "mv m mm; ln -s s m; rm m; mv mm m",
];

/// Those that rename the directories of two ops.
const TWO_DIRECTORIES: &[&str] = &[
    "mv d t; mv f d; mv t f",
    "mv f t; mv d f; mv t d",
    "mv d t; mv f d",
    "mv f t; mv d f",
    "mv f t",
    "mv f d/f",
    "rm -r f; mv d f",
];

/// What a client does to the files and directories of two ops, in `d` and `f`.
pub(super) fn of_two_ops(first: BranchIdx) -> Vec<Action> {
    let mut all: Vec<Action> = TWO_DIRECTORIES.iter().map(|line| action(line, first)).collect();
    for (file, dir) in [("d/b", "d"), ("m/a", "m"), ("f/b", "f")] {
        let lines = EACH.iter().map(|line| line.replace('F', file).replace("DIR", dir));
        all.extend(lines.map(|line| action(&line, first)));
    }
    all
}

/// Those on the second name of a duplicate.
const SECOND_NAME: &[&str] = &[
    "rm e/b2",
    "rm d/b e/b2",
    "write e/b2",
    "mv e ee",
    "mv e ee; rm ee/b2",
    "rm -r e",
    "mv e/b2 d/b",
    "rename e/b2 d/b",
    "ln e/b2 x/l",
    "mv e/b2 x/l",
    "mv e/b2 e/c",
    "ln -f m/a e/b2",
    "rm e/b2; ln d/b e/b2",
    "rm d/b; ln e/b2 d/b",
    "ln -f d/o e/b2",
    "ln e/b2 e/l",
    "chmod e/b2",
    "mv e ee; mv s e",
    "mv e ee; mv d e; mv ee d",
];

/// Those that save or create a file: where it lands is up to the create policy.
const SAVED: &[&str] = &[
    "save d/b",
    "save m/a",
    "save d/b; mv m/a3 d/b",
    "save d/b; rename m/a3 d/b",
    "save m/a; rm m/a3; mv d/b d/c",
    "save d/b; mv m/a d/b",
    "rm d/b; save d/b",
    "rm m/a d/b; save d/b",
    "rm m/a m/a3 d/b; save d/b",
    "mv d dd; save dd/b",
    "mv d dd; mkdir d; save d/b",
    "rm -r d; mkdir d; save d/b",
];

/// All of them, on a pool with these branches, for a duplicate with this second name or without.
pub(super) fn all(branches: &[BranchIdx], second_name: Option<&str>) -> Vec<Action> {
    let first = branches[0];
    let mut all = Vec::new();
    for (file, dir) in [("d/b", "d"), ("m/a", "m")] {
        let lines = EACH.iter();
        let lines = lines.map(|line| line.replace('F', file).replace("DIR", dir));
        all.extend(lines.map(|line| action(&line, first)));
    }
    all.extend(ALL.iter().chain(SWAPS).map(|line| action(line, first)));
    let saved = SAVED.iter().chain(SYMLINKS).map(|line| (*line).to_owned());
    let mut saved: Vec<String> = saved.collect();
    if let Some(name) = second_name {
        // Where both names are in one directory, nothing is to be done to another one.
        let has_dir =
            |line: &&&str| name == "e/b2" || !line.contains("e ee") && **line != "rm -r e";
        let lines = SECOND_NAME.iter().filter(has_dir).map(|line| line.replace("e/b2", name));
        all.extend(lines.map(|line| action(&line, first)));
        saved.push(format!("save {name}"));
    }
    for branch in branches {
        all.extend(saved.iter().map(|line| {
            let mut action = action(line, *branch);
            action.name += &format!(" on {}", branch.0);
            action
        }));
    }
    all
}

/// Those that come before another one.
pub(super) fn opens() -> Vec<Action> {
    let lines = ["read d/b", "read m/a", "hold d/b", "hold m/a"];
    lines.iter().map(|line| action(line, BranchIdx(0))).collect()
}

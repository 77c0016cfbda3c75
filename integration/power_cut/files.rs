//! Which files a scene has, in a notation that fits on a line a group.

use std::path::PathBuf;

/// A group a line: size, then each file as branch, age and its names. Where the ages differ, the file with most
/// names is the master, so that unsynced masters have synced duplicates and the other way round. A group of one
/// is nobody's duplicate.
pub(crate) const MIXED: &str = "
     5000  0:a/1                   1:b/1           2:c/deep/er/1
    70000  0~y/2,y/2too            1:b/2           2:c/2
     4096  0:a/3,a/3too,a/3three   1~y/3           2~z/3,y/3c
     9000  1:b/4,b/4too            1:b/sub/4       1:b/4x
        1  0:a/5,a/5too,a/5three   2:c/5,c/deep/5too
    12288  2:c/6,c/6too            0:a/6           1:only/on/one/6
    30000  1:b/7,b/7too            1:b/7local      2:c/7
    20000  2~y/8,y/8too            2:c/8local      0:a/8
    16384  1!b/9,b/9too            0:a/9           2:c/9
     3000  0:a/other
     3001  1:b/other
     3002  2:c/other,c/deep/link
";

/// Masters on the first branch, each with two duplicates in directories that branch does not have yet.
pub(crate) fn new_parents(count: usize) -> String {
    let group = |n| format!("{} 0:a/{n},a/{n}too 1:new{n}/{n} 2:other{n}/deep/{n}\n", 2000 + n);
    (0..count).map(group).collect()
}

/// Files with equal contents.
#[derive(Debug, Clone)]
pub(crate) struct FileGroup {
    /// What each of them holds.
    pub(crate) bytes: Vec<u8>,
    /// The files.
    pub(crate) members: Vec<Member>,
}

/// One file: where it is, and all its names.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) branch: usize,
    pub(crate) names: Vec<PathBuf>,
    pub(crate) age: Age,
}

/// What is on stable storage of a file when the tool starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// `:` All of it.
    Durable,
    /// `~` Nothing: it was written a moment ago and never synced.
    Young,
    /// `!` Other bytes: it was written over a moment ago.
    Rewritten,
}

impl FileGroup {
    /// All paths of all its files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.members.iter().flat_map(|member| &member.names)
    }
}

/// Reads the notation.
pub(crate) fn parse(text: &str) -> Vec<FileGroup> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.enumerate().map(|(n, line)| group(n, line)).collect()
}

fn group(number: usize, line: &str) -> FileGroup {
    let mut words = line.split_whitespace();
    let size = words.next().and_then(|size| size.parse().ok());
    FileGroup {
        bytes: bytes(number, size.expect("a group begins with its size")),
        members: words.map(member).collect(),
    }
}

fn member(word: &str) -> Member {
    let (branch, rest) = word.split_at(1);
    let (age, names) = rest.split_at(1);
    Member {
        branch: branch.parse().expect("a file begins with its branch"),
        names: names.split(',').map(PathBuf::from).collect(),
        age: match age {
            ":" => Age::Durable,
            "~" => Age::Young,
            _ => Age::Rewritten,
        },
    }
}

/// Contents that no other group has.
fn bytes(group: usize, size: usize) -> Vec<u8> {
    let byte = |n: usize| b'A' + ((n / 7 + group * 31 + n * group) % 53) as u8;
    (0..size).map(byte).collect()
}

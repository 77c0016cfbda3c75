//! The tool's CSV log, as a person would read it after a power cut.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The lines of ops; the paths of these tests need no quotes.
#[derive(Debug)]
pub(crate) struct LogLines(Vec<Line>);

#[derive(Debug)]
struct Line {
    op: String,
    state: String,
    master: PathBuf,
    from: PathBuf,
    to: PathBuf,
}

impl LogLines {
    /// The whole lines of `path`; none where there is no log yet. The power may have cut the last one short.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("{path:?}: {error}")),
        };
        let text = String::from_utf8_lossy(&text);
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        Ok(Self(whole.lines().skip(1).filter_map(line_of).collect()))
    }

    /// Whether some op names `path` as one it takes away.
    pub(crate) fn name(&self, path: &Path) -> bool {
        self.0.iter().any(|line| line.from == path)
    }

    /// Whether op `op` of any run has come to `state`.
    pub(crate) fn has(&self, op: &str, state: &str) -> bool {
        self.0.iter().any(|line| line.op == op && line.state == state)
    }

    /// Whether the last line about each path says that it is settled, and the disks agree.
    /// Where `clones` are made, a replacement may be a file of its own on the kept copy's disk.
    pub(crate) fn check_closed(&self, clones: bool) -> Result<(), String> {
        let mut last = BTreeMap::new();
        for line in &self.0 {
            last.insert(&line.from, line);
        }
        last.into_values().try_for_each(|line| line.check_closed(clones))
    }
}

impl Line {
    fn check_closed(&self, clones: bool) -> Result<(), String> {
        let disk = |path: &Path| path.symlink_metadata().ok().map(|meta| meta.dev());
        let wrong = |what: &str| Err(format!("{what}: {self:?}"));
        match self.state.as_str() {
            "DELETED" if inode(&self.to).is_none() => wrong("there is no replacement"),
            "DELETED" if clones && disk(&self.to) != disk(&self.master) => {
                wrong("it is not on the master's disk")
            }
            "DELETED" if !clones && inode(&self.to) != inode(&self.master) => {
                wrong("it is not the master")
            }
            "DELETED" if self.from != self.to && inode(&self.from).is_some() => {
                wrong("the duplicate is still there")
            }
            "RESTORED" if inode(&self.from).is_none() => wrong("the duplicate is not back"),
            "LINKED" | "CLONED" => wrong("the op is still open"),
            // The line goes before the record: the power may have gone between the two, and nothing was done.
            "PENDING" if inode(&self.from).is_none() => {
                wrong("nothing was to be done without a record")
            }
            "PENDING" if self.from != self.to && inode(&self.to).is_some() => {
                wrong("nothing was to be done without a record")
            }
            _ => Ok(()),
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    path.symlink_metadata().ok().map(|meta| meta.ino())
}

/// time,run,op,state,pool_path,master,from,to,bytes. Nothing where no op is named, and for what a power cut left
/// of a line: the next line then begins on a new one.
fn line_of(line: &str) -> Option<Line> {
    let fields: Vec<&str> = line.split(',').collect();
    let [_, _, op, state, _, master, from, to, _] = fields[..] else {
        return None;
    };
    let [op, state] = [op, state].map(str::to_owned);
    let [master, from, to] = [master, from, to].map(PathBuf::from);
    let line = Line { op, state, master, from, to };
    (!line.op.is_empty()).then_some(line)
}

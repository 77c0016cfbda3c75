//! A client of the pool: changes files as programs do, remembers what was acknowledged and how long every call took.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::model::{Done, Edit, Name};
use super::pair::Pair;
use crate::harness::tree;

/// What a client does to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Write,
    Append,
    /// `O_CREAT | O_TRUNC`, as a shell's `>`.
    Rewrite,
    Truncate,
    /// A new file renamed over it.
    Save,
    Remove,
    /// Read, kept open a while, then written through a second descriptor.
    ReadThenWrite,
    /// A store through a shared mapping.
    Map,
    RenameAway,
    WriteSecond,
    WriteMaster,
    AppendMaster,
    SaveMaster,
    RemoveMaster,
}

impl Act {
    pub(crate) const ALL: [Self; 14] = [
        Self::Write,
        Self::Append,
        Self::Rewrite,
        Self::Truncate,
        Self::Save,
        Self::Remove,
        Self::ReadThenWrite,
        Self::Map,
        Self::RenameAway,
        Self::WriteSecond,
        Self::WriteMaster,
        Self::AppendMaster,
        Self::SaveMaster,
        Self::RemoveMaster,
    ];

    fn name(self) -> Name {
        match self {
            Self::WriteMaster | Self::AppendMaster | Self::SaveMaster | Self::RemoveMaster => {
                Name::Master
            }
            Self::WriteSecond => Name::Second,
            _ => Name::Duplicate,
        }
    }
}

/// How long a reader keeps its file before it writes.
const HELD: Duration = Duration::from_millis(20);

/// A name may be missed inside mergerfs while it moves: a client tries again, for this long.
const RETRIES: u32 = 200;
const BETWEEN: Duration = Duration::from_millis(2);

/// A name that a client took away while its replacement appeared on another disk shows until the run has seen that. A run
/// that is stopped over and over needs this long at most.
const LINGERS: Duration = Duration::from_secs(5);

/// No call of a client may take longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A call that took longer was waiting for somebody.
const BLOCKED: Duration = Duration::from_millis(4);

/// What clients met.
#[derive(Debug, Default)]
pub(crate) struct Met {
    /// Operations acknowledged.
    pub(crate) acts: u64,
    /// Calls that did not find a name that was there.
    pub(crate) missed: u64,
    /// Names that were seen once more after they had been taken away.
    pub(crate) lingered: u64,
    /// Opens and truncates that had to wait.
    pub(crate) blocked: u64,
    /// The longest call, and which it was.
    pub(crate) longest: (Duration, String),
    /// The longest that the machine itself was late with anything.
    pub(crate) late: Duration,
    /// What was lost.
    pub(crate) lost: Vec<String>,
}

impl Met {
    /// Adds what another client met.
    pub(crate) fn add(&mut self, other: Self) {
        self.acts += other.acts;
        self.missed += other.missed;
        self.lingered += other.lingered;
        self.blocked += other.blocked;
        self.late = self.late.max(other.late);
        self.lost.extend(other.lost);
        if other.longest.0 > self.longest.0 {
            self.longest = other.longest;
        }
    }

    /// Panics with some of what was lost.
    pub(crate) fn assert_none_lost(&self, when: &str) {
        let some = self.lost[..self.lost.len().min(4)].join("\n");
        assert!(some.is_empty(), "{when}, {} times:\n{some}", self.lost.len());
    }

    /// Panics when a client had to wait for long, other than for the machine: that is a loss too.
    pub(crate) fn assert_patient(&self) {
        let ((took, call), late) = (&self.longest, self.late);
        assert!(
            *took <= PATIENCE + late,
            "a client waited {took:?} for {call}, on a machine that is {late:?} late"
        );
    }
}

impl std::fmt::Display for Met {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let call = self.longest.1.split(' ').next().unwrap_or_default();
        write!(
            f,
            "{} operations acknowledged, {} calls waited, the longest {:?} ({call}), a name missed {} times, one \
             that was taken away seen {} times",
            self.acts, self.blocked, self.longest.0, self.missed, self.lingered
        )
    }
}

/// One client, one thread.
pub(crate) struct Client {
    branches: Vec<PathBuf>,
    mapper: Mapper,
    /// Whether it looks at what it did at once.
    pub(crate) reads_back: bool,
    pub(crate) met: Met,
}

impl Client {
    /// A client of a pool with these branches.
    pub(crate) fn new(branches: &[PathBuf]) -> Self {
        Self {
            branches: branches.to_vec(),
            mapper: Mapper::default(),
            reads_back: true,
            met: Met::default(),
        }
    }

    /// Does `act` to a file of `pair`. A name that is gone by now is made again.
    pub(crate) fn act(&mut self, pair: &mut Pair, act: Act, when: &str) {
        let name = match act.name() {
            Name::Second if !pair.has_second() => Name::Duplicate,
            name => name,
        };
        let path = pair.path(name);
        pair.serial += 1;
        let done = if pair.model.exists(name) {
            self.change(pair, act, name, &path)
        } else {
            let bytes = pair.new_bytes();
            self.create(&path, &bytes);
            Done::Put(name, bytes)
        };
        pair.model.acknowledge(&done, &format!("{act:?} when {when}"));
        self.met.acts += 1;
        if self.reads_back {
            self.read_back(pair, name);
        }
    }

    fn change(&mut self, pair: &Pair, act: Act, name: Name, path: &Path) -> Done {
        let stamp = pair.stamp();
        let edit = match act {
            Act::Write | Act::WriteSecond | Act::WriteMaster => {
                let file = self.open(path, OpenOptions::new().write(true));
                self.write_at(&file, path, stamp)
            }
            Act::ReadThenWrite => {
                let mut reader = self.open(path, OpenOptions::new().read(true));
                let read = self.call("read", path, || reader.read(&mut [0; 100]));
                assert_eq!(read.unwrap(), 100);
                std::thread::sleep(HELD);
                let file = self.open(path, OpenOptions::new().write(true));
                self.write_at(&file, path, stamp)
            }
            Act::Append | Act::AppendMaster => {
                let mut file = self.open(path, OpenOptions::new().append(true));
                self.call("append", path, || file.write_all(&stamp.1)).unwrap();
                Edit::Append(stamp.1)
            }
            Act::Rewrite => {
                let bytes = pair.new_bytes();
                let mut how = OpenOptions::new();
                let mut file = self.open(path, how.write(true).create(true).truncate(true));
                self.call("write", path, || file.write_all(&bytes)).unwrap();
                Edit::Rewrite(bytes)
            }
            Act::Truncate => {
                let len = pair.new_len();
                self.again("truncate", path, || {
                    Ok(nix::unistd::truncate(path, i64::try_from(len).expect("small"))?)
                });
                Edit::Truncate(len)
            }
            Act::Map => {
                let mut mapper = match std::mem::take(&mut self.mapper) {
                    Mapper(None) => Mapper::start(),
                    started => started,
                };
                self.again("map", path, || mapper.store(path, stamp.0, &stamp.1));
                self.mapper = mapper;
                Edit::Write(stamp.0, stamp.1)
            }
            Act::Save | Act::SaveMaster => return self.save(pair, name, path),
            Act::Remove | Act::RemoveMaster => {
                self.take_away("unlink", path, || std::fs::remove_file(path));
                return Done::Removed(name);
            }
            Act::RenameAway => {
                let away = pair.path(Name::Away);
                self.take_away("rename", path, || std::fs::rename(path, &away));
                return Done::Moved(name, Name::Away);
            }
        };
        Done::Edited(name, edit)
    }

    fn open(&mut self, path: &Path, how: &OpenOptions) -> File {
        self.again("open", path, || how.open(path))
    }

    fn write_at(&mut self, file: &File, path: &Path, (at, bytes): (usize, Vec<u8>)) -> Edit {
        self.call("pwrite", path, || file.write_all_at(&bytes, at as u64)).unwrap();
        Edit::Write(at, bytes)
    }

    fn create(&mut self, path: &Path, bytes: &[u8]) {
        let mut how = OpenOptions::new();
        let mut file = self.open(path, how.write(true).create_new(true));
        self.call("write", path, || file.write_all(bytes)).unwrap();
    }

    fn save(&mut self, pair: &Pair, name: Name, path: &Path) -> Done {
        let bytes = pair.new_bytes();
        let new = path.with_extension("new");
        self.create(&new, &bytes);
        self.take_away("rename over", &new, || std::fs::rename(&new, path));
        Done::Put(name, bytes)
    }

    /// A call that takes `path` away: where it says that there is none, it may have taken one of two.
    fn take_away(&mut self, what: &str, path: &Path, mut call: impl FnMut() -> io::Result<()>) {
        let inside = |path: &Path, branch: &Path| {
            let pool = branch.parent().unwrap().join("pool");
            branch.join(path.strip_prefix(pool).unwrap())
        };
        let places: Vec<_> = self.branches.iter().map(|b| inside(path, b)).collect();
        self.again(what, path, || match call() {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && !places.iter().any(|at| at.symlink_metadata().is_ok()) =>
            {
                Ok(())
            }
            other => other,
        });
    }

    /// Reads `name` by a new descriptor and asks the model.
    pub(crate) fn read_back(&mut self, pair: &mut Pair, name: Name) {
        let path = pair.path(name);
        let found = if pair.model.exists(name) {
            Some(self.again("read", &path, || std::fs::read(&path)))
        } else {
            self.still_there(&path).then(Vec::new)
        };
        if let Err(why) = pair.model.observe(name, found.as_deref()) {
            let on_branches = self.on_branches(pair);
            let told = format!("{}: {why}on the branches: {on_branches:#?}", pair.told());
            self.met.lost.push(told);
        }
    }

    /// Whether a name that was taken away stays.
    fn still_there(&mut self, path: &Path) -> bool {
        let begin = Instant::now();
        let mut lingers = false;
        // mergerfs shows attributes of a name that is gone for a second: only an open tells.
        while File::open(path).is_ok() {
            if begin.elapsed() > LINGERS {
                return true;
            }
            lingers = true;
            std::thread::sleep(BETWEEN);
        }
        self.met.lingered += u64::from(lingers);
        false
    }

    /// What the names of a group are on each branch.
    fn on_branches(&self, pair: &Pair) -> Vec<String> {
        let mut found = Vec::new();
        for (branch, name) in
            self.branches.iter().flat_map(|branch| Name::ALL.map(|name| (branch, name)))
        {
            let at = branch.join(pair.relative(name));
            if let (Ok(metadata), Ok(bytes)) = (at.symlink_metadata(), std::fs::read(&at)) {
                let hash = blake3::hash(&bytes).to_hex();
                found.push(format!(
                    "{}: inode {}, {} names, {} bytes ({})",
                    at.display(),
                    metadata.ino(),
                    metadata.nlink(),
                    bytes.len(),
                    &hash[..8]
                ));
            }
        }
        found
    }

    /// A call that has to succeed in the end, and may only fail by missing the name.
    fn again<T>(&mut self, what: &str, path: &Path, mut call: impl FnMut() -> io::Result<T>) -> T {
        for _ in 0..RETRIES {
            match self.call(what, path, &mut call) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.met.missed += 1,
                result => {
                    return result.unwrap_or_else(|e| panic!("{what} {}: {e}", path.display()));
                }
            }
            std::thread::sleep(BETWEEN);
        }
        panic!("{what} {}: missed {RETRIES} times", path.display());
    }

    fn call<T>(
        &mut self,
        what: &str,
        path: &Path,
        call: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let begin = Instant::now();
        let result = call();
        let took = begin.elapsed();
        self.met.blocked += u64::from(took > BLOCKED);
        if took > self.met.longest.0 {
            self.met.longest = (took, format!("{what} {}", path.display()));
        }
        result
    }
}

/// A process that writes through mappings: see `mapper.py`.
#[derive(Default)]
struct Mapper(Option<(Child, ChildStdin, BufReader<ChildStdout>)>);

impl Mapper {
    fn store(&mut self, path: &Path, offset: usize, text: &[u8]) -> io::Result<()> {
        let (_, to, from) = self.0.as_mut().expect("started");
        let text = std::str::from_utf8(text).unwrap();
        writeln!(to, "{}\t{offset}\t{text}", path.display())?;
        let mut answer = String::new();
        from.read_line(&mut answer)?;
        match answer.trim().parse() {
            Ok(number) => Err(io::Error::from_raw_os_error(number)),
            Err(_) => {
                assert_eq!(answer, "ok\n");
                Ok(())
            }
        }
    }

    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/live/mapper.py");
        let mut child = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut mapper = Self(Some((child, to, BufReader::new(from))));
        // Its start takes longer than any call may.
        let none = mapper.store(Path::new("/nowhere"), 0, b"").unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
        mapper
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        if let Some((mut child, to, _)) = self.0.take() {
            drop(to); // the end of its input ends it
            child.wait().unwrap();
        }
    }
}

/// `len` bytes of their own for operation `serial` on group `n`.
pub(super) fn own_bytes(n: usize, serial: usize, len: usize) -> Vec<u8> {
    tree::bytes(1 << 40 | (n as u64) << 8 | serial as u64, len)
}

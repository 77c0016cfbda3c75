//! What the paths of one group may hold, from what was acknowledged on them.
//!
//! **The invariant.** An acknowledged operation on a path shows at that path, until a later acknowledged operation on
//! it, or on a path that is the same file by then, replaces what it did.
//!
//! Which paths are one file is where a run comes in. Master and duplicate begin as two files with equal bytes, and
//! the tool makes them one at a moment that no client sees. So an operation on one of them may show at the other too,
//! if both had equal bytes when it happened: then they may have been one file already. It never *has* to: a model has
//! every state that the operations so far allow, and what is read must be one of them. As the bytes of every
//! operation are its own, master and duplicate part for good with the first one that shows at one of them only, so
//! there are hardly more states than operations.
//!
//! Names know no such doubt: who deletes, renames or saves over a path has done that to this path alone.

use std::fmt::Write as _;

/// A path of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// The path of the copy that stays.
    Master,
    /// The path that gets another inode.
    Duplicate,
    /// A second name of the duplicate, where it has one.
    Second,
    /// A free path that clients rename to.
    Away,
}

impl Name {
    pub(crate) const ALL: [Self; 4] = [Self::Master, Self::Duplicate, Self::Second, Self::Away];
}

/// A change to the bytes of a file that keeps its inode.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    /// These bytes at this offset.
    Write(usize, Vec<u8>),
    /// These bytes at the end.
    Append(Vec<u8>),
    /// Cut to this length.
    Truncate(usize),
    /// Cut to nothing and written anew.
    Rewrite(Vec<u8>),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, new) => bytes[*offset..offset + new.len()].copy_from_slice(new),
            Self::Append(new) => bytes.extend_from_slice(new),
            Self::Truncate(len) => bytes.truncate(*len),
            Self::Rewrite(new) => bytes.clone_from(new),
        }
    }
}

/// Something that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) enum Done {
    /// The file behind this name was changed.
    Edited(Name, Edit),
    /// This name has a new file with these bytes, whatever it had before.
    Put(Name, Vec<u8>),
    /// This name is gone.
    Removed(Name),
    /// The first name's file has the second name now, which was free.
    Moved(Name, Name),
}

/// One way in which everything so far can have come about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    /// The file of each name.
    names: [Option<usize>; 4],
    /// The bytes of each file.
    files: Vec<Vec<u8>>,
}

impl State {
    fn bytes(&self, name: Name) -> Option<&Vec<u8>> {
        self.names[name as usize].map(|file| &self.files[file])
    }

    /// What `done` makes of it: one state, or two, unless files stay `apart`.
    fn after(mut self, done: &Done, apart: bool) -> Vec<Self> {
        match done {
            Done::Put(name, bytes) => {
                self.names[*name as usize] = Some(self.files.len());
                self.files.push(bytes.clone());
            }
            Done::Removed(name) => self.names[*name as usize] = None,
            Done::Moved(from, to) => {
                self.names[*to as usize] = self.names[*from as usize].take();
            }
            Done::Edited(name, edit) => {
                let mut states = self.edited(*name, edit);
                states.truncate(if apart { 1 } else { 2 });
                return states;
            }
        }
        vec![self]
    }

    fn edited(self, name: Name, edit: &Edit) -> Vec<Self> {
        let file = self.names[name as usize].expect("clients edit files that exist");
        let mut alone = self.clone();
        edit.apply(&mut alone.files[file]);
        let mut shared = self;
        let before = shared.files[file].clone();
        for bytes in shared.files.iter_mut().filter(|bytes| **bytes == before) {
            edit.apply(bytes);
        }
        if shared == alone { vec![alone] } else { vec![alone, shared] }
    }
}

/// Everything that one group may be.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    states: Vec<State>,
    /// What was acknowledged, for the message when something is lost.
    history: Vec<String>,
    /// Master and duplicate never become one file.
    apart: bool,
}

impl Model {
    /// Master and duplicate, the latter with one name or two, all with these bytes.
    pub(crate) fn new(bytes: &[u8], second: bool) -> Self {
        let names = [Some(0), Some(1), second.then_some(1), None];
        let files = vec![bytes.to_vec(), bytes.to_vec()];
        Self { states: vec![State { names, files }], history: Vec::new(), apart: false }
    }

    /// Master and duplicate stay two files, whatever a run does.
    pub(crate) fn stay_apart(&mut self) {
        self.apart = true;
    }

    /// Whether the name has a file.
    pub(crate) fn exists(&self, name: Name) -> bool {
        self.states[0].names[name as usize].is_some()
    }

    /// Takes note of something acknowledged; `when` is for the message.
    pub(crate) fn acknowledge(&mut self, done: &Done, when: &str) {
        let mut note = match done {
            Done::Edited(name, Edit::Write(at, new)) => {
                format!("wrote {} at {at} of {name:?}", new.len())
            }
            Done::Edited(name, Edit::Append(new)) => format!("appended {} to {name:?}", new.len()),
            Done::Edited(name, Edit::Truncate(len)) => format!("cut {name:?} to {len}"),
            Done::Edited(name, Edit::Rewrite(new)) => {
                format!("rewrote {name:?} with {}", new.len())
            }
            Done::Put(name, new) => format!("put {} at {name:?}", new.len()),
            Done::Removed(name) => format!("removed {name:?}"),
            Done::Moved(from, to) => format!("renamed {from:?} to {to:?}"),
        };
        write!(note, " ({when})").unwrap();
        self.history.push(note);
        let states = std::mem::take(&mut self.states);
        let apart = self.apart;
        for state in states.into_iter().flat_map(|state| state.after(done, apart)) {
            if !self.states.contains(&state) {
                self.states.push(state);
            }
        }
    }

    /// Takes note of what a name was found to hold.
    ///
    /// # Errors
    /// When nothing acknowledged so far explains it.
    pub(crate) fn observe(&mut self, name: Name, found: Option<&[u8]>) -> Result<(), String> {
        let fits = |state: &State| state.bytes(name).map(Vec::as_slice) == found;
        if self.states.iter().any(fits) {
            self.states.retain(fits);
            return Ok(());
        }
        let mut why = format!(
            "{name:?} holds what no acknowledged operation explains: {}\nacknowledged: {:#?}\n",
            described(found),
            self.history
        );
        for state in &self.states {
            let expected = state.bytes(name).map(Vec::as_slice);
            let at = first_difference(expected.unwrap_or_default(), found.unwrap_or_default());
            writeln!(why, "may hold {}, which differs at {at}", described(expected)).unwrap();
        }
        Err(why)
    }
}

fn described(bytes: Option<&[u8]>) -> String {
    bytes.map_or("nothing".to_owned(), |bytes| {
        format!("{} bytes ({})", bytes.len(), &blake3::hash(bytes).to_hex()[..8])
    })
}

fn first_difference(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[test]
fn a_model_allows_one_file_or_two_and_no_lost_write() {
    let write = |name| Done::Edited(name, Edit::Write(1, b"X".to_vec()));
    let (old, new): (&[u8], &[u8]) = (b"abc", b"aXc");
    for (name, other) in [(Name::Master, Name::Duplicate), (Name::Duplicate, Name::Master)] {
        let mut model = Model::new(old, false);
        model.acknowledge(&write(name), "now");
        assert!(model.clone().observe(name, Some(old)).is_err());
        assert!(model.clone().observe(name, None).is_err());
        model.observe(name, Some(new)).unwrap();
        model.clone().observe(other, Some(old)).unwrap();
        // Once they were two, they are two.
        model.observe(other, Some(old)).unwrap();
        assert!(model.observe(other, Some(new)).is_err());
    }
    let mut model = Model::new(old, true);
    model.acknowledge(&write(Name::Duplicate), "now");
    assert!(model.clone().observe(Name::Second, Some(old)).is_err());
    model.acknowledge(&Done::Removed(Name::Second), "later");
    assert!(model.clone().observe(Name::Second, Some(new)).is_err());
    model.acknowledge(&Done::Put(Name::Duplicate, b"saved".to_vec()), "at last");
    assert!(model.clone().observe(Name::Duplicate, Some(new)).is_err());
    model.observe(Name::Duplicate, Some(b"saved".as_slice())).unwrap();
}

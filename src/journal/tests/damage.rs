//! Damaged journals: whatever is hit, opening says so or loses nothing, and never panics.

use std::fs;
use std::path::{Path, PathBuf};

use super::disk::{filled, made, write};
use super::*;

/// A small generator, so that a failure can be repeated from its seed.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            write(&to, &fs::read(entry.path()).unwrap());
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if !path.ends_with("log.csv") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Spoils a part of `bytes`: mostly the part that was written to.
fn spoil(bytes: &mut Vec<u8>, seed: &mut Seeded) -> &'static str {
    let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    let at = seed.below(used);
    let end = (at + 4096).min(bytes.len());
    match seed.below(5) {
        0 => {
            bytes.truncate(at);
            "truncated"
        }
        1 => {
            bytes[at..end].fill(0);
            "zeroed"
        }
        2 => {
            bytes[at..end].iter_mut().for_each(|b| *b = u8::try_from(seed.below(256)).unwrap());
            "garbage"
        }
        3 => {
            bytes.clear();
            "emptied"
        }
        _ if used > 0 => {
            bytes[at] ^= 1 << seed.below(8);
            "flipped"
        }
        _ => "left alone",
    }
}

/// Whether the journal opens, complete then; otherwise it is refused as damaged.
fn intact(dir: &Path, written: &[Entry], context: &str) -> bool {
    match create_or_open(dir, None) {
        Ok(journal) => {
            assert!(every_entry(&journal) == written, "{context}: lost");
            true
        }
        Err(JournalError::Damaged { .. } | JournalError::NewerVersion { .. }) => false,
        Err(other) => panic!("{context}: {other:?}"),
    }
}

fn check(original: &Path, written: &[Entry], copies: u64) -> (u32, u32) {
    let (mut complete, mut refused) = (0, 0);
    for seed in 0..copies {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("journal");
        copy_tree(original, &dir);
        let files = files(&dir);
        let index = usize::try_from(seed).unwrap() % files.len();
        let mut bytes = fs::read(&files[index]).unwrap();
        let how = spoil(&mut bytes, &mut Seeded(seed));
        write(&files[index], &bytes);
        let context = format!("{:?} {how}", files[index]);
        if intact(&dir, written, &context) {
            complete += 1;
            // It goes on from there, and what was harmless once stays so.
            let mut longer = written.to_vec();
            if let Ok(mut journal) = create_or_open(&dir, None) {
                journal.start_run(run_started).unwrap();
                longer = every_entry(&journal);
            }
            intact(&dir, &longer, &context);
        } else {
            refused += 1;
            // Opening may have changed the database; that must not make it look whole.
            intact(&dir, written, &context);
        }
    }
    (complete, refused)
}

#[test]
fn damage_anywhere_is_noticed_or_harmless() {
    let temp = tempfile::tempdir().unwrap();
    // Never reopened since it was filled, and reopened since: sled's snapshot is older or newer than the records.
    let fresh = temp.path().join("fresh");
    let reopened = temp.path().join("reopened");
    let written = filled(&fresh, 1_600, 64);
    let again = filled(&reopened, 1_600, 64);
    made(&reopened);
    for (original, written) in [(fresh, written), (reopened, again)] {
        let (complete, refused) = check(&original, &written, 24);
        println!("{original:?}: {complete} complete, {refused} refused");
        assert!(complete > 0 && refused > 0);
    }
}

#[test]
fn a_database_older_than_its_mark_is_damaged() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("journal");
    filled(&dir, 8, 8);
    let old = temp.path().join("old");
    copy_tree(&dir.join("db"), &old);
    let mut journal = made(&dir);
    journal.start_run(run_started).unwrap();
    drop(journal);
    for file in files(&dir.join("db")) {
        #[expect(clippy::disallowed_methods, reason = "a directory of this test's own")]
        fs::remove_file(file).unwrap();
    }
    for file in files(&old) {
        write(&dir.join("db").join(file.file_name().unwrap()), &fs::read(&file).unwrap());
    }
    assert!(matches!(
        create_or_open(&dir, None),
        Err(JournalError::Damaged { what, .. }) if what == "records 26 to 26 are missing"
    ));
}

/// A database emptied under a newer snapshot makes sled panic in about half of the cases, by how it laid out its log;
/// otherwise sled says that it is corrupted.
#[test]
fn a_panic_inside_the_database_is_damage() {
    let mut texts = Vec::new();
    for _ in 0..24 {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("journal");
        filled(&dir, 1_600, 64);
        made(&dir);
        write(&dir.join("db/db"), b"");
        match create_or_open(&dir, None) {
            Err(JournalError::Damaged { what, .. }) => texts.push(what),
            other => panic!("{:?}", other.map(drop)),
        }
        if texts.iter().any(|what| what.starts_with("the database cannot be used: index")) {
            return;
        }
    }
    panic!("no panic in {texts:?}");
}

//! The journal in a directory: made, locked, reopened, cut short.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::journal::dir_lock::DirLock;
use crate::journal::durable::MarkFile;
use crate::journal::durable::check_space;
use crate::journal::sled_store::Database;

pub(super) fn made(dir: &Path) -> Journal<SledStore> {
    create_or_open(dir, None).unwrap()
}

/// Makes a journal with one run and `ops` ops, in batches of `batch`; returns the journal's entries.
pub(super) fn filled(dir: &Path, ops: u64, batch: u64) -> Vec<Entry> {
    let mut journal = made(dir);
    let run = journal.start_run(run_started).unwrap().run;
    for _ in 0..ops.div_ceil(batch) {
        let ids: Vec<OpId> = (0..batch).map(|_| journal.next_op(run)).collect();
        let intents: Vec<Record> = ids.iter().map(|id| boxed_intent(*id, "a/name.mkv")).collect();
        journal.record(&intents, NOW).unwrap();
        let done: Vec<Record> = ids
            .iter()
            .flat_map(|op| [Record::Retired { op: *op }, Record::Done { op: *op, reclaimed: 1 }])
            .collect();
        journal.record(&done, NOW).unwrap();
    }
    every_entry(&journal)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_journal_is_made_with_its_parents_and_comes_back_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("var/lib/journal");
    assert!(open_existing(&dir, None).unwrap().is_none());
    assert!(!temp.path().join("var").exists());

    let written = filled(&dir, 104, 8);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(names(dir.parent().unwrap()), ["journal"]);
    assert_eq!(names(&dir), ["db", "log.csv", "mark"]);

    let journal = open_existing(&dir, None).unwrap().unwrap();
    let id = journal.id();
    assert_eq!(every_entry(&journal), written);
    drop(journal);
    assert_eq!(made(&dir).id(), id);
    let log = fs::read_to_string(dir.join("log.csv")).unwrap();
    assert_eq!(log.lines().count(), 1 + 3 * 104);
}

#[test]
fn long_records_and_big_batches_make_no_unsynced_side_files() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("journal");
    let mut journal = made(&dir);
    let run = journal.start_run(run_started).unwrap().run;
    let path = rel([vec![b'a'; 2047], vec![b'/'], vec![0xff; 2048]].concat());
    let mut batch = Vec::new();
    for _ in 0..64 {
        let mut long = intent(journal.next_op(run), &vec![path.clone(); 20]);
        long.metadata.xattrs.insert(vec![b'x'; 200], vec![1; 65_536]);
        batch.push(Record::Intent(Box::new(long)));
    }
    journal.record(&batch, NOW).unwrap();
    drop(journal);
    assert_eq!(names(&dir.join("db/blobs")), Vec::<String>::new());
    let again = open_existing(&dir, None).unwrap().unwrap();
    let records: Vec<Record> = every_entry(&again).into_iter().map(|e| e.record).skip(1).collect();
    assert!(records == batch);
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("journal");
    let first = made(&dir);
    let locked = |result| matches!(result, Err(JournalError::Locked { path }) if path == dir);
    assert!(locked(create_or_open(&dir, None).map(drop)));
    assert!(locked(open_existing(&dir, None).map(drop)));
    drop(first);
    made(&dir);
}

#[test]
fn an_empty_directory_becomes_a_journal_and_a_full_one_does_not() {
    let temp = tempfile::tempdir().unwrap();
    let empty = temp.path().join("empty");
    let target = temp.path().join("target");
    let link = temp.path().join("link");
    fs::create_dir(&empty).unwrap();
    fs::create_dir(&target).unwrap();
    symlink(&target, &link).unwrap();
    made(&empty);
    made(&link);
    assert_eq!(names(&target), ["db", "log.csv", "mark"]);
    assert!(link.is_symlink());

    let other = temp.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::File::create(other.join("film.mkv")).unwrap();
    for dir in [&other, &other.join("film.mkv")] {
        assert!(matches!(create_or_open(dir, None), Err(JournalError::NotAJournal { .. })));
        assert!(matches!(open_existing(dir, None), Err(JournalError::NotAJournal { .. })));
    }
    assert_eq!(names(&other), ["film.mkv"]);
}

/// Every state a creation goes through, as far as names and lengths tell.
#[test]
fn a_creation_cut_short_anywhere_is_begun_again() {
    let whole = tempfile::tempdir().unwrap();
    made(&whole.path().join("journal"));
    let whole = whole.path().join("journal");
    fs::OpenOptions::new().write(true).open(whole.join("log.csv")).unwrap().set_len(0).unwrap();
    let parts = ["db", "db/blobs", "db/conf", "db/db", "db/snap", "mark"];
    for upto in 0..=parts.len() {
        for emptied in [false, true] {
            let temp = tempfile::tempdir().unwrap();
            let dir = temp.path().join("journal");
            let new = temp.path().join("journal.new");
            fs::create_dir(&new).unwrap();
            for part in &parts[..upto] {
                make_part(&whole, &new, part, emptied);
            }
            let mut journal = made(&dir);
            assert_eq!(journal.start_run(run_started).unwrap().run, 1, "{upto}");
            assert_eq!(names(temp.path()), ["journal"]);
        }
    }
}

fn make_part(whole: &Path, new: &Path, part: &str, emptied: bool) {
    if matches!(part, "db" | "db/blobs") {
        return fs::create_dir(new.join(part)).unwrap();
    }
    let copy = |name: &str| {
        let bytes = if emptied { Vec::new() } else { fs::read(whole.join(name)).unwrap() };
        write(&new.join(name), &bytes);
    };
    if part == "db/snap" {
        let all = names(&whole.join("db"));
        return all.iter().filter(|n| n.starts_with("snap")).for_each(|n| copy(&format!("db/{n}")));
    }
    copy(part);
}

pub(super) fn write(path: &Path, bytes: &[u8]) {
    std::io::Write::write_all(&mut fs::File::create(path).unwrap(), bytes).unwrap();
}

#[test]
fn a_directory_that_only_looks_half_made_is_not_touched() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("journal");
    let new = temp.path().join("journal.new");
    fs::create_dir_all(new.join("db")).unwrap();
    for stranger in ["film.mkv", "db/film.mkv"] {
        write(&new.join("mark"), b"x");
        write(&new.join(stranger), b"x");
        let refused = create_or_open(&dir, None);
        assert!(matches!(refused, Err(JournalError::NotAJournal { path }) if path == new));
        assert!(new.join("mark").exists() && new.join(stranger).exists());
        assert!(!dir.exists());
    }
}

#[test]
fn a_journal_that_lacks_a_part_is_damaged() {
    for part in ["mark", "db", "db/db", "db/conf"] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("journal");
        filled(&dir, 8, 8);
        let away = temp.path().join("away");
        move_away(&dir.join(part), &away);
        for _ in 0..2 {
            assert!(
                matches!(create_or_open(&dir, None), Err(JournalError::Damaged { .. })),
                "{part}"
            );
        }
        move_away(&away, &dir.join(part));
        assert_eq!(every_entry(&made(&dir)).len(), 25);
    }
}

#[test]
fn a_fifo_in_the_place_of_a_part_is_damage_and_nobody_waits_for_it() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("journal");
    filled(&dir, 8, 8);
    for part in ["mark", "db"] {
        let away = temp.path().join("away");
        move_away(&dir.join(part), &away);
        nix::unistd::mkfifo(&dir.join(part), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let opened = create_or_open(&dir, None);
        assert!(matches!(opened, Err(JournalError::Damaged { .. })), "{part}");
        drop(crate::journal::remains(&dir, None));
        move_away(&dir.join(part), &temp.path().join(format!("fifo-{part}")));
        move_away(&away, &dir.join(part));
    }
}

#[expect(clippy::disallowed_methods, reason = "a directory of this test's own")]
fn move_away(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}

#[test]
fn the_log_goes_where_it_is_asked_to_and_nothing_else_is_written_over() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("journal");
    let log = temp.path().join("log");
    let mut journal = create_or_open(&dir, Some(&log)).unwrap();
    let run = journal.start_run(run_started).unwrap().run;
    let op = journal.next_op(run);
    journal.record(&[boxed_intent(op, "x")], NOW).unwrap();
    drop(journal);
    assert!(!dir.join("log.csv").exists());
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);

    let film = temp.path().join("film.mkv");
    write(&film, b"time,run,op,film");
    assert!(matches!(
        create_or_open(&dir, Some(&film)),
        Err(JournalError::NotALog { path }) if path == film
    ));
    assert_eq!(fs::read(&film).unwrap(), b"time,run,op,film");
}

#[test]
fn a_torn_last_line_of_the_log_is_closed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("journal");
    filled(&dir, 8, 8);
    let log = dir.join("log.csv");
    let whole = fs::read(&log).unwrap();
    let line = b"2026-01-31T23:59:59Z,1,1,PENDING,\"/mnt/pool/a\nb\"";
    for (before, cut, end) in [
        (&whole[..], line.len(), "b\"\n"),
        (&whole[..], line.len() - 1, "b\"\n"),
        (&whole[..], line.len() - 2, "a\n\"\n"),
        (&whole[..], 10, "2026-01-31\n"),
        (&whole[..4], 0, "time,run,op,state,pool_path,master,from,to,bytes\n"),
        (&whole[..0], 0, "time,run,op,state,pool_path,master,from,to,bytes\n"),
    ] {
        write(&log, &[before, &line[..cut]].concat());
        made(&dir);
        let closed = fs::read(&log).unwrap();
        assert!(closed.ends_with(end.as_bytes()), "{end:?}");
        made(&dir);
        assert_eq!(fs::read(&log).unwrap(), closed);
    }
}

#[test]
fn a_new_database_has_a_snapshot_before_its_first_record() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("db");
    Database::create(&dir).unwrap();
    assert!(names(&dir).iter().any(|name| name.starts_with("snap.")));
}

#[test]
fn marks_are_written_to_the_two_slots_in_turn() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("mark");
    MarkFile::create(&path, 3).unwrap();
    let mark = |seq| Mark { seq, ..Mark::genesis(3) };
    let mut file = MarkFile::open(&path).unwrap();
    for seq in 1..6 {
        if seq == 4 {
            file = MarkFile::open(&path).unwrap();
        }
        file.write(&mark(seq)).unwrap();
        let whole = fs::read(&path).unwrap();
        let seqs = [4096, 8192].map(|slot| {
            let mut one = whole.clone();
            one[slot..slot + 36].fill(0);
            mark::parse(&one).unwrap().mark.seq
        });
        assert_eq!((seqs[0].min(seqs[1]), seqs[0].max(seqs[1])), (seq - 1, seq));
        assert_eq!(MarkFile::open(&path).unwrap().mark(), mark(seq));
    }
}

#[test]
fn a_lock_knows_when_its_name_leads_elsewhere() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, away) = (temp.path().join("journal"), temp.path().join("away"));
    fs::create_dir(&dir).unwrap();
    let lock = DirLock::take(&dir).unwrap().unwrap();
    assert!(lock.still_leads_there().unwrap());
    move_away(&dir, &away);
    assert!(!lock.still_leads_there().unwrap());
    fs::create_dir(&dir).unwrap();
    assert!(!lock.still_leads_there().unwrap());
    assert!(DirLock::take(&temp.path().join("none")).unwrap().is_none());
}
#[test]
fn too_little_space_is_said_before_anything_is_written() {
    let temp = tempfile::tempdir().unwrap();
    let later = temp.path().join("journal");
    check_space(&later, 1).unwrap();
    let short = check_space(&later, u64::MAX);
    let short = short.unwrap_err();
    assert!(
        matches!(&short, JournalError::NoSpace { path, free, needed: u64::MAX } if *path == later && *free > 0)
    );
    assert!(short.to_string().ends_with("17592186044416 MiB needed)"), "{short}");
}

#[expect(clippy::disallowed_methods, reason = "a directory of this test's own")]
#[test]
fn a_snapshot_that_a_killed_process_was_writing_is_no_damage() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("journal");
    let written = filled(&dir, 20, 5);
    let snapshot = names(&dir.join("db"));
    let snapshot = snapshot.iter().find(|name| name.starts_with("snap."));
    let snapshot = dir.join("db").join(snapshot.unwrap());
    let whole = fs::read(&snapshot).unwrap();
    for half in [&whole[..0], &whole[..whole.len() / 2], &[0xa5; 4096]] {
        let unfinished = dir.join("db/snap.FFFFFFFFFFFFFFF0.generating");
        fs::write(&unfinished, half).unwrap();
        let journal = open_existing(&dir, None).unwrap().unwrap();
        assert_eq!(every_entry(&journal), written);
        assert!(!unfinished.exists());
    }
}

#[test]
fn a_look_at_a_copy_shows_what_is_open_and_changes_no_byte() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("journal");
    assert_eq!(look_at_copy(&dir, |_| ()).unwrap(), None);
    assert!(!dir.exists());
    filled(&dir, 8, 8);
    let mut journal = made(&dir);
    let op = journal.next_op(1);
    journal.record(&[boxed_intent(op, "a/name.mkv")], NOW).unwrap();
    let locked = look_at_copy(&dir, |_| ());
    assert!(matches!(locked, Err(JournalError::Locked { path }) if path == dir));
    drop(journal);

    let state = || {
        let files = names(&dir.join("db")).into_iter().filter(|name| name != "blobs");
        let paths = files.map(|name| dir.join("db").join(name)).chain([dir.join("mark")]);
        let state = |path: PathBuf| {
            (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap(), path)
        };
        paths.map(state).collect::<Vec<_>>()
    };
    let before = state();
    let open = look_at_copy(&dir, |copy| copy.open_ops()).unwrap().unwrap();
    assert_eq!(open.iter().map(|open| open.intent.op).collect::<Vec<_>>(), [op]);
    assert_eq!(state(), before);
    assert_eq!(names(&dir), ["db", "log.csv", "mark"]);

    drop(fs::File::create(dir.join("db/db")).unwrap());
    let damaged = look_at_copy(&dir, |_| ());
    assert!(matches!(damaged, Err(JournalError::Damaged { path, .. }) if path == dir));
}

#[test]
fn a_journal_that_cannot_be_made_is_known_before_and_named() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    drop(fs::File::create(&file).unwrap());
    for dir in [file.join("journal"), file.join("a/b/journal")] {
        assert!(open_existing(&dir, None).unwrap().is_none());
        let not_made = |error: &JournalError| {
            let message = error.to_string();
            assert!(message.contains("cannot make the journal") && message.contains("(os error"));
            matches!(error, JournalError::NotMade { path, .. } if *path == dir)
        };
        assert!(not_made(&can_be_made(&dir).unwrap_err()));
        assert!(not_made(&create_or_open(&dir, None).unwrap_err()));
    }
    assert_eq!(names(temp.path()), ["file"]);
    let dir = temp.path().join("a/b/journal");
    can_be_made(&dir).unwrap();
    assert_eq!(names(temp.path()), ["file"]);
    made(&dir);
    can_be_made(&dir).unwrap();
}

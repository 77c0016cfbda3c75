//! Recovery acts only on the files its records mean: a number that was used again, a disk in another's place and
//! contents that changed since are not those.

use std::collections::BTreeSet;

use mergerfs_xdedup::execute::Options;
use mergerfs_xdedup::fs::{Look, Place, Timestamp};
use mergerfs_xdedup::journal::mem_store::MemStore;
use mergerfs_xdedup::journal::{Intent, Journal, JournalError, Record};
use mergerfs_xdedup::plan::OpId;

use super::deaths::killed;
use super::meddling::settle;
use super::scenario::{self, Scenario};
use super::session::{Check, Failures, Session, ensure};

/// The journal of `session`, with its open intents changed.
fn rewritten(session: &Session, change: impl Fn(&mut Intent)) -> MemStore {
    let old = Journal::open(session.store.after_kill()).unwrap();
    let store = MemStore::new(old.id());
    let mut new = Journal::open(store.handle()).unwrap();
    old.replay(None, |entry| -> Result<(), JournalError> {
        let mut record = entry.record;
        if let Record::Intent(intent) = &mut record {
            change(intent);
        }
        new.record(&[record], entry.time)
    })
    .unwrap();
    store
}

fn untouched(session: &Session, before: &Session) -> Check {
    ensure(session.world.files() == before.world.files(), || "files were changed".to_owned())
}

/// Kills a run at every call, and recovers with what `other` makes of the session; `check` sees it before and after.
fn each_kill(
    scenarios: Vec<Scenario>,
    check: impl Fn(&Session, &Session) -> Check,
    other: impl Fn(&Session) -> (Session, Options),
) {
    let mut failures = Failures::default();
    for scenario in scenarios {
        let view = Session::new(&scenario).view();
        let mut n = 1;
        while let Some(first) = killed(&scenario, n) {
            let (mut second, options) = other(&first);
            let recovered = second.recover_with(options).map(drop);
            let point = || format!("killed at {n}: {recovered:?}");
            let check = second.shows(&view).and(check(&second, &first.next()));
            failures.note(check, scenario.name, point, &second);
            n += 1;
        }
    }
    assert!(failures.points() > 200);
}

fn few() -> Vec<Scenario> {
    vec![scenario::cross(), scenario::local(), scenario::link_set()]
}

/// Not the birth time of any file.
const OTHER: Timestamp = Timestamp { secs: 1_234_567, nanos: 8 };

#[test]
fn a_file_whose_inode_number_was_used_again_is_not_removed() {
    type Change = fn(&mut Intent);
    let others: [(&str, Change); 2] = [
        ("duplicate", |intent| intent.duplicate.id.btime = Some(OTHER)),
        ("master", |intent| intent.master.id.btime = Some(OTHER)),
    ];
    for (what, change) in others {
        let check = |second: &Session, first: &Session| {
            let inodes = |session: &Session| {
                let files = session.world.files().into_values();
                files.map(|(id, _)| id).collect::<BTreeSet<_>>()
            };
            ensure(inodes(second) == inodes(first), || format!("the {what} was removed"))
        };
        each_kill(few(), check, |first| {
            let next = first.next_with(&rewritten(first, change));
            let options = next.options();
            (next, options)
        });
    }
}

#[test]
fn a_branch_that_is_another_filesystem_by_now_is_not_touched() {
    for branch in [0, 1] {
        each_kill(vec![scenario::cross(), scenario::link_set()], untouched, |first| {
            let next = first.next();
            let mut options = next.options();
            options.branches[branch].fs.as_mut().unwrap().uuid[0] ^= 0xff;
            (next, options)
        });
    }
}

#[test]
fn what_the_journal_calls_the_contents_is_what_was_replaced() {
    let mut failures = Failures::default();
    for scenario in few() {
        let mut n = 1;
        while let Some(first) = killed(&scenario, n) {
            n += 1;
            let mut second = first.next();
            let inode = |at: &Place| second.world.client_read(&at.path).unwrap().0;
            if inode(&scenario.master) == inode(&scenario.duplicate) {
                continue;
            }
            // Both copies, alike, and not through each other.
            let bytes = b"WRITTEN TO BOTH";
            for at in [&scenario.master, &scenario.duplicate] {
                drop(second.world.client_write(&at.path, &bytes[..scenario::BYTES.len()]));
            }
            second.world.fs().pause(std::time::Duration::from_secs(100));
            let settled = settle(&mut second);
            let check = settled.and_then(|()| hashes_agree(&second, &ended(&first).1));
            failures.note(check, scenario.name, || format!("killed at {}", n - 1), &second);
        }
    }
    assert!(failures.points() > 100);
}

/// The intents of a journal, and which of them are done.
fn ended(session: &Session) -> (Vec<Intent>, Vec<OpId>) {
    let journal = Journal::open(session.store.after_kill()).unwrap();
    let (mut intents, mut done) = (Vec::new(), Vec::new());
    journal
        .replay(None, |entry| -> Result<(), JournalError> {
            match entry.record {
                Record::Intent(intent) => intents.push(*intent),
                Record::Done { op, .. } => done.push(op),
                _ => {}
            }
            Ok(())
        })
        .unwrap();
    (intents, done)
}

/// What was done by recovery had the contents the journal says: `verify` goes by them.
fn hashes_agree(session: &Session, before: &[OpId]) -> Check {
    let (intents, done) = ended(session);
    let by_recovery = |op| done.contains(op) && !before.contains(op);
    for intent in intents.iter().filter(|intent| by_recovery(&intent.op)) {
        let (_, bytes) = session.world.client_read(&intent.names[0].path).unwrap();
        let equal = *blake3::hash(&bytes).as_bytes() == intent.blake3;
        ensure(equal, || format!("{:?} has other contents", intent.names[0].path))?;
    }
    Ok(())
}

/// Between a kill and `resume` a client changes the kept copy's mode: the names must not get it unasked.
#[test]
fn a_kept_copy_with_another_mode_since_the_op_began_is_not_linked() {
    let scenario = scenario::cross();
    let mut n = 1;
    let mut taken_back = 0;
    while let Some(session) = killed(&scenario, n) {
        n += 1;
        let mut next = session.next();
        let files = next.world.files();
        let replaced = files.contains_key(&scenario.ops[0].target(0));
        if !files.contains_key(&scenario.duplicate) || replaced || !next.is_open() {
            continue;
        }
        let path = &scenario.master.path;
        next.world.client_chmod(path, 0o666).unwrap();
        assert_eq!(next.recover().unwrap(), 0);
        assert!(next.world.files().contains_key(&scenario.duplicate), "{n}");
        taken_back += 1;
    }
    assert!(taken_back > 10, "{taken_back}");
}

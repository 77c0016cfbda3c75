//! Ops that an older build left open are finished by this one: records of format 2 have no handles, those of format 3
//! no inode flags.
//!
//! `open_2.txt` and `open_3.txt` have the records of four journals as such builds wrote them, for a pool of the
//! simulation. If the simulation numbers its files in another way, `XDEDUP_UPDATE=1` writes the files anew.
#![allow(clippy::disallowed_methods, reason = "the fixture lies in no pool")]

use std::collections::BTreeMap;
use std::time::Duration;

use super::codec::hex;
use super::format_2::{encode_2, unhex};
use super::format_3::encode_3;
use super::*;
use crate::execute::{Executor, Leases, Observer, OpEnded, Options, RunError};
use crate::fs::sim::{Fault, SimWorld, place};
use crate::fs::{InodeId, Look, Place};
use crate::journal::codec::{decode, split};
use crate::journal::mem_store;
use crate::plan::hidden_name::is_hidden_name;
use crate::plan::metadata::IgnoreMetadata;
use crate::plan::{Op, OpFile, OpName};
use crate::rescue::undo;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/journal/tests");

/// The formats that older builds wrote.
const FORMATS: [u8; 2] = [2, 3];

/// The bytes of `records`, the first ones of journal 7, as a program of `format` wrote them.
fn encode_all(format: u8, records: &[Record]) -> Vec<Vec<u8>> {
    let (mut chain, mut all) = (Mark::genesis(7).chain, Vec::new());
    for (record, seq) in records.iter().zip(1..) {
        let encode = if format == 2 { encode_2 } else { encode_3 };
        let (bytes, next) = encode(seq, NOW, record.clone(), chain);
        assert_eq!(bytes[0], format);
        chain = next;
        all.push(bytes);
    }
    all
}

/// A store that holds `records` as a program of format 2 wrote them, one batch.
pub(super) fn store_2(records: &[Record]) -> MemStore {
    store_of(&encode_all(2, records))
}

struct Nobody;

impl Observer for Nobody {
    fn ended(&mut self, _: &OpEnded<'_>) {}
}

/// A pool and a journal, between two processes.
struct Scene {
    world: SimWorld,
    store: MemStore,
}

fn master() -> Place {
    place(BranchIdx(0), "m/a")
}

fn duplicate() -> Place {
    place(BranchIdx(1), "d/e/b")
}

/// The directories of the duplicate are missing on the other disk.
fn begin() -> (Scene, Op) {
    let world = SimWorld::new();
    for _ in 0..2 {
        world.add_branch(world.add_disk());
    }
    let file = |at: Place| OpFile { id: world.add_file(&at, b"the same bytes"), at };
    let (kept, other) = (file(master()), file(duplicate()));
    let path = duplicate().path;
    let name = OpName { path, from: BranchIdx(1), to: BranchIdx(0), found: Found::Absent };
    let op = Op::planned(OpKind::Cross, kept, other, 14, 4096, vec![name]);
    (Scene { world, store: MemStore::new(7) }, op)
}

impl Scene {
    fn next(&self, store: &MemStore) -> Self {
        let (world, store) = (self.world.fork(), store.after_kill());
        let gate = world.clone();
        store.set_gate(move |step| match gate.outside_call(&format!("journal {step:?}")) {
            Ok(()) => None,
            Err(_) => Some(mem_store::Fault::Die),
        });
        Self { world, store }
    }

    fn options(&self) -> Options {
        let fork = self.world.fork();
        let branches = self.world.pool().branches.into_iter().zip(0..).map(|(branch, n)| {
            let root = fork.fs().stat(&place(BranchIdx(n), "")).unwrap().unwrap();
            let fs = Some(self.world.fs_id(BranchIdx(n)));
            BranchRecord { path: branch.path, mode: branch.mode, fs, root_ino: root.id.ino }
        });
        Options {
            branches: branches.collect(),
            departed: Vec::new(),
            ignore: IgnoreMetadata::default(),
            leases: Leases::Required,
            newest_dirs: false,
            scanned: None,
            batch_names: 100,
            batch_bytes: u64::MAX,
        }
    }

    fn started(&self, run: u64) -> RunStarted {
        RunStarted { pool: "/pool".into(), branches: self.options().branches, ..run_started(run) }
    }

    fn run(&self, op: &Op) -> Result<(), RunError> {
        let (fs, mut journal) = (self.world.fs(), Journal::open(self.store.handle())?);
        let run = journal.start_run(|run| self.started(run))?.run;
        Executor::new(&fs, &mut journal, &mut Nobody, self.options(), run).run(vec![op.clone()])
    }

    fn undo(&self) -> Result<(), RunError> {
        let (fs, mut journal) = (self.world.fs(), Journal::open(self.store.handle())?);
        let finished = journal.finished(|run| run == 1)?;
        let plan = undo::plan(&fs, &self.options().branches, &finished, &[]);
        let run = journal.start_undo(1, |run| self.started(run))?.run;
        Executor::new(&fs, &mut journal, &mut Nobody, self.options(), run).run(plan.ops)
    }

    /// Resumes, and checks that the op is finished and nothing else changed.
    fn is_finished(&self, undo: bool, what: &str) {
        let fs = self.world.fs();
        let mut journal = Journal::open(self.store.handle()).unwrap();
        assert_eq!(journal.open_ops().len(), 1, "{what}");
        fs.pause(Duration::from_secs(60));
        let mut observer = Nobody;
        let mut executor =
            Executor::new(&fs, &mut journal, &mut observer, self.options(), u64::MAX);
        assert_eq!(executor.recover(|_| true).unwrap().len(), 0, "{what}");
        assert!(journal.conflicts().is_empty(), "{what}");
        let mut files: BTreeMap<Place, (InodeId, Vec<u8>)> = self.world.files();
        let kept = files.remove(&master()).unwrap();
        let path = duplicate().path;
        let there: Vec<_> = files.into_iter().collect();
        let [(at, file)] = &there[..] else { panic!("{what}: {there:?}") };
        assert_eq!((&at.path, &file.1), (&path, &kept.1), "{what}");
        assert_eq!(file.0 == kept.0, !undo, "{what}");
        let hidden = |at: &Place| is_hidden_name(at.path.file_name().as_encoded_bytes());
        let names = self.world.names();
        let left = names.keys().find(|at| !at.path.is_root() && hidden(at));
        assert_eq!(left, None, "{what}");
    }
}

/// The process is killed at call `n`; `None` if it ends before that.
fn killed(undo: bool, n: usize) -> Option<Scene> {
    let (scene, op) = begin();
    let mut scene = scene.next(&scene.store);
    if undo {
        scene.run(&op).unwrap();
        scene.world.sync_all();
        scene = scene.next(&scene.store);
        scene.world.fs().pause(Duration::from_secs(60));
    }
    scene.world.plan_fault(Fault::DieAt(n));
    let ended = if undo { scene.undo() } else { scene.run(&op) };
    if !scene.world.died() {
        ended.unwrap();
        return None;
    }
    Some(scene)
}

/// The records of a journal.
fn records(store: &MemStore) -> Vec<Record> {
    let journal = Journal::open(store.after_kill()).unwrap();
    every_entry(&journal).into_iter().map(|entry| entry.record).collect()
}

/// A store that holds these records, as they are.
fn store_of(records: &[Vec<u8>]) -> MemStore {
    let (mut store, mut tip, mut pairs) = (MemStore::new(7), Mark::genesis(7), Vec::new());
    for bytes in records {
        let (entry, chain) = decode(bytes, tip.chain).unwrap();
        if entry.record.begins_run() {
            tip.run = entry.record.run();
        }
        (tip.seq, tip.chain) = (entry.seq, chain);
        pairs.extend(split(tip.run, tip.seq, bytes));
    }
    store.commit(&pairs).unwrap();
    store.write_mark(&tip).unwrap();
    store
}

#[test]
fn an_op_that_an_older_build_left_open_at_any_call_is_finished() {
    for undo in [false, true] {
        let mut open = 0;
        let mut n = 1;
        while let Some(scene) = killed(undo, n) {
            let journal = Journal::open(scene.store.after_kill()).unwrap();
            if !journal.open_ops().is_empty() {
                open += 1;
                for format in FORMATS {
                    let old = store_of(&encode_all(format, &records(&scene.store)));
                    let what = format!("format {format}, undo {undo}, killed at {n}");
                    scene.next(&old).is_finished(undo, &what);
                }
            }
            n += 1;
        }
        assert!(open > 40, "{open} calls");
    }
}

/// The process killed as soon as the intent is recorded, and as soon as the duplicate is recorded as retired.
fn ends(undo: bool) -> [(&'static str, Scene); 2] {
    let (mut first, mut retired, mut n) = (None, None, 1);
    while let Some(scene) = killed(undo, n) {
        let journal = Journal::open(scene.store.after_kill()).unwrap();
        match journal.open_ops().first().map(|op| op.retired) {
            None => {}
            Some(false) if first.is_none() => first = Some(scene),
            Some(true) if retired.is_none() => retired = Some(scene),
            Some(_) => {}
        }
        n += 1;
    }
    [("intent", first.unwrap()), ("retired", retired.unwrap())]
}

#[test]
fn a_journal_left_open_by_an_older_build_is_finished_by_this_one() {
    FORMATS.into_iter().for_each(left_open_in_format);
}

fn left_open_in_format(format: u8) {
    let file = format!("{DIR}/open_{format}.txt");
    let mut now = String::new();
    let mut scenes = Vec::new();
    for undo in [false, true] {
        for (last, scene) in ends(undo) {
            let case = format!("{} to {last}", if undo { "undo" } else { "run" });
            for bytes in encode_all(format, &records(&scene.store)) {
                now += &format!("{case}: {}\n", hex(&bytes));
            }
            scenes.push((case, undo, scene));
        }
    }
    if std::env::var_os("XDEDUP_UPDATE").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(now, written, "the older build wrote other bytes for this pool");
    for (case, undo, scene) in scenes {
        let lines = written.lines().filter_map(|line| line.split_once(": "));
        let bytes = lines.filter(|(of, _)| *of == case).map(|(_, hex)| unhex(hex));
        let store = store_of(&bytes.collect::<Vec<_>>());
        scene.next(&store).is_finished(undo, &case);
    }
}

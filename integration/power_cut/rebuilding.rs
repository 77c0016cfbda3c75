//! The power goes while a journal takes the place of another: by `history --prune`, and by a salvage.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mergerfs_xdedup::journal::{
    Intent, Record, RunEnded, RunStarted, create_or_open, open_existing, prune,
};
use mergerfs_xdedup::plan::OpId;

use super::beside::{Beside, Writes};
use super::files::MIXED;
use super::journal::{NOW, intent, run_started};
use super::log::{Cut, Log};
use super::rig::{FileSystem, Rig, Slot};
use super::scene::Scene;
use super::sweep::{Sweep, sampling, seed, variants};

use FileSystem::{Btrfs, Ext4, Xfs};

/// Runs of this many ops; of the second, one op is open.
const OPS: u64 = 8;

/// Runs 1 and 3 are over; run 2 has something open.
fn records() -> Vec<Record> {
    let mut all = Vec::new();
    for run in 1..=3 {
        all.push(Record::RunStarted(RunStarted { run, ..run_started() }));
        let ops = || (1..=OPS).map(move |seq| OpId { run, seq });
        let intents = ops().map(|op| Intent { op, ..intent(op.seq) });
        all.extend(intents.map(Box::new).map(Record::Intent));
        all.extend(ops().map(|op| Record::Retired { op }));
        let done = ops().filter(|op| (op.run, op.seq) != (2, 1));
        all.extend(done.map(|op| Record::Done { op, reclaimed: 4096 }));
        if run != 2 {
            all.push(Record::RunEnded(RunEnded {
                run,
                time: NOW,
                done: OPS,
                reclaimed: 4096 * OPS,
            }));
        }
    }
    all
}

fn record_prune(slots: &[Slot]) -> Log {
    let rig = Rig::format(slots).unwrap();
    let dir = slots[0].dir.join("below/journal");
    let mut journal = create_or_open(&dir, None).unwrap();
    journal.record(&records(), NOW).unwrap();
    drop(journal);
    rig.mark("start");
    prune(&dir, i64::MAX).unwrap().unwrap();
    rig.mark("pruned");
    rig.stop().unwrap()
}

/// The runs of the journal, which has everything open that it had.
fn known(dir: &Path) -> Result<Vec<u64>, String> {
    let opened = open_existing(dir, None).map_err(|error| format!("{error:?}"))?;
    let journal = opened.ok_or("the journal is gone")?;
    let open: Vec<OpId> = journal.open_ops().iter().map(|op| op.intent.op).collect();
    if open != [OpId { run: 2, seq: 1 }] {
        return Err(format!("open are {open:?}"));
    }
    Ok(journal.runs().map(|run| run.started.run).collect())
}

/// How many runs are known: the old journal is there or the new one, and the next prune is not disturbed.
fn look_at_prune(log: &Log, cut: Cut, dir: &Path) -> Result<usize, String> {
    let left = known(dir)?;
    let right = match cut >= log.mark("pruned") {
        true => left == [2, 3],
        false => left == [1, 2, 3] || left == [2, 3],
    };
    if !right {
        return Err(format!("runs {left:?}"));
    }
    prune(dir, i64::MAX).map_err(|error| format!("the next prune: {error:?}"))?;
    let after = known(dir)?;
    if after != [2, 3] || dir.with_extension("new").exists() {
        return Err(format!("the next prune leaves runs {after:?}"));
    }
    Ok(left.len())
}

#[test]
fn power_cut_during_a_prune_leaves_one_whole_journal() {
    for fs in FileSystem::ALL {
        let dir = tempfile::Builder::new().prefix("power-cut-prune.").tempdir().unwrap();
        let slots = [Slot::new(fs, dir.path().join("disk")).unwrap()];
        let log = record_prune(&slots);
        let cuts = log.cut_points(log.mark("start")..log.end(), sampling(16));
        let sweep = Sweep { log: &log, slots: &slots, cuts, variants: variants() };
        let journal = slots[0].dir.join("below/journal");
        let seen = sweep.look(|cut, _, _rig| look_at_prune(&log, cut, &journal));
        let seen = seen.all_good(&format!("prune on {}", fs.name()));
        assert!(seen.contains(&3) && seen.contains(&2), "{seen:?}");
    }
}

/// A run is killed when duplicates have left their paths, and its database is lost.
fn kill_and_lose(scene: &Scene) {
    let pool = scene.mount_pool().unwrap();
    let tool = scene.tool_that_executes();
    let mut killed = Command::new("strace");
    killed.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat"]);
    killed.args(["-e", "inject=unlinkat:signal=KILL:when=4"]);
    killed.arg(tool.get_program()).args(tool.get_args());
    assert!(!killed.output().unwrap().status.success());
    scene.check_no_own_names().expect_err("nothing was open");
    drop(pool);
    let database = scene.journal().join("db/db");
    File::options().write(true).open(database).unwrap().set_len(512).unwrap();
    for slot in &scene.slots {
        nix::unistd::syncfs(File::open(&slot.dir).unwrap()).unwrap();
    }
}

/// Every disk writes now and then.
fn beside(scene: &Scene) -> Beside {
    let disks = scene.slots.iter().map(|slot| (slot.dir.clone(), Writes::SideFile)).collect();
    Beside { disks, stretch_max: Duration::from_millis(20), seed: seed() }
}

/// Whether the damaged journal was still there: nothing is lost, and a salvage or a `resume` ends what is open.
fn look_at_salvage(scene: &Scene, rig: &Rig) -> Result<bool, String> {
    let check =
        |when: &str| scene.check_paths(&scene.durable).map_err(|wrong| format!("{when}: {wrong}"));
    check("before recovery")?;
    let run = |arguments: &[&str], codes: &[i32]| {
        scene.run(rig, &mut scene.tool(arguments), &beside(scene), codes)
    };
    let said = run(&["resume"], &[0, 4])?;
    let damaged = said.contains("resume --salvage");
    if damaged {
        run(&["resume", "--salvage", "-e"], &[0])?;
    }
    check("after recovery")?;
    scene.check_no_own_names()?;
    let status = run(&["status"], &[0])?;
    if !status.contains("nothing is open") {
        return Err(format!("status: {status}"));
    }
    Ok(damaged)
}

#[test]
fn power_cut_while_a_salvage_builds_its_journal_loses_nothing() {
    for kinds in [[Ext4, Xfs, Btrfs, Ext4], [Btrfs, Ext4, Xfs, Xfs], [Xfs, Btrfs, Ext4, Btrfs]] {
        let mut scene = Scene::new(kinds, MIXED).unwrap();
        let rig = Rig::format(&scene.slots).unwrap();
        scene.fill().unwrap();
        kill_and_lose(&scene);
        let mut salvage = scene.tool(&["resume", "--salvage", "-e"]);
        scene.run(&rig, &mut salvage, &beside(&scene), &[0]).unwrap();
        scene.check_no_own_names().unwrap();
        assert!(fs::read_dir(scene.journal().parent().unwrap()).unwrap().count() > 1, "no salvage");
        let log = rig.stop().unwrap();
        let cuts = log.cut_points(log.mark("start")..log.end(), sampling(8));
        let sweep = Sweep { log: &log, slots: &scene.slots, cuts, variants: variants() };
        let seen = sweep.look(|_, _, rig| look_at_salvage(&scene, &rig));
        let seen = seen.all_good(&format!("salvage on {kinds:?}"));
        assert!(seen.contains(&true) && seen.contains(&false), "every cut was on one side");
    }
}

//! The power goes while the tool is at work, at many points; nothing may be lost, and `resume` must clean up.

use std::process::Command;
use std::time::Duration;

use super::beside::{Beside, Writes};
use super::files::{MIXED, new_parents};
use super::log::{Cut, Log};
use super::replay::Variant;
use super::rig::{FileSystem, Rig, Slot};
use super::scene::Scene;
use super::sweep::{Seen, Sweep, sampling, seed, variants};

use FileSystem::{Btrfs, Ext4, Xfs};

/// Which filesystems the branches are on, and last the journal.
const KINDS: [[FileSystem; 4]; 3] =
    [[Ext4, Xfs, Btrfs, Ext4], [Xfs, Btrfs, Ext4, Btrfs], [Btrfs, Ext4, Xfs, Xfs]];

/// What an image showed before and after recovery.
#[derive(Debug, Clone, Copy)]
struct Shown {
    /// Names of the tool's own were about: the power went in the middle of an op.
    interrupted: bool,
    /// Inodes the groups took up before recovery.
    inodes: usize,
}

/// A run of the tool, recorded.
struct Recorded {
    scene: Scene,
    log: Log,
}

/// Every disk writes now and then. A btrfs writes out all it has in every other turn: only that commits names no
/// fsync has asked for, but it also brings the data of young files to the disk.
fn beside(scene: &Scene, turn: u64) -> Beside {
    let writes = |slot: &Slot| match slot.fs {
        Btrfs if turn % 2 == 1 => Writes::Everything,
        Ext4 | Xfs | Btrfs => Writes::SideFile,
    };
    Beside {
        disks: scene.slots.iter().map(|slot| (slot.dir.clone(), writes(slot))).collect(),
        stretch_max: Duration::from_millis(20),
        seed: seed() * 100 + turn,
    }
}

fn record_run(mut scene: Scene, beside: &Beside) -> Recorded {
    let rig = Rig::format(&scene.slots).unwrap();
    scene.fill().unwrap();
    rig.recorder().set_flush_time(Duration::from_millis(1));
    scene.run(&rig, &mut scene.tool_that_executes(), beside, &[0]).unwrap();
    assert_eq!(scene.distinct_inodes(), scene.group_count(), "not all was done");
    scene.check_no_own_names().unwrap();
    let log = rig.stop().unwrap();
    Recorded { scene, log }
}

impl Recorded {
    /// What must be readable when the power goes at `cut`.
    fn check_paths(&self, cut: Cut) -> Result<(), String> {
        self.scene.check_paths(&self.scene.durable)?;
        if cut >= self.log.mark("end") {
            self.scene.check_paths(&self.scene.young)?;
        }
        Ok(())
    }

    /// What must hold as the power cut left it, and after recovery.
    fn look(&self, cut: Cut, variant: Variant, rig: &Rig) -> Result<Shown, String> {
        let scene = &self.scene;
        let before = |wrong| format!("before recovery: {wrong}");
        self.check_paths(cut).map_err(before)?;
        scene.check_missing_are_logged().map_err(before)?;
        let inodes = scene.distinct_inodes();
        let interrupted = scene.check_no_own_names().is_err();
        match variant {
            Variant::Torn(_) => self.run_again(cut, rig)?,
            Variant::KeepAll | Variant::DropUnflushed | Variant::Random(_) => {
                self.resume(cut, rig)?;
            }
        }
        Ok(Shown { interrupted, inodes })
    }

    fn resume(&self, cut: Cut, rig: &Rig) -> Result<(), String> {
        let mut resume = self.scene.tool(&["resume"]);
        let resumed = self.scene.run(rig, &mut resume, &beside(&self.scene, 0), &[0]);
        self.check_recovered(cut, resumed).map(drop)
    }

    /// The next run finishes first what this one left open, and then does the rest.
    fn run_again(&self, cut: Cut, rig: &Rig) -> Result<(), String> {
        let scene = &self.scene;
        let young = scene.check_paths(&scene.young);
        // What nobody had synced may be gone or short: that part of the list cannot be used then.
        let codes: &[i32] = if young.is_ok() { &[0] } else { &[0, 1] };
        let ran = scene.run(rig, &mut scene.tool_that_executes(), &beside(scene, 0), codes);
        let said = self.check_recovered(cut, ran)?;
        // Recovery may have put back what the power cut has left of a young duplicate: nothing to link any more.
        let young = scene.check_paths(&scene.young);
        if young.is_ok() && scene.distinct_inodes() != scene.group_count() {
            let undone = scene.undone();
            return Err(format!("the next run leaves {undone} and says: {said}"));
        }
        Ok(())
    }

    fn check_recovered(&self, cut: Cut, ran: Result<String, String>) -> Result<String, String> {
        let after = |wrong| format!("after recovery: {wrong}");
        // First the worst that can have happened.
        self.check_paths(cut).map_err(after)?;
        let said = ran?;
        self.scene.check_no_own_names().map_err(after)?;
        self.scene.check_log_is_closed().map_err(after)?;
        Ok(said)
    }
}

/// What a person would type: a link on the master's branch (0), and off with the duplicate on another.
const BY_HAND: &str = r#"
    cd "$0"
    replace() {
        mkdir -p "disk0/$(dirname "$2")"
        $SYNC disk0
        ln "disk0/$1" "disk0/$2"
        $SYNC disk0
        rm "disk$3/$2"
        sleep 0.01
    }
    replace a/1 b/1 1; replace a/1 c/deep/er/1 2
    replace y/2 b/2 1; replace y/2 c/2 2
    replace a/5 c/5 2; replace a/5 c/deep/5too 2
"#;

/// Runs [`BY_HAND`] and looks at every path after power cuts; no recovery follows.
fn sweep_by_hand(sync: &str) -> Seen<()> {
    let mut scene = Scene::new(KINDS[0], MIXED).unwrap();
    let rig = Rig::format(&scene.slots).unwrap();
    scene.fill().unwrap();
    let mut by_hand = Command::new("sh");
    by_hand.env("SYNC", sync).args(["-c", BY_HAND]).arg(scene.stage());
    scene.run(&rig, &mut by_hand, &beside(&scene, 0), &[0]).unwrap();
    let log = rig.stop().unwrap();
    let cuts = log.cut_points(log.mark("start")..log.mark("end"), sampling(30));
    let sweep = Sweep { log: &log, slots: &scene.slots, cuts, variants: variants() };
    sweep.look(|_, _, _rig| scene.check_paths(&scene.durable))
}

#[test]
fn replacing_by_hand_without_syncs_is_caught() {
    sweep_by_hand("true").some_bad("by hand, no syncs");
}

#[test]
fn replacing_by_hand_with_syncs_is_not_blamed() {
    sweep_by_hand("sync -f").all_good("by hand, with syncs");
}

#[test]
fn power_cut_at_any_point_of_a_run_loses_nothing_and_recovery_cleans_up() {
    for (turn, kinds) in KINDS.into_iter().enumerate() {
        let scene = Scene::new(kinds, MIXED).unwrap();
        let beside = beside(&scene, turn as u64);
        let recorded = record_run(scene, &beside);
        let Recorded { scene, log } = &recorded;
        let cuts = log.cut_points(log.mark("start")..log.end(), sampling(30));
        let sweep = Sweep { log, slots: &scene.slots, cuts, variants: variants() };
        let seen = sweep.look(|cut, variant, rig| recorded.look(cut, variant, &rig));
        let seen = seen.all_good(&format!("run on {kinds:?}"));
        assert!(seen.iter().any(|shown| shown.interrupted), "no cut was in the middle of an op");
        let inodes = |wanted: &dyn Fn(usize) -> bool| seen.iter().any(|shown| wanted(shown.inodes));
        assert!(inodes(&|n| n == scene.group_count()), "no cut was at the end");
        assert!(inodes(&|n| n > scene.group_count()), "no cut was before the end");
    }
}

#[test]
fn power_cut_while_clones_are_made_loses_nothing_and_recovery_cleans_up() {
    let scene = Scene::new([Xfs, Btrfs, Ext4, Ext4], MIXED).unwrap().with_clones();
    let beside = beside(&scene, 0);
    let recorded = record_run(scene, &beside);
    let Recorded { scene, log } = &recorded;
    let cuts = log.cut_points(log.mark("start")..log.end(), sampling(6));
    let variants = vec![Variant::DropUnflushed, Variant::Torn(seed())];
    let sweep = Sweep { log, slots: &scene.slots, cuts, variants };
    let seen = sweep.look(|cut, variant, rig| recorded.look(cut, variant, &rig));
    let seen = seen.all_good("clones on xfs and btrfs");
    assert!(seen.iter().any(|shown| shown.interrupted), "no cut was in the middle of an op");
}

#[test]
fn power_cut_during_recovery_loses_nothing_and_recovery_cleans_up() {
    let scene = Scene::new(KINDS[0], MIXED).unwrap();
    let beside = beside(&scene, 7);
    let recorded = record_run(scene, &beside);
    let Recorded { scene, log } = &recorded;
    let cuts = log.cut_points(log.mark("start")..log.mark("end"), sampling(12));
    let variants = vec![Variant::Random(seed())];
    let outer = Sweep { log, slots: &scene.slots, cuts, variants };
    let mut recoveries = Vec::new();
    let seen = outer.look(|cut, _, rig| {
        recorded.resume(cut, &rig)?;
        recoveries.push((cut, rig.stop().map_err(|error| error.to_string())?));
        Ok(())
    });
    seen.all_good("first recovery");
    for (cut, again) in &recoveries {
        let cuts = again.cut_points(again.mark("start")..again.end(), sampling(6));
        let variants = vec![Variant::DropUnflushed, Variant::Torn(seed())];
        let inner = Sweep { log: again, slots: &scene.slots, cuts, variants };
        let seen = inner.look(|_, variant, rig| recorded.look(*cut, variant, &rig));
        seen.all_good(&format!("second recovery, first cut at {}", log.describe(*cut)));
    }
}

#[test]
fn power_cut_while_parents_are_made_leaves_none_that_recovery_cannot_handle() {
    let kinds = [Btrfs, Ext4, Ext4, Ext4];
    let scene = Scene::new(kinds, &new_parents(30)).unwrap();
    // A btrfs that writes all it has between the sync of a new directory and its rename remembers later what is
    // in the directory, and not yet its new name.
    let mut beside = beside(&scene, 1);
    beside.disks.truncate(1);
    let recorded = record_run(scene, &beside);
    let Recorded { scene, log } = &recorded;
    let cuts = log.cut_points(log.mark("start")..log.mark("end"), sampling(120));
    let variants = vec![Variant::DropUnflushed];
    let sweep = Sweep { log, slots: &scene.slots, cuts, variants };
    let seen = sweep.look(|cut, variant, rig| recorded.look(cut, variant, &rig));
    seen.all_good("new parents on btrfs");
}

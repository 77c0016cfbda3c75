//! Proof that a recording loses nothing and that a replay shows what a power cut can do.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::unistd::syncfs;
use tempfile::TempDir;

use super::beside::{Beside, Pump, Writes};
use super::log::{Cut, Log};
use super::recorder::Recorder;
use super::replay::{Replay, Variant};
use super::rig::{FileSystem, Rig, Slot, run};
use super::sweep::{Sweep, sampling, variants};

const TEXT: &[u8] = &[b'x'; 10_000];

/// A place to mount one disk each of `kinds`.
fn stage(kinds: &[FileSystem]) -> (TempDir, Vec<Slot>) {
    let dir = tempfile::Builder::new().prefix("power-cut-stage.").tempdir().unwrap();
    let slot = |(n, fs): (usize, &FileSystem)| Slot::new(*fs, dir.path().join(n.to_string()));
    let slots = kinds.iter().enumerate().map(slot).collect::<io::Result<_>>().unwrap();
    (dir, slots)
}

fn put(path: PathBuf) -> File {
    let mut file = File::create(path).unwrap();
    file.write_all(TEXT).unwrap();
    file
}

fn put_synced(path: PathBuf) {
    put(path).sync_all().unwrap();
}

fn sync_dir(dir: &Path) {
    File::open(dir).unwrap().sync_all().unwrap();
}

fn sync_disk(dir: &Path) {
    syncfs(File::open(dir).unwrap()).unwrap();
}

/// Whether the file is there; a mistake when it is there with other contents.
fn whole(path: PathBuf) -> Result<bool, String> {
    match std::fs::read(&path) {
        Ok(bytes) if bytes == TEXT => Ok(true),
        Ok(bytes) => Err(format!("{path:?} holds {} bytes, not what was written", bytes.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("{path:?}: {error}")),
    }
}

#[test]
fn full_replay_is_byte_identical_to_what_the_disks_showed() {
    for fs in FileSystem::ALL {
        let (_dir, slots) = stage(&[fs]);
        let rig = Rig::format(&slots).unwrap();
        for n in 0..50u8 {
            std::fs::write(slots[0].dir.join(n.to_string()), vec![n; 10_000]).unwrap();
        }
        std::fs::remove_file(slots[0].dir.join("7")).unwrap();
        run(Command::new("fstrim").arg(&slots[0].dir)).unwrap();
        let log = rig.stop().unwrap();
        let replayed = Replay::new(&log).images(log.end(), Variant::KeepAll);
        assert!(replayed == log.live, "{fs:?}");
        // What the kernel reads back through a disk does not depend on how images are kept and compared.
        let server = Recorder::serve(replayed).unwrap();
        let bytes = std::fs::read(server.device_path(0)).unwrap();
        assert_eq!(bytes.len() as u64, fs.disk_bytes());
        assert!(bytes == log.live[0].read(0, bytes.len()), "{fs:?}");
    }
}

#[test]
fn recorded_bytes_are_those_written_through_the_kernel() {
    let recorder = Recorder::start(&[1 << 20]).unwrap();
    let file = File::options().write(true).open(recorder.device_path(0)).unwrap();
    let mut plain = vec![0u8; 1 << 20];
    for n in 0..200u64 {
        let offset = (n * 37 % 100) * 5000;
        let bytes = vec![n as u8 + 1; 1 + (n as usize * 97) % 9000];
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, offset).unwrap();
        plain[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    file.sync_all().unwrap();
    std::fs::write(recorder.mark_path(), "from a child\n").unwrap();
    drop(file);
    let log = recorder.stop().unwrap();
    let cut = log.mark("from a child");
    for variant in [Variant::KeepAll, Variant::DropUnflushed] {
        let image = Replay::new(&log).images(cut, variant).remove(0);
        assert!(image.read(0, plain.len()) == plain, "{variant:?}");
    }
    let base = Replay::new(&log).images(Cut(0), Variant::KeepAll).remove(0);
    assert_eq!(base.allocated(), 0);
}

/// What one image shows of [`demo`].
struct Demo {
    cut: Cut,
    renamed: bool,
}

/// Things synced and things not, each followed by a mark.
fn demo(rig: &Rig, dir: &Path) {
    put(dir.join("old"));
    sync_disk(dir);
    rig.mark("base");
    put_synced(dir.join("a"));
    sync_dir(dir);
    rig.mark("a is durable");
    std::fs::rename(dir.join("old"), dir.join("new")).unwrap();
    rig.mark("renamed");
    put_synced(dir.join("b"));
    rig.mark("b is written");
    sync_dir(dir);
    rig.mark("b is durable");
    std::fs::hard_link(dir.join("a"), dir.join("temp")).unwrap();
    std::fs::rename(dir.join("temp"), dir.join("link")).unwrap();
    sync_dir(dir);
    rig.mark("link is durable");
}

fn look_at_demo(log: &Log, cut: Cut, dir: &Path) -> Result<Demo, String> {
    let durable = |mark| cut >= log.mark(mark);
    for (mark, name) in [("a is durable", "a"), ("b is durable", "b"), ("link is durable", "link")]
    {
        if durable(mark) && !whole(dir.join(name))? {
            return Err(format!("{name} is gone, though {mark}"));
        }
    }
    let (old, renamed) = (whole(dir.join("old"))?, whole(dir.join("new"))?);
    if old == renamed {
        return Err(format!("of a rename, old is there: {old}, new is there: {renamed}"));
    }
    let inode = |name| dir.join(name).metadata().map(|meta| meta.ino());
    match (inode("a"), inode("link")) {
        (Ok(a), Ok(link)) if a != link => Err("link is not a link to a".to_owned()),
        _ => Ok(Demo { cut, renamed }),
    }
}

fn record_demo(slots: &[Slot]) -> Log {
    let rig = Rig::format(slots).unwrap();
    demo(&rig, &slots[0].dir);
    rig.stop().unwrap()
}

#[test]
fn synced_things_survive_every_cut_and_unsynced_ones_are_seen_both_ways() {
    for fs in FileSystem::ALL {
        let (_dir, slots) = stage(&[fs]);
        let log = record_demo(&slots);
        let cuts = log.cut_points(log.mark("base")..log.end(), sampling(24));
        let sweep = Sweep { log: &log, slots: &slots, cuts, variants: variants() };
        let seen = sweep.look(|cut, _, _rig| look_at_demo(&log, cut, &slots[0].dir));
        let seen = seen.all_good(&format!("demo on {}", fs.name()));
        let later = || seen.iter().filter(|image| image.cut >= log.mark("renamed"));
        assert!(later().any(|image| image.renamed), "{fs:?}: the rename never happened");
        assert!(later().any(|image| !image.renamed), "{fs:?}: the rename always happened");
    }
}

#[test]
fn filesystem_that_does_not_flush_is_caught() {
    let (_dir, mut slots) = stage(&[FileSystem::Ext4]);
    let with_barriers = record_demo(&slots);
    slots[0].options = "nobarrier";
    let log = record_demo(&slots);
    let flushes = |log: &Log| log.flushes(0, log.mark("base")..log.mark("link is durable"));
    assert!(flushes(&log) < flushes(&with_barriers));
    slots[0].options = "defaults";
    let cuts = log.cut_points(log.mark("base")..log.end(), sampling(24));
    let sweep = Sweep { log: &log, slots: &slots, cuts, variants: variants() };
    let seen = sweep.look(|cut, _, _rig| look_at_demo(&log, cut, &slots[0].dir));
    seen.some_bad("ext4 without barriers");
}

/// First a file on one disk, then its twin on the other.
fn record_twins(slots: &[Slot], sync_first: bool) -> Log {
    let rig = Rig::format(slots).unwrap();
    let (first, second) = (&slots[0].dir, &slots[1].dir);
    rig.mark("base");
    for n in 0..TWINS {
        let file = put(first.join(n.to_string()));
        if sync_first {
            file.sync_all().unwrap();
            sync_dir(first);
        }
        put_synced(second.join(n.to_string()));
        sync_dir(second);
    }
    rig.mark("twins are durable");
    rig.stop().unwrap()
}

const TWINS: usize = 6;

fn look_at_twins(slots: &[Slot]) -> Result<usize, String> {
    let mut there = 0;
    for n in 0..TWINS {
        let name = n.to_string();
        // The file may be there and still empty: only a whole one counts.
        let second = whole(slots[1].dir.join(&name)) == Ok(true);
        if second && whole(slots[0].dir.join(&name)) != Ok(true) {
            return Err(format!("twin {n} is on the second disk, not on the first"));
        }
        there += usize::from(second);
    }
    Ok(there)
}

#[test]
fn order_between_two_disks_holds_at_every_cut() {
    for kinds in [
        [FileSystem::Ext4, FileSystem::Xfs],
        [FileSystem::Xfs, FileSystem::Btrfs],
        [FileSystem::Btrfs, FileSystem::Ext4],
    ] {
        let (_dir, slots) = stage(&kinds);
        let log = record_twins(&slots, true);
        let cuts = log.cut_points(log.mark("base")..log.mark("twins are durable"), sampling(30));
        let sweep = Sweep { log: &log, slots: &slots, cuts, variants: variants() };
        let seen = sweep.look(|_, _, _rig| look_at_twins(&slots)).all_good(&format!("{kinds:?}"));
        assert!(seen.contains(&0) && seen.contains(&TWINS), "{kinds:?}: {seen:?}");
    }
}

#[test]
fn forgotten_fsync_on_the_first_of_two_disks_is_caught() {
    let (_dir, slots) = stage(&[FileSystem::Ext4, FileSystem::Xfs]);
    let log = record_twins(&slots, false);
    let cuts = log.cut_points(log.mark("base")..log.mark("twins are durable"), sampling(10));
    let sweep = Sweep { log: &log, slots: &slots, cuts, variants: variants() };
    sweep.look(|_, _, _rig| look_at_twins(&slots)).some_bad("no fsync on the first disk");
}

/// A fresh file gets a second name and its directory is synced.
fn record_link(slots: &[Slot], sync_data: bool) -> Log {
    let rig = Rig::format(slots).unwrap();
    let dir = &slots[0].dir;
    sync_disk(dir);
    let master = put(dir.join("master"));
    if sync_data {
        master.sync_data().unwrap();
    }
    std::fs::hard_link(dir.join("master"), dir.join("link")).unwrap();
    sync_dir(dir);
    rig.mark("link is durable");
    drop(master);
    rig.stop().unwrap()
}

fn look_at_link(dir: &Path) -> Result<(), String> {
    for name in ["master", "link"] {
        let size = dir.join(name).metadata().map_err(|error| format!("{name}: {error}"))?.len();
        if size != TEXT.len() as u64 {
            return Err(format!("{name} has {size} bytes"));
        }
        whole(dir.join(name))?;
    }
    Ok(())
}

#[test]
fn link_to_a_master_never_synced_is_empty_after_a_cut() {
    for fs in FileSystem::ALL {
        for sync_data in [false, true] {
            let (_dir, slots) = stage(&[fs]);
            let log = record_link(&slots, sync_data);
            let cuts = vec![log.mark("link is durable")];
            let sweep = Sweep { log: &log, slots: &slots, cuts, variants: variants() };
            let seen = sweep.look(|_, _, _rig| look_at_link(&slots[0].dir));
            let name = format!("link on {}, master synced: {sync_data}", fs.name());
            if sync_data {
                seen.all_good(&name);
            } else {
                let empty = "master has 0 bytes";
                assert!(seen.bad.iter().any(|wrong| wrong.contains(empty)), "{:?}", seen.bad);
                seen.some_bad(&name);
            }
        }
    }
}

#[test]
fn disks_write_while_a_tool_stands_still() {
    let (_dir, slots) = stage(&[FileSystem::Ext4, FileSystem::Ext4]);
    let rig = Rig::format(&slots).unwrap();
    rig.recorder().set_flush_time(Duration::from_millis(2));
    let pump = Pump::start(slots[1].dir.join("side"), Duration::from_millis(5)).unwrap();
    rig.mark("start");
    let script = "for n in 1 2 3 4 5 6 7 8 9 10; do echo $n > $0/$n; sleep 0.02; done";
    let mut tool = Command::new("sh");
    tool.args(["-c", script]).arg(&slots[0].dir);
    let beside = Beside {
        disks: vec![(slots[0].dir.clone(), Writes::SideFile)],
        stretch_max: Duration::from_millis(20),
        seed: 1,
    };
    let (output, turns) = beside.run(&mut tool, Duration::from_secs(20)).unwrap();
    rig.mark("end");
    assert!(output.status.success());
    assert!(turns > 5, "it stood still only {turns} times");
    assert!(pump.stop().unwrap() > 5);
    let log = rig.stop().unwrap();
    for device in 0..2 {
        assert!(log.flushes(device, log.mark("start")..log.mark("end")) > 5, "disk {device}");
    }
}

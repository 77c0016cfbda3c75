//! What people read, word by word.

use super::super::sample;
use super::*;
use crate::execute::Halt;
use crate::plan::{Found, LeftOut, OpKind, Plan};
use crate::pool::BranchIdx;

fn written(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    bytes
}

fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
    String::from_utf8(written(write)).unwrap()
}

#[test]
fn what_was_not_done_is_always_said_and_what_was_done_with_v() {
    let pool = sample::pool();
    let op = sample::op(OpKind::Cross, b"m/a", &[b"d/a", b"d/b"], 2048);
    let done = Outcome::Done { reclaimed: 2048 };
    let busy = Outcome::NotDone(Halt::new(Reason::Busy, "cannot lease"));
    let left = Outcome::NotDone(Halt::new(Reason::Interrupted, "not begun"));
    let mut scene = sample::scene(&pool);
    let told = |scene, how: &Outcome| text(|out| super::op(out, &scene, &op, how, false));
    assert_eq!(told(scene, &done), "");
    assert_eq!(told(scene, &left), "");
    let line = "busy         2.0 KiB  /pool/d/a and 1 more: busy: cannot lease\n";
    assert_eq!(told(scene, &busy), line);
    scene.verbose = 2;
    assert_eq!(
        told(scene, &done),
        "done         2.0 KiB  /pool/d/a and 1 more → /pool/m/a\n                       /pool/d/b\n"
    );
    scene.quiet = true;
    assert_eq!(told(scene, &done), "");
}

/// On a terminal the reason begins a line of its own where both do not fit into one.
#[test]
fn a_reason_is_broken_between_words_and_its_path_stays_whole() {
    let pool = sample::pool();
    let op = sample::op(OpKind::Cross, b"m/a", &[b"d/a b"], 2048);
    let detail = "cannot link: \"/mnt/d1/d/a b\": No space left on device (os error 28)";
    let full = Outcome::NotDone(Halt::new(Reason::Io, detail));
    let mut scene = sample::scene(&pool);
    let told = |scene| text(|out| super::op(out, &scene, &op, &full, false));
    let line = format!("failed       2.0 KiB  /pool/d/a b: io-error: {detail}\n");
    assert_eq!(told(scene), line);
    scene.screen.width = Some(40);
    assert_eq!(
        told(scene),
        "failed       2.0 KiB  /pool/d/a b:\n            io-error: cannot link:\n            \"/mnt/d1/d/a b\": No space\n            \
         left on device (os error 28)\n"
    );
}

#[test]
fn a_conflict_names_the_command_that_lists_the_copies() {
    let pool = sample::pool();
    let kept = Place::new(BranchIdx(1), sample::path(b"d/.xdedup-1-r"));
    let conflict = Outcome::Conflict(Halt::new(Reason::Conflict, "written to"), vec![kept]);
    let scene = sample::scene(&pool);
    let told = |op: &Op| text(|out| super::op(out, &scene, op, &conflict, false));
    let across = told(&sample::op(OpKind::Cross, b"m/a", &[b"d/a"], 2048));
    assert_eq!(
        across,
        "failed       2.0 KiB  /pool/d/a: conflict: written to; a copy is /mnt/d2/d/.xdedup-1-r; nothing was removed: \
         mergerfs.xdedup status names what is left to settle\n"
    );
}

#[test]
fn names_are_exact_unless_a_terminal_reads_them() {
    let pool = sample::pool();
    let op = sample::op(OpKind::Cross, b"m", &[b"d\x1b[1m\n\xff"], 0);
    let io = Outcome::NotDone(Halt::new(Reason::Io, "\u{202e}"));
    let mut scene = sample::scene(&pool);
    let told = |scene| written(|out| super::op(out, &scene, &op, &io, false));
    let exact = b"failed           0 B  /pool/d\x1b[1m\n\xff: io-error: \xe2\x80\xae\n";
    assert_eq!(told(scene), exact);
    scene.terminal = true;
    let shown = "failed           0 B  /pool/d\\u{1b}[1m\\n\\xff: io-error: \\u{202e}\n";
    assert_eq!(told(scene), shown.as_bytes());
}

#[test]
fn refusals_are_counted_by_reason_with_a_few_examples_and_the_hint() {
    let pool = sample::pool();
    let mut scene = sample::scene(&pool);
    let refused = |reason, path: String, master: Option<&str>| Refusal {
        reason,
        path: path.into(),
        master: master.map(sample::path),
        detail: String::new(),
        bytes: if reason == Reason::OwnerDiffers { 4096 } else { 0 },
    };
    let mut all: Vec<_> =
        (0..5).map(|n| refused(Reason::OwnerDiffers, format!("o{n}"), Some("m"))).collect();
    all.push(refused(Reason::NoPrimary, "x".into(), None));
    all.push(refused(Reason::Unresolved, "/gone".into(), None));
    let told = |scene| text(|out| skipped(out, &scene, &all));
    let (gone, alone) = (Reason::Unresolved.hint(), Reason::NoPrimary.hint());
    let owner = Reason::OwnerDiffers.hint();
    let unresolved = format!("skipped: 1 file, unresolved: {gone}\n    /gone\n");
    assert_eq!(
        told(scene),
        format!(
            "{unresolved}skipped: 1 file, no-primary: {alone}\nskipped: 5 files of 20.0 KiB, owner-differs: {owner}\n    \
             /pool/o0 (copy of /pool/m)\n    and 4 more (-v lists all)\n"
        )
    );
    scene.verbose = 1;
    assert!(told(scene).contains("/pool/o4") && told(scene).contains("/pool/x"));
    scene.quiet = true;
    assert_eq!(told(scene), unresolved);
}

#[test]
fn the_summary_adds_up() {
    let pool = sample::pool();
    let mut scene = sample::scene(&pool);
    let op = sample::cross("m", "d", 3 << 20);
    let mut tally = Tally::planned(&crate::plan::Plan {
        ops: vec![op.clone(); 3],
        already_linked: 4,
        ..Default::default()
    });
    tally.outcome(&op, &Outcome::Done { reclaimed: 3 << 20 }, false);
    let differs = Outcome::NotDone(Halt::new(Reason::Differs, ""));
    tally.outcome(&op, &differs, false);
    tally.outcome(&op, &differs, true);
    tally.elapsed_s = 1.25;
    tally.before(&pool.branches[0].path, 10 << 30);
    tally.before(&pool.branches[1].path, 9 << 30);
    tally.after(&pool.branches[0].path, 10 << 30);
    tally.used(&pool.branches[0].path, 5 << 30);
    let told = text(|out| summary(out, &scene, &tally));
    let hint = Reason::Differs.hint();
    assert_eq!(
        told,
        format!(
            "not linked: 1 file, differs: {hint}\n\n\
             disk     used  free before  free after               freed   files\n\
             /mnt/d2     ?      9.0 GiB           ?  3.0 MiB of 9.0 MiB  1 of 3\n\
             1 other disk: free space unchanged (-v)\n\n\
             Left open by earlier runs: 1 put back.\n\
             1 of 3 files linked, 3.0 MiB freed in 1.2 s. 1 not linked (contents differ). \
             1 left for the next run. 4 already linked.\n\
             To take it back: mergerfs.xdedup undo 7\n"
        )
    );
    scene.quiet = true;
    assert!(!text(|out| summary(out, &scene, &tally)).contains("disk"));
    assert_eq!(text(|out| summary(out, &scene, &Tally::default())), "");
}

#[test]
fn only_numbers_that_are_not_zero_are_said() {
    let pool = sample::pool();
    let scene = Scene { run: None, ..sample::scene(&pool) };
    let said = |tally: &Tally| text(|out| summary(out, &scene, tally));
    assert_eq!(said(&Tally::default()), "Nothing to do.\n");
    let op = sample::cross("m", "d", 1 << 20);
    let mut tally = Tally::planned(&Plan { ops: vec![op.clone()], ..Plan::default() });
    tally.outcome(&op, &Outcome::Done { reclaimed: 1 << 20 }, false);
    tally.refused(&Refusal {
        reason: Reason::Shadowed,
        path: b"x".to_vec(),
        master: None,
        detail: String::new(),
        bytes: 0,
    });
    let all = said(&tally);
    let last = all.lines().last().unwrap();
    assert_eq!(last, "1 file linked, 1.0 MiB freed in 0.0 s. 1 skipped (on several disks).");
}

#[test]
fn every_count_of_the_json_is_in_the_text() {
    let pool = sample::pool();
    let scene = sample::scene(&pool);
    let mut tally = Tally::default();
    tally.planned = 10_000;
    tally.done = 203;
    tally.busy = 300;
    tally.failed = 407;
    tally.open = 509;
    tally.conflicts = 611;
    tally.already_linked = 713;
    tally.refused = 815;
    tally.recovered_done = 917;
    tally.recovered_restored = 1_019;
    tally.still_open = 1_121;
    tally.not_done = [(Reason::Busy, 1_223), (Reason::Differs, 1_325)].into();
    let said = text(|out| conclusion(out, &scene, &[], &tally));
    let (unlinked, left) = (300 + 407, 10_000 - 203 - 300 - 407);
    for count in [10_000, 203, unlinked, left, 509, 611, 713, 815, 917, 1_019, 1_121, 1_223, 1_325]
    {
        assert!(said.contains(&count.to_string()), "{count}: {said}");
    }
}

#[test]
fn the_largest_groups_come_first_where_more_is_asked_for() {
    let pool = sample::pool();
    let mut scene = sample::scene(&pool);
    let mut plan = crate::plan::Plan::default();
    for n in 0..7_u64 {
        let master = format!("m{n}");
        plan.ops.push(sample::cross(&master, &format!("d{n}"), (n + 1) << 20));
        plan.groups.push(crate::plan::PlannedGroup {
            size: (n + 1) << 20,
            master: Some(plan.ops[plan.ops.len() - 1].master.clone()),
            paths: Vec::new(),
            ops: plan.ops.len() - 1..plan.ops.len(),
        });
    }
    let tally = Tally::planned(&plan);
    let first =
        "largest groups     size  copies    frees\n/pool/m6        7.0 MiB       2  7.0 MiB\n";
    let told = text(|out| largest(out, &scene, &tally, Style::of(&scene)));
    assert!(told.starts_with(first), "{told}");
    assert_eq!(told.lines().count(), 1 + 7);
    let listed = |scene: &Scene<'_>| {
        text(|out| figures(out, scene, &tally, Style::of(scene))).contains("largest")
    };
    assert!(!listed(&scene));
    scene.verbose = 1;
    assert!(listed(&scene));
}

#[test]
fn a_screen_with_colours_gets_them_and_nothing_else_does() {
    let pool = sample::pool();
    let op = sample::cross("m", "d", 0);
    let busy = Outcome::NotDone(Halt::new(Reason::Busy, ""));
    let mut scene = sample::scene(&pool);
    let told = |scene| text(|out| super::op(out, &scene, &op, &busy, false));
    let plain = told(scene);
    assert!(!plain.contains('\x1b'));
    scene.screen.colour = true;
    let painted = told(scene);
    assert!(painted.starts_with("\x1b[33mbusy     \x1b[0m "), "{painted:?}");
    let stripped = painted.replace("\x1b[33m", "").replace("\x1b[0m", "");
    assert_eq!(stripped, plain, "the words are the same");
}

#[test]
fn files_below_directories_that_differ_are_one_line_a_directory() {
    let pool = sample::pool();
    let mut scene = sample::scene(&pool);
    let refused = |path: &str, dir: &str, bytes| Refusal {
        reason: Reason::DirectoryDiffers,
        path: path.into(),
        master: Some(sample::path("m")),
        detail: format!("{dir} 0700 0:0"),
        bytes,
    };
    let all = [refused("a", "dl", 1024), refused("b", "tv", 4096), refused("c", "dl", 1024)];
    let told = |scene| text(|out| skipped(out, &scene, &all));
    let hint = Reason::DirectoryDiffers.hint();
    assert_eq!(
        told(scene),
        format!(
            "skipped: 3 files of 6.0 KiB, directory-differs: {hint}\n    tv 0700 0:0: 1 file, 4.0 KiB\n    \
             dl 0700 0:0: 2 files, 2.0 KiB\n"
        )
    );
    scene.verbose = 1;
    assert!(told(scene).contains("/pool/c (copy of /pool/m): dl 0700"));
}

#[test]
fn what_a_scan_left_out_is_counted() {
    let pool = sample::pool();
    let scene = sample::scene(&pool);
    let said = |left_out| {
        let tally = Tally::planned(&Plan { left_out, ..Default::default() });
        text(|out| conclusion(out, &scene, &[], &tally))
    };
    let told = |by_primary, by_directory, changed, in_bins| {
        said(LeftOut { by_primary, by_directory, changed, in_bins, ..LeftOut::default() })
    };
    let no_primary = "not compared: 1 file without a possible copy below a primary (--any-master";
    assert!(told(1, 0, 0, 0).contains(no_primary));
    let none = "not compared: 3 files without a possible copy below the directories named\n";
    assert!(told(0, 3, 0, 0).contains(none));
    assert!(
        told(0, 0, 2, 0).contains("left out: 2 files that changed during the scan (run again)\n")
    );
    assert!(told(0, 0, 0, 4).contains("left out: 4 files in recycle bins\n"));
    let branches = said(LeftOut { read_only_branches: 2, ..LeftOut::default() });
    assert!(branches.contains("left out: 2 branches of the mode RO (-v shows which)\n"));
    let nothing = told(0, 0, 0, 0);
    assert!(!nothing.contains("not compared") && !nothing.contains("left out"), "{nothing}");
}

#[test]
fn the_disks_count_what_earlier_runs_had_begun_as_planned_then() {
    let pool = sample::pool();
    let op = sample::cross("media/a", "dl/a", 4096);
    let plan = Plan { ops: vec![op.clone()], ..Plan::default() };
    let mut tally = Tally::planned(&plan);
    let mut recovery = Tally::default();
    recovery.outcome(&op, &Outcome::Done { reclaimed: 4096 }, true);
    tally.outcome(&op, &Outcome::Done { reclaimed: 4096 }, false);
    tally.add_recovered(&recovery);
    let scene = sample::scene(&pool);
    let mut out = Vec::new();
    disks(&mut out, &scene, &tally, Style::of(&scene)).unwrap();
    let text = String::from_utf8(out).unwrap();
    let row = text.lines().find(|line| line.starts_with("/mnt/d2")).unwrap();
    assert!(row.ends_with(" 8.0 KiB      2"), "{text}");
}

#[test]
fn what_takes_it_back_names_a_journal_that_is_elsewhere() {
    let pool = sample::pool();
    let op = sample::cross("media/a", "dl/a", 4096);
    let mut tally = Tally::planned(&Plan { ops: vec![op.clone()], ..Plan::default() });
    tally.outcome(&op, &Outcome::Done { reclaimed: 4096 }, false);
    let journal = Some(Path::new("/srv/j k"));
    let mut out = Vec::new();
    conclusion(&mut out, &Scene { journal, ..sample::scene(&pool) }, &[], &tally).unwrap();
    let text = String::from_utf8(out).unwrap();
    let line = "To take it back: mergerfs.xdedup --journal '/srv/j k' undo 7\n";
    assert!(text.ends_with(line), "{text}");
}

#[test]
fn a_disk_that_is_skipped_as_a_whole_is_no_file() {
    let pool = sample::pool();
    let scene = sample::scene(&pool);
    let of = |path: &str| Refusal::of_path(Reason::DiskReadOnly, path, "");
    let told = |refused: &[Refusal]| text(|out| skipped(out, &scene, refused));
    assert!(told(&[of("/mnt/d1")]).starts_with("skipped: 1 disk, disk-read-only: "));
    let both = told(&[of("/mnt/d1"), of("/mnt/d2"), of("a")]);
    assert!(both.starts_with("skipped: 2 disks and 1 file, disk-read-only: "), "{both}");
}

#[test]
fn no_undo_is_offered_of_copies_that_are_gone_for_good() {
    let pool = sample::pool();
    let mut op = sample::cross("media/a", "dl/a", 4096);
    op.names[0].found = Found::Master;
    let other = sample::cross("media/b", "dl/b", 1);
    let ops = vec![op.clone(), other.clone()];
    let mut tally = Tally::planned(&Plan { ops, ..Plan::default() });
    tally.outcome(&op, &Outcome::Done { reclaimed: 4096 }, false);
    let text = text(|out| conclusion(out, &sample::scene(&pool), &[], &tally));
    assert!(!text.contains("To take it back"), "{text}");
    tally.outcome(&other, &Outcome::Done { reclaimed: 1 }, false);
    let text = self::text(|out| conclusion(out, &sample::scene(&pool), &[], &tally));
    assert!(text.contains("To take it back"), "{text}");
}

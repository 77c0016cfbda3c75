//! What a person reads before anything is done.

use super::super::sample;
use super::*;
use crate::plan::refusal::Reason;
use crate::plan::{DirIntent, Refusal};
use crate::report::Screen;

fn scene(pool: &Pool) -> Scene<'_> {
    Scene { dry_run: true, run: None, ..sample::scene(pool) }
}

fn on_terminal(pool: &Pool, width: usize) -> Scene<'_> {
    let screen = Screen { colour: false, width: Some(width) };
    Scene { terminal: true, screen, ..scene(pool) }
}

fn with_e() -> Before<'static> {
    Before { apply: "with -e", ..Before::default() }
}

fn told(scene: &Scene<'_>, plan: &Plan) -> String {
    let mut out = Vec::new();
    write(&mut out, scene, (plan, &Tally::planned(plan)), with_e()).unwrap();
    String::from_utf8(out).unwrap()
}

fn films(count: u64) -> Plan {
    let film = |n: u64| {
        let name = format!("Film {n} (1999) 2160p BluRay/Film {n}.mkv");
        let kept = format!("media/films/{name}");
        let mut op = sample::cross(&kept, &format!("torrents/complete/films/{name}"), n << 20);
        let dir = sample::path(format!("torrents/complete/films/Film {n}"));
        op.dirs = vec![DirIntent { path: dir, to: BranchIdx(0), from: BranchIdx(1) }];
        op
    };
    let refused = |n: u64| Refusal {
        reason: [Reason::Shadowed, Reason::OwnerDiffers, Reason::UnknownLinks][n as usize % 3],
        path: format!("o{n}").into(),
        master: None,
        detail: String::new(),
        bytes: 1 << 20,
    };
    Plan {
        ops: (1..=count).map(film).collect(),
        refusals: (0..count / 10).map(refused).collect(),
        ..Plan::default()
    }
}

#[test]
fn a_plan_is_a_line_a_file_and_ends_with_what_to_do() {
    let pool = sample::pool();
    let mut plan = Plan {
        ops: vec![
            sample::cross("media/a/Coco.mkv", "torrents/b/Coco.mkv", 8 << 20),
            sample::op(crate::plan::OpKind::Local, b"media/c", &[b"dl/c", b"dl/d"], 9 << 20),
        ],
        already_linked: 12,
        ..Plan::default()
    };
    plan.refusals.push(Refusal {
        reason: Reason::Shadowed,
        path: b"x".to_vec(),
        master: None,
        detail: "on d1, d2".into(),
        bytes: 3 << 20,
    });
    let hint = Reason::Shadowed.hint();
    assert_eq!(
        told(&scene(&pool), &plan),
        format!(
            "link     9.0 MiB  dl/c and 1 more → media/c  d1\n\
             link     8.0 MiB  torrents/b/Coco.mkv → media/a/Coco.mkv  d2 → d1\n\
             \n\
             skipped: 1 file of 3.0 MiB, shadowed: {hint}\n    /pool/x: on d1, d2\n\
             \n\
             disk     used  free  free then    frees  files\n\
             /mnt/d1     ?     ?          ?  9.0 MiB      1\n\
             /mnt/d2     ?     ?          ?  8.0 MiB      1\n\
             \n\
             2 files can be linked, 17.0 MiB freed. 1 skipped (on several disks), 12 already linked.\n\
             Nothing was changed. Run again with -e to apply.\n"
        )
    );
}

#[test]
fn five_thousand_duplicates_are_a_screen_and_a_half() {
    let pool = sample::pool();
    let plan = films(5_000);
    // On a terminal the advice is broken into lines, where others are as long as they are.
    for (scene, most) in [(on_terminal(&pool, 80), 48), (scene(&pool), 36)] {
        let text = told(&scene, &plan);
        assert!(text.lines().count() <= most, "{text}");
        assert!(text.contains("and 4985 more files, ") && text.contains("(-v lists all)"));
        assert!(text.contains("New directories: 5000 on d1 (-v lists them)."), "{text}");
        assert!(text.starts_with("link     4.9 GiB"), "{text}");
    }
    let all = told(&Scene { verbose: 1, ..scene(&pool) }, &plan);
    let lines = all.lines().filter(|line| line.starts_with("link "));
    assert_eq!(lines.count(), 5_000);
    assert!(all.contains("\n    /mnt/d1/torrents/complete/films/Film 17\n"), "{all}");
}

#[test]
fn a_line_fits_the_terminal_and_keeps_what_tells_files_apart() {
    let pool = sample::pool();
    let plan = films(3);
    for width in [80, 100, 132] {
        let text = told(&on_terminal(&pool, width), &plan);
        let lines = text.lines().filter(|line| line.starts_with("link "));
        for line in lines {
            assert!(line.chars().count() <= width, "{width}: {line}");
            assert!(line.contains("Film") && line.ends_with("  d2 → d1"), "{line}");
            assert_eq!(line.matches(".mkv").count(), 2, "{line}");
        }
    }
    let whole = Scene { verbose: 1, ..on_terminal(&pool, 80) };
    let whole = told(&whole, &plan);
    assert!(whole.contains("torrents/complete/films/Film 3 (1999) 2160p BluRay/Film 3.mkv → "));
    assert!(!whole.contains('…'), "{whole}");
    let text = told(&on_terminal(&pool, 120), &plan);
    assert!(text.contains("torrents/…/Film 3.mkv → media/…/Film 3 (1999) 2160p"), "{text}");
}

/// All but paths, which stay whole so that they can be copied.
#[test]
fn every_line_fits_a_terminal() {
    let pool = sample::pool();
    let mut plan = films(30);
    plan.left_out.by_primary = 123_456;
    plan.already_linked = 77_777;
    for reason in Reason::ALL {
        plan.refusals.push(Refusal {
            reason,
            path: b"downloads/a".to_vec(),
            master: Some(sample::path("media/films/of this year/and a long name/a")),
            detail: "owner and mode 0640 0:0; kept copy: 0664 1002:1000".into(),
            bytes: 1 << 40,
        });
    }
    let why =
        ["you are not root: only files that you own can be linked, and so on and so on".into()];
    for width in [80, 72, 132] {
        let mut out = Vec::new();
        let scene = on_terminal(&pool, width);
        let before = Before { obstacles: &why, ..with_e() };
        write(&mut out, &scene, (&plan, &Tally::planned(&plan)), before).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in text.lines() {
            assert!(
                line.chars().count() <= width || line.contains("copy of /pool"),
                "{width}: {line}"
            );
        }
        let broken = "\n    /pool/downloads/a\n        copy of /pool/media/films/of this year/and a long name/a\n        \
                      owner and mode 0640 0:0; kept copy: 0664 1002:1000\n";
        assert!(width > 100 || text.contains(broken), "{text}");
        assert!(text.contains("owner-differs:\n  make equal all that is listed"), "{text}");
    }
    // A pipe gets each in one line.
    let text = told(&scene(&pool), &plan);
    assert!(
        text.contains(&format!("other-filesystem: {}\n", Reason::OtherFilesystem.hint())),
        "{text}"
    );
}

#[test]
fn what_the_run_would_refuse_is_said_before() {
    let pool = sample::pool();
    let plan = films(1);
    let mut out = Vec::new();
    let why = ["the journal lies in the pool".to_owned()];
    let before = Before { obstacles: &why, unfinished: &[], apply: "without -n" };
    write(&mut out, &scene(&pool), (&plan, &Tally::planned(&plan)), before).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("Before -e: the journal lies in the pool.\n"), "{text}");
    assert!(text.ends_with("Settle this first, then run again without -n to apply.\n"), "{text}");
}

#[test]
fn nothing_to_do_is_said_in_one_line() {
    let pool = sample::pool();
    assert_eq!(told(&scene(&pool), &Plan::default()), "Nothing to do.\n");
    let linked = Plan { already_linked: 3, ..Plan::default() };
    assert_eq!(told(&scene(&pool), &linked), "Nothing to do. 3 already linked.\n");
}

#[test]
fn no_name_takes_over_the_terminal() {
    let pool = sample::pool();
    let op = sample::op(crate::plan::OpKind::Cross, b"m\x1b[2J", &[b"d\x9b\xc2\x9b\n"], 1);
    let plan = Plan { ops: vec![op], ..Plan::default() };
    let text = told(&on_terminal(&pool, 80), &plan);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
}

#[test]
fn disks_have_the_names_that_tell_them_apart() {
    for (roots, names) in [
        (["/mnt/disk1", "/mnt/disk2"], ["disk1", "disk2"]),
        (["/mnt/disk1/data", "/mnt/disk2/data"], ["disk1", "disk2"]),
        (["/mnt/a/data", "/srv/b/data"], ["mnt/a", "srv/b"]),
        (["/mnt/a", "/mnt/a/b"], ["a", "a/b"]),
        (["/", "/mnt/a"], ["/", "/mnt/a"]),
        (["/a", "/b"], ["a", "b"]),
    ] {
        let pool = sample::pool_at("/pool", roots.map(Into::into));
        let told: Vec<_> =
            disk_names(&pool).into_iter().map(|name| String::from_utf8(name).unwrap()).collect();
        assert_eq!(told, names);
    }
}

#[test]
fn an_interrupted_run_is_named_and_keeps_nobody_from_applying_the_plan() {
    let pool = sample::pool();
    let plan = films(1);
    let mut out = Vec::new();
    let unfinished = [Unfinished { run: 7, open: 1 }, Unfinished { run: 8, open: 1200 }];
    let before = Before { unfinished: &unfinished, ..with_e() };
    write(&mut out, &scene(&pool), (&plan, &Tally::planned(&plan)), before).unwrap();
    let text = String::from_utf8(out).unwrap();
    let end = "Before -e: run 7 was interrupted and left 1 file half done; `resume` finishes it or puts it back, and -e does so first.\n\
               Before -e: run 8 was interrupted and left 1200 files half done; `resume` finishes each or puts each back, and -e does so first.\n\
               Nothing was changed. Run again with -e to apply.\n";
    assert!(text.ends_with(end), "{text}");
}

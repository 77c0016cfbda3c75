use std::time::Duration;

use super::*;
use crate::execute::{Halt, Outcome};
use crate::fs::Place;
use crate::plan::Op;
use crate::plan::refusal::Reason;
use crate::plan::{Plan, PlannedGroup, Refusal};
use crate::pool::BranchIdx;
use crate::report::sample;

const HOSTILE: &str = "d/<script>alert('x')</script>\"&\u{202e}.mkv";

fn plan() -> Plan {
    let ops: Vec<Op> = vec![
        sample::cross("m/a.mkv", HOSTILE, 3 << 20),
        sample::cross("m/a.mkv", "d/b.iso", 1 << 20),
    ];
    let place = |branch, path: &str| Place::new(BranchIdx(branch), sample::path(path));
    let refusal = Refusal {
        reason: Reason::OwnerDiffers,
        path: b"d/other's".to_vec(),
        master: None,
        detail: "1000:1000 and 0:0".into(),
        bytes: 5 << 20,
    };
    Plan {
        groups: vec![PlannedGroup {
            size: 3 << 20,
            master: Some(place(0, "m/a.mkv")),
            paths: vec![place(0, "m/a.mkv"), place(1, HOSTILE), place(1, "d/b.iso")],
            ops: 0..2,
        }],
        ops,
        refusals: vec![refusal],
        ..Plan::default()
    }
}

fn disks() -> Vec<DiskFigures> {
    vec![DiskFigures {
        path: "/mnt/d2".into(),
        size: 100 << 20,
        before_free: 10 << 20,
        after_free: 14 << 20,
        reclaimed: 4 << 20,
    }]
}

fn page(dry_run: bool) -> String {
    let pool = sample::pool();
    let mut scene = sample::scene(&pool);
    let plan = plan();
    let mut tally = Tally::planned(&plan);
    let mut chronicle = Chronicle::begin(&plan);
    if dry_run {
        (scene.dry_run, scene.run) = (true, None);
        chronicle = Chronicle::planned(&plan);
    } else {
        let done = Outcome::Done { reclaimed: 3 << 20 };
        let busy = Outcome::NotDone(Halt::new(Reason::Busy, "open by <somebody>"));
        for (op, outcome) in plan.ops.iter().zip([done, busy]) {
            chronicle.outcome(op, &outcome, Duration::from_secs(1));
            tally.outcome(op, &outcome, false);
        }
    }
    render(&Page {
        scene: &scene,
        time: "2024-05-01 03:00:00 UTC",
        refusals: &plan.refusals,
        tally: &tally,
        chronicle: &chronicle,
        disks: &disks(),
    })
}

#[test]
fn names_cannot_become_markup_and_nothing_is_loaded() {
    for page in [page(true), page(false)] {
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains('\u{202e}'));
        assert!(page.contains("&lt;script&gt;alert('x')&lt;/script&gt;&quot;&amp;\\u{202e}.mkv"));
        assert!(page.contains("default-src 'none'"));
        for loading in ["http:", "https:", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(loading), "{loading}");
        }
    }
}

#[test]
fn a_run_tells_what_became_of_what_was_planned() {
    let page = page(false);
    for part in [
        "Run 7",
        "3.0 MiB",
        "freed (3145728 bytes)",
        "not done (1 busy, 0 failed)",
        "open by &lt;somebody&gt;",
        Reason::OwnerDiffers.hint(),
        Reason::Busy.hint(),
        "</b> owner-differs, 5.0 MiB: ",
        "1000:1000 and 0:0",
        "/mnt/d2",
        "Largest groups",
        "<polyline",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    // Only what was done is counted as freed.
    assert!(page.contains(">.mkv<") && !page.contains(">.iso<"));
}

#[test]
fn a_dry_run_tells_what_would_be_freed() {
    let page = page(true);
    for part in
        ["nothing was changed", "4.0 MiB", "can be freed", ">.iso<", "to be freed", "14.0 MiB"]
    {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!page.contains("<polyline"));
}

#[test]
fn many_lines_are_summed_up() {
    let pool = sample::pool();
    let scene = sample::scene(&pool);
    let mut plan = Plan::default();
    for n in 0..40 {
        let op = sample::cross("m/a", &format!("dir{n:02}/x/y/{n}.k{n}"), 1 << 20);
        plan.ops.push(op);
    }
    let tally = Tally::planned(&plan);
    let chronicle = Chronicle::planned(&plan);
    let page = render(&Page {
        scene: &scene,
        time: "",
        refusals: &plan.refusals,
        tally: &tally,
        chronicle: &chronicle,
        disks: &[],
    });
    assert_eq!(page.matches("(26 others)").count(), 2);
}

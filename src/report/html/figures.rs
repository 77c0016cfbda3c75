//! The first look at a run: its figures, and how they came about over time.

use maud::{Markup, html};

use super::Page;
use super::parts::name;
use crate::report::size;

/// What was done, in a few figures.
pub(super) fn head(page: &Page<'_>) -> Markup {
    let (scene, tally) = (page.scene, page.tally);
    let what = match scene.run {
        Some(run) => format!("Run {run}"),
        None if scene.dry_run => "Dry run: nothing was changed".to_owned(),
        None => "Nothing to do".to_owned(),
    };
    let (word, bytes) = if scene.dry_run {
        ("can be freed", tally.bytes_reclaimable)
    } else {
        ("freed", tally.bytes_reclaimed)
    };
    let warn = tally.busy + tally.failed > 0;
    html! {
        header {
            p.soft { "mergerfs.xdedup on " span.path { (name(&scene.pool.mount)) } ", " (page.time) }
            h1 { (what) }
            div.figures {
                (figure("gain", &size(bytes), &format!("{word} ({bytes} bytes)")))
                (figure("", &tally.planned.to_string(), if tally.planned_sharing + tally.planned_cloning > 0 { "files to link, or to share blocks" } else { "files to link" }))
                @if tally.planned_differing > 0 {
                    (figure("", &tally.planned_differing.to_string(),
                        &format!("of them would be skipped with --link hard ({})", size(tally.bytes_differing))))
                }
                @if !scene.dry_run {
                    (figure("", &tally.done.to_string(), "done"))
                    (figure(if warn { "warn" } else { "" }, &(tally.busy + tally.failed).to_string(),
                        &format!("not done ({} busy, {} failed)", tally.busy, tally.failed)))
                    (figure("", &tally.left().to_string(), "left for another run"))
                }
                (figure("", &tally.refused.to_string(), "skipped"))
                (figure("", &tally.already_linked.to_string(), "linked already"))
                @if tally.already_shared > 0 {
                    (figure("", &tally.already_shared.to_string(), "sharing blocks already"))
                }
                (figure("", &tally.groups.to_string(), "groups of equal files"))
                (figure("", &format!("{:.1} s", tally.elapsed_s), "taken"))
            }
            (recovered(page))
        }
    }
}

fn figure(class: &str, value: &str, what: &str) -> Markup {
    html! { div class=(class) { b { (value) } span.soft { (what) } } }
}

fn recovered(page: &Page<'_>) -> Markup {
    let tally = page.tally;
    let earlier = tally.recovered_done + tally.recovered_restored + tally.still_open;
    html! {
        @if earlier > 0 {
            p { "Of what earlier runs had left open, " (tally.recovered_done) " were finished, "
                (tally.recovered_restored) " put back, " (tally.still_open) " are still open." }
        }
        @if tally.conflicts + tally.open > 0 {
            p { (tally.conflicts) " in conflict and " (tally.open) " left open: "
                code { "mergerfs.xdedup status" } " says which." }
        }
    }
}

/// How the bytes were freed over time.
pub(super) fn time_line(page: &Page<'_>) -> Markup {
    let points: Vec<_> = page.chronicle.time_line.points().collect();
    let Some(last) = points.last().copied() else {
        return html! {};
    };
    let end = page.tally.elapsed_s.max(last.at.as_secs_f64()).max(1e-3);
    let top = last.bytes.max(1) as f64;
    let spot = |seconds: f64, bytes: u64| {
        let (x, y) = (1000.0 * seconds / end, 200.0 - 190.0 * bytes as f64 / top);
        format!("{x:.1},{y:.1}")
    };
    let begin = spot(points[0].at.as_secs_f64(), 0);
    let mut line = vec![spot(0.0, 0), begin];
    line.extend(points.iter().map(|p| spot(p.at.as_secs_f64(), p.bytes)));
    line.push(spot(end, last.bytes));
    let line = line.join(" ");
    let area = format!("{line} 1000,200 0,200");
    html! {
        section {
            h2 { "Over time" }
            p.soft { (size(last.bytes)) " in " (last.ops) " files; the time before the first went into finding and comparing" }
            svg viewBox="0 0 1000 200" preserveAspectRatio="none" role="img" aria-label="bytes freed over time" {
                polygon points=(area) {}
                polyline points=(line) {}
            }
            p.soft.ends { span { "0 s" } span { (format!("{end:.1} s")) } }
        }
    }
}

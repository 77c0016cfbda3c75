//! The tables of the page, and its bars.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use maud::{Markup, html};

use super::chronicle::{EXAMPLES_MAX, Examples, Share};
use super::{DiskFigures, Page};
use crate::plan::refusal::{Reason, Weight};
use crate::plan::{PlannedGroup, Refusal};
use crate::report::{sanitised, size};

/// Lines of a table; the rest is summed up in one more.
const LINES_MAX: usize = 15;
/// Paths shown of one group.
const PATHS_MAX: usize = 12;

/// A name with nothing in it that deceives.
pub(super) fn name(path: &Path) -> String {
    sanitised(path.as_os_str().as_bytes())
}

/// What share `part` is of `whole`, for a style attribute.
fn width(part: u64, whole: u64) -> String {
    let percent = 100.0 * part as f64 / whole.max(1) as f64;
    format!("width:{:.2}%", percent.clamp(0.0, 100.0))
}

/// Each disk before and after.
pub(super) fn disks(page: &Page<'_>) -> Markup {
    let after = if page.scene.dry_run { "then" } else { "after" };
    html! {
        section {
            h2 { "Disks" }
            @for disk in page.disks { (disk_bars(disk, after)) }
            p.key.soft { i.used {} "used" i.gone {} @if page.scene.dry_run { "to be freed" } @else { "freed" } }
        }
    }
}

fn disk_bars(disk: &DiskFigures, after: &str) -> Markup {
    let used = |free: u64| disk.size.saturating_sub(free);
    let (before, now) = (used(disk.before_free), used(disk.after_free));
    let gone = before.saturating_sub(now);
    html! {
        div.disk {
            div.path { (name(&disk.path)) }
            div.row { span.soft { "before" } div.bar {
                i.used style=(width(before - gone, disk.size)) {}
                i.gone style=(width(gone, disk.size)) {}
            } }
            div.row { span.soft { (after) } div.bar { i.used style=(width(now, disk.size)) {} } }
            p.soft {
                (size(now)) " used of " (size(disk.size)) ", " (size(disk.after_free)) " free (before: "
                (size(disk.before_free)) "); " (size(disk.reclaimed)) " of duplicates"
            }
        }
    }
}

/// Names with what was freed there, the most first.
pub(super) type Shares = Vec<(String, Share)>;

/// What was freed in which directories of the pool.
pub(super) fn directories(page: &Page<'_>) -> Shares {
    let shown = |dir: &Vec<u8>| match dir.as_slice() {
        b"" => "(directly in the pool)".to_owned(),
        dir => format!("{}/", sanitised(dir)),
    };
    let shares = &page.chronicle.by_directory;
    sorted(shares.iter().map(|(dir, share)| (shown(dir), *share)))
}

/// What was freed of which kinds of files.
pub(super) fn kinds(page: &Page<'_>) -> Shares {
    let shown = |kind: &String| match kind.as_str() {
        "" => "(no suffix)".to_owned(),
        kind => format!(".{kind}"),
    };
    let shares = &page.chronicle.by_kind;
    sorted(shares.iter().map(|(kind, share)| (shown(kind), *share)))
}

fn sorted(shares: impl Iterator<Item = (String, Share)>) -> Shares {
    let mut shares: Shares = shares.collect();
    shares.sort_by(|(a, x), (b, y)| y.bytes.cmp(&x.bytes).then_with(|| a.cmp(b)));
    if shares.len() > LINES_MAX {
        let rest = shares.split_off(LINES_MAX - 1);
        let mut sum = Share::default();
        for (_, share) in &rest {
            sum.ops += share.ops;
            sum.bytes += share.bytes;
        }
        shares.push((format!("({} others)", rest.len()), sum));
    }
    shares
}

/// A table of shares, with a bar each.
pub(super) fn shares(title: &str, what: &str, shares: &Shares) -> Markup {
    let most = shares.iter().map(|(_, share)| share.bytes).max().unwrap_or(0);
    html! {
        @if !shares.is_empty() {
            section {
                h2 { (title) }
                table {
                    tr { th { (what) } th.share {} th.num { "freed" } th.num { "files" } }
                    @for (name, share) in shares {
                        tr {
                            td.path { (name) }
                            td.share { div.bar { i.gone style=(width(share.bytes, most)) {} } }
                            td.num { (size(share.bytes)) }
                            td.num { (share.ops) }
                        }
                    }
                }
            }
        }
    }
}

/// The groups that free the most.
pub(super) fn largest(page: &Page<'_>) -> Markup {
    let groups = &page.chronicle.largest;
    html! {
        @if !groups.is_empty() {
            section {
                h2 { "Largest groups" }
                @for (bytes, group) in groups { (group_details(page, *bytes, group)) }
            }
        }
    }
}

fn group_details(page: &Page<'_>, bytes: u64, group: &PlannedGroup) -> Markup {
    let pool = page.scene.pool;
    let shown = |path| name(&pool.path_of(path));
    let mut paths: Vec<_> = group.paths.iter().collect();
    if let Some(master) = &group.master {
        paths.retain(|path| *path != master);
    }
    html! {
        details {
            summary {
                b { (size(bytes)) } ", " (group.paths.len()) " names: "
                span.path { @if let Some(master) = &group.master { (shown(&master.path)) } }
            }
            ul {
                @for path in paths.iter().take(PATHS_MAX) { li.path { (shown(&path.path)) } }
                @if paths.len() > PATHS_MAX { li.soft { "and " (paths.len() - PATHS_MAX) " more" } }
            }
        }
    }
}

/// What was not planned, by reason, with what to do.
pub(super) fn refused(page: &Page<'_>) -> Markup {
    let mut by_reason: BTreeMap<Reason, Vec<&Refusal>> = BTreeMap::new();
    for refusal in page.refusals {
        by_reason.entry(refusal.reason).or_default().push(refusal);
    }
    let example = |refusal: &Refusal| {
        let detail = sanitised(refusal.detail.as_bytes());
        (name(&page.scene.refused_path(refusal)), detail)
    };
    html! {
        @if !by_reason.is_empty() {
            section {
                h2 { "Skipped" }
                @for (reason, all) in &by_reason {
                    (reason_details(*reason, (all.len() as u64, all.iter().map(|r| r.bytes).sum()), all.iter().take(EXAMPLES_MAX).map(|r| example(r))))
                }
            }
        }
    }
}

/// What was planned and not done, by reason, with what to do.
pub(super) fn not_done(page: &Page<'_>) -> Markup {
    let none = Examples::new();
    let examples = |reason: &Reason| page.chronicle.not_done.get(reason).unwrap_or(&none);
    html! {
        @if !page.tally.not_done.is_empty() {
            section {
                h2 { "Not linked" }
                @for (reason, count) in &page.tally.not_done {
                    (reason_details(*reason, (*count, 0), examples(reason).iter().map(|(path, detail)| {
                        (name(&page.scene.pool.path_of(path)), sanitised(detail.as_bytes()))
                    })))
                }
            }
        }
    }
}

fn reason_details(
    reason: Reason,
    (count, bytes): (u64, u64),
    examples: impl ExactSizeIterator<Item = (String, String)>,
) -> Markup {
    let more = count.saturating_sub(examples.len() as u64);
    html! {
        details open[reason.weight() == Weight::Failure] {
            summary {
                b { (count) } " " (reason.as_str())
                @if bytes > 0 { ", " (size(bytes)) }
                ": " (reason.hint())
            }
            ul {
                @for (path, detail) in examples {
                    li { span.path { (path) } @if !detail.is_empty() { span.soft { ": " (detail) } } }
                }
                @if more > 0 { li.soft { "and " (more) " more" } }
            }
        }
    }
}

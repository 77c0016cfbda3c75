//! The report of a run: one page that stands by itself, for a browser without a network.
//!
//! The page has only markup and style, no script. A policy in the page forbids the browser to load anything. Names come
//! from the disks and may be any bytes: every name is escaped, and characters that deceive a reader are spelled out.

mod chronicle;
mod figures;
mod parts;
mod time_line;

use std::path::PathBuf;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub use chronicle::Chronicle;

use crate::plan::Refusal;
use crate::report::{Scene, Tally};

/// A branch's disk before and after, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFigures {
    /// The branch.
    pub path: PathBuf,
    /// What it can hold: the bytes in use and those that a user can still write.
    pub size: u64,
    /// Free before.
    pub before_free: u64,
    /// Free after; in a dry run as far as it can be foretold.
    pub after_free: u64,
    /// Bytes of the inodes removed there, or to be removed.
    pub reclaimed: u64,
}

/// The contents of the page.
#[derive(Debug, Clone, Copy)]
pub struct Page<'p> {
    /// The pool and the run.
    pub scene: &'p Scene<'p>,
    /// When the run began, as a person reads it.
    pub time: &'p str,
    /// What was not planned.
    pub refusals: &'p [Refusal],
    /// The figures.
    pub tally: &'p Tally,
    /// What happened.
    pub chronicle: &'p Chronicle,
    /// The branches' disks.
    pub disks: &'p [DiskFigures],
}

/// The page as HTML.
#[must_use]
pub fn render(page: &Page<'_>) -> String {
    let title = format!("mergerfs.xdedup: {}", parts::name(&page.scene.pool.mount));
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body { (body(page)) }
        }
    }
    .into_string()
}

fn body(page: &Page<'_>) -> Markup {
    html! {
        (figures::head(page))
        (parts::disks(page))
        (parts::shares("Freed by directory", "directory", &parts::directories(page)))
        (parts::shares("Freed by kind of file", "kind", &parts::kinds(page)))
        (parts::largest(page))
        (parts::refused(page))
        (parts::not_done(page))
        @if !page.scene.dry_run { (figures::time_line(page)) }
    }
}

#[cfg(test)]
mod tests;

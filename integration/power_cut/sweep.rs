//! Looks at what many power cuts of one recording leave behind.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::image::Image;
use super::log::{Cut, Log, Sampling};
use super::replay::{Replay, Variant};
use super::rig::{Rig, Slot, report};

/// Set to a directory, it receives the disks of the first image of a sweep that is not as it must be.
const KEEP_VARIABLE: &str = "XDEDUP_KEEP_BAD";
/// Set, every cut point is tried.
const FULL_VARIABLE: &str = "XDEDUP_FULL";
/// Set to a number, other cut points and other draws are tried than by default.
const SEED_VARIABLE: &str = "XDEDUP_SEED";

/// Which power cuts of a recording to try.
#[derive(Debug, Clone)]
pub(crate) struct Sweep<'a> {
    /// The recording.
    pub(crate) log: &'a Log,
    /// Where its disks go.
    pub(crate) slots: &'a [Slot],
    /// The points in time.
    pub(crate) cuts: Vec<Cut>,
    /// What happens at each to the writes that are unflushed then.
    pub(crate) variants: Vec<Variant>,
}

/// What a sweep has seen.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    /// What each image showed that was as it must be.
    pub(crate) good: Vec<T>,
    /// What was wrong with the others, with where the power went.
    pub(crate) bad: Vec<String>,
    time: Duration,
}

impl Sweep<'_> {
    /// Mounts the disks as each power cut leaves them and lets `look` see what `Rig` shows.
    pub(crate) fn look<T>(
        &self,
        mut look: impl FnMut(Cut, Variant, Rig) -> Result<T, String>,
    ) -> Seen<T> {
        let start = Instant::now();
        let mut replay = Replay::new(self.log);
        let mut seen = Seen { good: Vec::new(), bad: Vec::new(), time: Duration::ZERO };
        for &cut in &self.cuts {
            for &variant in &self.variants {
                let images = replay.images(cut, variant);
                let revived = Rig::revive(images.clone(), self.slots).map_err(|e| e.to_string());
                match revived.and_then(|rig| look(cut, variant, rig)) {
                    Ok(shown) => seen.good.push(shown),
                    Err(wrong) => {
                        if seen.bad.is_empty() {
                            keep(&images);
                        }
                        let place = self.log.describe(cut);
                        seen.bad.push(format!("{variant:?} at {place}: {wrong}"));
                    }
                }
            }
        }
        seen.time = start.elapsed();
        seen
    }
}

impl<T> Seen<T> {
    /// What was seen, if nothing was wrong; says how many images that were.
    pub(crate) fn all_good(self, name: &str) -> Vec<T> {
        self.summarise(name);
        let mut text = String::new();
        for wrong in self.bad.iter().take(10) {
            writeln!(text, "  {wrong}").expect("writing to a string");
        }
        assert!(self.bad.is_empty(), "{name}: {} bad images:\n{text}", self.bad.len());
        self.good
    }

    /// Fails unless some images were wrong: the check can fail.
    pub(crate) fn some_bad(self, name: &str) {
        self.summarise(name);
        assert!(!self.bad.is_empty(), "{name}: no image shows what is wrong");
    }

    fn summarise(&self, name: &str) {
        let count = self.good.len() + self.bad.len();
        assert!(count > 0, "{name}: nothing was tried");
        let rate = count as f64 / self.time.as_secs_f64();
        report(&format!("{name}: {count} images, {} bad, {rate:.1} images/s", self.bad.len()));
    }
}

/// Every point with [`FULL_VARIABLE`], else about `count`.
pub(crate) fn sampling(count: usize) -> Sampling {
    match std::env::var_os(FULL_VARIABLE) {
        Some(_) => Sampling::Every,
        None => Sampling::Seeded { count, seed: seed() },
    }
}

/// The number everything is drawn by.
pub(crate) fn seed() -> u64 {
    std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// The two extremes, and a draw of whole writes and one of torn ones.
pub(crate) fn variants() -> Vec<Variant> {
    let (whole, torn) = (Variant::Random(seed()), Variant::Torn(seed()));
    vec![Variant::KeepAll, Variant::DropUnflushed, whole, torn]
}

fn keep(images: &[Image]) {
    let Some(dir) = std::env::var_os(KEEP_VARIABLE).map(PathBuf::from) else {
        return;
    };
    for (device, image) in images.iter().enumerate() {
        let path = Path::new(&dir).join(format!("disk-{device}"));
        if let Err(error) = image.save(&path) {
            report(&format!("cannot keep {path:?}: {error}"));
        }
    }
}

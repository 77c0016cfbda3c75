//! Reads kept files again, all disks at once and each at its own pace.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{self, Sender};

use super::verify::{Subject, Verdict, check};
use crate::fs::real::RealFs;
use crate::run::Stop;

/// One step of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This many more bytes were read.
    Read(u64),
    /// The file with this index was read to its end.
    Found(usize, Verdict),
}

/// Reads all of `subjects` until `stop` asks to end; calls `show` for each step, in this thread.
///
/// # Errors
/// The first error that `show` returns; reading goes on after that error, and nothing more is shown.
pub fn read_all(
    fs: &RealFs,
    subjects: &[Subject],
    stop: &Stop,
    mut show: impl FnMut(Step) -> io::Result<()>,
) -> io::Result<()> {
    let mut disks: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, subject) in subjects.iter().enumerate() {
        let dev = subject.branch.map_or(0, |branch| fs.root_id(branch).dev);
        disks.entry(dev).or_default().push(at);
    }
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for queue in disks.values() {
            let sender = sender.clone();
            scope.spawn(move || read_disk(fs, (subjects, queue), stop, &sender));
        }
        drop(sender);
        let mut shown = Ok(());
        for step in receiver {
            // Waits for the threads even if nothing can be shown any more.
            shown = shown.and_then(|()| show(step));
        }
        shown
    })
}

fn read_disk(
    fs: &RealFs,
    (subjects, queue): (&[Subject], &[usize]),
    stop: &Stop,
    sender: &Sender<Step>,
) {
    for at in queue {
        let mut read = |bytes| sender.send(Step::Read(bytes)).is_ok() && !stop.asked();
        if stop.asked() {
            return;
        }
        if let Some(verdict) = check(fs, &subjects[*at], &mut read)
            && sender.send(Step::Found(*at, verdict)).is_err()
        {
            return;
        }
    }
}

//! Reads kept files again, all disks at once and each at its own pace.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{self, Sender};

use super::verify::{Subject, Verdict, place_on_disk, unread};
use crate::fs::real::RealFs;
use crate::pool::BranchIdx;
use crate::run::Stop;

/// Files of one disk that are put in physical order at a time. Before, they are in the order of their inodes, which is
/// near it.
const IN_ORDER: usize = 8_192;

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
    let mut disks: BTreeMap<Option<BranchIdx>, Vec<usize>> = BTreeMap::new();
    for (at, subject) in subjects.iter().enumerate() {
        let reader = subject.branch.map(|branch| fs.reader_of(branch));
        disks.entry(reader).or_default().push(at);
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
    for some in queue.chunks(IN_ORDER) {
        let mut order = some.to_vec();
        let branch = subjects[some[0]].branch;
        if branch.is_some_and(|branch| fs.disk(branch).rotating) {
            order.sort_by_cached_key(|at| match stop.asked() {
                true => None,
                false => place_on_disk(fs, &subjects[*at]),
            });
        }
        let mut next = order.first().map(|at| unread(fs, &subjects[*at]));
        for (n, at) in order.iter().enumerate() {
            let Some(this) = next.take().filter(|_| !stop.asked()) else { return };
            next = order.get(n + 1).map(|at| unread(fs, &subjects[*at]));
            let mut read = |bytes| sender.send(Step::Read(bytes)).is_ok() && !stop.asked();
            let verdict = match this {
                Ok(file) => {
                    let next = next.as_ref().and_then(|next| next.as_ref().ok());
                    file.check(fs, next, &mut read)
                }
                Err(verdict) => Some(verdict),
            };
            if let Some(verdict) = verdict
                && sender.send(Step::Found(*at, verdict)).is_err()
            {
                return;
            }
        }
    }
}

//! `verify`: the files that stayed are read again and compared with what the journal recorded, a queue a disk.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::{self, Sender};

use super::args::{Common, OutputFormat, VerifyArgs};
use super::failure::Failure;
use super::resume::pool_of;
use super::session::{self, DiskJournal, Session};
use super::signals::Signals;
use crate::journal;
use crate::report::verify::{self as report, Verified};
use crate::report::{Progress, Scene};
use crate::rescue::verify::{Subject, Verdict, check, subjects};

enum Told {
    Read(u64),
    Found(usize, Verdict),
}

pub(super) fn run(common: &Common, args: &VerifyArgs) -> Result<u8, Failure> {
    let signals = Signals::listen(None)?;
    let dir = session::journal_dir(common)?;
    let Some(journal) = journal::open_existing(&dir, None)? else {
        return Err(Failure::usage(format!(
            "no journal at {dir:?}: there is nothing to verify"
        )));
    };
    let run = chosen(&journal, args.run)?;
    let of_run = journal.run(run).map(|run| run.started.clone());
    let session = Session::open(pool_of(of_run.as_slice())?)?;
    let finished = journal.finished(|of| of == run)?;
    // Reading a terabyte takes hours: other runs go on meanwhile.
    drop(journal);
    let subjects = subjects(&session.branch_records(), &finished);
    let scene = Scene {
        run: Some(run),
        ..session.scene(common)
    };
    let bytes = subjects.iter().map(|subject| subject.size).sum();
    let bar = !args.no_progress && !common.quiet;
    let mut progress = Progress::new(bytes, subjects.len() as u64, bar);
    let mut verified = Verified {
        left: subjects.len() as u64,
        ..Verified::default()
    };
    let as_json = common.format == OutputFormat::Json;
    let mut out = session::stdout();
    let written = read_all(&session, &subjects, &signals, |told| match told {
        Told::Read(bytes) => {
            verified.bytes += bytes;
            progress.bytes(bytes);
            Ok(())
        }
        Told::Found(at, verdict) => {
            verified.left -= 1;
            verified.count(&verdict);
            progress.op_done();
            progress.suspend(|| {
                let show = if as_json { report::json } else { report::text };
                show(&mut out, &scene, &subjects[at], &verdict).and_then(|()| out.flush())
            })
        }
    });
    progress.finish();
    written
        .and_then(|()| report::conclusion(&mut out, run, as_json, &verified))
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(signals.exit_code().unwrap_or(verified.exit_code()))
}

/// The run named, else the newest that changed something.
fn chosen(journal: &DiskJournal, named: Option<u64>) -> Result<u64, Failure> {
    let found = match named {
        Some(run) => journal.run(run),
        None => journal.runs().rfind(|run| run.done > 0),
    };
    found.map(|run| run.started.run).ok_or_else(|| {
        Failure::usage("the journal has no such run, or none that changed something")
            .hint("mergerfs.xdedup history lists them")
    })
}

/// Reads all of `subjects`, each disk at its own pace; `tell` is called in this thread.
fn read_all(
    session: &Session,
    subjects: &[Subject],
    signals: &Signals,
    mut tell: impl FnMut(Told) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut disks: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, subject) in subjects.iter().enumerate() {
        let dev = subject
            .branch
            .map_or(0, |branch| session.fs.root_id(branch).dev);
        disks.entry(dev).or_default().push(at);
    }
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for queue in disks.values() {
            let sender = sender.clone();
            scope.spawn(move || read_disk(session, (subjects, queue), signals, &sender));
        }
        drop(sender);
        let mut told = Ok(());
        for each in receiver {
            // Even where nobody listens any more the threads are waited for.
            told = told.and_then(|()| tell(each));
        }
        told
    })
}

fn read_disk(
    session: &Session,
    (subjects, queue): (&[Subject], &[usize]),
    signals: &Signals,
    sender: &Sender<Told>,
) {
    for at in queue {
        let mut read = |bytes| sender.send(Told::Read(bytes)).is_ok() && !signals.asked();
        if signals.asked() {
            return;
        }
        if let Some(verdict) = check(&session.fs, &subjects[*at], &mut read)
            && sender.send(Told::Found(*at, verdict)).is_err()
        {
            return;
        }
    }
}

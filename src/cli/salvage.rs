//! `resume --salvage`: the journal is lost; its log and the hidden names on the branches say what was open.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use super::args::{Common, OutputFormat, ResumeArgs};
use super::failure::Failure;
use super::places;
use super::request::may_differ;
use super::resume;
use super::signals::Signals;
use super::stdout::stdout;
use crate::execute::{remove_if_empty, sync_dirs};
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::journal::{self, Logged, Remains};
use crate::pool::Pool;
use crate::report::{number, salvage as report};
use crate::rescue::leftovers;
use crate::rescue::salvage::{self, Lost, Salvage};
use crate::run::real_path::outside;
use crate::run::{DiskJournal, Session, Site, find_pool};

const GONE_FOR_GOOD: &str = "mount or add it, then run again; if it is gone for good, move the CSV log away and name the \
                             POOL: the names on the branches alone count then";

/// A pool, and what is to be done there.
struct Found {
    session: Session,
    lost: Lost,
    plan: Salvage,
}

pub(super) fn run(common: &Common, args: &ResumeArgs) -> Result<u8, Failure> {
    let signals = Signals::listen(None)?;
    let mut out = stdout();
    let dir = places::journal_dir(common)?;
    let Some(remains) = journal::remains(&dir, args.log_file.as_deref())? else {
        writeln!(
            out,
            "the journal {dir:?} can be used: `resume` without --salvage finishes what it has open"
        )
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
        return Ok(0);
    };
    let logged = read_log(&remains)?;
    let sessions = sessions(remains.log.as_deref(), &logged, args)?;
    for session in &sessions {
        outside(&session.pool, "journal", &dir)?;
    }
    let locks: Result<Vec<_>, _> = match args.execute {
        true => sessions.iter().map(Session::lock).collect(),
        false => Ok(Vec::new()),
    };
    let locks = locks?;
    let found = look(sessions, (&remains, &logged), args)?;
    tell(&mut out, common, (&remains, &logged), &found)?;
    if !args.execute {
        writeln!(out, "nothing was changed; -e does it")
            .and_then(|()| out.flush())
            .map_err(Failure::output)?;
        return Ok(0);
    }
    out.flush().map_err(Failure::output)?;
    one_journal(&found)?;
    surely_lost(common, &remains, &found)?;
    all_there(&remains, &found)?;
    let somebody = found.iter().any(|f| report::needs_somebody(&f.plan));
    let journal = replace(remains, &logged, &found)?;
    // Each pool is locked again as it is recovered; what is open is in the journal now.
    drop((found, locks));
    let code = resume::finish(common, &signals, journal, &mut out)?;
    Ok(match (code, somebody) {
        (0, true) => 4,
        (code, _) => code,
    })
}

/// With names of several journals, and nothing that tells which one was here, a new journal would explain none of them.
///
/// # Errors
/// When it is so.
fn one_journal(found: &[Found]) -> Result<(), Failure> {
    let other = |found: &Found| {
        let mut left = found.plan.left.iter();
        left.any(|left| matches!(left.why, salvage::Why::OtherJournal(_)))
    };
    match found.iter().any(|f| f.lost.journal.is_none() && other(f)) {
        true => Err(Failure::usage(
            "the hidden names are of several journals, and nothing tells which one was here",
        )
        .hint(
            "name the log with --log-file, or move those that are not this journal's out of the branches, anybody can \
             have made them",
        )),
        false => Ok(()),
    }
}

/// Where no journal is, the one that made the names may be alive in another directory. Its recovery would take what is
/// finished here for what a client deleted, and take the replacement away as well: the path would be gone.
///
/// # Errors
/// When the user has not said where the journal was, or one with the same id is at the usual place.
fn surely_lost(common: &Common, remains: &Remains, found: &[Found]) -> Result<(), Failure> {
    if remains.why.is_some() || found.iter().all(|found| found.plan.ops.is_empty()) {
        return Ok(());
    }
    if common.journal.is_none() {
        let message = format!("no journal is at {:?}: it may be elsewhere", remains.dir);
        return Err(Failure::usage(message).hint(
            "if the runs had a --journal of their own: `resume` with that one; only if it is lost, name the \
             directory for a new one with --journal",
        ));
    }
    let id = found.first().and_then(|found| found.lost.journal);
    let usual = places::usual_journal_dir().filter(|usual| journal::id_at(usual) == id);
    let Some(usual) = usual.filter(|_| id.is_some()) else {
        return Ok(());
    };
    // One that can be used and has them not open is itself what an earlier salvage made.
    let open = journal::open_existing(&usual, None)?.map_or(Vec::new(), |it| it.open_ops());
    let mut ops = found.iter().flat_map(|found| &found.plan.ops);
    if ops.any(|op| open.iter().any(|open| open.intent.op == op.op)) {
        let message = format!("the names are of the journal at {usual:?}, which is not lost");
        return Err(Failure::usage(message).hint("leave --journal away"));
    }
    Ok(())
}

/// The new journal will know nothing of an op whose branch is not there: as long as the log tells of it, it waits.
///
/// # Errors
/// When there is such an op.
fn all_there(remains: &Remains, found: &[Found]) -> Result<(), Failure> {
    let mut left = found.iter().flat_map(|found| &found.plan.left);
    let gone = left.find(|left| left.why == salvage::Why::BranchGone);
    match gone.filter(|_| remains.log.is_some()) {
        Some(left) => Err(Failure::environment(format!(
            "a branch that {:?} was on is not there: nothing was changed",
            left.pool_path.as_ref().unwrap_or(&left.at)
        ))
        .hint(GONE_FOR_GOOD)),
        None => Ok(()),
    }
}

fn read_log(remains: &Remains) -> Result<Logged, Failure> {
    match &remains.log {
        None => Ok(Logged::default()),
        Some(log) => journal::read_log(log).ok_or_else(|| {
            Failure::usage("the CSV log is not one of this program")
                .hint("name the right one with --log-file, or move it away to go by the names on the branches alone")
        }),
    }
}

/// The pools that the log and the user name, their branches open.
fn sessions(
    log: Option<&[u8]>,
    logged: &Logged,
    args: &ResumeArgs,
) -> Result<Vec<Session>, Failure> {
    let mut pools: Vec<Pool> = Vec::new();
    for pool in &args.pool {
        let pool = find_pool::of_directory(pool, None)?;
        if !pools.iter().any(|known| known.mount == pool.mount) {
            pools.push(pool);
        }
    }
    let open = logged.open.iter().flat_map(|op| &op.names);
    let needed = open.map(|name| (&name.pool_path, true));
    let known = logged.pool_paths.values().map(|path| (path, false));
    for (path, needed) in needed.chain(known) {
        if pools.iter().any(|pool| path.starts_with(&pool.mount)) {
            continue;
        }
        match find_pool::above(path) {
            Some(pool) => pools.push(pool),
            None if needed => {
                let message = format!("no pool is mounted where {path:?} was");
                return Err(Failure::environment(message).hint(GONE_FOR_GOOD));
            }
            None => {}
        }
    }
    // A log without a line is of a journal that nothing was begun with.
    let begun = log.is_none_or(<[u8]>::is_empty) || *logged != Logged::default();
    if pools.is_empty() && begun {
        return Err(Failure::usage("nothing says which pool to look at")
            .hint("name it: mergerfs.xdedup resume --salvage POOL"));
    }
    let sessions: Result<_, _> = pools.into_iter().map(Session::open).collect();
    Ok(sessions?)
}

fn look(
    sessions: Vec<Session>,
    (remains, logged): (&Remains, &Logged),
    args: &ResumeArgs,
) -> Result<Vec<Found>, Failure> {
    let hidden: Vec<_> = sessions.iter().map(hidden).collect();
    let paths: Vec<PathBuf> = sessions
        .iter()
        .zip(&hidden)
        .flat_map(|(session, places)| paths_of(session, places))
        .collect();
    let id = remains
        .id
        .or_else(|| salvage::journal_of(&logged.open, &paths));
    let ignore = may_differ(&args.ignore_metadata);
    let mut found = Vec::with_capacity(sessions.len());
    for (session, hidden) in sessions.into_iter().zip(hidden) {
        let lost = Lost {
            mount: session.pool.mount.clone(),
            branches: session.branch_records(),
            newest_dirs: session.pool.getattr_newest,
            journal: id,
            ignore,
        };
        let here = logged.open.iter().filter(|op| {
            let mut names = op.names.iter();
            names.all(|name| name.pool_path.starts_with(&lost.mount))
        });
        let here: Vec<_> = here.cloned().collect();
        let plan = salvage::plan(&session.fs, &lost, &here, &hidden)?;
        found.push(Found {
            session,
            lost,
            plan,
        });
    }
    let mut plans: Vec<_> = found.iter_mut().map(|found| &mut found.plan).collect();
    salvage::keep_apart(&mut plans);
    Ok(found)
}

/// The hidden names on the branches of a pool.
fn hidden(session: &Session) -> Vec<crate::fs::Place> {
    let mut names = Vec::new();
    for branch in session.pool.indices() {
        let found = leftovers::look(&session.fs, branch, false);
        if found.unreadable > 0 {
            tracing::warn!(
                branch = ?session.pool.branches[branch.index()].path,
                directories = found.unreadable,
                "could not be looked into; what is hidden there stays"
            );
        }
        names.extend(found.names);
    }
    names.sort();
    names
}

fn paths_of(session: &Session, places: &[crate::fs::Place]) -> Vec<PathBuf> {
    let path = |at: &crate::fs::Place| session.pool.branch_path(at.branch, &at.path);
    places.iter().map(path).collect()
}

fn tell(
    out: &mut dyn Write,
    common: &Common,
    (remains, logged): (&Remains, &Logged),
    found: &[Found],
) -> Result<(), Failure> {
    let terminal = std::io::stdout().is_terminal();
    let mut write = || -> std::io::Result<()> {
        if common.format == OutputFormat::Text && !common.quiet {
            match &remains.why {
                Some(why) => writeln!(out, "{why}")?,
                None => writeln!(out, "there is no journal at {:?}", remains.dir)?,
            }
            match &remains.log {
                Some(_) => writeln!(out, "its log has {} open", logged.open.len())?,
                None => writeln!(out, "its log is gone too: going by names alone")?,
            }
            if logged.unreadable > 0 {
                writeln!(
                    out,
                    "{} of the log cannot be read",
                    number(logged.unreadable, "line")
                )?;
            }
        }
        for found in found {
            let dirs = paths_of(&found.session, &found.plan.dirs);
            match common.format {
                OutputFormat::Text => report::text(out, &found.plan, &dirs, terminal)?,
                OutputFormat::Json => report::json(out, &found.plan, &dirs)?,
            }
        }
        Ok(())
    };
    write().map_err(Failure::output)
}

/// Puts a journal in place that has open what was found, after what needs none.
fn replace(remains: Remains, logged: &Logged, found: &[Found]) -> Result<DiskJournal, Failure> {
    for Found { session, plan, .. } in found {
        for dir in &plan.dirs {
            if !remove_if_empty(&session.fs, dir)? {
                let path = session.pool.branch_path(dir.branch, &dir.path);
                tracing::warn!(?path, "not empty: it stays");
            }
        }
        // What the killed process removed must not come back unseen, once no record of it is left.
        sync_dirs(&session.fs, &plan.settle)?;
    }
    let pools: Vec<_> = found.iter().map(|f| (&f.lost, &f.plan)).collect();
    let newest = logged.newest_run.max(remains.newest_run);
    let now = RealFs::open(&[])?.now();
    let records = salvage::records(&pools, newest, now);
    let id = found.first().and_then(|found| found.lost.journal);
    let (journal, aside) = remains.replace(id, &records, now)?;
    if let Some(aside) = aside {
        tracing::warn!(path = ?aside, "the journal that cannot be used is kept");
    }
    Ok(journal)
}

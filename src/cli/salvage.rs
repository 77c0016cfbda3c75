//! `resume --salvage`: the journal is lost; its log and the hidden names on the branches say what was open.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::args::{Common, MetadataKind, OutputFormat, ResumeArgs};
use super::failure::Failure;
use super::resume;
use super::session::{self, Session};
use super::signals::Signals;
use crate::execute::{remove_if_empty, sync_dirs};
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::journal::{self, Logged, Remains};
use crate::leftovers;
use crate::metadata::IgnoreMetadata;
use crate::pool::{Pool, mergerfs};
use crate::report::salvage as report;
use crate::salvage::{self, Lost, Salvage};

/// A pool, and what is to be done there.
struct Found {
    session: Session,
    lost: Lost,
    plan: Salvage,
}

pub(super) fn run(common: &Common, args: &ResumeArgs) -> Result<u8, Failure> {
    let signals = Signals::listen(None)?;
    let mut out = session::stdout();
    let dir = session::journal_dir(common)?;
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
        session.journal_outside(&dir)?;
    }
    let locks = match args.execute {
        true => sessions.iter().map(Session::lock).collect(),
        false => Ok(Vec::new()),
    }?;
    let found = look(sessions, (&remains, &logged), args)?;
    tell(&mut out, common, (&remains, &logged), &found)?;
    if !args.execute {
        writeln!(out, "nothing was changed; -e does it")
            .and_then(|()| out.flush())
            .map_err(Failure::output)?;
        return Ok(0);
    }
    out.flush().map_err(Failure::output)?;
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
        let pool = mergerfs::discover(pool)?;
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
        match pool_of(path) {
            Some(pool) => pools.push(pool),
            None if needed => {
                let message = format!("no pool is mounted where {path:?} was");
                return Err(Failure::environment(message).hint("mount it, then run again"));
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
    pools.into_iter().map(Session::open).collect()
}

fn pool_of(path: &Path) -> Option<Pool> {
    let dir = path.ancestors().skip(1).find(|dir| dir.is_dir())?;
    let pool = mergerfs::discover(dir).ok()?;
    path.starts_with(&pool.mount).then_some(pool)
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
    let may_differ = |kind| args.ignore_metadata.contains(&kind);
    let ignore = IgnoreMetadata {
        owner: may_differ(MetadataKind::Owner),
        mode: may_differ(MetadataKind::Mode),
        acl: may_differ(MetadataKind::Acl),
        xattr: may_differ(MetadataKind::Xattr),
    };
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
fn replace(
    remains: Remains,
    logged: &Logged,
    found: &[Found],
) -> Result<session::DiskJournal, Failure> {
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

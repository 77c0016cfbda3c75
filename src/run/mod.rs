//! One run from request to outcome: find the pool, open the journal, recover, plan, carry out, record.
//!
//! [`run`] does all of it on real disks. [`Run`] is the same over three seams, so that tests do it on a simulation: a
//! [`Site`] is a pool with its branches open, [`Duplicates`] finds equal files, and [`Journals`] opens the
//! journal. A [`Watcher`] sees each step, and a [`Stop`] ends the run early. Nothing here prints, reads options or
//! decides about an exit status.
//!
//! ```no_run
//! use mergerfs_xdedup::run::request::{ScanRequest, Source};
//! use mergerfs_xdedup::run::{self, Nobody, Request, Stop};
//!
//! let mut request = Request::new(Source::Scan(ScanRequest {
//!     dirs: vec!["/pool".into()],
//!     ..ScanRequest::default()
//! }));
//! request.execute = true;
//! request.execution.journal = Some("/var/lib/mergerfs-xdedup".into());
//! let outcome = run::run(&request, &Stop::default(), &mut Nobody)?;
//! if let Some(done) = outcome.carried_out() {
//!     assert!(done.not_done.is_empty());
//! }
//! # Ok::<(), run::RunError>(())
//! ```

mod carry_out;
mod duplicates;
mod error;
pub mod find_pool;
mod hooks;
mod in_step;
mod journals;
mod list;
mod outcome;
mod planning;
pub mod real_path;
mod recorder;
mod recovery;
pub mod request;
mod scan;
mod session;
mod site;
mod stat_cache;
mod stop;
mod terms;
mod unfinished;
mod unmatched;
mod watcher;
mod whole;

pub use carry_out::{CarriedOut, Manner, Undoes, carry_out};
pub use duplicates::Duplicates;
pub use error::{Fault, RunError, WatcherError};
pub use hooks::{Hooks, Snapraid};
pub use in_step::{Noted, journals_noted};
pub(crate) use in_step::{in_step, newest_noted};
pub use journals::{DiskJournal, JournalPlace, Journals};
pub(crate) use list::base;
pub use outcome::{Outcome, Planned, Ran};
pub use recovery::recover;
pub use request::Request;
pub use session::Session;
pub use site::Site;
pub(crate) use site::same_as_before;
pub use stat_cache::StatCache;
pub use stop::Stop;
pub use terms::Terms;
pub use unfinished::{Unfinished, unfinished};
pub use watcher::{Begun, Ended, Nobody, Watcher};
pub use whole::Run;

use duplicates::Requested;

/// Does the run that `request` asks for, on the pool that it names.
///
/// # Errors
/// The error that ends the run early. The ops that were begun are in the journal, and the next run or `resume` finishes
/// them.
pub fn run(
    request: &Request,
    stop: &Stop,
    watcher: &mut dyn Watcher,
) -> Result<Outcome<Session>, RunError> {
    with_run(request, stop, |run| run.go(watcher))
}

/// Plans the run that `request` asks for; `None` if the search for duplicates was stopped.
///
/// # Errors
/// The error that ends the planning early; nothing was changed.
pub fn plan(
    request: &Request,
    stop: &Stop,
    watcher: &mut dyn Watcher,
) -> Result<Option<Planned<Session>>, RunError> {
    with_run(request, stop, |run| run.plan(watcher))
}

fn with_run<T>(
    request: &Request,
    stop: &Stop,
    go: impl FnOnce(Run<'_, Session, Requested<'_>, JournalPlace>) -> Result<T, RunError>,
) -> Result<T, RunError> {
    let (duplicates, pool) = Requested::on_pool(request)?;
    let site = Session::open(pool)?;
    let terms = Terms::of(request, &site)?;
    go(Run {
        site,
        duplicates,
        journals: JournalPlace {
            dir: request.execution.journal.clone(),
            csv: request.execution.csv.clone(),
        },
        terms: &terms,
        stop,
    })
}

//! `doctor` checks a pool for problems that would make runs fail or surprise the user. `doctor` changes nothing.

use std::io::Write;
use std::path::PathBuf;

use super::args::{Common, DoctorArgs, OutputFormat};
use super::failure::Failure;
use super::lost;
use super::places;
use super::stdout::stdout;
use crate::doctor::{self, Level};
use crate::journal;
use crate::report;
use crate::run::real_path::real_path;
use crate::run::{RunError, find_pool};

pub(super) fn run(common: &Common, args: &DoctorArgs) -> Result<u8, Failure> {
    let dir = places::journal_dir(common)?;
    let journal_place = real_path(&dir);
    let pools = match &args.pool {
        Some(path) => vec![path.clone()],
        None => all_pools()?,
    };
    let mut out = stdout();
    let mut code = 0;
    for pool in pools {
        let facts = match doctor::collect(&pool, &journal_place, args.quick) {
            Err(error) if args.pool.is_none() => {
                tracing::error!(?pool, %error, "not looked at");
                code = 1;
                continue;
            }
            facts => facts?,
        };
        let findings = doctor::check(&facts);
        let written = match common.format {
            OutputFormat::Json => report::doctor::json(&mut out, &facts, &findings),
            OutputFormat::Text | OutputFormat::Script => {
                let wanted = (common.verbose > 0, common.quiet);
                report::doctor::text(&mut out, &facts, &findings, wanted, common.screen())
            }
        };
        written.map_err(Failure::output)?;
        if findings.iter().any(|f| f.topic.level() == Level::Prevents) {
            code = 1;
        }
    }
    out.flush().map_err(Failure::output)?;
    if common.journal.is_none() && journal::id_at(&dir).is_none() {
        lost::warn(common, &dir);
    }
    Ok(code)
}

fn all_pools() -> Result<Vec<PathBuf>, Failure> {
    find_pool::all().map_err(|error| match error {
        error @ RunError::NoPool => Failure::from(error).hint(
            "mount it; in a container, the whole pool must be mounted there, not a part of it",
        ),
        error => error.into(),
    })
}

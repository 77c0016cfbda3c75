//! `doctor`: what about a pool would make runs fail or surprise. Changes nothing.

use std::io::Write;
use std::path::PathBuf;

use super::args::{Common, DoctorArgs, OutputFormat};
use super::failure::Failure;
use super::session;
use crate::doctor::{self, Level};
use crate::pool::mergerfs;
use crate::report;

pub(super) fn run(common: &Common, args: &DoctorArgs) -> Result<u8, Failure> {
    let journal = session::real_path(&session::journal_dir(common)?);
    let pools = match &args.pool {
        Some(path) => vec![path.clone()],
        None => all_pools()?,
    };
    let mut out = session::stdout();
    let mut code = 0;
    for pool in pools {
        let facts = match doctor::collect(&pool, &journal, args.quick) {
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
            OutputFormat::Text => {
                let wanted = (common.verbose > 0, common.quiet);
                report::doctor::text(&mut out, &facts, &findings, wanted)
            }
        };
        written.map_err(Failure::output)?;
        if findings.iter().any(|f| f.topic.level() == Level::Prevents) {
            code = 1;
        }
    }
    out.flush().map_err(Failure::output)?;
    Ok(code)
}

fn all_pools() -> Result<Vec<PathBuf>, Failure> {
    let pools = mergerfs::pools()?;
    if pools.is_empty() {
        return Err(
            Failure::environment("no mergerfs pool is mounted here").hint(
                "mount it; in a container, the whole pool must be mounted there, not a part of it",
            ),
        );
    }
    Ok(pools)
}

//! What is open, and what the last run did: for `status`.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::json;

use crate::journal::{Conflict, OpenOp, RunSummary, rfc3339};

/// Names of ours on the branches that the journal does not explain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Where they are.
    pub names: Vec<PathBuf>,
    /// Whether there are directories that were not looked into.
    pub partly: bool,
    /// Branches that are not there.
    pub not_looked_at: Vec<PathBuf>,
}

/// The status for a person.
///
/// # Errors
/// When `out` fails.
pub fn text(
    out: &mut dyn Write,
    open: &[OpenOp],
    last: Option<&RunSummary>,
    conflicts: &[Conflict],
    leftovers: &Leftovers,
) -> io::Result<()> {
    match last {
        None => writeln!(out, "no run yet")?,
        Some(run) => {
            let time = rfc3339(run.started.time);
            let end = if run.ended.is_some() {
                "ended in good order"
            } else {
                "did not end in good order"
            };
            writeln!(
                out,
                "run {} of {time} on {:?} {end}",
                run.started.run, run.started.pool
            )?;
            writeln!(
                out,
                "  {} begun: {} done, {} put back, {} conflicts, {} open; {} bytes reclaimed",
                run.intents, run.done, run.restored, run.conflicts, run.open, run.reclaimed
            )?;
        }
    }
    if open.is_empty() {
        writeln!(out, "nothing is open")?;
    } else {
        writeln!(
            out,
            "{} open (mergerfs.xdedup resume finishes or puts them back):",
            open.len()
        )?;
        for op in open {
            for name in &op.intent.names {
                writeln!(out, "  {:?}", op.run.pool.join(name.path.as_path()))?;
            }
        }
    }
    for conflict in conflicts {
        for (branch, path) in &conflict.left {
            let root = conflict
                .run
                .branches
                .get(branch.index())
                .map(|b| b.path.join(path.as_path()));
            writeln!(
                out,
                "conflict: {}; the other copy is kept at {root:?}",
                conflict.why
            )?;
        }
    }
    unexplained(out, leftovers)
}

fn unexplained(out: &mut dyn Write, leftovers: &Leftovers) -> io::Result<()> {
    for name in &leftovers.names {
        writeln!(out, "no op of this journal explains: {name:?}")?;
    }
    if !leftovers.names.is_empty() {
        writeln!(
            out,
            "  another journal's run left it: `resume` with that one's --journal ends it; where that journal is lost, \
             `mergerfs.xdedup --journal NEW-DIRECTORY resume --salvage POOL` shows what can be done"
        )?;
    }
    for branch in &leftovers.not_looked_at {
        writeln!(
            out,
            "not looked at for hidden names: {branch:?} is not there"
        )?;
    }
    if leftovers.partly {
        writeln!(
            out,
            "hidden names were looked for in the uppermost directories only; `mergerfs.xdedup doctor` looks everywhere"
        )?;
    }
    Ok(())
}

/// The status as one JSON object.
///
/// # Errors
/// When `out` fails.
pub fn json(
    out: &mut dyn Write,
    open: &[OpenOp],
    last: Option<&RunSummary>,
    conflicts: &[Conflict],
    leftovers: &Leftovers,
) -> io::Result<()> {
    let paths = |op: &OpenOp| -> Vec<String> {
        let pool = &op.run.pool;
        let names = op.intent.names.iter();
        names
            .map(|n| pool.join(n.path.as_path()).to_string_lossy().into_owned())
            .collect()
    };
    let run = last.map(|run| {
        json!({
            "run": run.started.run,
            "time": rfc3339(run.started.time),
            "ended": run.ended.is_some(),
            "begun": run.intents,
            "done": run.done,
            "restored": run.restored,
            "conflicts": run.conflicts,
            "open": run.open,
            "bytes_reclaimed": run.reclaimed,
        })
    });
    let open: Vec<_> = open
        .iter()
        .map(|op| json!({"run": op.intent.op.run, "op": op.intent.op.seq, "names": paths(op)}))
        .collect();
    let conflicts: Vec<_> = conflicts
        .iter()
        .map(|c| {
            let left: Vec<_> = c
                .left
                .iter()
                .filter_map(|(branch, path)| {
                    let root = c.run.branches.get(branch.index())?;
                    Some(
                        root.path
                            .join(path.as_path())
                            .to_string_lossy()
                            .into_owned(),
                    )
                })
                .collect();
            json!({"run": c.op.run, "op": c.op.seq, "why": c.why, "left": left})
        })
        .collect();
    let names: Vec<_> = leftovers
        .names
        .iter()
        .map(|n| n.to_string_lossy())
        .collect();
    let everywhere = !leftovers.partly && leftovers.not_looked_at.is_empty();
    let status = json!({
        "type": "status", "last_run": run, "open": open, "conflicts": conflicts,
        "unexplained_names": names, "looked_everywhere": everywhere,
    });
    writeln!(out, "{status}")
}

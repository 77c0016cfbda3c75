//! JSON lines: one object a line, `type` first of what to look at.
//!
//! Every path is a string; one that is not UTF-8 has `\u{fffd}` in it and is also given exactly, base64-encoded, under
//! the same key with `_b64` (for a list of paths: a list of the same length, `null` for those that are UTF-8).
//! Sizes are bytes. A key is left out, or `null`, where there is nothing to say. Keys may be added.
//!
//! | `type` | keys |
//! |---|---|
//! | `group` | `size` of one copy, `master` (the pool path that stays, `null` where the group is left alone), `paths` |
//! | `op` | `run`, `op` (its number in the run; `null` when it was not begun), `kind` (`cross`, `local`, `shared`: it shares its blocks with the master, and stays a file of its own; `cloned`: a file of its own on the disk of the master, whose blocks it shares, replaces it), `state`, `master` and `names` (pool paths), `from` (root of the branch the duplicate leaves), `to` (root of the branch the replacements are on), `size`, `bytes` (allocated by the duplicate), `reclaimed` when done; `undoes` (`run`, `op`) where it takes another back: where that one linked, `from` is the branch whose names go, and `to` the one the file comes back on; when not done `reason` and `detail`, and `open` where it was begun and is not settled; `disks` (roots of the branches that both copies are on) where it ended in a conflict |
//! | `refusal` | `reason`, `path` (of a whole disk, and of a directory that a scan does not enter, the path on the disk), `master`, `hint`, `detail`; `state` where it is about a planned op that was not done, which then has an `op` line too; `disks` as there |
//! | `summary` | last, once: `run`, `dry_run`, `groups`, `planned` (of these `planned_sharing` of kind `shared` and `planned_cloning` of kind `cloned`; `planned_differing` of both, which free `bytes_differing`, would stay with hard links, because owner, mode, ACL or attributes differ), `done` (of these `done_sharing` and `done_cloning`), `busy`, `failed`, `left`, `open`, `conflicts`, `already_linked`, `already_shared`, `refused`, `no_primary`, `refusals` and `not_done` (counts by reason), `recovered_done`, `recovered_restored`, `still_open`, `bytes_reclaimable`, `bytes_reclaimed` (with `bytes_recovered`), `bytes_copied` (by an undo), `per_branch` (`branch`, `used`, `before_free`, `after_free`, `reclaimed`, `reclaimable`, and of its ops `planned` and `done`), `elapsed_s` |
//!
//! A preview prints one line of its own when it is mounted, `type` `preview`: `mount_point`, `pool`, `planned`,
//! `bytes_reclaimable`, `pid`.
//!
//! `state` is `planned` (dry run), `done`, `busy`, `failed` or `left`, each counted under its name in the summary, where
//! planned = done + busy + failed + left. Ops that an earlier run left open have `recovered` (finished), `restored`
//! (taken back), `conflict` or `open`, and are in none of these. `refused` counts what was never planned: the
//! `refusal` lines without `state`, and those for groups under no primary, which are lines only with `-v`.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Scene;
use super::state::{FileState, halt};
use super::tally::{BranchUse, Tally};
use crate::execute::{Halt, Outcome};
use crate::plan::Op;
use crate::plan::OpId;
use crate::plan::OpKind;
use crate::plan::Plan;
use crate::plan::refusal::Reason;
use crate::plan::{PlannedGroup, Refusal};
use crate::pool::relpath::RelPath;

pub(super) type Object = Map<String, Value>;

/// One group.
///
/// # Errors
/// When `out` fails.
pub fn group(out: &mut dyn Write, scene: &Scene<'_>, group: &PlannedGroup) -> io::Result<()> {
    let mut object = typed("group");
    object.insert("size".into(), group.size.into());
    let master = group.master.as_ref().map(|place| &place.path);
    put_pool_path(&mut object, "master", scene, master);
    let paths = group.paths.iter().map(|place| &place.path);
    put_pool_paths(&mut object, "paths", scene, paths);
    line(out, object)
}

/// Writes a line for each group and each refusal of `plan`.
///
/// # Errors
/// When `out` fails.
pub fn groups(out: &mut dyn Write, scene: &Scene<'_>, plan: &Plan) -> io::Result<()> {
    for group in plan.groups.iter().filter(|g| g.master.is_some() || scene.verbose > 0) {
        self::group(out, scene, group)?;
    }
    for refusal in &plan.refusals {
        if refusal.reason != Reason::NoPrimary || scene.verbose > 0 {
            self::refusal(out, scene, refusal)?;
        }
    }
    Ok(())
}

/// Writes one op: planned, or with its outcome. Then writes the refusal of an op that was not done.
///
/// An op whose run is not the scene's run was left open by that earlier run.
///
/// # Errors
/// When `out` fails.
pub fn op(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    (op, id): (&Op, Option<OpId>),
    outcome: Option<&Outcome>,
) -> io::Result<()> {
    let recovered = id.is_some_and(|id| Some(id.run) != scene.run);
    let state = outcome.map_or(FileState::Planned, |outcome| FileState::of(outcome, recovered));
    let mut object = op_object(scene, (op, id), state);
    match outcome {
        Some(Outcome::Done { reclaimed }) => {
            object.insert("reclaimed".into(), (*reclaimed).into());
        }
        Some(Outcome::Open(_)) => {
            object.insert("open".into(), true.into());
        }
        Some(Outcome::Conflict(_, left)) => {
            let left = left.iter().map(|place| scene.root(place.branch).join(place.path.as_path()));
            put_paths(&mut object, "left", left.collect());
        }
        Some(Outcome::NotDone(_)) | None => {}
    }
    let halt = outcome.and_then(halt);
    if let Some(halt) = halt {
        object.insert("reason".into(), halt.reason.as_str().into());
        object.insert("detail".into(), halt.detail.as_str().into());
    }
    let disks = match outcome {
        Some(Outcome::Conflict(..)) => scene.disks_of(op),
        _ => Vec::new(),
    };
    put_disks(&mut object, &disks);
    line(out, object)?;
    match halt {
        // Taken back, as it should be: nothing of this run was refused.
        Some(_) if state == FileState::Restored => Ok(()),
        Some(halt) => {
            let mut refusal = stopped(scene, op, halt, state);
            put_disks(&mut refusal, &disks);
            line(out, refusal)
        }
        None => Ok(()),
    }
}

/// Writes a refusal.
///
/// # Errors
/// When `out` fails.
pub fn refusal(out: &mut dyn Write, scene: &Scene<'_>, refusal: &Refusal) -> io::Result<()> {
    let mut object = reasoned(refusal.reason, &refusal.detail);
    put_path(&mut object, "path", &scene.refused_path(refusal));
    put_pool_path(&mut object, "master", scene, refusal.master.as_ref());
    object.insert("bytes".into(), refusal.bytes.into());
    line(out, object)
}

/// The figures.
///
/// # Errors
/// When `out` fails.
pub fn summary(out: &mut dyn Write, scene: &Scene<'_>, tally: &Tally) -> io::Result<()> {
    let per_branch = tally.per_branch(scene.pool);
    let per_branch = per_branch.iter().map(branch).collect::<io::Result<Vec<_>>>()?;
    let mut object = typed("summary");
    put_fields(&mut object, tally)?;
    object.insert("run".into(), scene.run.into());
    object.insert("dry_run".into(), scene.dry_run.into());
    object.insert("left".into(), tally.left().into());
    object.insert("refusals".into(), by_reason(&tally.refusals));
    object.insert("refused_bytes".into(), by_reason(&tally.refused_bytes));
    object.insert("not_done".into(), by_reason(&tally.not_done));
    object.insert("per_branch".into(), per_branch.into());
    line(out, object)
}

/// Writes the line of a preview that process `pid` has mounted at `at`, with the ops that the preview shows as done and
/// the bytes that these ops free.
///
/// # Errors
/// When `out` fails.
pub fn preview(
    out: &mut dyn Write,
    scene: &Scene<'_>,
    (at, pid): (&Path, u32),
    (planned, bytes): (u64, u64),
) -> io::Result<()> {
    let mut object = typed("preview");
    put_path(&mut object, "mount_point", at);
    put_path(&mut object, "pool", &scene.pool.mount);
    object.insert("planned".into(), planned.into());
    object.insert("bytes_reclaimable".into(), bytes.into());
    object.insert("pid".into(), pid.into());
    line(out, object)
}

pub(super) fn typed(kind: &str) -> Object {
    let mut object = Object::new();
    object.insert("type".into(), kind.into());
    object
}

/// Adds what `fields` is serialized to.
pub(super) fn put_fields(object: &mut Object, fields: &impl Serialize) -> io::Result<()> {
    if let Value::Object(mut fields) = serde_json::to_value(fields)? {
        object.append(&mut fields);
    }
    Ok(())
}

pub(super) fn put_op(object: &mut Object, id: OpId) {
    object.insert("run".into(), id.run.into());
    object.insert("op".into(), id.seq.into());
}

pub(super) fn line(out: &mut dyn Write, object: Object) -> io::Result<()> {
    writeln!(out, "{}", Value::Object(object))
}

fn op_object(scene: &Scene<'_>, (op, id): (&Op, Option<OpId>), state: FileState) -> Object {
    let mut object = typed("op");
    let kind = match op.kind {
        _ if op.shares() => "shared",
        _ if op.reflinks() => "cloned",
        OpKind::Cross => "cross",
        OpKind::Local => "local",
    };
    let run = id.map(|id| id.run).or(scene.run);
    object.insert("run".into(), run.into());
    object.insert("op".into(), id.map(|id| id.seq).into());
    object.insert("kind".into(), kind.into());
    if let Some(of) = op.takes_back() {
        object.insert("undoes".into(), json!({"run": of.run, "op": of.seq}));
    }
    object.insert("state".into(), state.as_str().into());
    object.insert("size".into(), op.size.into());
    object.insert("bytes".into(), op.bytes.into());
    if op.shared > 0 {
        object.insert("bytes_shared".into(), op.shared.into());
    }
    put_pool_path(&mut object, "master", scene, Some(&op.master.path));
    put_pool_paths(&mut object, "names", scene, op.names.iter().map(|n| &n.path));
    put_path(&mut object, "from", scene.root(op.duplicate.branch));
    let to = op.names.first().map_or(op.master.branch, |name| name.to);
    put_path(&mut object, "to", scene.root(to));
    object
}

/// The branches of the two copies of a conflict.
fn put_disks(object: &mut Object, disks: &[&Path]) {
    if !disks.is_empty() {
        let disks = disks.iter().map(|disk| disk.to_path_buf()).collect();
        put_paths(object, "disks", disks);
    }
}

/// The refusal of an op that was planned.
fn stopped(scene: &Scene<'_>, op: &Op, halt: &Halt, state: FileState) -> Object {
    let mut object = reasoned(halt.reason, &halt.detail);
    object.insert("state".into(), state.as_str().into());
    put_pool_path(&mut object, "path", scene, Some(&op.duplicate.path));
    put_pool_path(&mut object, "master", scene, Some(&op.master.path));
    object.insert("bytes".into(), op.bytes.into());
    object
}

fn reasoned(reason: Reason, detail: &str) -> Object {
    let mut object = typed("refusal");
    object.insert("reason".into(), reason.as_str().into());
    object.insert("hint".into(), reason.hint().into());
    object.insert("detail".into(), detail.into());
    object
}

fn branch(branch: &BranchUse) -> io::Result<Value> {
    let mut object = Object::new();
    put_path(&mut object, "branch", &branch.path);
    put_fields(&mut object, branch)?;
    Ok(Value::Object(object))
}

fn by_reason(counts: &std::collections::BTreeMap<Reason, u64>) -> Value {
    let count = |(reason, count): (&Reason, &u64)| (reason.as_str().to_owned(), (*count).into());
    Value::Object(counts.iter().map(count).collect())
}

pub(super) fn put_pool_path(
    object: &mut Object,
    key: &str,
    scene: &Scene<'_>,
    path: Option<&RelPath>,
) {
    match path {
        Some(path) => put_path(object, key, &scene.pool_path(path)),
        None => {
            object.insert(key.into(), Value::Null);
        }
    }
}

pub(super) fn put_path(object: &mut Object, key: &str, path: &Path) {
    object.insert(key.into(), path.to_string_lossy().into());
    if let Some(exact) = exact(path) {
        object.insert(format!("{key}_b64"), exact);
    }
}

fn put_pool_paths<'p>(
    object: &mut Object,
    key: &str,
    scene: &Scene<'_>,
    paths: impl Iterator<Item = &'p RelPath>,
) {
    put_paths(object, key, paths.map(|path| scene.pool_path(path)).collect());
}

pub(super) fn put_paths(object: &mut Object, key: &str, paths: Vec<PathBuf>) {
    let strings: Vec<Value> = paths.iter().map(|p| p.to_string_lossy().into()).collect();
    object.insert(key.into(), strings.into());
    if paths.iter().any(|path| path.to_str().is_none()) {
        let exact = paths.iter().map(|path| exact(path).unwrap_or_default());
        object.insert(format!("{key}_b64"), exact.collect());
    }
}

/// The bytes of a path that is not UTF-8.
fn exact(path: &Path) -> Option<Value> {
    let bytes = path.as_os_str().as_bytes();
    path.to_str().is_none().then(|| STANDARD.encode(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::fs::Place;
    use crate::plan::LeftOut;
    use crate::plan::Plan;
    use crate::pool::BranchIdx;

    fn lines(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Vec<Value> {
        let mut bytes = Vec::new();
        write(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_conflict_names_the_disks_of_both_copies() {
        let pool = sample::pool();
        let scene = sample::scene(&pool);
        let cross = sample::cross("m/a", "d/a", 512);
        let halt = || Halt::new(Reason::Conflict, "written to");
        let left = vec![Place::new(BranchIdx(1), sample::path(b"d/.xdedup-\xff"))];
        let ended = lines(|out| {
            op(out, &scene, (&cross, None), Some(&Outcome::Conflict(halt(), left.clone())))
        });
        assert_eq!(ended.len(), 2);
        assert_eq!(ended[0]["left"], json!(["/mnt/d2/d/.xdedup-\u{fffd}"]));
        assert!(ended[0]["left_b64"][0].is_string());
        assert!(ended.iter().all(|line| line["disks"] == json!(["/mnt/d1", "/mnt/d2"])));
        let open = lines(|out| op(out, &scene, (&cross, None), Some(&Outcome::Open(halt()))));
        assert!(open.iter().all(|line| line.get("disks").is_none()));
    }

    fn sample_plan() -> Plan {
        let place = |branch, path: &[u8]| Place::new(BranchIdx(branch), sample::path(path));
        let refusal = |reason, path: &[u8], master: Option<&[u8]>| Refusal {
            reason,
            path: path.to_vec(),
            master: master.map(sample::path),
            detail: "why".into(),
            bytes: 4096,
        };
        Plan {
            groups: vec![
                PlannedGroup {
                    size: 5,
                    master: Some(place(0, b"m/a")),
                    paths: vec![place(0, b"m/a"), place(1, b"d/\xff")],
                    ops: 0..1,
                },
                PlannedGroup {
                    size: 6,
                    master: None,
                    paths: vec![place(0, b"x"), place(1, b"y")],
                    ops: 1..1,
                },
            ],
            ops: vec![sample::op(OpKind::Cross, b"m/a", &[b"d/\xff", b"e"], 512)],
            refusals: vec![
                refusal(Reason::NoPrimary, b"x", None),
                refusal(Reason::Unresolved, b"/else where/\n", None),
                refusal(Reason::OwnerDiffers, b"o", Some(b"m/o")),
            ],
            already_linked: 3,
            already_shared: 5,
            no_primary: 1,
            left_out: LeftOut {
                by_primary: 7,
                by_directory: 4,
                changed: 2,
                in_bins: 6,
                read_only_branches: 1,
                linked: 0,
            },
        }
    }

    #[test]
    fn a_dry_run_lists_groups_ops_and_refusals() {
        let pool = sample::pool();
        let mut scene = sample::scene(&pool);
        scene.dry_run = true;
        scene.run = None;
        let plan = sample_plan();
        let told = lines(|out| {
            group(out, &scene, &plan.groups[0])?;
            op(out, &scene, (&plan.ops[0], None), None)?;
            plan.refusals.iter().try_for_each(|r| refusal(out, &scene, r))
        });
        assert_eq!(
            told,
            [
                json!({"type": "group", "size": 5, "master": "/pool/m/a",
                    "paths": ["/pool/m/a", "/pool/d/\u{fffd}"],
                    "paths_b64": [null, "L3Bvb2wvZC//"]}),
                json!({"type": "op", "run": null, "op": null, "kind": "cross", "state": "planned",
                    "master": "/pool/m/a", "names": ["/pool/d/\u{fffd}", "/pool/e"],
                    "names_b64": ["L3Bvb2wvZC//", null], "from": "/mnt/d2", "to": "/mnt/d1",
                    "size": 512, "bytes": 512}),
                json!({"type": "refusal", "reason": "no-primary", "path": "/pool/x",
                    "master": null, "detail": "why", "bytes": 4096,
                    "hint": Reason::NoPrimary.hint()}),
                json!({"type": "refusal", "reason": "unresolved", "path": "/else where/\n",
                    "master": null, "detail": "why", "bytes": 4096,
                    "hint": Reason::Unresolved.hint()}),
                json!({"type": "refusal", "reason": "owner-differs", "path": "/pool/o",
                    "master": "/pool/m/o", "detail": "why", "bytes": 4096,
                    "hint": Reason::OwnerDiffers.hint()}),
            ]
        );
    }

    #[test]
    fn an_op_says_what_became_of_it_and_why() {
        let pool = sample::pool();
        let scene = sample::scene(&pool);
        let op = sample::op(OpKind::Local, b"m/a", &[b"d/a"], 512);
        let earlier = Some(crate::plan::OpId { run: 6, seq: 9 });
        let told = |how: Outcome, id| lines(|out| super::op(out, &scene, (&op, id), Some(&how)));
        let done = told(Outcome::Done { reclaimed: 512 }, None);
        assert_eq!(
            done,
            [json!({"type": "op", "run": 7, "op": null, "kind": "local", "state": "done",
                "master": "/pool/m/a", "names": ["/pool/d/a"], "from": "/mnt/d1", "to": "/mnt/d1",
                "size": 512, "bytes": 512, "reclaimed": 512})]
        );
        let halt = Halt::new(Reason::Busy, "open");
        let busy = told(Outcome::NotDone(halt.clone()), None);
        assert_eq!((&busy[0]["state"], &busy[0]["reason"]), (&json!("busy"), &json!("busy")));
        assert_eq!(
            busy[1],
            json!({"type": "refusal", "reason": "busy", "state": "busy", "path": "/pool/d/a",
                "master": "/pool/m/a", "detail": "open", "bytes": 512,
                "hint": Reason::Busy.hint()})
        );
        let restored = told(Outcome::NotDone(halt.clone()), earlier);
        let figures = [&restored[0]["state"], &restored[0]["run"], &restored[0]["op"]];
        assert_eq!((restored.len(), figures), (1, [&json!("restored"), &json!(6), &json!(9)]));
        assert_eq!(told(Outcome::Open(halt), None)[0]["open"], true);
    }

    #[test]
    fn a_preview_says_where_it_is() {
        let pool = sample::pool();
        let scene = sample::scene(&pool);
        let at = Path::new(std::ffi::OsStr::from_bytes(b"/look\xff"));
        let told = lines(|out| preview(out, &scene, (at, 7), (3, 512))).remove(0);
        assert_eq!(told["type"], "preview");
        assert_eq!((&told["pool"], &told["pid"]), (&json!("/pool"), &json!(7)));
        let figures = (&told["planned"], &told["bytes_reclaimable"]);
        assert_eq!(figures, (&json!(3), &json!(512)));
        assert!(told["mount_point_b64"].is_string(), "{told}");
    }

    #[test]
    fn the_summary_has_every_figure_and_they_add_up() {
        let pool = sample::pool();
        let scene = sample::scene(&pool);
        let mut tally = Tally::planned(&sample_plan());
        tally.before(&pool.branches[0].path, 4);
        let told = lines(|out| summary(out, &scene, &tally)).remove(0);
        let keys = "type run dry_run groups planned planned_sharing planned_cloning planned_differing bytes_differing done done_sharing done_cloning already_linked already_shared refused failed busy left conflicts open \
            bytes_reclaimable bytes_shared bytes_reclaimed bytes_recovered bytes_copied per_branch elapsed_s recovered_done \
            recovered_restored still_open no_primary refusals not_done \
            bytes_refused refused_bytes without_primary without_directory changed_in_scan in_recycle_bins read_only_branches";
        for key in keys.split_whitespace() {
            assert!(!told[key].is_null(), "{key}");
        }
        assert_eq!(told.as_object().unwrap().len(), keys.split_whitespace().count());
        assert_eq!((&told["planned"], &told["left"]), (&json!(1), &json!(1)));
        assert_eq!((&told["already_linked"], &told["already_shared"]), (&json!(3), &json!(5)));
        assert_eq!((&told["refused"], &told["no_primary"]), (&json!(3), &json!(1)));
        assert_eq!(told["refusals"]["owner-differs"], 1);
        assert_eq!(told["refused_bytes"]["owner-differs"], 4096);
        assert_eq!(told["bytes_refused"], 3 * 4096);
        assert_eq!((&told["without_primary"], &told["changed_in_scan"]), (&json!(7), &json!(2)));
        assert_eq!((&told["without_directory"], &told["in_recycle_bins"]), (&json!(4), &json!(6)));
        assert_eq!(told["read_only_branches"], 1);
        assert_eq!(
            told["per_branch"],
            json!([
                {"branch": "/mnt/d1", "used": null, "before_free": 4, "after_free": null,
                 "reclaimed": 0, "reclaimable": 0, "planned": 0, "done": 0},
                {"branch": "/mnt/d2", "used": null, "before_free": null, "after_free": null,
                 "reclaimed": 0, "reclaimable": 512, "planned": 1, "done": 0},
            ])
        );
    }
}

//! Writes all of the journal's records as JSON lines: bytes that are not text are base64, times have nanoseconds.

use std::io::{self, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::json::{Object, line, put_op, put_path, typed};
use crate::fs::FsId;
use crate::fs::{Metadata, Timestamp};
use crate::journal::{
    BranchRecord, Entry, Intent, NameIntent, Record, RecordedFile, RunEnded, RunStarted,
    SharedRecord,
};
use crate::plan::{DirIntent, Found, OpId, OpKind};
use crate::pool::relpath::RelPath;
use crate::pool::{BranchIdx, BranchMode};

/// Writes one record: `type` is `record`, `seq` its place in the journal, `record` its kind.
///
/// # Errors
/// When `out` fails.
pub fn record(out: &mut dyn Write, entry: &Entry) -> io::Result<()> {
    let mut object = typed("record");
    object.insert("seq".into(), entry.seq.into());
    object.insert("time".into(), time(entry.time));
    object.insert("record".into(), kind_of(&entry.record).into());
    match &entry.record {
        Record::RunStarted(started) => run_started(&mut object, started),
        Record::UndoStarted(undo) | Record::RelinkStarted(undo) => {
            run_started(&mut object, &undo.run);
            object.insert("undoes".into(), undo.undoes.into());
        }
        Record::Intent(of) => {
            intent(&mut object, of);
            object.extend(of.relinks.map(|undo| ("undoes".to_owned(), op(undo))));
        }
        Record::UndoIntent(undo) | Record::UndoReflinkIntent(undo) => {
            intent(&mut object, &undo.intent);
            object.insert("undoes".into(), op(undo.undoes));
            object.insert("copy".into(), relpath(&undo.copy));
            object.insert("sparse".into(), undo.sparse.into());
            object.insert("emptied".into(), undo.emptied.iter().map(relpath).collect());
        }
        Record::ReflinkIntent(reflink) => {
            intent(&mut object, &reflink.intent);
            object.insert("copy".into(), relpath(&reflink.copy));
            object.insert("source".into(), copy(&reflink.source));
            let relinks = reflink.intent.relinks;
            object.extend(relinks.map(|undo| ("undoes".to_owned(), op(undo))));
        }
        Record::Copied { op: id, ino, btime, .. } => {
            put_op(&mut object, *id);
            object.insert("ino".into(), (*ino).into());
            object.insert("btime".into(), btime.map_or(Value::Null, time));
        }
        Record::Retired { op: id } => put_op(&mut object, *id),
        Record::Done { op: id, reclaimed } => {
            put_op(&mut object, *id);
            object.insert("reclaimed".into(), (*reclaimed).into());
        }
        Record::Restored { op: id, why } => {
            put_op(&mut object, *id);
            object.insert("why".into(), why.as_str().into());
        }
        Record::Conflict { op: id, why, left } => {
            put_op(&mut object, *id);
            object.insert("why".into(), why.as_str().into());
            object.insert("left".into(), places(left));
        }
        Record::Shared(shared) => share(&mut object, shared),
        Record::SharedContents { op: id, blake3 } => {
            put_op(&mut object, *id);
            object.insert("blake3".into(), hex(blake3).into());
        }
        Record::RunEnded(ended) => run_ended(&mut object, ended),
    }
    line(out, object)
}

/// Returns the kind of a record.
fn kind_of(record: &Record) -> &'static str {
    match record {
        Record::RunStarted(_) => "run-started",
        Record::UndoStarted(_) => "undo-started",
        Record::RelinkStarted(_) => "relink-started",
        Record::Intent(_) => "intent",
        Record::UndoIntent(_) => "undo-intent",
        Record::UndoReflinkIntent(_) => "undo-reflink-intent",
        Record::ReflinkIntent(_) => "reflink-intent",
        Record::Copied { .. } => "copied",
        Record::Retired { .. } => "retired",
        Record::Done { .. } => "done",
        Record::Restored { .. } => "restored",
        Record::Conflict { .. } => "conflict",
        Record::Shared(_) => "shared",
        Record::SharedContents { .. } => "shared-contents",
        Record::RunEnded(_) => "run-ended",
    }
}

fn share(object: &mut Object, shared: &SharedRecord) {
    put_op(object, shared.op);
    object.insert("master".into(), copy(&shared.master));
    object.insert("duplicate".into(), copy(&shared.duplicate));
    object.insert("names".into(), places(&shared.names));
    object.insert("reclaimed".into(), shared.reclaimed.into());
}

fn run_ended(object: &mut Object, ended: &RunEnded) {
    object.insert("run".into(), ended.run.into());
    object.insert("ended".into(), time(ended.time));
    object.insert("done".into(), ended.done.into());
    object.insert("reclaimed".into(), ended.reclaimed.into());
}

fn op(id: OpId) -> Value {
    json!({"run": id.run, "op": id.seq})
}

fn run_started(object: &mut Object, started: &RunStarted) {
    object.insert("run".into(), started.run.into());
    object.insert("version".into(), started.version.as_str().into());
    object.insert("started".into(), time(started.time));
    put_path(object, "pool", &started.pool);
    object.insert("branches".into(), started.branches.iter().map(branch).collect());
    object.insert("newest_dirs".into(), started.newest_dirs.into());
    object.insert("options".into(), started.options.iter().map(|word| bytes(word)).collect());
}

fn branch(record: &BranchRecord) -> Value {
    let mut object = Object::new();
    put_path(&mut object, "path", &record.path);
    let mode = match record.mode {
        BranchMode::Rw => "RW",
        BranchMode::Ro => "RO",
        BranchMode::Nc => "NC",
    };
    object.insert("mode".into(), mode.into());
    object.insert("filesystem".into(), record.fs.map_or(Value::Null, filesystem));
    object.insert("root_ino".into(), record.root_ino.into());
    Value::Object(object)
}

fn filesystem(fs: FsId) -> Value {
    json!({"uuid": hex(&fs.uuid), "subvolume": fs.subvolume})
}

fn intent(object: &mut Object, intent: &Intent) {
    put_op(object, intent.op);
    let kind = match intent.kind {
        OpKind::Cross => "cross",
        OpKind::Local => "local",
    };
    object.insert("kind".into(), kind.into());
    object.insert("master".into(), copy(&intent.master));
    object.insert("duplicate".into(), copy(&intent.duplicate));
    object.insert("metadata".into(), metadata(&intent.metadata));
    object.insert("atime".into(), time(intent.atime));
    object.insert("flags".into(), intent.flags.into());
    object.insert("blake3".into(), hex(&intent.blake3).into());
    object.insert("bytes".into(), intent.bytes.into());
    object.insert("names".into(), intent.names.iter().map(name).collect());
    object.insert("dirs".into(), intent.dirs.iter().map(dir).collect());
}

fn copy(copy: &RecordedFile) -> Value {
    let mut value = place(copy.branch, &copy.path);
    value["filesystem"] = filesystem(copy.id.fs);
    value["ino"] = copy.id.ino.into();
    value["btime"] = copy.id.btime.map_or(Value::Null, time);
    value["size"] = copy.size.into();
    value["mtime"] = time(copy.mtime);
    value["ctime"] = time(copy.ctime);
    value
}

fn name(name: &NameIntent) -> Value {
    let found = match name.found {
        Found::Absent => "absent",
        Found::Duplicate => "duplicate",
        Found::Master => "master",
    };
    let mut value = relpath(&name.path);
    value["from"] = name.from.0.into();
    value["to"] = name.to.0.into();
    value["found"] = found.into();
    value
}

fn dir(dir: &DirIntent) -> Value {
    let mut value = relpath(&dir.path);
    value["from"] = dir.from.0.into();
    value["to"] = dir.to.0.into();
    value
}

fn metadata(metadata: &Metadata) -> Value {
    let xattrs = metadata.xattrs.iter();
    let xattrs = xattrs
        .map(|(name, value)| json!({"name": bytes(name), "value_b64": STANDARD.encode(value)}));
    json!({
        "uid": metadata.uid,
        "gid": metadata.gid,
        "mode": format!("{:04o}", metadata.mode),
        "acl_b64": metadata.acl.as_ref().map(|acl| STANDARD.encode(acl)),
        "xattrs": xattrs.collect::<Vec<_>>(),
    })
}

/// A name of an attribute, or a word of a command line: text where it is.
fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({"b64": STANDARD.encode(bytes)}),
    }
}

fn places(places: &[(BranchIdx, RelPath)]) -> Value {
    places.iter().map(|(branch, path)| place(*branch, path)).collect()
}

fn place(branch: BranchIdx, path: &RelPath) -> Value {
    let mut value = relpath(path);
    value["branch"] = branch.0.into();
    value
}

fn relpath(path: &RelPath) -> Value {
    let mut object = Object::new();
    put_path(&mut object, "path", Path::new(path.as_path()));
    Value::Object(object)
}

fn time(time: Timestamp) -> Value {
    json!({"secs": time.secs, "nanos": time.nanos})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

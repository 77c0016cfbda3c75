//! Every action of a client, at every call, on every kind of pool, with every ending.
//!
//! The pool has a kept copy `m/a` with another link `m/a3`, a duplicate `d/b`, and another file `d/o` beside that. A
//! conflict that was reported explains hidden names, two copies of a path and links that were separated; it never
//! explains a path that is lost or that came back.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use mergerfs_xdedup::fs::Look;
use mergerfs_xdedup::fs::sim::{Fault, SimWorld, place};
use mergerfs_xdedup::pool::BranchIdx;
use mergerfs_xdedup::pool::relpath::RelPath;

use super::actions::{self, Action};
use super::knowing::{Wrong, told};
use super::meddling::{Client, Step};
use super::scenario::{self, Scenario, add};
use super::session::{Session, is_hidden};

/// What is wrong once all is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Failure {
    /// As the client sees it.
    Client(Wrong),
    /// An op has no end, however often it is resumed.
    Open,
    /// The tool stops with an error or panics.
    Fails,
    /// A hidden name that no conflict names.
    Left,
}

/// How often each thing was wrong, with the first trace of each.
#[derive(Default)]
struct Tally {
    kind: &'static str,
    scenarios: usize,
    /// By what is wrong, the ending and the action.
    found: BTreeMap<(Failure, &'static str, String), (usize, String)>,
    totals: BTreeMap<Failure, usize>,
}

/// For somebody who looks into one: only actions with `MATRIX_ONLY` in their name, and a trace of every group with
/// `MATRIX_SHOW` in its line. `MATRIX_SEED`, a number, pairs other actions at other distances.
fn wanted(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

impl Tally {
    fn note(
        &mut self,
        ending: &'static str,
        action: &str,
        wrong: Vec<(Failure, String)>,
        trace: impl Fn() -> String,
    ) {
        self.scenarios += 1;
        let kinds: BTreeSet<Failure> = wrong.iter().map(|(kind, _)| *kind).collect();
        for kind in kinds {
            *self.totals.entry(kind).or_default() += 1;
            let key = (kind, ending, action.to_owned());
            let what = || format!("{:?}\n{}", wrong, trace());
            let found = self.found.entry(key).or_insert_with(|| (0, what()));
            found.0 += 1;
        }
    }
}

#[allow(clippy::print_stdout, reason = "--nocapture shows the totals")]
impl Drop for Tally {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let count = |kind| self.totals.get(&kind).copied().unwrap_or(0);
        let client = |kind| count(Failure::Client(kind));
        let totals = format!(
            "{}: {} scenarios; lost {}, bytes {}, back {}, attributes {}, split {}, twice {}, touched {}, left {}, \
             open {}, fails {}, shock {}",
            self.kind,
            self.scenarios,
            client(Wrong::Lost),
            client(Wrong::Bytes),
            client(Wrong::Back),
            client(Wrong::Attributes),
            client(Wrong::Split),
            client(Wrong::Twice),
            client(Wrong::Touched),
            count(Failure::Left),
            count(Failure::Open),
            count(Failure::Fails),
            client(Wrong::Shock),
        );
        if self.found.is_empty() {
            println!("{totals}");
            return;
        }
        let mut all = totals.clone();
        let line = |(kind, ending, action): &(Failure, &str, String)| {
            format!("{kind:?}, {ending}: {action}")
        };
        for (key, (count, _)) in &self.found {
            all += &format!("\n{}: {count}", line(key));
        }
        let (show, mut shown) = (wanted("MATRIX_SHOW"), BTreeSet::new());
        for (key, (_, what)) in &self.found {
            let line = line(key);
            let asked = |show: &String| show.split('|').any(|show| line.contains(show));
            let first = shown.insert(key.0) && show.is_none();
            if first || show.as_ref().is_some_and(asked) {
                all += &format!("\n\n=== {line}\n{what}");
            }
        }
        panic!("{all}\n{totals}");
    }
}

/// A pool, and how it is begun: with a run, or with the undo of one.
struct Kind {
    scenario: Scenario,
    begun: Session,
    undo: bool,
    /// Whether clones replace the duplicates.
    clones: bool,
    /// Of the actions at a call, one of so many is played; all with `XDEDUP_FULL=1`.
    sample: usize,
    /// The call of an undo at which it is recorded. Owner, mode and attributes set before are given up on purpose.
    recorded: usize,
}

impl Kind {
    fn run(scenario: Scenario) -> Self {
        let begun = Session::new(&scenario);
        Self { scenario, begun, undo: false, clones: false, sample: 1, recorded: 0 }
    }

    fn reflink(scenario: Scenario) -> Self {
        Self { clones: true, ..Self::run(scenario::reflinked(scenario)) }.sampled()
    }

    /// The undo of clones.
    fn undo_reflinks(scenario: Scenario) -> Self {
        Self::undo(scenario::reflinked(scenario)).sampled()
    }

    fn sampled(self) -> Self {
        let full = std::env::var_os("XDEDUP_FULL").is_some();
        Self { sample: if full { 1 } else { SAMPLE }, ..self }
    }

    fn undo(scenario: Scenario) -> Self {
        let mut done = Session::new(&scenario);
        done.run(&scenario.ops).unwrap();
        done.world.sync_all();
        let begun = done.next();
        begun.world.fs().pause(Duration::from_secs(60));
        let mut kind = Self { scenario, begun, undo: true, clones: false, sample: 1, recorded: 0 };
        let mut whole = kind.begun.next();
        kind.drive(&mut whole).unwrap();
        let trace = whole.world.trace();
        let intents = trace.iter().find(|line| line.contains("CsvWrite"));
        kind.recorded = intents.unwrap()[..3].trim().parse().unwrap();
        kind
    }

    fn second_name(&self) -> Option<&str> {
        self.scenario.ops[0].names.get(1)?.path.as_path().to_str()
    }

    fn has_two_names(&self) -> bool {
        self.second_name().is_some()
    }

    /// A client that knows the pool as it was before the tool began.
    fn client(&self) -> Client {
        match (self.undo, self.clones) {
            (true, _) => Client::beside_an_undo(&self.begun),
            (_, true) => Client::beside_clones(&self.begun),
            _ => Client::new(&self.begun),
        }
    }

    /// The actions to be played at call `n`: each action at other calls.
    fn chosen<'a>(
        &self,
        all: &'a [Action],
        n: usize,
    ) -> impl Iterator<Item = (usize, &'a Action)> + use<'a> {
        let sample = self.sample;
        all.iter().enumerate().filter(move |(i, _)| (i + n).is_multiple_of(sample))
    }

    fn drive(&self, session: &mut Session) -> Result<(), String> {
        let done = guarded(|| {
            if self.undo { session.undo().map(|_| ()) } else { session.run(&self.scenario.ops) }
        })?;
        done.map_err(|err| format!("{err:?}"))
    }

    /// Killed at call `n`; `None` once it ends before that.
    fn killed(&self, n: usize) -> Option<Session> {
        let mut session = self.begun.next();
        session.world.plan_fault(Fault::DieAt(n));
        // That it ends in an error is what being killed means.
        drop(self.drive(&mut session));
        session.world.died().then_some(session)
    }
}

/// Clones differ from links and undos in few calls.
const SAMPLE: usize = 32;

/// A panic of the tool is one more thing that can be wrong.
fn guarded<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|_| "it panics".to_owned())
}

/// Resumes until nothing is open, as a person does who reads the hint.
fn resumed(session: &mut Session) -> Vec<(Failure, String)> {
    for _ in 0..3 {
        session.world.fs().pause(Duration::from_secs(10));
        match guarded(|| session.recover()) {
            Ok(Ok(0)) => return Vec::new(),
            Ok(Ok(_)) => {}
            Ok(Err(err)) => return vec![(Failure::Fails, format!("recovery fails: {err:?}"))],
            Err(panic) => return vec![(Failure::Fails, panic)],
        }
    }
    vec![(Failure::Open, "ops stay open".to_owned())]
}

fn judged(session: &Session, client: &Client, twice: bool) -> Vec<(Failure, String)> {
    let wrong = client.wrong(session).into_iter();
    let mut wrong: Vec<_> = wrong
        .filter(|wrong| !(twice && client.excuses(session, wrong)))
        .map(|(kind, what)| (Failure::Client(kind), what))
        .collect();
    let told = told(session);
    let names = session.world.names().into_keys();
    let mut left = names.filter(|at| is_hidden(&at.path) && !told.contains(at));
    if let Some(at) = left.next() {
        wrong.push((Failure::Left, format!("{at:?} is left and not told")));
    }
    if session.world.open_files() > 0 {
        wrong.push((Failure::Fails, "a file stays open".to_owned()));
    }
    wrong
}

/// What both know in the end: resumes, and looks at everything.
fn settled(session: &mut Session, client: &Client) -> Vec<(Failure, String)> {
    let mut wrong = resumed(session);
    wrong.extend(judged(session, client, false));
    wrong
}

fn matrix(kind: &Kind, name: &'static str) {
    let branches: Vec<BranchIdx> = kind.scenario.world.pool().indices().collect();
    let mut all = match kind.scenario.ops.len() {
        1 => actions::all(&branches, kind.second_name()),
        _ => actions::of_two_ops(branches[0]),
    };
    // A path that two disks had from the beginning stays on both where a client's write gets a file of its own.
    if kind.scenario.name == "shadow" {
        all.retain(|action| action.name != "write-apart d/b");
    }
    if let Some(wanted) = wanted("MATRIX_ONLY") {
        all.retain(|action| action.name.contains(&wanted));
    }
    let mut tally = Tally::default();
    tally.kind = name;
    let mut calls = 0;
    while let Some(killed) = kind.killed(calls + 1) {
        calls += 1;
        for (i, action) in kind.chosen(&all, calls) {
            resumed_after(kind, &mut tally, (&killed, calls), (i, action));
        }
    }
    assert!(calls > 20, "{name}: {calls} calls");
    let seed = wanted("MATRIX_SEED").map_or(0, |seed| seed.parse::<usize>().unwrap());
    let mut first = actions::opens();
    first.extend(all.iter().cloned());
    for n in 1..=calls + 1 {
        for (i, action) in kind.chosen(&all, n) {
            goes_on(kind, &mut tally, "goes on", false, &[(n, action)]);
            if action.frees() {
                goes_on(kind, &mut tally, "goes on, numbers again", true, &[(n, action)]);
            }
            let second = &all[(n * 31 + i * 7 + seed * 13) % all.len()];
            let later = n + 1 + (n + i + seed * 4) % 9;
            let before = &first[(i + n + seed * 5) % first.len()];
            let pair = [(n, before), (later, second)];
            goes_on(kind, &mut tally, "two actions", false, &pair);
        }
    }
}

type Is = fn(&Action) -> bool;

/// Two actions within nine calls of each other that meet what no call of Linux prevents. Everything else that is wrong
/// fails. The guide to the guarantees says so.
struct Gap {
    /// The first action, and our last call of note before it; any where none is named.
    first: (Is, &'static [&'static str]),
    /// The second, with our last call of note before it and the next one.
    second: (Is, &'static [&'static str], &'static [&'static str]),
    wrong: &'static [Wrong],
    /// Only where the duplicate has two names: while one of them is replaced, the other one is on its way.
    two_names: bool,
}

const GAPS: &[Gap] = &[
    // `renameat2` exchanges whatever has the two names: no call does it only if a name leads to a certain inode. A file
    // that a client puts at the path between our last look and the exchange is hidden until the second exchange, and
    // who acts on the path in between opens, links or renames the kept copy, and waits for no lease to do so.
    Gap {
        first: (puts_a_file, &["lease", "link"]),
        second: (any, &["exchange"], &["exchange"]),
        wrong: &[Wrong::Bytes, Wrong::Split, Wrong::Attributes],
        two_names: false,
    },
    // `RENAME_NOREPLACE` looks at one disk. A file that a client puts at the path on the other disk just before is hidden
    // by the replacement until our next look, and mergerfs links or renames both of them, which breaks no lease.
    Gap {
        first: (puts_a_file, &["lease", "link"]),
        second: (gives_a_name, &["publish", "link"], &[]),
        wrong: &[Wrong::Bytes, Wrong::Split, Wrong::Twice],
        two_names: false,
    },
    // An open that waits for our lease has looked its path up already: what it writes is in the duplicate, at the other
    // name that this has, and the path that a client renames meanwhile is the replacement. The conflict names that.
    Gap {
        first: (writes, &["lease", "link"]),
        second: (gives_a_name, &["exchange", "publish", "link", "retire"], &[]),
        wrong: &[Wrong::Bytes],
        two_names: false,
    },
    // The same, and the client does not wait for the open either: it writes by the path, which leads to the replacement.
    Gap {
        first: (writes, &["lease", "link"]),
        second: (writes, &["exchange", "publish", "link", "retire"], &[]),
        wrong: &[Wrong::Bytes],
        two_names: false,
    },
    // `chmod` and `setxattr` break no lease. Made by the path while the replacement has it, a change is one of the kept
    // copy, and stays with that where the first action makes us take the replacement away. The same change made by the
    // kept copy's own path looks no different.
    Gap {
        first: (any, &["lease", "link"]),
        second: (changes_attributes, &["exchange", "link", "publish", "retire"], &[]),
        wrong: &[Wrong::Attributes],
        two_names: false,
    },
    // The same just before: the path keeps it if we take the replacement away, but not a path that a client has renamed
    // the replacement to.
    Gap {
        first: (changes_attributes, &["lease", "link"]),
        second: (gives_a_name, &["exchange", "link", "publish", "retire"], &[]),
        wrong: &[Wrong::Attributes],
        two_names: false,
    },
    // A rename of one link over another of the same inode does nothing, and says that it succeeded: no event and no
    // change of a directory shows it. Where the other action makes us take the replacement away, the name goes that the
    // client took for the renamed one; the file is under its old name.
    Gap {
        first: (any, &[]),
        second: (
            renames_a_link,
            &["exchange", "lease", "link", "publish", "release", "retire"],
            &[],
        ),
        wrong: &[Wrong::Split, Wrong::Twice, Wrong::Lost],
        two_names: false,
    },
    Gap {
        first: (renames_a_link, &["exchange", "lease", "link", "publish", "retire"]),
        second: (any, &[], &[]),
        wrong: &[Wrong::Split, Wrong::Twice],
        two_names: false,
    },
    // A directory that we make on the other disk just when a client renames it is there until our next call. A client that
    // puts a symlink at its path meets that directory.
    Gap {
        first: (moves_the_directory, &[]),
        second: (moves_the_directory, &[], &[]),
        wrong: &[Wrong::Shock],
        two_names: false,
    },
    // A link set is taken back as a whole, also where the actions are about its other name.
    Gap {
        first: (any, &[]),
        second: (changes_attributes, &[], &[]),
        wrong: &[Wrong::Attributes],
        two_names: true,
    },
    Gap {
        // The op goes on once more at the end of the run, and nothing watched its directories in between.
        first: (changes_attributes, &[]),
        second: (any, &[], &[]),
        wrong: &[Wrong::Attributes],
        two_names: true,
    },
    Gap {
        first: (puts_a_file, &["exchange"]),
        second: (any, &["exchange"], &["exchange"]),
        wrong: &[Wrong::Bytes, Wrong::Split, Wrong::Attributes],
        two_names: true,
    },
    Gap {
        first: (renames_a_link, &[]),
        second: (any, &[], &[]),
        wrong: &[Wrong::Split, Wrong::Twice],
        two_names: true,
    },
    Gap {
        first: (any, &[]),
        second: (renames_a_link, &[], &[]),
        wrong: &[Wrong::Split, Wrong::Twice],
        two_names: true,
    },
];

fn any(_: &Action) -> bool {
    true
}

fn puts_a_file(action: &Action) -> bool {
    let puts = |step: &Step| match step {
        Step::Save(_) | Step::Create(_) | Step::Link(..) | Step::LinkOver(..) => true,
        Step::WriteApart(path) => is_duplicates(path),
        Step::Rename(_, to) | Step::Mv(_, to) => is_duplicates(to),
        _ => false,
    };
    action.steps.iter().any(puts)
}

/// Whether it is one of the duplicate's two paths.
fn is_duplicates(path: &RelPath) -> bool {
    let paths: [&[u8]; 3] = [b"d/b", b"e/b2", b"d/b2"];
    paths.contains(&path.as_bytes())
}

fn moves_the_directory(action: &Action) -> bool {
    let moves = |step: &Step| matches!(step, Step::Mv(from, _) if from.as_bytes() == b"d");
    action.steps.iter().any(moves)
}

/// Adds a name to the file at a path of the duplicate.
fn gives_a_name(action: &Action) -> bool {
    let gives = |step: &Step| match step {
        Step::Link(from, _) | Step::Rename(from, _) | Step::Mv(from, _) => is_duplicates(from),
        _ => false,
    };
    action.steps.iter().any(gives)
}

fn writes(action: &Action) -> bool {
    let writes = |step: &Step| {
        let held = matches!(step, Step::OpenWrite(_));
        held || matches!(step, Step::Write(_) | Step::WriteKeepingTimes(_) | Step::Truncate(_))
    };
    action.steps.iter().all(writes)
}

fn changes_attributes(action: &Action) -> bool {
    let changes = |step: &Step| matches!(step, Step::Chmod(_) | Step::Setxattr(_));
    action.steps.iter().all(changes)
}

/// Renames one name of the kept copy, by then, over another one.
fn renames_a_link(action: &Action) -> bool {
    let links: [&[u8]; 2] = [b"m/a", b"m/a3"];
    let is_link = |path: &RelPath| links.contains(&path.as_bytes()) || is_duplicates(path);
    action.steps.iter().any(|step| match step {
        Step::Rename(from, to) | Step::Mv(from, to) => is_link(from) && is_link(to),
        _ => false,
    })
}

/// Our call in a line of the trace: its number, and what it is called in [`GAPS`].
fn of_note(line: &str) -> Option<(usize, &'static str)> {
    let (number, call) = line.trim_start().split_once(' ')?;
    let number = number.parse().ok()?;
    let call = call.split(" = ").next()?;
    let (from, to) = call.split_once(" -> ").unwrap_or((call, ""));
    let what = match call.split(' ').next()? {
        "take" => "lease",
        "release" => "release",
        "link" => "link",
        "exchange" => "exchange",
        "unlink" => "unlink",
        "rename" if to.ends_with("-r") => "retire",
        "rename" if from.ends_with("-r") => "return",
        "rename" if from.ends_with("-t") => "publish",
        "rename" => "withdraw",
        _ => return None,
    };
    Some((number, what))
}

/// What is not promised of these two actions; nothing where bytes that were written are not kept.
fn limit_of_two(
    client: &Client,
    sessions: [&Session; 2],
    plan: &[(usize, &Action)],
    two_names: bool,
) -> Vec<Failure> {
    let [before, after] = sessions;
    let files = after.world.files();
    let mut newest = BTreeMap::new();
    for write in after.world.acknowledged() {
        newest.insert(write.id, write.bytes);
    }
    // A write through one of two names that are one file by then replaces what was written through the other.
    let mut newest = newest.values();
    let kept = newest.all(|bytes| files.values().any(|(_, found)| found == bytes));
    let [(n, first), (later, second)] = plan else {
        return Vec::new();
    };
    if !kept && !client.finds_its_bytes(after) {
        return Vec::new();
    }
    let calls: Vec<_> = before.world.trace().iter().filter_map(|line| of_note(line)).collect();
    let last = |n: usize| calls.iter().rev().find(|(at, _)| *at < n).map(|(_, what)| *what);
    let next = |n: usize| calls.iter().find(|(at, _)| *at >= n).map(|(_, what)| *what);
    let is_one = |call: Option<&'static str>, of: &[&str]| {
        of.is_empty() || call.is_some_and(|call| of.contains(&call))
    };
    let gaps = GAPS.iter().filter(|gap| {
        (two_names || !gap.two_names)
            && (gap.first.0)(first)
            && is_one(last(*n), gap.first.1)
            && (gap.second.0)(second)
            && is_one(last(*later), gap.second.1)
            && is_one(next(*later), gap.second.2)
    });
    // A path is lost only by a rename that did nothing: its source is still there.
    let view = after.view();
    let mut steps = plan.iter().flat_map(|(_, action)| &action.steps);
    let stays = steps.any(|step| matches!(step, Step::Rename(from, _) if view.contains_key(from)));
    let wrong = gaps.flat_map(|gap| gap.wrong);
    let wrong = wrong.filter(|wrong| stays || **wrong != Wrong::Lost);
    wrong.map(|wrong| Failure::Client(*wrong)).collect()
}

/// The process goes on while the client does this.
fn goes_on(
    kind: &Kind,
    tally: &mut Tally,
    ending: &'static str,
    reuse: bool,
    plan: &[(usize, &Action)],
) {
    let mut session = kind.begun.next();
    session.world.set_reuse_inodes(reuse);
    let client = kind.client();
    for (n, action) in plan {
        for step in &action.steps {
            client.plan(&session, *n, step);
        }
    }
    let ended = kind.drive(&mut session);
    let reads = |step: &Step| matches!(step, Step::OpenRead(_));
    let writes = !plan.iter().any(|(_, action)| action.steps.iter().any(reads));
    let mut next = session.next();
    next.world.set_reuse_inodes(reuse);
    client.finish(&next.world, writes);
    let mut wrong = resumed(&mut next);
    wrong.extend(judged(&next, &client, plan.len() > 1));
    if plan.iter().any(|(n, _)| *n <= kind.recorded) {
        wrong.retain(|(what, _)| *what != Failure::Client(Wrong::Attributes));
    }
    if plan.len() > 1 {
        let limit = limit_of_two(&client, [&session, &next], plan, kind.has_two_names());
        wrong.retain(|(what, _)| !limit.contains(what));
    }
    if let Err(err) = ended {
        wrong.push((Failure::Fails, err));
    }
    let trace = || {
        let at: Vec<_> = plan.iter().map(|(n, action)| (n, &action.name)).collect();
        format!("at {at:?}\n{}\nthen\n{}", session.told(), next.told())
    };
    // Of two it is mostly the second that meets it.
    let last = plan.last().map_or("", |(_, action)| &action.name);
    tally.note(ending, last, wrong, trace);
}

/// The process was killed at call `n`; the client does this before `resume`, or beside it.
fn resumed_after(
    kind: &Kind,
    tally: &mut Tally,
    (killed, n): (&Session, usize),
    (i, action): (usize, &Action),
) {
    let dead = |reuse: bool| {
        let next = killed.next();
        next.world.set_reuse_inodes(reuse);
        (next, kind.client())
    };
    for reuse in [false, true] {
        if reuse && !action.frees() {
            continue;
        }
        let ending = if reuse { "killed, numbers again" } else { "killed" };
        let (mut next, client) = dead(reuse);
        action.steps.iter().for_each(|s| client.act(&next.world, s));
        let wrong = settled(&mut next, &client);
        let trace = || format!("at {n}\n{}\nthen\n{}", killed.told(), next.told());
        tally.note(ending, &action.name, wrong, trace);
    }
    if (n + i) % 3 == 0 {
        let (mut second, client) = dead(false);
        action.steps.iter().for_each(|s| client.act(&second.world, s));
        let k = 1 + (n * 5 + i) % 29;
        second.world.plan_fault(Fault::DieAt(k));
        let first = guarded(|| second.recover().is_ok());
        let mut third = second.next();
        let wrong = settled(&mut third, &client);
        let trace = || {
            let told = [killed.told(), second.told(), third.told()];
            format!("at {n}, again at {k}: {first:?}\n{}", told.join("\nthen\n"))
        };
        tally.note("killed twice", &action.name, wrong, trace);
    }
    if (n + i) % 3 == 1 {
        let (mut second, client) = dead(false);
        let k = 1 + (n * 7 + i) % 29;
        action.steps.iter().for_each(|s| client.plan(&second, k, s));
        let first = guarded(|| second.recover().is_ok());
        let mut third = second.next();
        let wrong = settled(&mut third, &client);
        let trace = || {
            let told = [killed.told(), second.told(), third.told()];
            format!("killed at {n}, at {k}: {first:?}\n{}", told.join("\nthen\n"))
        };
        tally.note("while resuming", &action.name, wrong, trace);
    }
}

/// Adds directories that are put at the path of another one, with files of the names that are changed there.
fn add_strangers(world: &SimWorld, kept: BranchIdx, other: BranchIdx) {
    world.add_file(&place(kept, "s/a"), b"not the kept copy");
    world.add_file(&place(other, "s/b"), b"not the duplicate");
    world.add_file(&place(other, "s/b2"), b"nor this");
}

/// The scene on two disks: the kept copy on branch `kept`, with `d` there too or not.
fn scene(kept_first: bool, d_there: bool) -> (SimWorld, [BranchIdx; 2]) {
    let world = SimWorld::new();
    let [a, b] = scenario::branches(&world);
    let (kept, other) = if kept_first { (a, b) } else { (b, a) };
    add(&world, &place(kept, "m/a"));
    world.add_link(&place(kept, "m/a"), &place(kept, "m/a3"));
    add(&world, &place(other, "d/b"));
    world.add_file(&place(other, "d/o"), b"another file");
    world.add_dir(&place(other, "x"));
    add_strangers(&world, kept, other);
    if d_there {
        world.add_dir(&place(kept, "d"));
        world.add_dir(&place(kept, "e"));
    }
    (world, [kept, other])
}

fn cross(kept_first: bool, d_there: bool) -> Scenario {
    let (world, [kept, other]) = scene(kept_first, d_there);
    let plan = [(place(kept, "m/a"), vec![place(other, "d/b")])];
    scenario::scenario("cross", world, &plan)
}

/// The duplicate has a second name in another directory.
fn link_set() -> Scenario {
    let (world, [kept, other]) = scene(true, true);
    let names = vec![place(other, "d/b"), place(other, "e/b2")];
    world.add_link(&names[0], &names[1]);
    scenario::scenario("link set", world, &[(place(kept, "m/a"), names)])
}

fn one_disk(second_name: bool) -> Scenario {
    let world = SimWorld::new();
    let [a, b] = scenario::branches(&world);
    add(&world, &place(a, "m/a"));
    world.add_link(&place(a, "m/a"), &place(a, "m/a3"));
    let mut names = vec![add(&world, &place(a, "d/b"))];
    world.add_file(&place(a, "d/o"), b"another file");
    world.add_dir(&place(b, "x"));
    add_strangers(&world, a, a);
    if second_name {
        names.push(place(a, "e/b2"));
        world.add_link(&names[0], &names[1]);
    }
    scenario::scenario("local", world, &[(place(a, "m/a"), names)])
}

/// The duplicate has two names in one directory.
fn two_names_of_one_directory() -> Scenario {
    let (world, [kept, other]) = scene(true, true);
    let names = vec![place(other, "d/b"), place(other, "d/b2")];
    world.add_link(&names[0], &names[1]);
    scenario::scenario("one directory", world, &[(place(kept, "m/a"), names)])
}

/// Two ops of one batch whose duplicates have the same name: `d/b`, on one disk with its kept copy or not, and `f/b`,
/// whose directory is missing on the disk of its kept copy.
fn two_ops(local: bool) -> Scenario {
    let world = SimWorld::new();
    let [first, second, third] = scenario::branches(&world);
    let kept = if local { second } else { first };
    add(&world, &place(kept, "m/a"));
    world.add_link(&place(kept, "m/a"), &place(kept, "m/a3"));
    add(&world, &place(second, "d/b"));
    world.add_file(&place(second, "d/o"), b"another file");
    for dir in ["x", "e"] {
        world.add_dir(&place(second, dir));
    }
    if !local {
        world.add_dir(&place(first, "d"));
    }
    add_strangers(&world, kept, second);
    world.add_file(&place(third, "n/b"), b"bytes of the second");
    world.add_file(&place(second, "f/b"), b"bytes of the second");
    let plan = [
        (place(kept, "m/a"), vec![place(second, "d/b")]),
        (place(third, "n/b"), vec![place(second, "f/b")]),
    ];
    scenario::scenario("two ops", world, &plan)
}

/// `d/b` is a link of the kept copy on one disk, and hides the duplicate on the other.
fn shadow() -> Scenario {
    let (world, [kept, other]) = scene(true, true);
    world.add_link(&place(kept, "m/a"), &place(kept, "d/b"));
    let names = vec![place(other, "d/b"), place(other, "e/b2")];
    world.add_link(&names[0], &names[1]);
    let plan = [(place(kept, "d/b"), names)];
    let mut scenario = scenario::scenario("shadow", world, &plan);
    scenario::masters_own(&mut scenario.ops[0], 0);
    scenario
}

#[test]
fn two_disks() {
    matrix(&Kind::run(cross(true, true)), "two disks");
}

#[test]
fn two_disks_directory_missing() {
    matrix(&Kind::run(cross(true, false)), "two disks, directory missing");
}

#[test]
fn two_disks_duplicate_first() {
    matrix(&Kind::run(cross(false, true)), "two disks, duplicate first");
}

#[test]
fn two_disks_duplicate_first_directory_missing() {
    let name = "two disks, duplicate first, directory missing";
    matrix(&Kind::run(cross(false, false)), name);
}

#[test]
fn one_disk_() {
    matrix(&Kind::run(one_disk(false)), "one disk");
}

#[test]
fn two_disks_two_names() {
    matrix(&Kind::run(link_set()), "two disks, two names");
}

#[test]
fn one_disk_two_names() {
    matrix(&Kind::run(one_disk(true)), "one disk, two names");
}

#[test]
fn two_names_in_one_directory() {
    matrix(&Kind::run(two_names_of_one_directory()), "two names, one directory");
}

#[test]
fn two_ops_in_a_batch() {
    matrix(&Kind::run(two_ops(false)), "two ops");
}

#[test]
fn two_ops_in_a_batch_one_of_them_on_one_disk() {
    matrix(&Kind::run(two_ops(true)), "two ops, one on one disk");
}

#[test]
fn shadows_merged() {
    matrix(&Kind::run(shadow()), "shadows merged");
}

#[test]
fn reflink_two_disks() {
    matrix(&Kind::reflink(cross(true, true)), "reflink, two disks");
}

#[test]
fn reflink_two_disks_directory_missing() {
    matrix(&Kind::reflink(cross(true, false)), "reflink, two disks, directory missing");
}

#[test]
fn reflink_two_disks_duplicate_first() {
    matrix(&Kind::reflink(cross(false, true)), "reflink, two disks, duplicate first");
}

#[test]
fn reflink_two_disks_two_names() {
    matrix(&Kind::reflink(link_set()), "reflink, two disks, two names");
}

#[test]
fn undo_reflink_two_disks() {
    matrix(&Kind::undo_reflinks(cross(true, true)), "undo of a reflink, two disks");
}

#[test]
fn undo_reflink_two_disks_two_names() {
    matrix(&Kind::undo_reflinks(link_set()), "undo of a reflink, two disks, two names");
}

#[test]
fn undo_two_disks() {
    matrix(&Kind::undo(cross(true, true)), "undo, two disks");
}

#[test]
fn undo_one_disk() {
    matrix(&Kind::undo(one_disk(false)), "undo, one disk");
}

#[test]
fn undo_two_disks_two_names() {
    matrix(&Kind::undo(link_set()), "undo, two disks, two names");
}

/// Between the two retired names: the client's second action links the duplicate at its first path again, and the first one
/// takes a name away, so that the number of names does not show it.
#[test]
fn a_path_linked_again_while_its_set_is_retired() {
    let kind = Kind::undo(link_set());
    let branches: Vec<BranchIdx> = kind.scenario.world.pool().indices().collect();
    let all = actions::all(&branches, kind.second_name());
    let named = |name: &str| all.iter().find(|action| action.name == name).unwrap();
    let first = named(&format!("rm m/a d/b; save d/b on {}", branches[1].0));
    let second = named("rm d/b; ln e/b2 d/b");
    let mut tally = Tally::default();
    tally.kind = "linked again";
    let mut n = 1;
    while kind.killed(n).is_some() {
        goes_on(&kind, &mut tally, "two actions", false, &[(n, first), (n + 1, second)]);
        n += 1;
    }
}

/// The writer makes the op put its duplicate back, which is retired, so that the link is one of the kept copy alone: no
/// other disk has its path.
#[test]
fn a_link_of_the_replacement_of_a_path_that_is_written_is_told() {
    for kind in [Kind::run(cross(false, true)), Kind::run(cross(true, true))] {
        let branches: Vec<BranchIdx> = kind.scenario.world.pool().indices().collect();
        let all = actions::all(&branches, kind.second_name());
        let named = |name: &str| all.iter().find(|action| action.name == name).unwrap();
        let (write, link) = (named("write d/b"), named("ln d/b d/l"));
        let mut tally = Tally::default();
        tally.kind = "written and linked";
        let mut n = 1;
        while kind.killed(n).is_some() {
            for between in 1..10 {
                let plan = [(n, write), (n + between, link)];
                goes_on(&kind, &mut tally, "two actions", false, &plan);
            }
            n += 1;
        }
    }
}

/// A directory that a client renamed while it was made on the other branch is there again for a few calls only, although
/// the batch goes on.
#[test]
fn a_renamed_directory_made_again_goes_at_once() {
    let (world, [kept, other]) = scene(true, false);
    for n in 0..3 {
        add(&world, &place(other, format!("x/{n}")));
    }
    let mut plan = vec![(place(kept, "m/a"), vec![place(other, "d/b")])];
    plan.extend((0..3).map(|n| (place(kept, "m/a"), vec![place(other, format!("x/{n}"))])));
    let kind = Kind::run(scenario::scenario("batch", world, &plan));
    let path = RelPath::new("d").unwrap();
    let made_again = |session: &Session| session.world.names().contains_key(&place(kept, "d"));
    let mut longest = 0;
    for n in 1.. {
        let moved = || {
            let session = kind.begun.next();
            let client = kind.client();
            client.plan(&session, n, &Step::Mv(path.clone(), RelPath::new("dd").unwrap()));
            session
        };
        let mut session = moved();
        kind.drive(&mut session).unwrap();
        if session.world.calls() < n {
            break;
        }
        let mut calls = 0;
        for m in n + 1..n + 60 {
            let mut session = moved();
            session.world.plan_fault(Fault::DieAt(m));
            drop(kind.drive(&mut session));
            calls += usize::from(made_again(&session));
        }
        longest = longest.max(calls);
    }
    assert!((1..=MADE_AGAIN_CALLS).contains(&longest), "for {longest} calls");
}

/// Calls between making a directory and removing it again.
const MADE_AGAIN_CALLS: usize = 12;

/// What a client changes of a directory while it is made on the other branch is changed on both.
#[test]
fn a_changed_directory_is_changed_on_both_disks() {
    for kind in [Kind::run(cross(true, false)), Kind::run(cross(false, false))] {
        let path = RelPath::new("d").unwrap();
        let mut n = 1;
        while kind.killed(n).is_some() {
            let mut session = kind.begun.next();
            let client = kind.client();
            client.plan(&session, n, &Step::Chmod(path.clone()));
            kind.drive(&mut session).unwrap();
            let names = session.world.names();
            let modes = names.iter().filter(|(at, _)| at.path == path).map(|(_, stat)| stat.mode);
            let modes: BTreeSet<_> = modes.map(|mode| mode & 0o777).collect();
            assert_eq!(modes, BTreeSet::from([0o600]), "at {n}\n{}", session.told());
            n += 1;
        }
    }
}

/// A directory that a client renamed while it was made on the other branch has no empty copy at its old path.
#[test]
fn a_renamed_directory_is_not_made_again() {
    let kind = Kind::run(cross(true, false));
    let path = RelPath::new("d").unwrap();
    let mut n = 1;
    while kind.killed(n).is_some() {
        let mut session = kind.begun.next();
        let client = kind.client();
        client.plan(&session, n, &Step::Mv(path.clone(), RelPath::new("dd").unwrap()));
        kind.drive(&mut session).unwrap();
        let mut next = session.next();
        assert!(resumed(&mut next).is_empty());
        let names = next.world.names();
        assert!(names.keys().all(|at| at.path != path), "at {n}\n{}", session.told());
        n += 1;
    }
}

/// Directories that change places between two of our calls and are back by the next one have not changed the paths.
#[test]
fn directories_that_changed_places_twice_are_where_they_were() {
    let kind = Kind::run(two_ops(false));
    let path = |name| RelPath::new(name).unwrap();
    let mv = |from, to| Step::Mv(path(from), path(to));
    let there = [mv("f", "t"), mv("d", "f"), mv("t", "d")];
    let mut n = 1;
    while kind.killed(n).is_some() {
        let mut session = kind.begun.next();
        let client = kind.client();
        for (at, step) in
            there.iter().map(|step| (n, step)).chain(there.iter().map(|step| (n + 2, step)))
        {
            client.plan(&session, at, step);
        }
        kind.drive(&mut session).unwrap();
        let mut next = session.next();
        let wrong = settled(&mut next, &client);
        assert!(wrong.is_empty(), "at {n}: {wrong:?}\n{}", session.told());
        n += 1;
    }
}

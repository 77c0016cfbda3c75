//! Plays one scenario: the traced run, the client, the kill, `resume`, and the judgement.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::call::Call;
use super::client::Client;
use super::hands::Hands;
use super::judge::{self, Fault, Finding, Judge};
use super::model::Model;
use super::report::{Report, Said};
use super::scenario::{Scenario, When};
use super::scene::Scene;
use super::tracer::{Ended, Traced};
use crate::harness::snapshot::Entries;
use crate::harness::tree;

/// How long the program is held for a client; a client that takes longer waits for a lease of the program's.
const HELD: Duration = Duration::from_millis(150);
/// A client that takes longer hangs.
const AT_MOST: Duration = Duration::from_secs(120);

/// What came of a scenario.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) findings: Vec<Finding>,
    /// What else is worth knowing, and no fault.
    pub(super) notes: Vec<String>,
    /// The calls of the run.
    pub(super) calls: Vec<Call>,
    /// Whether the status tells of conflicts.
    pub(super) conflicts: bool,
    /// Names that were about to be removed when a client acted.
    rmdirs: Vec<PathBuf>,
    /// Whether a client acted when the journal had no intent yet.
    early: bool,
    /// Everything that was printed.
    pub(super) printed: Vec<String>,
}

/// Plays `scenario` in a scene of its own that is old enough.
pub(super) fn play(scene: &Scene<'_>, scenario: &Scenario) -> Outcome {
    scene.prepare();
    let mut outcome = Outcome::default();
    let mut said = Said::default();
    let client = std::thread::scope(|scope| {
        let client = Client::new(scene.root(), scene.model());
        let hands = Hands::new(scope, client);
        let mut run = Playing { scene, scenario, hands, outcome: &mut outcome, said: &mut said };
        run.run();
        run.hands.end()
    });
    let failed = client.failed.iter();
    outcome.notes.extend(failed.map(|what| format!("client: {what}")));
    let killed = scenario.kill_call().is_some();
    settle(scene, &client.model, killed, &mut outcome, &mut said);
    outcome
}

/// A scenario while the program runs.
struct Playing<'a, 'scope> {
    scene: &'a Scene<'a>,
    scenario: &'a Scenario,
    hands: Hands<'scope>,
    outcome: &'a mut Outcome,
    said: &'a mut Said,
}

impl Playing<'_, '_> {
    fn run(&mut self) {
        self.act(When::Before);
        let killed = self.traced_run();
        if killed {
            self.act(When::AfterKill);
            self.traced_resume();
        }
        self.act(When::After);
    }

    /// Runs the program; returns whether it was killed.
    fn traced_run(&mut self) -> bool {
        let (line, kill_at) = (self.scene.line(), self.scenario.kill_call());
        let (ended, calls, killed) = self.trace(&line, kill_at, When::Call);
        self.outcome.calls = calls;
        // What the list says is gone.
        let early = self.scenario.acts_at(When::Before).count() > 0;
        let usual = matches!(ended.code, Some(0 | 1)) || early && matches!(ended.code, Some(2 | 3));
        if !killed && !usual {
            self.bad_exit("the run", ended.code);
        }
        killed
    }

    /// Runs `resume`, until it is killed.
    fn traced_resume(&mut self) {
        let kill_at = self.scenario.resume_kill_call();
        let acts = self.scenario.acts.iter();
        let acts = acts.filter(|(when, _)| matches!(when, When::ResumeCall(_)));
        if kill_at.is_some() || acts.count() > 0 {
            self.trace(&self.scene.resume(), kill_at, When::ResumeCall);
        }
    }

    /// Runs a command line, lets clients act at its calls, and kills it where that is asked for.
    fn trace(
        &mut self,
        line: &[std::ffi::OsString],
        kill_at: Option<usize>,
        when: impl Fn(usize) -> When,
    ) -> (Ended, Vec<Call>, bool) {
        let roots = self.scene.pool.branches();
        let mut traced = Traced::start(line, self.scene.tool.dir(), roots);
        let mut calls = Vec::new();
        let mut kill = false;
        while !kill && let Some(call) = traced.next() {
            let recorded = calls.iter().any(|call| self.is_of_journal(call));
            calls.push(call);
            let acts = self.begin(when(calls.len()));
            self.outcome.early |= acts && !recorded;
            if acts {
                self.note_rmdir(&calls[calls.len() - 1]);
            }
            if acts && !self.hands.are_done(HELD) {
                let note = format!("held at call {}: a client waits, so on it goes", calls.len());
                self.outcome.notes.push(note);
            }
            kill = kill_at == Some(calls.len());
        }
        let ended = if kill { traced.kill() } else { traced.end() };
        if kill_at.is_some() && !kill {
            let note = format!("not killed: only {} calls", calls.len());
            self.outcome.notes.push(note);
        }
        self.finish();
        // A client that comes after the end acts on what was reported: that is another kind of moment.
        let later = self.scenario.acts.iter().map(|(at, _)| *at);
        let later: Vec<_> =
            later.filter(|at| (calls.len() + 1..1_000).any(|n| *at == when(n))).collect();
        for at in later {
            self.outcome.notes.push(format!("{at} never came"));
        }
        self.outcome.printed.push(format!("{line:?}: {ended:#?}"));
        self.said.by_traced(&ended);
        (ended, calls, kill)
    }

    /// Remembers a directory that is about to be removed while a client acts.
    fn note_rmdir(&mut self, call: &Call) {
        let roots = self.scene.branch_roots();
        let removed = call.paths.iter().filter(|_| call.name == "unlinkat");
        let below = removed.filter_map(|path| {
            let mut roots = roots.iter();
            roots.find_map(|root| path.strip_prefix(root).ok())
        });
        self.outcome.rmdirs.extend(below.map(Path::to_path_buf));
    }

    /// Whether a call makes records durable.
    fn is_of_journal(&self, call: &Call) -> bool {
        call.name == "fdatasync" && call.is_below(&self.scene.tool.journal().join("db"))
    }

    /// Lets clients begin what they do then; returns whether there is anything.
    fn begin(&mut self, when: When) -> bool {
        let scripts: Vec<_> = self.scenario.acts_at(when).collect();
        scripts.iter().for_each(|script| self.hands.begin(script));
        !scripts.is_empty()
    }

    /// Nothing holds a client up now.
    fn finish(&mut self) {
        assert!(self.hands.are_done(AT_MOST), "{}: a client hangs", self.scenario);
    }

    fn act(&mut self, when: When) {
        self.begin(when);
        self.finish();
    }

    fn bad_exit(&mut self, what: &str, code: Option<i32>) {
        let text = format!("{what} ends with {code:?}");
        let fault = Fault::Open;
        self.outcome.findings.push(Finding { fault, text });
    }
}

/// Judges, resumes, judges again, and resumes once more.
fn settle(scene: &Scene<'_>, model: &Model, killed: bool, outcome: &mut Outcome, said: &mut Said) {
    let mut judge = Judge::new(scene, model);
    judge.killed = killed;
    judge.rmdirs.clone_from(&outcome.rmdirs);
    judge.contents(None);
    outcome.findings.append(&mut judge.findings);
    if !killed {
        judged(scene, model, false, outcome, said);
    }
    let before = seen(&judge::branches(scene));
    resumed(scene, "resume", outcome, said);
    let after = seen(&judge::branches(scene));
    if killed || after != before {
        judged(scene, model, killed, outcome, said);
    }
    resumed(scene, "resume once more", outcome, said);
    if seen(&judge::branches(scene)) != after {
        let text = "resume once more changed something".to_owned();
        let fault = Fault::Open;
        outcome.findings.push(Finding { fault, text });
    }
    outcome.findings.sort_by_key(|finding| finding.fault);
    outcome.findings.dedup();
}

fn judged(scene: &Scene<'_>, model: &Model, killed: bool, outcome: &mut Outcome, said: &mut Said) {
    let status = scene.status();
    outcome.printed.push(status.to_string());
    match Report::new(said, &status) {
        Ok(report) => {
            outcome.conflicts |= report.conflicts() > 0;
            let mut judge = Judge::new(scene, model);
            // An undo gives a file the permissions it once had: no matter what they are when it begins.
            judge.metadata_counts = !(scene.kind.is_undo() && outcome.early);
            judge.killed = killed;
            judge.rmdirs.clone_from(&outcome.rmdirs);
            judge.everything(&report);
            outcome.findings.append(&mut judge.findings);
        }
        Err(text) => {
            let fault = Fault::Open;
            outcome.findings.push(Finding { fault, text });
        }
    }
}

fn resumed(scene: &Scene<'_>, what: &str, outcome: &mut Outcome, said: &mut Said) {
    let mut run = scene.tool.run_line(&scene.resume());
    if run.code() == Some(4) {
        // A file that a client changed a moment ago is left for later.
        tree::settle();
        run = scene.tool.run_line(&scene.resume());
    }
    said.by(&run);
    if !matches!(run.code(), Some(0 | 1)) {
        let text = format!("{what} ends with {:?}", run.code());
        let fault = Fault::Open;
        outcome.findings.push(Finding { fault, text });
    }
    outcome.printed.push(run.to_string());
}

/// What `resume` must not change of a path: the inode, its links, its size and its mtime.
type Seen = BTreeMap<PathBuf, (u64, u64, u64, i128)>;

fn seen(branches: &[Entries]) -> Vec<Seen> {
    let of = |entries: &Entries| -> Seen {
        let entries = entries.iter();
        entries.map(|(path, e)| (path.clone(), (e.ino, e.nlink, e.size, e.mtime))).collect()
    };
    branches.iter().map(of).collect()
}

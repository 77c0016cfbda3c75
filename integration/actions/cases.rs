//! Cases that lost something once, each with the program held, or killed, at the call that mattered.

use std::path::Path;

use super::call::Call;
use super::kind::Kind;
use super::kind::Kind::{
    CrossFirst, CrossLast, Local, LocalSet, Set, Shadows, TwoOps, UndoFirst, UndoLast, UndoLocal,
};
use super::pools::{outcomes, undisturbed};
use super::scenario::{Ending, Scenario, When};

/// A call of the protocol, by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first hidden link of the file that is to be found at the name.
    Link,
    /// The name begins to lead to that file.
    Publish,
    /// The second name does.
    PublishSecond,
    /// The file that had the name leaves it.
    Retire,
    /// The call after that.
    Retired,
    /// On one disk: what was exchanged out of the name is looked at again.
    Check,
    /// The first hidden name is removed: everything is recorded.
    Remove,
}

/// How a run of a case ends.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// The client acts while the program is held; the program goes on.
    GoesOn,
    /// The program is killed, the client acts, `resume` runs.
    Resumed,
}

impl At {
    /// The number of that call.
    fn find(self, calls: &[Call]) -> usize {
        let renames: Vec<usize> =
            (0..calls.len()).filter(|&n| calls[n].moves(is_visible, is_hidden)).collect();
        let found = match self {
            Self::Link => calls.iter().position(|call| call.name == "linkat"),
            Self::Publish => published(calls, "b"),
            Self::PublishSecond => published(calls, "b2"),
            // The link of a master comes before it.
            Self::Retire => renames.into_iter().find(|&n| calls[n].name != "linkat"),
            Self::Retired => Some(Self::Retire.find(calls)),
            Self::Check => {
                let published = Self::Publish.find(calls);
                let synced = (published..calls.len()).find(|&n| calls[n].name == "fsync");
                synced.and_then(|from| (from..calls.len()).find(|&n| calls[n].name == "lease"))
            }
            Self::Remove => {
                calls.iter().position(|call| call.name == "unlinkat" && is_hidden(&call.paths[0]))
            }
        };
        let Some(found) = found else {
            let calls: Vec<_> = calls.iter().map(Call::to_string).collect();
            panic!("no call {self:?} among {calls:#?}");
        };
        found + 1
    }
}

/// The first call that makes a file appear under that name.
fn published(calls: &[Call], name: &str) -> Option<usize> {
    let named = |path: &Path| path.file_name().is_some_and(|n| n == name);
    calls.iter().position(|call| call.moves(|_| true, named))
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".xdedup-")
}

fn is_visible(path: &Path) -> bool {
    !is_hidden(path)
}

/// Plays every script at that call of every kind; returns those that did harm.
fn play(kinds: &[Kind], at: At, then: Then, scripts: &[&str]) -> Vec<String> {
    play_after(&[], kinds, at, then, scripts)
}

/// The same, after clients did something before the run.
fn play_after(
    before: &[&str],
    kinds: &[Kind],
    at: At,
    then: Then,
    scripts: &[&str],
) -> Vec<String> {
    let runs: Vec<_> = kinds.iter().map(|kind| undisturbed(*kind)).collect();
    let mut scenarios = Vec::new();
    for (kind, run) in kinds.iter().zip(outcomes(&runs)) {
        let n = match at {
            At::Retired => At::Retired.find(&run.calls) + 1,
            _ => at.find(&run.calls),
        };
        for script in scripts {
            let mut acts: Vec<_> =
                before.iter().map(|script| (When::Before, (*script).to_owned())).collect();
            let (when, ending) = match then {
                Then::GoesOn => (When::Call(n), Ending::GoesOn),
                Then::Resumed => (When::AfterKill, Ending::Killed(n)),
            };
            acts.push((when, (*script).to_owned()));
            let kind = *kind;
            scenarios.push(Scenario { kind, acts, ending });
        }
    }
    let mut harm = Vec::new();
    for (scenario, outcome) in scenarios.iter().zip(outcomes(&scenarios)) {
        let findings: Vec<_> = outcome.findings.iter().map(ToString::to_string).collect();
        if !findings.is_empty() {
            harm.push(format!("{at:?}: {scenario}: {}", findings.join("; ")));
        }
    }
    harm
}

fn assert_no_harm<const N: usize>(harm: [Vec<String>; N]) {
    let harm = harm.concat();
    assert!(harm.is_empty(), "{}: {harm:#?}", harm.len());
}

/// Clients give the name a link of their own of the kept copy.
const OWN_LINKS: [&str; 5] = [
    "rm d/b; ln m/a d/b",
    "ln -f m/a d/b",
    "mv m/a3 d/b",
    "save d/b; mv m/a3 d/b",
    "mv d/b d/c; ln m/a d/b",
];

/// Clients make `d/b` the last name of the file that stays.
const LAST_NAME: [&str; 3] =
    ["rm d/b; mv m/a d/b", "save d/b; mv m/a d/b", "rm d/b; ln m/a d/b; rm m/a"];

#[test]
fn case_1_an_undo_leaves_the_last_name_of_the_file_that_stays() {
    assert_no_harm([play_after(
        &["rm m/a3"],
        &[UndoFirst, UndoLast],
        At::Retire,
        Then::GoesOn,
        &LAST_NAME,
    )]);
}

#[test]
fn case_1_an_undo_leaves_the_name_that_a_client_gave_the_file_that_stays() {
    assert_no_harm([play(&[UndoFirst, UndoLast], At::Retire, Then::GoesOn, &LAST_NAME)]);
}

#[test]
fn case_2_a_link_that_a_client_made_stays() {
    let kinds = [CrossFirst, CrossLast, Set];
    assert_no_harm([play(&kinds, At::Retire, Then::GoesOn, &OWN_LINKS)]);
}

#[test]
fn case_2_a_link_that_a_client_made_after_a_kill_stays() {
    let kinds = [CrossFirst, CrossLast, Set];
    assert_no_harm([play(&kinds, At::Link, Then::Resumed, &OWN_LINKS)]);
}

#[test]
fn case_3_names_that_went_during_a_run_on_one_disk_stay_away() {
    let gone = ["rm m/a d/b", "mv m/a m/z; mv d/b d/c"];
    assert_no_harm([
        play(&[Local], At::Publish, Then::GoesOn, &gone),
        play(&[Local], At::Check, Then::GoesOn, &gone),
        play(&[Local], At::Remove, Then::GoesOn, &gone),
    ]);
}

#[test]
fn case_3_a_merged_name_that_went_after_a_kill_stays_away() {
    assert_no_harm([play(&[Shadows], At::Remove, Then::Resumed, &["rm d/b"])]);
}

#[test]
fn case_3_two_names_on_one_disk_that_went_after_a_kill_stay_away() {
    let gone = ["rm d/b e/b2", "rm d/b", "rm e/b2"];
    assert_no_harm([play(&[LocalSet], At::PublishSecond, Then::Resumed, &gone)]);
}

#[test]
fn case_3_names_that_went_after_a_recorded_retire_stay_away() {
    let gone = ["rm m/a d/b", "rm m/a m/a3 d/b"];
    assert_no_harm([play(&[CrossFirst, CrossLast], At::Remove, Then::Resumed, &gone)]);
}

#[test]
fn case_3_a_name_that_went_with_its_renamed_directory_stays_away() {
    let kinds = [CrossFirst, CrossLast];
    assert_no_harm([play(&kinds, At::Publish, Then::GoesOn, &["mv d dd; rm dd/b"])]);
}

#[test]
fn case_4_resume_ends_when_a_directory_went() {
    assert_no_harm([play(&[Set], At::Retire, Then::Resumed, &["rm -r d", "mv d dd"])]);
}

#[test]
fn case_4_resume_ends_when_a_new_file_has_the_inode_number_of_the_old_one() {
    let new = ["rm m/a d/b; create d/b"];
    let kinds = [CrossFirst, CrossLast];
    assert_no_harm([
        play_after(&["rm m/a3"], &kinds, At::Retire, Then::Resumed, &new),
        play_after(&["rm m/a3"], &[Local], At::Remove, Then::Resumed, &new),
    ]);
}

#[test]
fn case_4_an_undo_ends_when_a_new_file_has_the_inode_number_of_its_copy() {
    let new = ["rm -r d; mkdir d; create d/b", "rm -r d; mkdir d; create d/o; create d/b"];
    assert_no_harm([
        play(&[UndoLocal], At::Publish, Then::GoesOn, &new),
        play(&[UndoLocal], At::Check, Then::GoesOn, &new),
        play(&[UndoFirst, UndoLast], At::Retire, Then::GoesOn, &new),
    ]);
}

#[test]
fn case_5_what_is_written_in_a_renamed_directory_is_at_its_path() {
    let written = ["mv d dd; write+fsync dd/b", "mv d dd; save dd/b"];
    let kinds = [CrossFirst, CrossLast, Shadows, UndoFirst, UndoLast];
    assert_no_harm([
        play(&kinds, At::Retire, Then::GoesOn, &written),
        play(&[Local, UndoLocal], At::Publish, Then::GoesOn, &written),
    ]);
}

#[test]
fn case_6_a_renamed_directory_keeps_no_hidden_file() {
    let renamed = ["mv d dd; mkdir d", "mv d dd"];
    assert_no_harm([play(&[CrossFirst, CrossLast], At::Retired, Then::GoesOn, &renamed)]);
}

#[test]
fn case_7_two_copies_of_a_path_are_told() {
    let moved = ["mv d/b d/c", "ln d/b d/l"];
    let kinds = [CrossFirst, CrossLast];
    assert_no_harm([
        play(&kinds, At::Retire, Then::GoesOn, &moved),
        play(&kinds, At::Retire, Then::Resumed, &["write d/b"]),
    ]);
}

#[test]
fn case_7_a_split_set_is_told() {
    assert_no_harm([
        play(&[Set], At::Retire, Then::GoesOn, &["mv d dd", "mv e ee"]),
        play(&[Set], At::Publish, Then::Resumed, &["mv d dd", "mv e ee"]),
    ]);
}

#[test]
fn case_7_permissions_and_attributes_changed_during_an_undo_are_kept_or_told() {
    let changed = ["chmod d/b", "setxattr d/b"];
    assert_no_harm([
        play(&[UndoFirst, UndoLast], At::Publish, Then::GoesOn, &changed),
        play(&[UndoFirst, UndoLast], At::Retire, Then::GoesOn, &changed),
    ]);
}

#[test]
fn case_8_a_write_that_keeps_the_times_is_there() {
    let written = ["write+times d/b"];
    let kinds = [CrossFirst, CrossLast, UndoFirst, UndoLast];
    assert_no_harm([
        play(&kinds, At::Retire, Then::Resumed, &written),
        play(&kinds, At::Retire, Then::GoesOn, &written),
        play(&[Local, UndoLocal], At::Check, Then::Resumed, &written),
    ]);
}

#[test]
fn case_9_directories_of_two_ops_change_places() {
    use super::catalog::TWO_OPS_SCRIPTS;
    assert_no_harm([
        play(&[TwoOps], At::Check, Then::GoesOn, &TWO_OPS_SCRIPTS),
        play(&[TwoOps], At::Retired, Then::GoesOn, &TWO_OPS_SCRIPTS),
        play(&[TwoOps], At::Remove, Then::GoesOn, &TWO_OPS_SCRIPTS),
        play(&[TwoOps], At::Retired, Then::Resumed, &TWO_OPS_SCRIPTS),
    ]);
}

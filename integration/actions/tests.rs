//! The sample, and the controls that must be clean.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use super::kind::Kind;
use super::play::Outcome;
use super::pools::{self, play_all, undisturbed};
use super::sample::{Dice, Moments, scenarios};
use super::scenario::{Ending, Scenario, When};
use super::table::Table;

/// How many scenarios the suite plays.
const SAMPLE: usize = 150;

fn number(variable: &str, otherwise: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(otherwise, |value| value.parse().expect("a number"))
}

/// The calls that an undisturbed run of each kind makes.
fn count_calls() -> BTreeMap<Kind, Moments> {
    let runs = Kind::ALL.map(undisturbed);
    let outcomes = pools::outcomes(&runs);
    let counted = runs.iter().zip(outcomes);
    counted
        .map(|(run, outcome)| {
            assert!(outcome.findings.is_empty(), "{run}: {outcome:#?}");
            assert!(outcome.calls.len() > 10, "{run}: {outcome:#?}");
            (run.kind, Moments::of(&outcome.calls))
        })
        .collect()
}

/// Plays scenarios, prints those with a fault, and returns the figures.
fn play_and_tell(scenarios: &[Scenario]) -> Table {
    let begin = Instant::now();
    let table = Mutex::new(Table::default());
    play_all(scenarios, |scenario, outcome| {
        let mut table = table.lock().unwrap();
        table.add(scenario, &outcome);
        if !outcome.findings.is_empty() {
            println!("FAULT {scenario}{}", told(&outcome));
        }
        if table.scenarios().is_multiple_of(100) {
            let (played, faulty) = (table.scenarios(), table.faulty());
            println!("{played} played, {faulty} with a fault, {:?}", begin.elapsed());
        }
    });
    let table = table.into_inner().unwrap();
    println!("{table}in {:?}", begin.elapsed());
    table
}

fn told(outcome: &Outcome) -> String {
    let findings = outcome.findings.iter().map(|f| format!("\n    {f}"));
    let notes = outcome.notes.iter().map(|note| format!("\n    note: {note}"));
    findings.chain(notes).collect()
}

#[test]
fn every_action_at_sampled_moments() {
    if let Ok(only) = std::env::var("XDEDUP_ONLY") {
        if only.contains('*') {
            let table = play_and_tell(&at_every_call(&only));
            assert_eq!(table.faulty(), 0, "of {} scenarios", table.scenarios());
            return;
        }
        let scenario: Scenario = only.parse().unwrap();
        let outcome = pools::outcomes(std::slice::from_ref(&scenario)).remove(0);
        for (n, call) in outcome.calls.iter().enumerate() {
            println!("call {}: {call}", n + 1);
        }
        println!("{}", outcome.printed.join("\n"));
        println!("{scenario}{}", told(&outcome));
        assert!(outcome.findings.is_empty());
        return;
    }
    let count = usize::try_from(number("XDEDUP_SCENARIOS", SAMPLE as u64)).unwrap();
    let calls = count_calls();
    let mut dice = Dice::new(number("XDEDUP_SEED", 1));
    let table = play_and_tell(&scenarios(&mut dice, count, &calls));
    assert_eq!(table.faulty(), 0, "of {} scenarios", table.scenarios());
}

/// One scenario for each call of the run: `*` stands for its number.
fn at_every_call(text: &str) -> Vec<Scenario> {
    let at = |n: usize| -> Scenario { text.replace('*', &n.to_string()).parse().unwrap() };
    let run = pools::outcomes(&[undisturbed(at(1).kind)]).remove(0);
    (1..=run.calls.len()).map(at).collect()
}

/// How many kills without a client there are of each kind.
const KILLS: usize = 6;

#[test]
fn without_a_client_or_with_one_before_or_after_the_run_nothing_is_wrong() {
    let calls = count_calls();
    let mut dice = Dice::new(number("XDEDUP_SEED", 1));
    let mut controls = Vec::new();
    let mut add = |kind, acts: &[(When, &str)], ending| {
        let acts = acts.iter().map(|(when, act)| (*when, (*act).to_owned()));
        let acts = acts.collect();
        controls.push(Scenario { kind, acts, ending });
    };
    for kind in Kind::ALL {
        for _ in 0..KILLS {
            let (n, m) = (dice.up_to(calls[&kind].count), dice.up_to(12));
            add(kind, &[], Ending::Killed(n));
            add(kind, &[], Ending::KilledTwice(n, m));
        }
    }
    for script in super::catalog::SCRIPTS {
        let kind = Kind::ALL[dice.up_to(Kind::ALL.len()) - 1];
        // What comes before an undo is part of what it takes back.
        let early = !kind.is_undo() && dice.up_to(2) == 1;
        let when = if early { When::Before } else { When::After };
        add(kind, &[(when, script)], Ending::GoesOn);
    }
    let table = play_and_tell(&controls);
    assert_eq!(table.faulty(), 0, "of {} controls", table.scenarios());
}

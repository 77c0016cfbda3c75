//! Chooses scenarios by a seed: the same seed, the same scenarios.

use std::collections::BTreeMap;

use super::call::Call;
use super::catalog::{SCRIPTS, SET_SCRIPTS, TWO_OPS_SCRIPTS};
use super::kind::Kind;
use super::scenario::{Ending, Scenario, When};

/// A small random generator (splitmix64): the same numbers on every machine.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 1 to `most`.
    pub(super) fn up_to(&mut self, most: usize) -> usize {
        let most = u64::try_from(most.max(1)).unwrap();
        usize::try_from(self.roll() % most).unwrap() + 1
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.up_to(of.len()) - 1]
    }
}

/// More calls than `resume` makes for one op.
const RESUME_CALLS: usize = 24;

/// The calls of an undisturbed run.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    pub(super) count: usize,
    /// The numbers of those that change a directory: what a client does then matters most.
    pub(super) changing: Vec<usize>,
}

impl Moments {
    pub(super) fn of(calls: &[Call]) -> Self {
        let numbered = calls.iter().zip(1..);
        let changing = numbered.filter(|(call, _)| call.changes_names());
        Self { count: calls.len(), changing: changing.map(|(_, n)| n).collect() }
    }

    fn choose(&self, dice: &mut Dice) -> usize {
        if dice.up_to(2) == 1 { dice.up_to(self.count) } else { dice.one_of(&self.changing) }
    }
}

/// `count` scenarios; `moments` are those of each kind.
///
/// Every script has its turn before any has a second one.
pub(super) fn scenarios(
    dice: &mut Dice,
    count: usize,
    moments: &BTreeMap<Kind, Moments>,
) -> Vec<Scenario> {
    let mut scripts: Vec<&str> = Vec::new();
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        if scripts.is_empty() {
            scripts = SCRIPTS.to_vec();
        }
        let kind = dice.one_of(&Kind::ALL);
        let script = if kind.is_set() && dice.up_to(4) == 1 {
            dice.one_of(&SET_SCRIPTS)
        } else if kind == Kind::TwoOps && dice.up_to(2) == 1 {
            dice.one_of(&TWO_OPS_SCRIPTS)
        } else {
            scripts.swap_remove(dice.up_to(scripts.len()) - 1)
        };
        chosen.push(scenario(dice, kind, script, &moments[&kind]));
    }
    chosen
}

fn scenario(dice: &mut Dice, kind: Kind, script: &str, moments: &Moments) -> Scenario {
    let n = moments.choose(dice);
    let (acts, last) = acts(dice, script, n, moments.count);
    let m = dice.up_to(RESUME_CALLS);
    let (acts, ending) = match dice.up_to(8) {
        1..=4 => (acts, Ending::GoesOn),
        5 => (acts, Ending::Killed(last)),
        6 => (vec![(When::AfterKill, script.to_owned())], Ending::Killed(n)),
        7 => (vec![(When::ResumeCall(m), script.to_owned())], Ending::Killed(n)),
        _ => (vec![(When::AfterKill, script.to_owned())], Ending::KilledTwice(n, m)),
    };
    Scenario { kind, acts, ending }
}

/// The whole script at one call, or one part of it there and the rest at a later one; and the last of these calls.
fn acts(dice: &mut Dice, script: &str, n: usize, calls: usize) -> (Vec<(When, String)>, usize) {
    let commands: Vec<&str> = script.split("; ").collect();
    if commands.len() == 1 || dice.up_to(3) > 1 || n >= calls {
        return (vec![(When::Call(n), script.to_owned())], n);
    }
    let (first, rest) = commands.split_at(dice.up_to(commands.len() - 1));
    let later = n + dice.up_to(calls - n);
    let acts = vec![(When::Call(n), first.join("; ")), (When::Call(later), rest.join("; "))];
    (acts, later)
}

#[test]
fn the_same_seed_chooses_the_same_scenarios_and_leaves_out_no_script() {
    let moments = Moments { count: 30, changing: vec![12, 13, 20] };
    let moments = Kind::ALL.map(|kind| (kind, moments.clone())).into();
    let chosen = |seed| scenarios(&mut Dice::new(seed), 150, &moments);
    assert_eq!(chosen(1), chosen(1));
    assert_ne!(chosen(1), chosen(2));
    for script in SCRIPTS {
        let whole = |scenario: &Scenario| {
            let acts = scenario.acts.iter().map(|(_, act)| act.as_str());
            acts.collect::<Vec<_>>().join("; ") == script
        };
        assert!(chosen(1).iter().any(whole), "{script}");
    }
}

//! Copies of one path on several branches, and what becomes of the shown one meanwhile.

use mergerfs_xdedup::execute::Outcome;
use mergerfs_xdedup::fs::Change;
use mergerfs_xdedup::fs::sim::{SimWorld, place};
use mergerfs_xdedup::plan::refusal::Reason;

use super::scenario::{self, masters_own};
use super::session::Session;

#[test]
fn a_shown_copy_that_went_from_one_of_its_paths_is_not_linked_there_again() {
    let world = SimWorld::new();
    let [a, b] = scenario::branches(&world);
    for branch in [a, b] {
        scenario::add(&world, &place(branch, "d/p"));
        world.add_link(&place(branch, "d/p"), &place(branch, "d/q"));
    }
    let hidden = vec![place(b, "d/p"), place(b, "d/q")];
    let mut scenario = scenario::scenario("shadow", world, &[(place(a, "d/p"), hidden.clone())]);
    (0..2).for_each(|k| masters_own(&mut scenario.ops[0], k));
    let mut session = Session::new(&scenario);
    session.world.fs().unlink(&place(a, "d/q")).unwrap();
    let view = session.view();
    session.run(&scenario.ops).unwrap();
    let (_, outcome) = &session.outcomes[0];
    assert!(
        matches!(outcome, Outcome::NotDone(halt) if halt.reason == Reason::Changed),
        "{outcome:?}"
    );
    let files = session.world.files();
    assert!(hidden.iter().all(|at| files.contains_key(at)));
    assert!(!files.contains_key(&place(a, "d/q")));
    session.shows(&view).and_then(|()| session.clean()).unwrap();
}

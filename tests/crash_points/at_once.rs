//! What a client did is there when the run ends, not only when somebody has recovered.

use super::clients::{each_call, few, known_limit, met, pairs, steps};
use super::meddling::{Client, Step, in_conflict};
use super::scenario::Scenario;
use super::session::{Failures, Session};

/// A run with `steps` before their calls; what the client knows must hold as the run left it. Gives the calls.
fn meddled(
    failures: &mut Failures,
    scenario: &Scenario,
    group: &str,
    steps: &[(usize, Step)],
) -> usize {
    let mut session = Session::new(scenario);
    let client = Client::new(&session);
    for (n, step) in steps {
        client.plan(&session, *n, step);
    }
    let ended = session.run(&scenario.ops);
    let point = || format!("{steps:?}: {ended:?}");
    let group = format!("{}: {group}", scenario.name);
    let twice = steps.iter().any(|(n, _)| *n != steps[0].0);
    let content = client.content_or_conflict(&session, twice && in_conflict(&session));
    let limit = known_limit(scenario, steps.iter().map(|(_, s)| s), [&session, &session]);
    let check = if limit { Ok(()) } else { content };
    failures.note(check, &group, point, &session);
    session.world.calls()
}

#[test]
fn what_a_client_does_at_any_call_is_there_when_the_run_ends() {
    let mut failures = Failures::default();
    for scenario in met() {
        for (group, steps) in steps(&scenario) {
            each_call(|n| {
                let steps: Vec<_> = steps.iter().map(|step| (n, step.clone())).collect();
                meddled(&mut failures, &scenario, &group, &steps)
            });
        }
    }
    assert!(failures.points() > 1000);
}

#[test]
fn what_a_client_does_at_two_calls_is_there_when_the_run_ends() {
    let mut failures = Failures::default();
    for scenario in few() {
        for (group, [first, second]) in pairs(&scenario) {
            each_call(|n| {
                let mut m = n + 1 + n % 7;
                loop {
                    let steps = [(n, first.clone()), (m, second.clone())];
                    let calls = meddled(&mut failures, &scenario, group, &steps);
                    if m > calls {
                        break calls;
                    }
                    m += 7;
                }
            });
        }
    }
    assert!(failures.points() > 1000);
}

//! Counting calls and making them fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::{EIO, ENOSPC};

use super::*;
use crate::fs::Lease;
use crate::fs::sim::Fault;

#[test]
fn an_error_strikes_one_call_and_leaves_no_effect() {
    let two = Two::new();
    let fs = two.world.fs();
    two.world.plan_fault(Fault::ErrorAt(2, ENOSPC));
    fs.make_dir(&two.a("one")).unwrap();
    assert_eq!(errno(fs.make_dir(&two.a("two"))), ENOSPC);
    fs.make_dir(&two.a("three")).unwrap();
    assert_eq!(fs.stat(&two.a("two")).unwrap(), None);
    assert_eq!(two.world.calls(), 4);
}

#[test]
fn after_death_nothing_happens_any_more() {
    for (fault, first) in [(Fault::DieAt(2), EIO), (Fault::DieAfter(2), 0)] {
        let two = Two::new();
        let fs = two.world.fs();
        two.world.plan_fault(fault);
        let file = fs.open(&two.a("d/f")).unwrap();
        assert_eq!(errno(fs.lease(&file, Lease::Write)), first);
        assert_eq!(errno(fs.make_dir(&two.a("x"))), EIO);
        assert_eq!(errno(fs.stat(&two.a("d/f"))), EIO);
        drop(file);
        assert!(two.world.died());
        two.world.restart();
        assert_eq!(two.world.calls(), 0);
        assert_eq!(fs.stat(&two.a("x")).unwrap(), None);
    }
}

#[test]
fn leases_end_with_the_process() {
    let two = Two::new();
    let fs = two.world.fs();
    let file = fs.open(&two.a("d/f")).unwrap();
    fs.lease(&file, Lease::Write).unwrap();
    two.world.plan_fault(Fault::DieAt(3));
    assert_eq!(errno(fs.stat(&two.a("d/f"))), EIO);
    two.world.restart();
    let again = fs.open(&two.a("d/f")).unwrap();
    fs.lease(&again, Lease::Write).unwrap();
    assert_eq!(errno(fs.stat_open(&file)), libc::EBADF);
}

#[test]
fn somebody_else_acts_just_before_a_call() {
    let two = Two::new();
    let fs = two.world.fs();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let at = two.a("d/f");
    two.world.plan_fault(Fault::foreign_at(2, move |world| {
        count.store(world.calls(), Ordering::Relaxed);
        world.state().unlink(&at).unwrap();
    }));
    assert!(fs.stat(&two.a("d/f")).unwrap().is_some());
    assert!(fs.stat(&two.a("d/f")).unwrap().is_none());
    assert!(fs.stat(&two.a("d/f")).unwrap().is_none());
    assert_eq!(seen.load(Ordering::Relaxed), 2);
}

#[test]
fn closing_a_leased_file_is_a_call_to_come_before() {
    let two = Two::new();
    let fs = two.world.fs();
    let file = fs.open(&two.a("d/f")).unwrap();
    fs.lease(&file, Lease::Read).unwrap();
    drop(file);
    drop(fs.open(&two.a("d/f")).unwrap());
    assert_eq!(two.world.calls(), 4);
}

#[test]
fn calls_outside_the_branches_count_too() {
    let two = Two::new();
    two.world.plan_fault(Fault::DieAt(2));
    two.world.outside_call("commit").unwrap();
    assert!(two.world.outside_call("commit").is_err());
    assert_eq!(errno(two.world.fs().stat(&two.a("d"))), EIO);
}

#[test]
fn the_trace_tells_calls_paths_and_results() {
    let two = Two::new();
    let fs = two.world.fs();
    fs.rename_noreplace(&two.a("d/f"), &two.a("d/g")).unwrap();
    fs.open(&two.b("none")).unwrap_err();
    let trace = two.world.trace();
    assert_eq!(trace[0], "  1 rename 0:d/f -> 0:d/g");
    assert!(trace[1].starts_with("  2 open 1:none = No such file"), "{trace:?}");
}

#[test]
fn a_fork_goes_its_own_way() {
    let two = Two::new();
    let fs = two.world.fs();
    let file = fs.open(&two.a("d/f")).unwrap();
    fs.lease(&file, Lease::Write).unwrap();
    let fork = two.world.fork();
    fork.fs().unlink(&two.a("d/f")).unwrap();
    assert!(fs.stat(&two.a("d/f")).unwrap().is_some());
    assert_eq!(fork.calls(), 1);
}

//! The figures at the end: how often each fault was found, by kind and ending.

use std::collections::BTreeMap;
use std::fmt;

use super::judge::Fault;
use super::kind::Kind;
use super::play::Outcome;
use super::scenario::Scenario;

/// Scenarios by kind and ending.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<(Kind, &'static str), Row>,
}

#[derive(Debug, Default)]
struct Row {
    scenarios: usize,
    faulty: usize,
    /// How many scenarios have each fault.
    faults: BTreeMap<Fault, usize>,
    conflicts: usize,
}

impl Table {
    pub(super) fn add(&mut self, scenario: &Scenario, outcome: &Outcome) {
        let row = self.rows.entry((scenario.kind, scenario.ending.row()));
        let row = row.or_default();
        row.scenarios += 1;
        row.faulty += usize::from(!outcome.findings.is_empty());
        row.conflicts += usize::from(outcome.conflicts);
        for fault in Fault::ALL {
            let found = outcome.findings.iter().any(|f| f.fault == fault);
            *row.faults.entry(fault).or_default() += usize::from(found);
        }
    }

    pub(super) fn scenarios(&self) -> usize {
        self.rows.values().map(|row| row.scenarios).sum()
    }

    pub(super) fn faulty(&self) -> usize {
        self.rows.values().map(|row| row.faulty).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12}{:<14}{:>10}{:>8}", "kind", "ending", "scenarios", "faulty")?;
        for fault in Fault::ALL {
            write!(f, "{:>7}", format!("{fault:?}").to_lowercase())?;
        }
        writeln!(f, "{:>11}", "conflicts")?;
        for ((kind, ending), row) in &self.rows {
            write!(f, "{kind:<12}{ending:<14}{:>10}{:>8}", row.scenarios, row.faulty)?;
            for count in row.faults.values() {
                write!(f, "{count:>7}")?;
            }
            writeln!(f, "{:>11}", row.conflicts)?;
        }
        Ok(())
    }
}

#![allow(missing_docs, reason = "replaced soon")]
//! stub
use crate::execute::{Op, Outcome};
use crate::plan::Plan;
use crate::pool::Pool;
use std::io::{self, Write};
pub mod status;
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    pub pool: &'a Pool,
    pub run: Option<u64>,
    pub dry_run: bool,
    pub verbose: u8,
    pub quiet: bool,
}
#[derive(Default, Debug)]
pub struct Tally {
    pub planned: u64,
    pub done: u64,
    pub bytes_reclaimed: u64,
    pub elapsed_s: f64,
    pub still_open: u64,
    pub bad: u64,
}
impl Tally {
    pub fn planned(plan: &Plan) -> Self {
        Self {
            planned: plan.ops.len() as u64,
            ..Self::default()
        }
    }
    pub fn outcome(&mut self, _o: &Op, out: &Outcome, _r: bool) {
        match out {
            Outcome::Done { reclaimed } => {
                self.done += 1;
                self.bytes_reclaimed += reclaimed
            }
            _ => self.bad += 1,
        }
    }
    pub fn exit_code(&self) -> u8 {
        u8::from(self.bad > 0)
    }
    pub fn before(&mut self, _p: &std::path::Path, _f: u64) {}
    pub fn after(&mut self, _p: &std::path::Path, _f: u64) {}
}
pub struct Progress;
impl Progress {
    pub fn new(_: u64, _: u64, _: bool) -> Self {
        Self
    }
    pub fn bytes(&mut self, _: u64) {}
    pub fn op_done(&mut self) {}
    pub fn finish(&mut self) {}
}
pub mod json {
    use super::*;
    pub fn op(out: &mut dyn Write, _s: &Scene<'_>, op: &Op, o: Option<&Outcome>) -> io::Result<()> {
        writeln!(out, "{op:?} {o:?}")
    }
    pub fn group(
        out: &mut dyn Write,
        _s: &Scene<'_>,
        g: &crate::plan::PlannedGroup,
    ) -> io::Result<()> {
        writeln!(out, "{g:?}")
    }
    pub fn refusal(
        out: &mut dyn Write,
        _s: &Scene<'_>,
        g: &crate::plan::Refusal,
    ) -> io::Result<()> {
        writeln!(out, "{g:?}")
    }
    pub fn summary(out: &mut dyn Write, _s: &Scene<'_>, g: &Tally) -> io::Result<()> {
        writeln!(out, "{g:?}")
    }
}
pub mod text {
    use super::*;
    pub fn op(
        out: &mut dyn Write,
        _s: &Scene<'_>,
        op: &Op,
        o: &Outcome,
        _r: bool,
    ) -> io::Result<()> {
        writeln!(out, "{:?} {o:?}", op.duplicate)
    }
    pub fn conclusion(
        out: &mut dyn Write,
        _s: &Scene<'_>,
        r: &[crate::plan::Refusal],
        g: &Tally,
    ) -> io::Result<()> {
        writeln!(out, "{g:?} {r:?}")
    }
    pub fn recovery(out: &mut dyn Write, g: &Tally) -> io::Result<()> {
        writeln!(out, "{g:?}")
    }
}
pub mod script {
    use super::*;
    pub fn write(
        out: &mut dyn Write,
        _s: &Scene<'_>,
        p: &Plan,
        _f: &mut dyn FnMut(&crate::fs::Place) -> Option<(u32, u32, u32)>,
    ) -> io::Result<()> {
        writeln!(out, "{p:?}")
    }
}

//! One client action at one call of the real program, on real disks below a real mergerfs, judged by a model.
//!
//! A tracer of our own stops the program where it enters a call that its protocol lives on. A client acts through the
//! pool. The program goes on, or is killed there and resumed. Afterwards every path has to be as the client was told.

mod call;
mod cases;
mod catalog;
mod client;
mod hands;
mod judge;
mod kind;
mod model;
mod play;
mod pools;
mod report;
mod sample;
mod scenario;
mod scene;
mod table;
mod tests;
mod tracer;

//! Other programs at work on the pool while the tool runs: no write of theirs is ever lost.

mod attacker;
mod client;
mod model;
mod moments;
mod pair;
mod readers;
mod running;
mod scene;
mod second_mount;
mod writers;

//! Other programs at work on the pool while the tool runs: no write of theirs is ever lost.

mod client;
mod model;
mod moments;
mod pair;
mod scene;
mod writers;

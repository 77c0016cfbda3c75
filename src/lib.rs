//! mergerfs-xdedup
pub mod execute;
pub mod fs;
pub mod group;
pub mod input;
pub mod journal;
pub mod lock;
pub mod master;
pub mod metadata;
pub mod names;
pub mod plan;
pub mod pool;
pub mod refusal;
pub mod relpath;
mod sys;

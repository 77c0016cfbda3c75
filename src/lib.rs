//! mergerfs-xdedup
pub mod execute;
pub mod fs;
pub mod input;
pub mod journal;
pub mod metadata;
pub mod names;
pub mod pool;
pub mod refusal;
pub mod relpath;
mod sys;

//! mergerfs-xdedup
pub mod fs;
pub mod input;
pub mod lock;
pub mod pool;
pub mod relpath;
mod sys;

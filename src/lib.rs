//! mergerfs-xdedup
#![allow(missing_docs)]
pub mod fs;
pub mod input;
pub mod journal;
pub mod names;
pub mod pool;
pub mod relpath;

//! Finds duplicates: lists of other programs or an own scan in, groups of equal files on known branches out.

pub mod facts;
pub mod filter;
pub mod ground;
pub mod links;
pub mod list;
mod look_up;
pub mod only;
pub mod resolve;
pub mod scan;
pub mod symlinks;

//! The preview: the pool as it will look after a plan, as a read-only file system, so that `ls`, `du`, a media server
//! or a script can be pointed at the result before anything is done.
//!
//! ```text
//! plan ──► view ──► tree ──► server
//! ops      fates    paths    FUSE
//! ```
//!
//! [`view`] is pure: it says what becomes of which file. `tree` looks at the branches as they are at the moment of
//! each question, and answers what will be there: the same names and bytes, the link counts, inode numbers and
//! allocated blocks after the plan. Only `server` names the FUSE library.
//!
//! Nothing here writes: branches are looked at through held directory descriptors (invariant 7), and every changing
//! request is answered with `EROFS`. What lies behind a mount point or symlink on a branch, where we do not go, is
//! asked of the pool.

mod mount_point;
mod nodes;
mod numbers;
mod server;
mod tags;
mod tree;
pub mod view;

pub use mount_point::{MountPointError, check as check_mount_point};
pub use server::{Mounted, mount};
pub use tags::PREFIX as TAG_PREFIX;
pub use tree::Tree;
pub use view::View;

//! The preview mounts the pool as it will look after a plan, as a read-only file system. A user can point `ls`, `du`, a
//! media server or a script at the result before a run changes any file.
//!
//! ```text
//! plan ──► view ──► tree ──► server
//! ops      fates    paths    FUSE
//! ```
//!
//! [`view`] is pure: it computes the fate of each file. `tree` looks at the branches at the moment of each request, and
//! answers with the state after the plan: the same names and bytes, and the link counts, inode numbers and allocated
//! blocks after the plan. Only `server` names the FUSE library.
//!
//! The preview writes nothing: it looks at branches through held directory descriptors (invariant 7), and answers every
//! changing request with `EROFS`. The preview does not go behind a mount point or symlink on a branch; it asks the pool
//! for the files there.

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

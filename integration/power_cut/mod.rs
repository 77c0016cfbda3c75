//! Power cuts on real filesystems: disks that remember every write, discard and flush in one total order.
//!
//! [`recorder`] serves the disks as files of a FUSE filesystem; loop devices over them carry ext4, xfs or btrfs.
//! What the kernel sends ends up in a [`log`]; [`replay`] makes of it what each disk would hold had the power
//! gone at some point: what a flush of *that* disk has covered is there, the rest is there, missing, or there in
//! part. The point in time is common to all disks, so an order that must hold between two of them can be seen to
//! break. [`rig`] mounts disks, recorded or replayed, where a test wants them, and takes them down again in the
//! order that cannot hang; [`sweep`] looks at what many cuts leave. [`beside`] keeps other writers going: a fast tool is over before any disk has written.
//!
//! Assumed of the disks: writes of 4096 aligned bytes are not torn, a write answered before a flush arrives is
//! covered by that flush, and there is no order among writes between two flushes.
//!
//! [`proofs`] shows that all this finds what it should; [`tests`] cuts the power under the real tool, in the
//! [`scene`] of a [`pool`] whose disks, and whose journal's disk, are recorded; [`rebuilding`] while a journal takes the
//! place of another. [`faults`] leaves the power on and breaks the disks.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::disallowed_methods, reason = "these tests own the files they change")]

mod beside;
mod csv_log;
mod fault;
mod faults;
mod files;
mod image;
mod journal;
mod log;
mod pool;
mod proofs;
mod rebuilding;
mod recorder;
mod replay;
mod rig;
mod scene;
mod sweep;
mod tests;

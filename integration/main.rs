//! Tests on real loop devices, real filesystems and a real mergerfs. They need root.

mod power_cut;

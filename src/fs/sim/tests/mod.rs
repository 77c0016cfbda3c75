//! What the simulated filesystem promises to be: each test pins one fact about a real one.

mod clients;
mod faults;
mod handles;
mod held;
mod losses;
mod names;
mod pins;

use crate::fs::{Change, Look, Place, Result};
use crate::pool::BranchIdx;

use super::{DiskIdx, SimWorld, place};

/// Two disks with a branch each, `a/f` on the first and `a/f` on the second, both "same".
struct Two {
    world: SimWorld,
    disks: [DiskIdx; 2],
    a: BranchIdx,
    b: BranchIdx,
}

impl Two {
    fn new() -> Self {
        let world = SimWorld::new();
        let disks = [world.add_disk(), world.add_disk()];
        let [a, b] = disks.map(|disk| world.add_branch(disk));
        world.add_file(&place(a, "d/f"), b"same");
        world.add_file(&place(b, "d/f"), b"same");
        Self { world, disks, a, b }
    }

    fn a(&self, path: &str) -> Place {
        place(self.a, path)
    }

    fn b(&self, path: &str) -> Place {
        place(self.b, path)
    }
}

fn errno<T>(result: Result<T>) -> i32 {
    result.err().map_or(0, |err| err.errno())
}

fn ino(world: &SimWorld, at: &Place) -> Option<u64> {
    world.fs().stat(at).unwrap().map(|stat| stat.id.ino)
}

fn nlink(world: &SimWorld, at: &Place) -> u64 {
    world.fs().stat(at).unwrap().unwrap().nlink
}

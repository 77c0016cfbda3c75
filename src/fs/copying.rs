//! Copying the contents of a file.

use std::collections::BTreeSet;

use super::{Change, FsError, Result};
use crate::pool::BranchIdx;

/// Bytes read and written at a time.
const CHUNK: usize = 1 << 20;
/// Zeros of at least this length, at a multiple of it, become a hole.
const HOLE: usize = 4096;

/// A file to be copied.
#[derive(Debug)]
pub struct Copying<'c, H> {
    /// The file, and its branch.
    pub(crate) from: (&'c H, BranchIdx),
    /// The empty file from [`Change::create`] that gets the contents, and its branch.
    pub(crate) to: (&'c H, BranchIdx),
    /// The size of the file.
    pub(crate) size: u64,
    /// Whether zeros become holes.
    pub(crate) sparse: bool,
}

impl<H> Clone for Copying<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> std::marker::Copy for Copying<'_, H> {}

/// The branches that had an error: nothing more is read or written there.
#[derive(Debug, Default)]
pub(crate) struct Failed(BTreeSet<BranchIdx>);

impl Failed {
    pub(crate) fn concerns<H>(&self, copying: &Copying<'_, H>) -> bool {
        [copying.from.1, copying.to.1].iter().any(|branch| self.0.contains(branch))
    }

    pub(crate) fn note(&mut self, error: &FsError) {
        if error.limit().is_none() {
            self.0.insert(error.branch);
        }
    }
}

impl<H> Copying<'_, H> {
    /// Copies the contents; returns their BLAKE3. `None` if the file is shorter, or if `read`, called with the bytes of each
    /// part, returns false. Calls `ahead` with each offset before it is read.
    pub(crate) fn run<F: Change<File = H>>(
        &self,
        fs: &F,
        buffer: &mut Vec<u8>,
        ahead: impl Fn(u64),
        read: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<[u8; 32]>> {
        let room = usize::try_from(self.size).unwrap_or(CHUNK).min(CHUNK);
        if buffer.len() < room {
            buffer.resize(room, 0);
        }
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        while offset < self.size {
            ahead(offset);
            let got = fs.read_full(self.from.0, &mut buffer[..room], offset)?;
            hasher.update(&buffer[..got]);
            self.write(fs, &buffer[..got], offset)?;
            offset += got as u64;
            if got == 0 || !read(got as u64) {
                return Ok(None);
            }
        }
        // A hole at the end.
        fs.set_len(self.to.0, self.size)?;
        Ok(Some(hasher.finalize().into()))
    }

    fn write<F: Change<File = H>>(&self, fs: &F, bytes: &[u8], at: u64) -> Result<()> {
        if !self.sparse {
            return fs.write_at(self.to.0, bytes, at);
        }
        for (start, end) in data_of(bytes) {
            fs.write_at(self.to.0, &bytes[start..end], at + start as u64)?;
        }
        Ok(())
    }
}

/// The parts of `bytes` that are not zeros, in blocks of [`HOLE`].
fn data_of(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for (at, block) in bytes.chunks(HOLE).enumerate() {
        if block.iter().all(|b| *b == 0) {
            continue;
        }
        let (start, end) = (at * HOLE, at * HOLE + block.len());
        match parts.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => parts.push((start, end)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_become_holes_block_by_block() {
        let mut bytes = vec![0; 5 * HOLE + 10];
        assert!(data_of(&bytes).is_empty());
        bytes[HOLE] = 1;
        bytes[3 * HOLE - 1] = 1;
        bytes[5 * HOLE + 3] = 1;
        let parts = [(HOLE, 3 * HOLE), (5 * HOLE, 5 * HOLE + 10)];
        assert_eq!(data_of(&bytes), parts);
    }
}

//! The contents of one disk, as a value: cheap to clone, sparse, compared byte for byte.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Granularity of sharing between clones, and of a torn write.
pub(crate) const BLOCK_BYTES: usize = 4096;

type Block = [u8; BLOCK_BYTES];

/// A disk's contents. Clones share their blocks, so a thousand images of one disk cost little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    size: u64,
    /// Blocks that are not all zeroes, by number.
    blocks: HashMap<u64, Arc<Block>>,
}

impl Image {
    /// A disk of `size` zero bytes.
    pub(crate) fn zeroed(size: u64) -> Self {
        Self { size, blocks: HashMap::new() }
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that take up memory.
    pub(crate) fn allocated(&self) -> u64 {
        (self.blocks.len() * BLOCK_BYTES) as u64
    }

    /// The bytes of `range`; less where the disk ends.
    pub(crate) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let len = (len as u64).min(self.size.saturating_sub(offset)) as usize;
        let mut bytes = vec![0; len];
        for (number, inside, taken) in pieces(offset, len) {
            if let Some(block) = self.blocks.get(&number) {
                bytes[taken.clone()].copy_from_slice(&block[inside]);
            }
        }
        bytes
    }

    /// Puts `bytes` at `offset`, which must be inside the disk.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        assert!(offset + bytes.len() as u64 <= self.size, "write beyond the end of the disk");
        for (number, inside, taken) in pieces(offset, bytes.len()) {
            self.write_piece(number, inside, &bytes[taken]);
        }
    }

    /// Puts zeroes at `offset`.
    pub(crate) fn zero(&mut self, offset: u64, len: u64) {
        let len = len.min(self.size.saturating_sub(offset)) as usize;
        const ZEROES: Block = [0; BLOCK_BYTES];
        for (number, inside, _) in pieces(offset, len) {
            let piece = &ZEROES[inside.clone()];
            self.write_piece(number, inside, piece);
        }
    }

    /// The blocks that begin with `bytes`.
    pub(crate) fn blocks_with(&self, bytes: &[u8]) -> Vec<u64> {
        let starts =
            |(number, block): (&u64, &Arc<Block>)| block.starts_with(bytes).then_some(*number);
        self.blocks.iter().filter_map(starts).collect()
    }

    /// Writes the image as a sparse file, to be looked at by a person.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.size)?;
        for (number, block) in &self.blocks {
            file.write_all_at(&block[..], number * BLOCK_BYTES as u64)?;
        }
        Ok(())
    }

    fn write_piece(&mut self, number: u64, inside: Range<usize>, bytes: &[u8]) {
        let zeroes = bytes.iter().all(|&byte| byte == 0);
        if zeroes && bytes.len() == BLOCK_BYTES {
            self.blocks.remove(&number);
            return;
        }
        if zeroes && !self.blocks.contains_key(&number) {
            return;
        }
        let block = self.blocks.entry(number).or_insert_with(|| Arc::new([0; BLOCK_BYTES]));
        Arc::make_mut(block)[inside].copy_from_slice(bytes);
        // Two images are equal exactly when their maps are: no block of zeroes may stay.
        if zeroes && block.iter().all(|&byte| byte == 0) {
            self.blocks.remove(&number);
        }
    }
}

/// Cuts `len` bytes at `offset` at block borders: block number, range in the block, range in the bytes.
pub(crate) fn pieces(
    offset: u64,
    len: usize,
) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let start = (at % BLOCK_BYTES as u64) as usize;
        let taken = (BLOCK_BYTES - start).min(len - done);
        let piece = (at / BLOCK_BYTES as u64, start..start + taken, done..done + taken);
        done += taken;
        Some(piece)
    })
}

#[test]
fn image_reads_back_what_a_plain_vector_would_hold() {
    let mut image = Image::zeroed(20_000);
    let mut plain = vec![0u8; 20_000];
    for (offset, len, byte) in [(0, 1, 7), (4095, 2, 8), (5000, 9000, 9), (19_999, 1, 3)] {
        image.write(offset as u64, &vec![byte; len]);
        plain[offset..offset + len].fill(byte);
    }
    image.zero(6000, 8000);
    plain[6000..14_000].fill(0);
    assert_eq!(image.read(0, 30_000), plain);
    assert_eq!(image.read(4000, 200), plain[4000..4200]);
}

#[test]
fn images_are_equal_when_their_bytes_are() {
    let mut a = Image::zeroed(8192);
    a.write(10, &[1, 2, 3]);
    a.write(10, &[0, 0, 0]);
    a.write(5000, &[0; 100]);
    assert_eq!(a, Image::zeroed(8192));
}

//! Looks at what keeps equal bytes from being equal files.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::super::{Borders, Layout, Nature, Sharing, Stat, how_stored};
use crate::sys;

/// The last bytes of the first page of a file that `mkswap` formatted, for each size that a page can have.
const SWAP_MARKS: [&[u8; 10]; 2] = [b"SWAPSPACE2", b"SWAP-SPACE"];
const PAGES: [usize; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];
/// `mkswap` takes no file of fewer pages.
const SWAP_PAGES_MIN: u64 = 10;

/// Looks at an open regular file of which `stat` was just taken; `can_share` is whether its filesystem can share blocks, and
/// `read` reads from its beginning.
pub(super) fn of_file(
    file: &File,
    stat: &Stat,
    can_share: bool,
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> io::Result<Nature> {
    Ok(Nature {
        borders: borders(file.as_fd(), stat)?,
        hollow: stat.blocks == 0 || is_reserved(file.as_fd()),
        sharing: if can_share { sharing(file.as_fd(), stat) } else { Sharing::default() },
        swap: is_private(stat.mode) && is_swap(stat.size, read)?,
        stored: can_share.then(|| sys::inode_flags(file.as_fd()).ok()).flatten().map(how_stored),
    })
}

/// Looks at an open file or directory of which `stat` was just taken.
pub(super) fn borders(fd: BorrowedFd<'_>, stat: &Stat) -> io::Result<Borders> {
    let encryption = match stat.encrypted {
        true => Some(sys::encryption_policy(fd)?.into()),
        false => None,
    };
    let (project, inherits_project) = match sys::project(fd) {
        // The filesystem has no projects.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOTTY | libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL)
            ) =>
        {
            (0, false)
        }
        project => project?,
    };
    Ok(Borders { encryption, project, inherits_project })
}

/// Whether all its blocks are only reserved. `SEEK_DATA` does not tell: it takes zeros that were read for data. A
/// filesystem that cannot tell has data everywhere.
fn is_reserved(fd: BorrowedFd<'_>) -> bool {
    // First without writing the file's data to the disk.
    [false, true].into_iter().all(|synced| {
        let all = each_extent::<8>(fd, synced, |extent| extent.is_unwritten());
        all.unwrap_or(false)
    })
}

/// The blocks that the file shares with snapshots or other files. None where the filesystem cannot tell.
pub(super) fn sharing(fd: BorrowedFd<'_>, stat: &Stat) -> Sharing {
    let mut bytes = 0_u64;
    let mut all = true;
    let told = each_extent::<64>(fd, false, |extent| {
        bytes += if extent.is_shared() { extent.length } else { 0 };
        all &= extent.is_shared();
        true
    });
    let Ok(_) = told else { return Sharing::default() };
    Sharing {
        // Compressed extents are longer than the room they take.
        bytes: bytes.min(stat.blocks * 512),
        layout: if all { layout(fd, stat.size) } else { None },
    }
}

/// Where all blocks of a file of `size` bytes lie; `None` if not each of them is shared with another file or a snapshot, or
/// anything about one is not certain.
///
/// What a program wrote into shared blocks gets a place of its own only when it is written to the disk. So a file that looks
/// shared is asked twice, the second time after its data was written.
pub(super) fn layout(fd: BorrowedFd<'_>, size: u64) -> Option<Layout> {
    layout_now(fd, size, false).and_then(|_| layout_now(fd, size, true))
}

fn layout_now(fd: BorrowedFd<'_>, size: u64, synced: bool) -> Option<Layout> {
    let mut places = Places::default();
    let all = each_extent::<64>(fd, synced, |extent| {
        // Space that is reserved behind the end of the file holds nothing of it.
        if extent.logical >= size {
            return true;
        }
        let clear = extent.is_shared() && extent.is_plain();
        if clear {
            places.add(extent.logical, extent.physical, extent.length.min(size - extent.logical));
        }
        clear
    });
    if all.is_ok_and(|all| all) { places.layout() } else { None }
}

/// The places of a file's blocks. How a filesystem cuts them into extents does not count: neighbours are one run.
#[derive(Default)]
struct Places {
    hasher: blake3::Hasher,
    /// Where the present run begins in the file and on the disk, and its length.
    run: Option<(u64, u64, u64)>,
}

impl Places {
    fn add(&mut self, logical: u64, physical: u64, length: u64) {
        match &mut self.run {
            Some((from, at, len)) if *from + *len == logical && *at + *len == physical => {
                *len += length;
            }
            _ => {
                self.end_run();
                self.run = Some((logical, physical, length));
            }
        }
    }

    fn end_run(&mut self) {
        if let Some((logical, physical, length)) = self.run.take() {
            for number in [logical, physical, length] {
                self.hasher.update(&number.to_le_bytes());
            }
        }
    }

    /// `None` if there is no block.
    fn layout(mut self) -> Option<Layout> {
        self.run?;
        self.end_run();
        let hash = self.hasher.finalize();
        let half = |at: usize| {
            let bytes = hash.as_bytes()[at..at + 8].iter();
            bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        Some(Layout([half(0), half(8)]))
    }
}

/// Calls `look` for each extent, asking for `N` at a time, until it returns false; returns whether it never did.
fn each_extent<const N: usize>(
    fd: BorrowedFd<'_>,
    synced: bool,
    mut look: impl FnMut(&sys::Extent) -> bool,
) -> io::Result<bool> {
    let mut from = 0;
    loop {
        let extents = sys::extents::<N>(fd, from, synced)?;
        if !extents.iter().all(&mut look) {
            return Ok(false);
        }
        match extents.last() {
            Some(last) if !last.is_last() => from = last.logical.saturating_add(last.length),
            _ => return Ok(true),
        }
    }
}

/// Whether nobody but the owner may do anything with a file. A swap file is made so, and `swapon` warns of any other: only
/// such a file is worth the move of a disk's arm. While swap space is in use, the kernel lets no name of it go.
fn is_private(mode: u32) -> bool {
    mode & 0o077 == 0
}

/// A swap file has whole pages; only such a file is read.
fn is_swap(size: u64, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<bool> {
    let page = PAGES[0] as u64;
    if !size.is_multiple_of(page) || size < SWAP_PAGES_MIN * page {
        return Ok(false);
    }
    let mut head = vec![0; PAGES[PAGES.len() - 1]];
    let length = read(&mut head)?;
    let ends =
        PAGES.iter().filter_map(|page| head[..length].get(page - SWAP_MARKS[0].len()..*page));
    Ok(ends.into_iter().any(|end| SWAP_MARKS.iter().any(|mark| end == &mark[..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_swap_file(file: &[u8]) -> bool {
        let read = |buf: &mut [u8]| {
            let length = buf.len().min(file.len());
            buf[..length].copy_from_slice(&file[..length]);
            Ok(length)
        };
        is_swap(file.len() as u64, read).unwrap()
    }

    #[test]
    fn a_layout_is_where_the_blocks_lie_however_they_are_cut() {
        let layout = |runs: &[(u64, u64, u64)]| {
            let mut places = Places::default();
            runs.iter().for_each(|(logical, physical, length)| {
                places.add(*logical, *physical, *length);
            });
            places.layout()
        };
        let whole = layout(&[(0, 8192, 8192)]);
        assert!(whole.is_some());
        assert_eq!(layout(&[(0, 8192, 4096), (4096, 12_288, 4096)]), whole);
        for other in [
            &[(0, 8192, 4096), (4096, 16_384, 4096)][..],
            &[(0, 4096, 8192)],
            &[(0, 8192, 4096)],
            &[(4096, 8192, 8192)],
        ] {
            assert_ne!(layout(other), whole);
        }
        assert_eq!(layout(&[]), None);
    }

    #[test]
    fn a_swap_file_is_known_by_the_end_of_its_first_page() {
        for page in PAGES {
            let mut file = vec![7; 128 << 10];
            file[page - 10..page].copy_from_slice(b"SWAPSPACE2");
            assert!(is_swap_file(&file), "{page}");
            file[page - 1] = b'3';
            assert!(!is_swap_file(&file), "{page}");
        }
        let unread = |_: &mut [u8]| -> io::Result<usize> { panic!("read") };
        assert!(!is_swap((40 << 10) + 1, unread).unwrap());
        assert!(!is_swap(36 << 10, unread).unwrap());
    }
}

//! Reading a file from its beginning to its end.

use super::Result;

/// Bytes that are announced to the kernel at a time. Two of these are on their way: a disk reads on while this process
/// compares or hashes, and two disks read at the same time.
pub(crate) const AHEAD: u64 = 4 << 20;
/// Bytes that are read at a time to hash a file.
const CHUNK: usize = 1 << 20;

/// Returns what to announce when reading has come to `offset`: an offset and a length; `None` if nothing.
pub(crate) fn ahead(offset: u64) -> Option<(u64, u64)> {
    match offset {
        0 => Some((0, 2 * AHEAD)),
        _ if offset.is_multiple_of(AHEAD) => Some((offset + AHEAD, AHEAD)),
        _ => None,
    }
}

/// Returns the BLAKE3 of the first `size` bytes that `read_at` reads into a buffer at an offset; `None` if there are fewer, or
/// if `read`, called with the bytes of each part, returns false.
pub(crate) fn hash_of(
    size: u64,
    buffer: &mut Vec<u8>,
    read_at: impl Fn(&mut [u8], u64) -> Result<usize>,
    read: &mut dyn FnMut(u64) -> bool,
) -> Result<Option<[u8; 32]>> {
    let room = |left: u64| usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
    if buffer.len() < room(size) {
        buffer.resize(room(size), 0);
    }
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    while offset < size {
        let got = read_at(&mut buffer[..room(size - offset)], offset)?;
        hasher.update(&buffer[..got]);
        offset += got as u64;
        if got == 0 || !read(got as u64) {
            return Ok(None);
        }
    }
    Ok(Some(hasher.finalize().into()))
}

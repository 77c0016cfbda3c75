//! The mount table, as bytes: `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The filesystem type of every mergerfs mount, whatever its `fsname` and `subtype` options say.
const MERGERFS: &[u8] = b"fuse.mergerfs";

/// One line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount id, as `statx(2)` returns it.
    pub id: u64,
    /// `major:minor` of the filesystem: equal for all mounts of it.
    pub device: (u32, u32),
    /// The directory of the filesystem that is shown; other than `/` for a bind mount of a subdirectory.
    pub root: PathBuf,
    /// Where the directory is shown.
    pub point: PathBuf,
    /// The filesystem type with its subtype.
    pub fs_type: Vec<u8>,
    /// The source of the mount: for a filesystem on a disk, the device's path.
    pub source: PathBuf,
}

impl Mount {
    /// Whether mergerfs answers here.
    #[must_use]
    pub fn is_mergerfs(&self) -> bool {
        self.fs_type == MERGERFS
    }

    /// Whether the mount shows its filesystem from the root on.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.root.as_os_str() == "/"
    }
}

/// The mount table of this process.
///
/// # Errors
/// Fails if `/proc/self/mountinfo` cannot be read.
pub fn read() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// Parses a mount table. Skips invalid lines.
#[must_use]
pub fn parse(table: &[u8]) -> Vec<Mount> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`: any number of fields before the `-`.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let _parent = fields.next()?;
    let (major, minor) = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let (root, point) = (path_of(fields.next()?), path_of(fields.next()?));
    let _options = fields.next()?;
    let mut last = fields.skip_while(|field| *field != b"-").skip(1);
    let fs_type = last.next()?;
    let source = last.next().map(path_of).unwrap_or_default();
    Some(Mount { id, device, root, point, fs_type: unescape(fs_type), source })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn path_of(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

/// Undoes the kernel's `\ooo` escapes of space, tab, newline, backslash and `#`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, behind)) = rest.split_first() {
        match octal(behind).filter(|_| first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    bytes
}

/// The byte that three octal digits stand for.
fn octal(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..3)?;
    if !digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
        return None;
    }
    let value = digits.iter().fold(0, |sum, digit| sum * 8 + u32::from(digit - b'0'));
    u8::try_from(value).ok()
}

/// The mount that shows the whole filesystem of `mount`: `mount` itself if it does, else another of the same device.
#[must_use]
pub fn whole<'a>(mounts: &'a [Mount], mount: &'a Mount) -> Option<&'a Mount> {
    if mount.is_whole() {
        return Some(mount);
    }
    mounts.iter().find(|other| other.device == mount.device && other.is_whole())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;

    /// As the kernel writes a name.
    fn escape(name: &[u8]) -> Vec<u8> {
        let byte = |byte: &u8| match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}").into_bytes(),
            other => vec![*other],
        };
        name.iter().flat_map(byte).collect()
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![1_u8.., prop::sample::select(&b" \t\n\\#-0147"[..])];
        prop::collection::vec(byte, 1..20)
    }

    proptest! {
        #[test]
        fn every_line_comes_back_as_the_kernel_wrote_it(
            (id, major, minor) in any::<(u64, u32, u32)>(),
            (root, point, source) in (name(), name(), name()),
            optional in prop::collection::vec("[a-z_]{1,9}:[0-9]{1,3}", 0..4),
        ) {
            let mut line = format!("{id} 1 {major}:{minor} ").into_bytes();
            line.extend([escape(&root), escape(&point)].join(&b' '));
            let optional: String = optional.iter().map(|field| format!(" {field}")).collect();
            line.extend(format!(" rw{optional} - fuse.mergerfs ").bytes());
            line.extend(escape(&source));
            line.extend(b" rw,user_id=0\n");
            let path = |bytes| PathBuf::from(OsString::from_vec(bytes));
            let expected = Mount {
                id,
                device: (major, minor),
                root: path(root),
                point: path(point),
                fs_type: MERGERFS.to_vec(),
                source: path(source),
            };
            prop_assert_eq!(parse(&[&line[..], TABLE].concat())[0].clone(), expected);
        }

        #[test]
        fn any_bytes_make_at_most_one_mount_a_line(
            table in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b" \n:-/0\\"[..])], 0..200),
        ) {
            let lines = table.split(|byte| *byte == b'\n').count();
            prop_assert!(parse(&table).len() <= lines);
        }
    }

    const TABLE: &[u8] = b"\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
36 22 0:45 / /mnt/pool rw,nosuid shared:7 master:1 - fuse.mergerfs d1:d2 rw,user_id=0\n\
37 22 0:45 /Films /srv/films rw - fuse.mergerfs d1:d2 rw\n\
38 22 0:46 /only\\040part /srv/part rw propagate_from:3 - fuse.mergerfs a\\040-\\040b rw\n\
39 22 8:1 / /mnt/a\\040b\\011c\\012d\\134040\xff rw - xfs /dev/sda1 rw\n\
not a mount\n\
40 22 nonsense / /x rw - ext4 /dev/sdb rw\n";

    #[test]
    fn lines_are_taken_apart_whatever_stands_between() {
        let mounts = parse(TABLE);
        assert_eq!(mounts.iter().map(|mount| mount.id).collect::<Vec<_>>(), [22, 36, 37, 38, 39]);
        assert_eq!(mounts[1].device, (0, 45));
        let pools = mounts.iter().map(Mount::is_mergerfs).collect::<Vec<_>>();
        assert_eq!(pools, [false, true, true, true, false]);
        assert_eq!(mounts[3].root, PathBuf::from("/only part"));
        assert_eq!(mounts[4].source, PathBuf::from("/dev/sda1"));
    }

    #[test]
    fn odd_names_come_out_as_they_are() {
        let point = OsStr::from_bytes(b"/mnt/a b\tc\nd\\040\xff");
        assert_eq!(parse(TABLE)[4].point, point);
        for (escaped, plain) in [
            (&b"a\\134b"[..], &b"a\\b"[..]),
            (b"a\\", b"a\\"),
            (b"a\\04", b"a\\04"),
            (b"a\\048", b"a\\048"),
            (b"a\\777", b"a\\777"),
            (b"\\043\\040", b"# "),
        ] {
            assert_eq!(unescape(escaped), plain);
        }
    }

    #[test]
    fn a_bind_mount_of_a_part_leads_to_the_whole_pool_where_there_is_one() {
        let mounts = parse(TABLE);
        let whole_of = |at: usize| whole(&mounts, &mounts[at]).map(|mount| mount.id);
        assert_eq!((whole_of(1), whole_of(2), whole_of(3)), (Some(36), Some(36), None));
    }

    #[test]
    fn the_table_of_this_process_has_a_root() {
        assert!(read().unwrap().iter().any(|mount| mount.point == OsStr::new("/")));
    }
}

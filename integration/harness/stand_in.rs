//! A stand-in for mergerfs that answers as a given version does, so that versions need not be installed.
//!
//! It shows its branches read-only and answers the control file and the per-file attributes; the tool works on the
//! branches, so that is all it asks of a pool. Mounted as `fuse.mergerfs`, it cannot be told from the real one.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry,
    ReplyOpen, ReplyXattr, Request, Session, SessionACL,
};

/// What a version answers, and how it is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// What it is called in a failed assertion.
    pub(crate) release: &'static str,
    /// What it says its version is.
    pub(crate) version: &'static str,
    /// Keys with `-`, `mountpoint`, `relpath` without a slash: since 2.41.
    pub(crate) newer: bool,
    /// `category.create`.
    pub(crate) create: &'static str,
}

/// The releases that differ in what they answer, each with its own defaults.
pub(crate) const STYLES: [Style; 4] = [
    Style { release: "2.33.5", version: "2.33.5", newer: false, create: "epmfs" },
    Style {
        release: "2.40.2, built without its repository",
        version: "unknown",
        newer: false,
        create: "epmfs",
    },
    Style { release: "2.41.1", version: "2.41.1", newer: true, create: "mspmfs" },
    Style { release: "2.42.0", version: "2.42.0", newer: true, create: "pfrd" },
];

/// `xattr=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileXattrs {
    Passthrough,
    NoAttr,
    NoSys,
}

/// What a stand-in is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) style: Style,
    pub(crate) xattrs: FileXattrs,
    /// `func.getattr=newest`.
    pub(crate) newest: bool,
}

/// A stand-in that is mounted; the mount is taken away by whoever made the mount point.
#[derive(Debug)]
pub(crate) struct StandIn {
    session: BackgroundSession,
}

impl StandIn {
    /// Mounts one over `branches` (with their modes).
    pub(crate) fn mount(
        plan: Plan,
        mount_point: &Path,
        branches: &[(PathBuf, &'static str)],
    ) -> Self {
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device: OwnedFd = device.unwrap().into();
        mount_fuse(mount_point, &device).unwrap();
        let server = Server {
            plan,
            mount_point: mount_point.to_owned(),
            branches: branches.to_vec(),
            paths: Mutex::new(vec![PathBuf::new(), PathBuf::new()]),
        };
        let session = Session::from_fd(server, device, SessionACL::All, Config::default());
        let session = session.unwrap().spawn().unwrap();
        Self { session }
    }

    /// Waits for its end, once it is unmounted.
    pub(crate) fn join(self) -> io::Result<()> {
        match self.session.join() {
            // That is how the end of a mount is told.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            ended => ended,
        }
    }
}

fn mount_fuse(mount_point: &Path, device: &OwnedFd) -> io::Result<()> {
    let text = |bytes: &[u8]| CString::new(bytes).unwrap();
    let (source, kind) = (text(b"stand-in"), text(b"fuse.mergerfs"));
    let target = text(mount_point.as_os_str().as_bytes());
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        device.as_raw_fd()
    );
    let options = text(options.as_bytes());
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    #[allow(unsafe_code, reason = "the wrapper for it is not among nix' features in use")]
    // SAFETY: every pointer is to a string that ends in NUL and outlives the call.
    let done = unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const CONTROL: &str = ".mergerfs";
const NOW: Duration = Duration::ZERO;

struct Server {
    plan: Plan,
    mount_point: PathBuf,
    branches: Vec<(PathBuf, &'static str)>,
    /// Relative paths by inode number.
    paths: Mutex<Vec<PathBuf>>,
}

impl Server {
    fn path(&self, ino: INodeNo) -> Option<PathBuf> {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.get(usize::try_from(ino.0).ok()?).cloned()
    }

    fn inode(&self, path: &Path) -> INodeNo {
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let known = paths.iter().skip(1).position(|known| known == path);
        let at = known.map_or(paths.len(), |at| at + 1);
        if known.is_none() {
            paths.push(path.to_owned());
        }
        INodeNo(at as u64)
    }

    /// Where `path` is, in branch order.
    fn places(&self, path: &Path) -> Vec<(PathBuf, Metadata)> {
        let roots = self.branches.iter().map(|(root, _)| joined(root, path));
        let found = roots.filter_map(|at| Some((at.clone(), at.symlink_metadata().ok()?)));
        found.collect()
    }

    fn shown(&self, path: &Path) -> Option<(PathBuf, Metadata)> {
        let places = self.places(path);
        if self.plan.newest {
            let time = |m: &Metadata| (m.mtime(), m.mtime_nsec());
            return places
                .into_iter()
                .reduce(|best, next| if time(&next.1) > time(&best.1) { next } else { best });
        }
        places.into_iter().next()
    }

    fn attr(&self, path: &Path) -> Option<FileAttr> {
        if path == Path::new(CONTROL) {
            return Some(control_attr(self.inode(path)));
        }
        let found = self.shown(path)?.1;
        Some(attr_of(self.inode(path), &found))
    }

    /// The value of a key; which errno says that there is none depends on the setting.
    fn attribute(&self, path: &Path, key: &str) -> Result<Vec<u8>, Errno> {
        if path == Path::new(CONTROL) {
            return self.option(key).map(String::into_bytes).ok_or(Errno::NO_XATTR);
        }
        match self.plan.xattrs {
            // The kernel asks nobody from then on.
            FileXattrs::NoSys => return Err(Errno::ENOSYS),
            FileXattrs::NoAttr => return Err(Errno::NO_XATTR),
            FileXattrs::Passthrough => {}
        }
        let places = self.places(path);
        let (first, _) = places.first().ok_or(Errno::ENOENT)?;
        let root = self.branches.iter().map(|(root, _)| root);
        let mut root = root.filter(|root| first.starts_with(root));
        let trailing = if path.as_os_str().is_empty() { "/" } else { "" };
        let full = |at: &Path| [at.as_os_str().as_bytes(), trailing.as_bytes()].concat();
        let slash: &[u8] = if self.plan.style.newer { b"" } else { b"/" };
        match key {
            "allpaths" => Ok(places.iter().map(|(at, _)| full(at)).collect::<Vec<_>>().join(&0)),
            "fullpath" => Ok(full(first)),
            "basepath" => Ok(root.next().unwrap().as_os_str().as_bytes().to_vec()),
            "relpath" => Ok([slash, path.as_os_str().as_bytes()].concat()),
            _ => Err(Errno::NO_XATTR),
        }
    }

    /// An option by the exact spelling of the version, which the newer ones take with `_` too.
    fn option(&self, key: &str) -> Option<String> {
        let style = &self.plan.style;
        let key = if style.newer { key.replace('_', "-") } else { key.to_owned() };
        let spelled = |newer: &'static str| match style.newer {
            true => newer.to_owned(),
            false => newer.replace('-', "_"),
        };
        let getattr = if self.plan.newest { "newest" } else { "ff" };
        let xattr = match self.plan.xattrs {
            FileXattrs::Passthrough => "passthrough",
            FileXattrs::NoAttr => "noattr",
            FileXattrs::NoSys => "nosys",
        };
        let value = match key.as_str() {
            "version" => style.version.to_owned(),
            "branches" => self.branch_list(),
            "mount" => self.mount_point.display().to_string(),
            "mountpoint" if style.newer => self.mount_point.display().to_string(),
            "category.create" => style.create.to_owned(),
            "func.getattr" => getattr.to_owned(),
            "func.open" | "func.access" | "func.readlink" | "func.getxattr" | "func.listxattr" => {
                "ff".to_owned()
            }
            "xattr" => xattr.to_owned(),
            "moveonenospc" => if style.newer { "pfrd" } else { "false" }.to_owned(),
            "cache.files" => if style.newer { "off" } else { "libfuse" }.to_owned(),
            "cache.attr" | "cache.entry" => "1".to_owned(),
            "inodecalc" => "hybrid-hash".to_owned(),
            _ if key == spelled("link-cow") => "true".to_owned(),
            _ if key == spelled("cache.negative-entry") => "60".to_owned(),
            _ => return None,
        };
        Some(value)
    }

    fn branch_list(&self) -> String {
        let entry =
            |(root, mode): &(PathBuf, &'static str)| format!("{}={mode},4K", root.display());
        self.branches.iter().map(entry).collect::<Vec<_>>().join(":")
    }
}

fn joined(root: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { root.to_owned() } else { root.join(path) }
}

fn time(secs: i64, nanos: i64) -> SystemTime {
    UNIX_EPOCH + Duration::new(u64::try_from(secs).unwrap(), u32::try_from(nanos).unwrap())
}

fn attr_of(ino: INodeNo, found: &Metadata) -> FileAttr {
    let kind = found.file_type();
    FileAttr {
        ino,
        size: found.len(),
        blocks: found.blocks(),
        atime: time(found.atime(), found.atime_nsec()),
        mtime: time(found.mtime(), found.mtime_nsec()),
        ctime: time(found.ctime(), found.ctime_nsec()),
        crtime: UNIX_EPOCH,
        kind: match () {
            () if kind.is_dir() => FileType::Directory,
            () if kind.is_symlink() => FileType::Symlink,
            () => FileType::RegularFile,
        },
        perm: (found.mode() & 0o7777) as u16,
        nlink: found.nlink() as u32,
        uid: found.uid(),
        gid: found.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn control_attr(ino: INodeNo) -> FileAttr {
    FileAttr {
        ino,
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0o664,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let path = self.path(parent).map(|dir| joined(&dir, Path::new(name)));
        match path.and_then(|path| self.attr(&path)) {
            Some(attr) => reply.entry(&NOW, &attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.path(ino).and_then(|path| self.attr(&path)) {
            Some(attr) => reply.attr(&NOW, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let shown = self.path(ino).and_then(|path| self.shown(&path));
        match shown.and_then(|(at, _)| std::fs::read_link(at).ok()) {
            Some(target) => reply.data(target.as_os_str().as_bytes()),
            None => reply.error(Errno::EINVAL),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // The control file can be asked, not opened.
        if self.path(ino).is_some_and(|path| path == Path::new(CONTROL)) {
            return reply.error(Errno::ENOENT);
        }
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut buffer = vec![0; size as usize];
        let shown = self.path(ino).and_then(|path| self.shown(&path));
        let file = shown.and_then(|(at, _)| File::open(at).ok());
        match file.and_then(|file| file.read_at(&mut buffer, offset).ok()) {
            Some(got) => reply.data(&buffer[..got]),
            None => reply.error(Errno::EIO),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(dir) = self.path(ino) else {
            return reply.error(Errno::ENOENT);
        };
        let mut names: Vec<OsString> = Vec::new();
        for (at, _) in self.places(&dir) {
            for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
                if !names.contains(&entry.file_name()) {
                    names.push(entry.file_name());
                }
            }
        }
        let skip = usize::try_from(offset).unwrap();
        for (n, name) in names.iter().enumerate().skip(skip) {
            let path = joined(&dir, Path::new(name));
            if let Some(attr) = self.attr(&path)
                && reply.add(attr.ino, n as u64 + 1, attr.kind, name)
            {
                break;
            }
        }
        reply.ok();
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let path = self.path(ino).unwrap_or_default();
        let key = OsString::from_vec(name.as_bytes().to_vec());
        let key = key.to_str().and_then(|key| key.strip_prefix("user.mergerfs."));
        let answer = match key {
            Some(key) => self.attribute(&path, key),
            None if self.plan.xattrs == FileXattrs::NoSys => Err(Errno::ENOSYS),
            None => Err(Errno::NO_XATTR),
        };
        match answer {
            Err(errno) => reply.error(errno),
            Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap()),
            Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
            Ok(value) => reply.data(&value),
        }
    }

    fn listxattr(&self, _: &Request, _: INodeNo, size: u32, reply: ReplyXattr) {
        match size {
            0 => reply.size(0),
            _ => reply.data(&[]),
        }
    }
}

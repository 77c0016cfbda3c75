//! A client of the pool: does what a script says, by the calls that coreutils make, and keeps the model.
//!
//! A script is a row of commands with semicolons: `rm d/b; ln m/a d/b`. A command that fails ends the script.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::model::Model;
use crate::groups::SMALL;
use crate::harness::tree;

/// The extended attribute that clients set.
pub(super) const NOTE: &str = "user.note";

/// One client, with what it was told.
pub(super) struct Client {
    /// The directory of the scene, through the pool.
    root: PathBuf,
    pub(super) model: Model,
    /// Commands so far: no two write the same.
    serial: u64,
    /// What failed.
    pub(super) failed: Vec<String>,
}

impl Client {
    pub(super) fn new(root: PathBuf, model: Model) -> Self {
        Self { root, model, serial: 0, failed: Vec::new() }
    }

    /// Carries out a script.
    pub(super) fn perform(&mut self, script: &str) {
        for command in script.split(';').map(str::trim) {
            self.serial += 1;
            let words: Vec<&str> = command.split(' ').collect();
            if let Err(error) = self.command(&words) {
                self.failed.push(format!("{command}: {error}"));
                return;
            }
        }
    }

    fn command(&mut self, words: &[&str]) -> io::Result<()> {
        match words {
            ["write", path] => self.write(path, false),
            ["write+fsync", path] => self.write(path, true),
            ["write+times", path] => self.write_keeping_times(path),
            ["truncate", path] => self.truncate(path),
            ["save", path] => self.save(path),
            ["create", path] => self.create(path),
            ["rm", "-r", path] => self.remove_tree(Path::new(path)),
            ["rm", paths @ ..] => paths.iter().try_for_each(|path| self.remove(path.as_ref())),
            ["mv", old, new] => self.rename(old, new),
            ["ln", "-f", old, new] => self.link_over(old, new),
            ["ln", old, new] => self.link(old, new),
            ["mkdir", path] => self.make_dir(path),
            ["chmod", path] => self.change_mode(path),
            ["setxattr", path] => self.set_note(path),
            _ => panic!("no command of a client: {words:?}"),
        }
    }

    /// Calls the kernel; a failure makes the model unsure of `paths`.
    fn call<T>(
        &mut self,
        paths: &[&str],
        call: impl FnOnce(&dyn Fn(&str) -> PathBuf) -> io::Result<T>,
    ) -> io::Result<T> {
        let root = self.root.clone();
        call(&|path| root.join(path))
            .inspect_err(|_| paths.iter().for_each(|p| self.model.failed(p.as_ref())))
    }

    fn write(&mut self, path: &str, sync: bool) -> io::Result<()> {
        let (at, stamp) = (usize::try_from(self.serial % 32 * 40).unwrap(), self.stamp());
        self.call(&[path], |on| {
            let file = OpenOptions::new().write(true).open(on(path))?;
            file.write_all_at(&stamp, at as u64)?;
            if sync { file.sync_all() } else { Ok(()) }
        })?;
        self.model.changed(path.as_ref(), |bytes| {
            let mut bytes = bytes.to_vec();
            bytes.resize(bytes.len().max(at + stamp.len()), 0);
            bytes[at..at + stamp.len()].copy_from_slice(&stamp);
            bytes
        });
        Ok(())
    }

    /// As tag editors and `rsync --inplace -t`: the mtime is set back afterwards.
    fn write_keeping_times(&mut self, path: &str) -> io::Result<()> {
        let before = std::fs::metadata(self.root.join(path))?.modified()?;
        self.write(path, false)?;
        self.call(&[path], |on| File::options().write(true).open(on(path))?.set_modified(before))
    }

    fn truncate(&mut self, path: &str) -> io::Result<()> {
        let len = 5_000 + usize::try_from(self.serial).unwrap();
        self.call(&[path], |on| {
            Ok(nix::unistd::truncate(&on(path), i64::try_from(len).unwrap())?)
        })?;
        self.model.changed(path.as_ref(), |bytes| {
            let mut bytes = bytes.to_vec();
            bytes.resize(len, 0);
            bytes
        });
        Ok(())
    }

    /// As an editor: a temporary file, renamed over the old one.
    fn save(&mut self, path: &str) -> io::Result<()> {
        let temp = format!("{path}.new");
        self.create(&temp)?;
        self.rename(&temp, path)
    }

    fn create(&mut self, path: &str) -> io::Result<()> {
        let bytes = tree::bytes(1_000 + self.serial, SMALL + 100);
        let mode = self.call(&[path], |on| {
            let mut file = File::create_new(on(path))?;
            file.write_all(&bytes)?;
            Ok(file.metadata()?.mode() & 0o7777)
        })?;
        self.model.created(path.as_ref(), bytes, mode);
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let name = path.to_str().unwrap();
        self.call(&[name], |on| std::fs::remove_file(on(name)))?;
        self.model.removed(path);
        Ok(())
    }

    /// As `rm -r`: also what the client did not know of.
    fn remove_tree(&mut self, dir: &Path) -> io::Result<()> {
        let listed: Vec<_> = std::fs::read_dir(self.root.join(dir))?.collect::<Result<_, _>>()?;
        for entry in listed {
            let path = dir.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.remove_tree(&path)?;
            } else {
                self.remove(&path)?;
            }
        }
        let name = dir.to_str().unwrap();
        self.call(&[name], |on| std::fs::remove_dir(on(name)))?;
        self.model.removed_dir(dir);
        Ok(())
    }

    fn rename(&mut self, old: &str, new: &str) -> io::Result<()> {
        self.call(&[old, new], |on| std::fs::rename(on(old), on(new)))?;
        self.model.renamed(old.as_ref(), new.as_ref());
        Ok(())
    }

    fn link(&mut self, old: &str, new: &str) -> io::Result<()> {
        self.call(&[new], |on| std::fs::hard_link(on(old), on(new)))?;
        self.model.linked(old.as_ref(), new.as_ref());
        Ok(())
    }

    /// As `ln -f`: a link under a temporary name, renamed over the old one, and removed where it is still there.
    fn link_over(&mut self, old: &str, new: &str) -> io::Result<()> {
        let temp = format!("{new}.ln");
        self.link(old, &temp)?;
        self.rename(&temp, new)?;
        let removed = self.call(&[], |on| match std::fs::remove_file(on(&temp)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        });
        self.model.removed(temp.as_ref());
        removed
    }

    fn make_dir(&mut self, path: &str) -> io::Result<()> {
        self.call(&[path], |on| std::fs::create_dir(on(path)))?;
        self.model.made_dir(path.as_ref());
        Ok(())
    }

    fn change_mode(&mut self, path: &str) -> io::Result<()> {
        let mode = [0o640, 0o604][usize::from(self.serial.is_multiple_of(2))];
        let permissions = Permissions::from_mode(mode);
        self.call(&[path], |on| std::fs::set_permissions(on(path), permissions))?;
        self.model.mode_changed(path.as_ref(), mode);
        Ok(())
    }

    fn set_note(&mut self, path: &str) -> io::Result<()> {
        let note = self.stamp();
        self.call(&[path], |on| xattr::set(on(path), NOTE, &note))?;
        self.model.noted(path.as_ref(), &note);
        Ok(())
    }

    fn stamp(&self) -> Vec<u8> {
        format!("<command {:04}>", self.serial).into_bytes()
    }
}

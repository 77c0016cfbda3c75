//! Which metadata two copies must share before one copy replaces the other.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use globset::{Glob, GlobMatcher};

use crate::fs::Metadata;
use crate::plan::refusal::Reason;

/// Attributes that checksum tools and Samba leave on a file for themselves: nothing else depends on them.
const STAMPS: [&[u8]; 3] = [b"user.rmlint.", b"user.shatag.", b"user.DOSATTRIB"];

/// How many bytes of an attribute are shown.
const VALUE_MAX: usize = 24;

/// The metadata that may differ (`--ignore-metadata`); by default none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreMetadata {
    /// Owner and group.
    pub owner: bool,
    /// Permission bits.
    pub mode: bool,
    /// The POSIX ACL.
    pub acl: bool,
    /// Extended attributes.
    pub xattr: bool,
    /// Extended attributes of these names.
    pub xattrs: Vec<XattrGlob>,
}

/// A glob on the names of extended attributes.
#[derive(Debug, Clone)]
pub struct XattrGlob(GlobMatcher);

impl XattrGlob {
    /// Parses a glob: `user.tag.*`.
    ///
    /// # Errors
    /// If it is empty or invalid, with the reason.
    pub fn new(glob: &str) -> Result<Self, String> {
        if glob.is_empty() {
            return Err("the name of an attribute is missing".to_owned());
        }
        let glob = Glob::new(glob).map_err(|error| error.kind().to_string())?;
        Ok(Self(glob.compile_matcher()))
    }

    fn matches(&self, name: &[u8]) -> bool {
        self.0.is_match(OsStr::from_bytes(name))
    }
}

impl PartialEq for XattrGlob {
    fn eq(&self, other: &Self) -> bool {
        self.0.glob() == other.0.glob()
    }
}

impl Eq for XattrGlob {}

impl IgnoreMetadata {
    /// Everything may differ.
    #[must_use]
    pub fn all() -> Self {
        Self { owner: true, mode: true, acl: true, xattr: true, xattrs: Vec::new() }
    }

    /// Returns the first difference that matters.
    ///
    /// An ACL changes the meaning of the group bits: if ACLs are ignored but modes are not, a differing mask still
    /// shows as a differing mode.
    #[must_use]
    pub fn differs(&self, master: &Metadata, duplicate: &Metadata) -> Option<Reason> {
        let owner = (master.uid, master.gid) != (duplicate.uid, duplicate.gid);
        let xattr = || !self.xattrs_that_differ(master, duplicate).is_empty();
        match () {
            () if !self.owner && owner => Some(Reason::OwnerDiffers),
            () if !self.mode && master.mode != duplicate.mode => Some(Reason::ModeDiffers),
            () if !self.acl && master.acl != duplicate.acl => Some(Reason::AclDiffers),
            () if !self.xattr && xattr() => Some(Reason::XattrDiffers),
            () => None,
        }
    }

    /// As [`Self::differs`], with the values on both sides of all that differs: one look shows all that is to be made
    /// equal.
    #[must_use]
    pub fn difference(&self, master: &Metadata, duplicate: &Metadata) -> Option<(Reason, String)> {
        let reason = self.differs(master, duplicate)?;
        let mut parts = Vec::new();
        let mode = !self.mode && master.mode != duplicate.mode;
        if matches!(reason, Reason::OwnerDiffers | Reason::ModeDiffers) {
            let both = reason == Reason::OwnerDiffers && mode;
            let what = if both { "owner and mode " } else { "" };
            let shown = what.to_owned() + &shown_owner_and_mode(duplicate);
            parts.push((shown, shown_owner_and_mode(master)));
        }
        if !self.acl && master.acl != duplicate.acl {
            parts.push((shown_acl(duplicate), shown_acl(master)));
        }
        let mut detail: Vec<String> =
            parts.iter().map(|(own, kept)| format!("{own}; kept copy: {kept}")).collect();
        if !self.xattr {
            detail.extend(self.shown_xattrs(master, duplicate));
        }
        Some((reason, detail.join("; ")))
    }

    /// Returns the class of each of `all`: two that could replace each other have the same number. The classes are
    /// numbered from 0, in the order in which they appear.
    #[must_use]
    pub fn classes<'m>(&self, all: impl IntoIterator<Item = &'m Metadata>) -> Vec<usize> {
        let mut known: HashMap<Metadata, usize> = HashMap::new();
        let mut last: Option<(&Metadata, usize)> = None;
        let mut class = |metadata: &'m Metadata| match last {
            // The files of a directory mostly share one value.
            Some((same, class)) if same == metadata => class,
            _ => {
                let next = known.len();
                let class = *known.entry(self.what_counts(metadata)).or_insert(next);
                last = Some((metadata, class));
                class
            }
        };
        all.into_iter().map(&mut class).collect()
    }

    fn what_counts(&self, metadata: &Metadata) -> Metadata {
        let mut counts = Metadata::default();
        if !self.owner {
            (counts.uid, counts.gid) = (metadata.uid, metadata.gid);
        }
        if !self.mode {
            counts.mode = metadata.mode;
        }
        if !self.acl {
            counts.acl.clone_from(&metadata.acl);
        }
        if !self.xattr {
            let xattrs = metadata.xattrs.iter().filter(|(name, _)| self.counts(name));
            counts.xattrs = xattrs.map(|(name, value)| (name.clone(), value.clone())).collect();
        }
        counts
    }

    /// Whether an extended attribute has to be equal.
    fn counts(&self, xattr: &[u8]) -> bool {
        let is_stamp = STAMPS.iter().any(|stamp| match stamp.ends_with(b".") {
            true => xattr.starts_with(stamp),
            false => xattr == *stamp,
        });
        !is_stamp && !self.xattrs.iter().any(|glob| glob.matches(xattr))
    }

    /// Returns the names of the extended attributes that have to be equal and are not.
    fn xattrs_that_differ<'m>(
        &self,
        master: &'m Metadata,
        duplicate: &'m Metadata,
    ) -> BTreeSet<&'m [u8]> {
        let names = master.xattrs.keys().chain(duplicate.xattrs.keys()).map(Vec::as_slice);
        let differs = |name: &&[u8]| master.xattrs.get(*name) != duplicate.xattrs.get(*name);
        names.filter(differs).filter(|name| self.counts(name)).collect()
    }

    /// Shows the extended attributes that differ, by the copy that has them, with their values.
    fn shown_xattrs(&self, master: &Metadata, duplicate: &Metadata) -> Vec<String> {
        let [mut own, mut kept, mut both] = [Vec::new(), Vec::new(), Vec::new()];
        for name in self.xattrs_that_differ(master, duplicate) {
            let shown = String::from_utf8_lossy(name).escape_debug().to_string();
            let value = |of: &Metadata| of.xattrs.get(name).map(|value| shown_value(value));
            match (value(duplicate), value(master)) {
                (Some(here), None) => own.push(format!("{shown}={here}")),
                (None, there) => kept.push(format!("{shown}={}", there.unwrap_or_default())),
                (Some(here), Some(there)) => {
                    both.push(format!("{shown}={here}, kept copy: {there}"))
                }
            }
        }
        let lists = [(own, "only here"), (kept, "only on the kept copy"), (both, "other values")];
        let named = lists.into_iter().filter(|(names, _)| !names.is_empty());
        named.map(|(names, what)| format!("{what}: {}", names.join(", "))).collect()
    }
}

/// Mode, owner and group, as in `0664 1000:1000`.
#[must_use]
pub(crate) fn shown_owner_and_mode(metadata: &Metadata) -> String {
    format!("{:04o} {}:{}", metadata.mode, metadata.uid, metadata.gid)
}

/// The value of an extended attribute: as text, else in hexadecimal digits; of a long value the beginning.
fn shown_value(value: &[u8]) -> String {
    let (part, more) = match value.len() {
        0..=VALUE_MAX => (value, String::new()),
        len => (&value[..VALUE_MAX], format!("… ({len} bytes)")),
    };
    match std::str::from_utf8(part) {
        Ok(text) if !text.chars().any(char::is_control) => format!("{text:?}{more}"),
        _ => {
            format!("0x{}{more}", part.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
    }
}

/// An ACL, with the abbreviations of `getfacl`; a form that is not known is only named.
#[must_use]
pub(crate) fn shown_acl(metadata: &Metadata) -> String {
    let entries = metadata.acl.as_deref().map(acl_entries);
    match entries {
        None => "no ACL".to_owned(),
        Some(None) => "an ACL".to_owned(),
        Some(Some(entries)) => format!("ACL {}", entries.join(",")),
    }
}

/// The entries of a raw `system.posix_acl_access` of version 2.
fn acl_entries(raw: &[u8]) -> Option<Vec<String>> {
    let entries = raw.strip_prefix(&2_u32.to_le_bytes())?.chunks(8);
    let entry = |raw: &[u8]| {
        let [tag, tag_high, perm, _, id @ ..] = raw else { return None };
        let id = u32::from_le_bytes(id.try_into().ok()?);
        let who = match u16::from_le_bytes([*tag, *tag_high]) {
            0x01 => "u:".to_owned(),
            0x02 => format!("u:{id}"),
            0x04 => "g:".to_owned(),
            0x08 => format!("g:{id}"),
            0x10 => "m:".to_owned(),
            0x20 => "o:".to_owned(),
            _ => return None,
        };
        let may = |bit, letter| if perm & bit == 0 { '-' } else { letter };
        Some(format!("{who}:{}{}{}", may(4, 'r'), may(2, 'w'), may(1, 'x')))
    };
    entries.map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_refused_unless_ignored() {
        let base = Metadata { uid: 1, gid: 1, mode: 0o644, ..Metadata::default() };
        let with = |change: fn(&mut Metadata)| {
            let mut other = base.clone();
            change(&mut other);
            other
        };
        let none = IgnoreMetadata::default();
        let cases = [
            (
                with(|m| m.gid = 2),
                Reason::OwnerDiffers,
                IgnoreMetadata { owner: true, ..none.clone() },
            ),
            (
                with(|m| m.mode = 0o4755),
                Reason::ModeDiffers,
                IgnoreMetadata { mode: true, ..none.clone() },
            ),
            (
                with(|m| m.acl = Some(vec![2])),
                Reason::AclDiffers,
                IgnoreMetadata { acl: true, ..none.clone() },
            ),
            (
                with(|m| drop(m.xattrs.insert(b"user.a".to_vec(), vec![1]))),
                Reason::XattrDiffers,
                IgnoreMetadata { xattr: true, ..none.clone() },
            ),
        ];
        for (other, reason, ignore) in cases {
            assert_eq!(none.differs(&base, &other), Some(reason));
            assert_eq!(ignore.differs(&base, &other), None);
        }
        assert_eq!(none.differs(&base, &base.clone()), None);
    }

    fn with(change: impl FnOnce(&mut Metadata)) -> Metadata {
        let mut metadata = Metadata { uid: 1000, gid: 1000, mode: 0o664, ..Metadata::default() };
        change(&mut metadata);
        metadata
    }

    fn xattr(name: &str) -> Metadata {
        with(|m| drop(m.xattrs.insert(name.into(), vec![1])))
    }

    #[test]
    fn both_values_of_all_that_differs_are_shown() {
        let kept = with(|_| {});
        // What setfacl -m u:1234:r makes of 0664.
        let acl: Vec<u8> = [2, 0, 0, 0]
            .into_iter()
            .chain([1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 210, 4, 0, 0])
            .chain([4, 0, 6, 0, 255, 255, 255, 255, 16, 0, 6, 0, 255, 255, 255, 255])
            .chain([32, 0, 4, 0, 255, 255, 255, 255])
            .collect();
        let cases = [
            (
                with(|m| m.mode = 0o644),
                Reason::ModeDiffers,
                "0644 1000:1000; kept copy: 0664 1000:1000",
            ),
            (
                with(|m| (m.uid, m.mode) = (0, 0o600)),
                Reason::OwnerDiffers,
                "owner and mode 0600 0:1000; kept copy: 0664 1000:1000",
            ),
            (
                with(|m| m.acl = Some(acl)),
                Reason::AclDiffers,
                "ACL u::rw-,u:1234:r--,g::rw-,m::rw-,o::r--; kept copy: no ACL",
            ),
            (with(|m| m.acl = Some(vec![9])), Reason::AclDiffers, "an ACL; kept copy: no ACL"),
            (xattr("user.rating"), Reason::XattrDiffers, "only here: user.rating=0x01"),
        ];
        for (other, reason, detail) in cases {
            let told = IgnoreMetadata::default().difference(&kept, &other);
            assert_eq!(told, Some((reason, detail.to_owned())));
        }
        // One look shows all that is to be made equal.
        let mut other = xattr("user.a");
        other.xattrs.insert(b"user.b\n".to_vec(), b"old".to_vec());
        (other.uid, other.mode, other.acl) = (0, 0o600, Some(vec![9]));
        let mut kept = xattr("user.c");
        kept.xattrs.insert(b"user.b\n".to_vec(), vec![b'x'; 99]);
        let (reason, detail) = IgnoreMetadata::default().difference(&kept, &other).unwrap();
        assert_eq!(reason, Reason::OwnerDiffers);
        assert_eq!(
            detail,
            "owner and mode 0600 0:1000; kept copy: 0664 1000:1000; an ACL; kept copy: no ACL; \
             only here: user.a=0x01; only on the kept copy: user.c=0x01; \
             other values: user.b\\n=\"old\", kept copy: \"xxxxxxxxxxxxxxxxxxxxxxxx\"… (99 bytes)"
        );
    }

    #[test]
    fn stamps_of_checksum_tools_and_samba_keep_no_copies_apart() {
        let none = IgnoreMetadata::default();
        for (name, counts) in [
            ("user.rmlint.blake2b.cksum", false),
            ("user.shatag.ts", false),
            ("user.shatag.sha256", false),
            ("user.DOSATTRIB", false),
            ("user.DOSATTRIB2", true),
            ("user.rmlinted", true),
            ("user.rating", true),
            ("security.capability", true),
        ] {
            let (plain, stamped) = (with(|_| {}), xattr(name));
            assert_eq!(none.differs(&plain, &stamped).is_some(), counts, "{name}");
            assert_eq!(none.classes([&plain, &stamped]), [0, usize::from(counts)], "{name}");
        }
    }

    #[test]
    fn attributes_that_a_glob_names_may_differ() {
        let globs = ["user.tag.*", "user.rat?ng"].map(|glob| XattrGlob::new(glob).unwrap());
        let some = IgnoreMetadata { xattrs: globs.to_vec(), ..IgnoreMetadata::default() };
        for (name, counts) in [
            ("user.tag.a", false),
            ("user.tag.a/b", false),
            ("user.rating", false),
            ("user.tag", true),
            ("trusted.user.rating", true),
        ] {
            let plain = with(|_| {});
            assert_eq!(some.differs(&plain, &xattr(name)).is_some(), counts, "{name}");
        }
        assert!(XattrGlob::new("user.[").is_err() && XattrGlob::new("").is_err());
    }

    #[test]
    fn a_class_is_all_that_could_replace_each_other() {
        let all = [
            with(|_| {}),
            with(|m| m.mode = 0o600),
            with(|_| {}),
            with(|m| m.uid = 0),
            xattr("user.a"),
            with(|m| m.acl = Some(vec![])),
        ];
        let none = IgnoreMetadata::default();
        assert_eq!(none.classes(&all), [0, 1, 0, 2, 3, 4]);
        let owner = IgnoreMetadata { owner: true, ..none.clone() };
        assert_eq!(owner.classes(&all), [0, 1, 0, 0, 2, 3]);
        assert_eq!(IgnoreMetadata::all().classes(&all), [0; 6]);
    }
}

//! Disks that are slow or broken: what becomes of a request.

use std::collections::HashSet;

use super::image::pieces;

/// What is wrong with a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    #[default]
    None,
    /// No request is answered; all are when the fault changes.
    Silent,
    /// Every request fails: the disk is gone.
    Gone,
    /// Writes and flushes fail.
    NotWritable,
    /// These blocks cannot be read.
    Unreadable(HashSet<u64>),
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Bytes: offset and length.
    Read(u64, usize),
    /// A change, or a flush of changes.
    Write,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    Fails,
    Waits,
}

impl Fault {
    /// What becomes of a request for `access`.
    pub(crate) fn fate(&self, access: Access) -> Fate {
        let fails = match (self, access) {
            (Self::Silent, _) => return Fate::Waits,
            (Self::None, _) | (Self::NotWritable, Access::Read(..)) => false,
            (Self::Gone, _) | (Self::NotWritable, Access::Write) => true,
            (Self::Unreadable(blocks), Access::Read(offset, len)) => {
                pieces(offset, len).any(|(number, ..)| blocks.contains(&number))
            }
            (Self::Unreadable(_), Access::Write) => false,
        };
        if fails { Fate::Fails } else { Fate::Answered }
    }
}

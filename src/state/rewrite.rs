//! The record of a sandbox as it is written: first, and in place of another.
//!
//! # Decisions
//! - The first record is written in place, the last one beside it and renamed. A reader that meets half
//!   a record sees a sandbox that is starting, if it is locked.
//! - Where the disk has no room for one more file, the last is written over the first, once the room for that is
//!   certain. Where it has none for a longer one either, how the run ended comes into the first, which has room for that.

use rustix::fs::{
    AtFlags, FallocateFlags, Mode, OFlags, fallocate, fstat, openat, renameat, unlinkat,
};
use rustix::io::Errno;

use super::error::StateError;
use super::record::Record;
use super::sandbox::{RECORD, SandboxDirectory, write_all};

const NEW_RECORD: &str = "record.new";
/// Bytes behind the first record for how the run ends.
const END: usize = 1024;

impl SandboxDirectory {
    /// Replaces the record.
    pub fn replace_record(&self, record: &Record) -> Result<(), StateError> {
        let failed = |source| StateError::WriteRecord { id: self.id(), source };
        match self.write_record(NEW_RECORD, record) {
            Ok(()) => {
                renameat(self.descriptor(), NEW_RECORD, self.descriptor(), RECORD).map_err(failed)
            }
            Err(StateError::WriteRecord { source: Errno::NOSPC | Errno::DQUOT, .. }) => {
                self.overwrite_record(record)
            }
            Err(error) => Err(error),
        }
    }

    fn overwrite_record(&self, record: &Record) -> Result<(), StateError> {
        match unlinkat(self.descriptor(), NEW_RECORD, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(source) => return Err(StateError::WriteRecord { id: self.id(), source }),
        }
        self.write_over(record)
    }

    /// Replaces the record of a run that has ended; where there is no room for that, by its first one with how it ended.
    pub(super) fn write_end(&self, record: &Record) -> Result<(), StateError> {
        match self.replace_record(record) {
            Err(StateError::WriteRecord { source: Errno::NOSPC | Errno::DQUOT, .. }) => {
                self.write_over(&record.end_of(self.record()?))
            }
            other => other,
        }
    }

    /// Writes the record in its place, in one call and as long as the one before at least: whoever reads it meanwhile
    /// sees no end of the other.
    fn write_over(&self, record: &Record) -> Result<(), StateError> {
        let failed = |source| StateError::WriteRecord { id: self.id(), source };
        let mut text = serde_json::to_vec(record)
            .map_err(|source| StateError::EncodeRecord { id: self.id(), source })?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(self.descriptor(), RECORD, flags, Mode::empty()).map_err(failed)?;
        let size = u64::try_from(fstat(&file).map_err(failed)?.st_size).unwrap_or(0);
        let length = text.len() as u64;
        match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, length.max(1)) {
            Ok(()) => {}
            // It cannot be made certain: what is as long as before has its room already.
            Err(Errno::OPNOTSUPP) if length <= size => {}
            Err(source) => return Err(failed(source)),
        }
        text.resize(text.len().max(usize::try_from(size).unwrap_or(0)), b' ');
        write_all(&file, &text).map_err(failed)
    }

    pub(super) fn write_record(&self, name: &str, record: &Record) -> Result<(), StateError> {
        let failed = |source| StateError::WriteRecord { id: self.id(), source };
        let mut text = serde_json::to_vec(record)
            .map_err(|source| StateError::EncodeRecord { id: self.id(), source })?;
        if name == RECORD {
            text.resize(text.len() + END, b' ');
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        let file =
            openat(self.descriptor(), name, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
                .map_err(failed)?;
        write_all(&file, &text).map_err(failed)
    }
}

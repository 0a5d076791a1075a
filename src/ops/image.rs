//! bryo's own file, out of a payload's reach.
//!
//! # Theory of operation
//! Until it executes the payload, its process is a copy of the launcher. A program that is a link to `/proc/self/exe`, or a
//! script with that behind `#!`, is bryo itself then; and what else runs inside reaches bryo's file on the host by
//! `/proc/PID/exe`, whatever is mounted there: its times, its attributes, on some kernels its bytes. Landlock
//! refuses to execute it. Where Landlock is not enforced and the caller may change that file, bryo first becomes
//! a sealed copy of itself in memory.
//!
//! # Decisions
//! - Executed once more, from the beginning: what a start holds open or has decided by then need not be handed over.
//!   A pipe that was read by then (`--env-file <(…)`) is refused as empty the second time.
//! - Not by default: the copy takes milliseconds and as much memory as bryo is large.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{Access, AtFlags, CWD, MemfdFlags, SealFlags, accessat, fcntl_add_seals};
use rustix::fs::{fcntl_get_seals, memfd_create};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::report::Explain;
use crate::spec::Confine;
use crate::spec::confine::Need;
use crate::sys::landlock;
use crate::sys::process::ExecImage;

/// The file that this process executes.
const OWN: &str = "/proc/self/exe";
const SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK).union(SealFlags::SEAL);

/// The ABI below which what may be missing is: nothing could be renamed between directories.
const REFER: u32 = 2;

/// Why bryo cannot be kept from a payload.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot put a copy of bryo into memory, which keeps its file from the payload without Landlock"
)]
pub struct ImageError(#[source] io::Error);

impl Explain for ImageError {
    fn hint(&self) -> Option<String> {
        Some("install bryo where you cannot write it, or leave Landlock on".to_owned())
    }
}

/// Becomes a copy of itself in memory where a payload under `confine` could reach bryo's file and the caller may
/// change that.
pub fn protect(confine: &Confine) -> Result<(), ImageError> {
    if !is_in_reach((confine.landlock, confine.nesting), landlock::abi().ok()) {
        return Ok(());
    }
    let own = File::open(OWN).map_err(ImageError)?;
    if is_sealed(&own) {
        // It was executed by its descriptor, and is called by that one's number.
        return rustix::thread::set_name(c"bryo").map_err(|errno| ImageError(errno.into()));
    }
    if !is_the_callers(&own).map_err(ImageError)? {
        return Ok(());
    }
    Err(ImageError(become_a_copy(own)))
}

/// Whether nothing refuses to execute bryo once more: Landlock is off, or this kernel's is not used, or leaves
/// files alone, as mounts inside need that.
fn is_in_reach((need, nesting): (Need, bool), abi: Option<u32>) -> bool {
    need == Need::Off || nesting || abi.is_none_or(|abi| abi < REFER)
}

fn is_sealed(own: &File) -> bool {
    fcntl_get_seals(own).is_ok_and(|seals| seals.contains(SEALS))
}

fn is_the_callers(own: &File) -> io::Result<bool> {
    let may_write = accessat(CWD, OWN, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    Ok(may_write || own.metadata()?.uid() == geteuid().as_raw())
}

/// Returns with why not.
fn become_a_copy(own: File) -> io::Error {
    match copy_of(own) {
        Ok((copy, image)) => image.exec_fd(&copy).into(),
        Err(error) => error,
    }
}

/// A sealed copy, and what it is executed with.
fn copy_of(mut own: File) -> io::Result<(File, ExecImage)> {
    let mut copy = File::from(memory()?);
    io::copy(&mut own, &mut copy)?;
    fcntl_add_seals(&copy, SEALS)?;
    let argv = std::env::args_os().map(text).collect::<io::Result<_>>()?;
    let variable = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        text(name)
    };
    let envp = std::env::vars_os().map(variable).collect::<io::Result<_>>()?;
    Ok((copy, ExecImage::new(argv, envp)))
}

/// A file that may be executed, which older kernels need not be asked for.
fn memory() -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create("bryo", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create("bryo", flags),
        other => other,
    }
}

fn text(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.into_vec())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_landlock_keeps_bryo_from_being_executed_inside() {
        for need in [Need::Required, Need::IfAvailable] {
            assert!(!is_in_reach((need, false), Some(REFER)));
            assert!(is_in_reach((need, true), Some(6)));
            for abi in [None, Some(0), Some(1)] {
                assert!(is_in_reach((need, false), abi));
            }
        }
        assert!(is_in_reach((Need::Off, false), Some(6)));
    }

    #[test]
    fn what_is_in_memory_and_sealed_is_known() {
        let copy = File::from(memory().unwrap());
        assert!(!is_sealed(&copy));
        fcntl_add_seals(&copy, SEALS).unwrap();
        assert!(is_sealed(&copy));
        assert!(!is_sealed(&File::open(OWN).unwrap()));
    }
}

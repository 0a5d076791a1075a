//! What a process is and may do: exec, prctl, ids, descriptors, keyring.
//!
//! # Not here
//! `getppid`, `setsid`, `setpgid`, `tcsetpgrp`, `umask`: `rustix` has them as they are.
//! Capabilities beyond bounding: the `caps` crate. Waiting: `pidfd`.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use rustix::fs::{Gid, Uid};

use super::errno::{Errno, Result, check};
use super::signal::SignalNumber;

/// Arguments and environment of a program, laid out before the fork.
///
/// Between fork and exec nothing should allocate; the arrays of pointers that `execve(2)` wants
/// are therefore made here.
#[derive(Debug)]
pub struct ExecImage {
    argv: Vec<CString>,
    envp: Vec<CString>,
    argv_pointers: Vec<*const libc::c_char>,
    envp_pointers: Vec<*const libc::c_char>,
}

impl ExecImage {
    /// `argv` begins with the program's name for itself; `envp` holds `NAME=VALUE`.
    pub fn new(argv: Vec<CString>, envp: Vec<CString>) -> Self {
        let argv_pointers = pointers(&argv);
        let envp_pointers = pointers(&envp);
        Self { argv, envp, argv_pointers, envp_pointers }
    }

    /// The same with more variables.
    #[must_use]
    pub fn with_variables(self, more: Vec<CString>) -> Self {
        let Self { argv, mut envp, .. } = self;
        envp.extend(more);
        Self::new(argv, envp)
    }

    /// The arguments.
    pub fn argv(&self) -> &[CString] {
        &self.argv
    }

    /// The environment.
    pub fn envp(&self) -> &[CString] {
        &self.envp
    }

    /// `execve(2)`: becomes the program at `path`; returns only when that failed.
    pub fn exec_path(&self, path: &CStr) -> Errno {
        // SAFETY: `path` and every pointer of both arrays is a C string that `self` owns and
        // never changes, and both arrays end in a null pointer.
        unsafe {
            libc::execve(path.as_ptr(), self.argv_pointers.as_ptr(), self.envp_pointers.as_ptr())
        };
        Errno::last()
    }

    /// `execveat(2)` with `AT_EMPTY_PATH`: becomes the program open at `file`, `O_PATH` or not.
    ///
    /// A script whose descriptor is close-on-exec is `ENOENT`: its interpreter opens
    /// `/dev/fd/N`, which is closed by then.
    pub fn exec_fd(&self, file: impl AsFd) -> Errno {
        let file = file.as_fd().as_raw_fd();
        // SAFETY: as in `exec_path`; the descriptor is open and the path a constant C string.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                file,
                c"".as_ptr(),
                self.argv_pointers.as_ptr(),
                self.envp_pointers.as_ptr(),
                libc::AT_EMPTY_PATH,
            )
        };
        Errno::last()
    }
}

/// The heap buffers of the strings do not move when the vector does.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// `_exit(2)`: ends the process at once; no destructor, no handler, no buffer is flushed.
///
/// For a forked child, whose buffers and handlers are copies of its parent's.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit only ends this process; nothing of ours runs after it.
    unsafe { libc::_exit(libc::c_int::from(code)) }
}

fn prctl(operation: libc::c_int, arg: libc::c_ulong) -> Result<libc::c_long> {
    // SAFETY: callers pass operations whose arguments are plain integers; the unused ones are 0.
    check(unsafe {
        libc::prctl(operation, arg, 0 as libc::c_ulong, 0 as libc::c_ulong, 0 as libc::c_ulong)
    })
}

/// Asks for `signal` when the thread that made this process ends; `None` asks for nothing.
///
/// The kernel forgets it at exec of a set-id program and when credentials change, so it is set
/// last; and the parent may have ended before, so the caller compares `getppid` afterwards (in a
/// new pid namespace that is 0 either way, and the end of a pipe or socket has to tell).
pub fn set_parent_death_signal(signal: Option<SignalNumber>) -> Result<()> {
    let number = signal.map_or(0, SignalNumber::raw);
    prctl(libc::PR_SET_PDEATHSIG, libc::c_ulong::from(number.unsigned_abs())).map(drop)
}

/// Who may trace a process and read its memory and `/proc` files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dumpable {
    /// Root only: `/proc/PID` belongs to root.
    No,
    /// Processes of the same user.
    Yes,
    /// Root only, and a core dump is written for root; can be read but not set.
    RootOnly,
}

/// `PR_SET_DUMPABLE`. Exec, and any change of ids, sets it anew.
pub fn set_dumpable(dumpable: Dumpable) -> Result<()> {
    let value = match dumpable {
        Dumpable::No => 0,
        Dumpable::Yes => 1,
        Dumpable::RootOnly => 2,
    };
    prctl(libc::PR_SET_DUMPABLE, value).map(drop)
}

/// `PR_GET_DUMPABLE`.
pub fn dumpable() -> Result<Dumpable> {
    prctl(libc::PR_GET_DUMPABLE, 0).map(|value| match value {
        0 => Dumpable::No,
        1 => Dumpable::Yes,
        _ => Dumpable::RootOnly,
    })
}

/// `PR_SET_NO_NEW_PRIVS`, since Linux 3.5: no exec gives more rights than before, for ever.
pub fn irrevocably_set_no_new_privs() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map(drop)
}

/// Whether `no_new_privs` is set.
pub fn no_new_privs() -> Result<bool> {
    prctl(libc::PR_GET_NO_NEW_PRIVS, 0).map(|value| value == 1)
}

super::flags! {
    /// How being root and having capabilities are tied, `capabilities(7)`.
    SecureBits: u32 {
        /// Uid 0 gets no capabilities at exec.
        NOROOT = 1 << 0;
        /// Locks it.
        NOROOT_LOCKED = 1 << 1;
        /// Changing uids changes no capabilities.
        NO_SETUID_FIXUP = 1 << 2;
        /// Locks it.
        NO_SETUID_FIXUP_LOCKED = 1 << 3;
        /// Capabilities stay when all uids become other than 0.
        KEEP_CAPS = 1 << 4;
        /// Locks it.
        KEEP_CAPS_LOCKED = 1 << 5;
        /// Nothing can be added to the ambient set; since Linux 4.3.
        NO_CAP_AMBIENT_RAISE = 1 << 6;
        /// Locks it.
        NO_CAP_AMBIENT_RAISE_LOCKED = 1 << 7;
    }
}

/// `PR_SET_SECUREBITS`; wants `CAP_SETPCAP`, and `EPERM` when a locked bit would change.
pub fn set_secure_bits(bits: SecureBits) -> Result<()> {
    prctl(libc::PR_SET_SECUREBITS, libc::c_ulong::from(bits.bits())).map(drop)
}

/// `PR_GET_SECUREBITS`.
pub fn secure_bits() -> Result<SecureBits> {
    let bits = prctl(libc::PR_GET_SECUREBITS, 0)?;
    u32::try_from(bits).map(SecureBits).map_err(|_| Errno::EINVAL)
}

/// `PR_SET_KEEPCAPS`: capabilities survive the next change to an ordinary uid.
pub fn set_keep_caps(keep: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(keep)).map(drop)
}

/// `PR_SET_CHILD_SUBREAPER`, since Linux 3.4: orphans below this process become its children.
pub fn set_child_subreaper(reaper: bool) -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, libc::c_ulong::from(reaper)).map(drop)
}

/// Overwrites the arguments that `/proc/PID/cmdline` shows of the calling process with zeros.
///
/// A forked process shows its parent's, to everybody who sees its `/proc` entry, dumpable or not. The
/// kernel tells where they lie (fields 48 and 49 of `/proc/self/stat`, `proc(5)`); a process whose
/// `/proc` is not there keeps them. What `std::env::args` gives afterwards is made of them, so only a
/// process that will not ask again calls this.
pub fn irrevocably_clear_arguments() -> Result<()> {
    irrevocably_replace_arguments(c"")
}

/// As [`irrevocably_clear_arguments`], with a name in their place: cut where they were shorter.
pub fn irrevocably_replace_arguments(name: &CStr) -> Result<()> {
    let (start, end) = find_arguments()?;
    let length = end.checked_sub(start).filter(|length| *length <= 1 << 21).ok_or(Errno::EPROTO)?;
    let area = std::ptr::with_exposed_provenance_mut::<u8>(start);
    // SAFETY: the kernel says that the arguments of this process lie there, on its own initial stack,
    // which is writable and never unmapped; this process is a copy of its parent's and has one
    // thread, so nobody reads them meanwhile.
    unsafe { std::ptr::write_bytes(area, 0, length) };
    let name = name.to_bytes();
    // SAFETY: as above, and no more than lies there; a name of the program's own is not on its initial stack.
    unsafe { std::ptr::copy_nonoverlapping(name.as_ptr(), area, name.len().min(length)) };
    Ok(())
}

/// Where the arguments of this process lie. Asked once: whatever it forks has them in the same place.
pub fn find_arguments() -> Result<(usize, usize)> {
    static AREA: OnceLock<(usize, usize)> = OnceLock::new();
    if let Some(area) = AREA.get() {
        return Ok(*area);
    }
    let fields = super::open::read_whole("/proc/self/stat", 1024)?;
    argument_area(&fields).map(|area| *AREA.get_or_init(|| area)).ok_or(Errno::EPROTO)
}

/// Fields 48 and 49; the second field is in parentheses and may hold anything.
fn argument_area(stat: &[u8]) -> Option<(usize, usize)> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(after_name + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace().skip(45);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// `PR_SET_NAME`: what `ps` shows for this thread, cut to 15 bytes.
pub fn set_name(name: &CStr) -> Result<()> {
    Ok(rustix::thread::set_name(name)?)
}

/// Real, effective and saved ids of the calling thread at once, and no supplementary group where they are to go:
/// `setgroups(2)`, which is `EPERM` where `/proc/PID/setgroups` says `deny`, `setresgid(2)`, `setresuid(2)`.
pub fn take_ids(uid: Uid, gid: Gid, drop_groups: bool) -> Result<()> {
    if drop_groups {
        rustix::thread::set_thread_groups(&[])?;
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    Ok(rustix::thread::set_thread_res_uid(uid, uid, uid)?)
}

/// Joins a new, empty session keyring, so that the caller's keys are not the payload's.
///
/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)`; `ENOSYS` on a kernel without keys, `EDQUOT` when
/// the user has too many.
pub fn join_new_session_keyring() -> Result<()> {
    let join = libc::c_long::from(libc::KEYCTL_JOIN_SESSION_KEYRING);
    // SAFETY: a null name asks for an anonymous keyring; no memory is read.
    check(unsafe { libc::syscall(libc::SYS_keyctl, join, std::ptr::null::<libc::c_char>()) })
        .map(drop)
}

/// `personality(2)`: the execution domain and its flags such as `ADDR_NO_RANDOMIZE`.
pub fn personality() -> Result<u32> {
    // SAFETY: 0xffffffff only asks; no memory is involved.
    let value = check(unsafe { libc::personality(0xffff_ffff) })?;
    u32::try_from(value).map_err(|_| Errno::EINVAL)
}

/// Sets what [`personality`] reads.
pub fn set_personality(value: u32) -> Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::personality(libc::c_ulong::from(value)) }).map(drop)
}

/// What happens to the descriptors in a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CloseHow {
    Now,
    OnExec,
}

/// Marks every descriptor from number `first` upwards close-on-exec.
///
/// `close_range(2)` with `CLOSE_RANGE_CLOEXEC`, since Linux 5.11; without it, each descriptor
/// that `/proc/self/fd` lists; without that too, the error is `ENOSYS`.
pub fn set_cloexec_from(first: u32) -> Result<()> {
    close_range(first, u32::MAX, CloseHow::OnExec)
}

/// Whether something is open at a number.
pub fn is_open(number: u32) -> bool {
    // SAFETY: F_GETFD touches no memory and changes nothing.
    libc::c_int::try_from(number)
        .is_ok_and(|number| check(unsafe { libc::fcntl(number, libc::F_GETFD) }).is_ok())
}

/// Whether what is open at a number leads into a file tree: a directory, or anything opened with
/// `O_PATH`. `EBADF` when nothing is open there.
pub fn leads_into_a_tree(number: u32) -> Result<bool> {
    let number = libc::c_int::try_from(number).map_err(|_| Errno::EBADF)?;
    // SAFETY: F_GETFL touches no memory and changes nothing.
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFL) })?;
    let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `stat` is room for one struct stat.
    check(unsafe { libc::fstat(number, stat.as_mut_ptr()) })?;
    // SAFETY: plain integers, zeroed and then filled in by the kernel.
    let stat = unsafe { stat.assume_init() };
    let opened_as_path = flags & libc::c_long::from(libc::O_PATH) != 0;
    Ok(opened_as_path || stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// Takes the close-on-exec flag off a descriptor that is known by its number alone, as one that the
/// caller of the program named; `EBADF` when nothing is open there.
pub fn keep_on_exec(number: u32) -> Result<()> {
    let number = libc::c_int::try_from(number).map_err(|_| Errno::EBADF)?;
    // SAFETY: F_SETFD takes an integer and touches no memory; clearing the flag closes nothing.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }).map(drop)
}

/// Closes every descriptor from number `first` upwards but those of `keep`.
///
/// Every other `OwnedFd` of this process dangles afterwards (the standard library aborts when one
/// is dropped, in debug builds): a process calls it just before exec, or when it holds nothing
/// else that it will use or drop.
pub fn irrevocably_close_from(first: u32, keep: &[BorrowedFd<'_>]) -> Result<()> {
    irrevocably_close_but(first, keep, &[])
}

/// As [`irrevocably_close_from`], with descriptors to keep that are known by their numbers alone, as those
/// that the caller of the program named.
pub fn irrevocably_close_but(first: u32, keep: &[BorrowedFd<'_>], numbers: &[u32]) -> Result<()> {
    let mut kept: Vec<u32> =
        keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.extend(numbers.iter().filter(|number| **number >= first));
    kept.sort_unstable();
    let mut start = first;
    for number in kept {
        if number > start {
            close_range(start, number - 1, CloseHow::Now)?;
        }
        start = start.max(number + 1);
    }
    close_range(start, u32::MAX, CloseHow::Now)
}

fn close_range(first: u32, last: u32, how: CloseHow) -> Result<()> {
    let flags = match how {
        CloseHow::Now => 0,
        CloseHow::OnExec => libc::CLOSE_RANGE_CLOEXEC,
    };
    // SAFETY: no memory is involved; that nobody uses a descriptor of the range afterwards is
    // what the names and docs of the callers demand.
    match check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }) {
        // EINVAL: 5.9 and 5.10 have the call but not the flag.
        Err(Errno::ENOSYS | Errno::EINVAL) => close_listed(first, last, how),
        other => other.map(drop),
    }
}

/// The long way: what `/proc/self/fd` lists, read to the end before anything is closed.
fn close_listed(first: u32, last: u32, how: CloseHow) -> Result<()> {
    let listing = std::fs::read_dir("/proc/self/fd").map_err(|_| Errno::ENOSYS)?;
    let mut numbers = Vec::new();
    for entry in listing {
        let name = entry.map_err(|_| Errno::EIO)?.file_name();
        let number = name.to_str().and_then(|text| text.parse::<libc::c_int>().ok());
        numbers.push(number.ok_or(Errno::EIO)?);
    }
    for number in numbers {
        if !(i64::from(first)..=i64::from(last)).contains(&i64::from(number)) {
            continue;
        }
        let ret = match how {
            // SAFETY: as for close_range.
            CloseHow::Now => unsafe { libc::close(number) },
            // SAFETY: F_SETFD takes an integer and touches no memory.
            CloseHow::OnExec => unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) },
        };
        // The descriptor of the listing itself is gone already.
        if let Err(errno) = check(ret)
            && errno != Errno::EBADF
        {
            return Err(errno);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

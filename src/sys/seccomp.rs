//! `seccomp(2)`: installing a filter, and answering the calls that it hands to a supervisor.
//!
//! # Not here
//! What a filter says: `confine`. `no_new_privs`, which must be set before: `process`.

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::errno::{Errno, Result, check};

/// One instruction of classic BPF, `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How far to jump when true.
    pub jump_true: u8,
    /// How far to jump when false.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

impl Instruction {
    /// Reads a program from bytes in this machine's order, as libseccomp's `export_bpf` writes it;
    /// `None` when the length is no multiple of eight.
    pub fn read_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let (whole, rest) = bytes.as_chunks::<8>();
        rest.is_empty().then(|| {
            let read = |[a, b, jump_true, jump_false, k @ ..]: &[u8; 8]| Self {
                code: u16::from_ne_bytes([*a, *b]),
                jump_true: *jump_true,
                jump_false: *jump_false,
                operand: u32::from_ne_bytes(*k),
            };
            whole.iter().map(read).collect()
        })
    }
}

/// Puts a filter on the calling thread, for ever, and on all it will fork.
///
/// `EACCES` without `no_new_privs` (or `CAP_SYS_ADMIN`), `EINVAL` for a program that is empty,
/// too long (4096) or not valid.
pub fn irrevocably_install_filter(program: &[Instruction]) -> Result<()> {
    set_mode_filter(program, 0).map(drop)
}

/// As [`irrevocably_install_filter`], and returns the descriptor at which calls that the filter
/// answers with `SECCOMP_RET_USER_NOTIF` are to be answered.
///
/// Since Linux 5.0. `EBUSY` when a filter of this thread has a listener already. From 5.19 on, a
/// call being answered is interrupted only by a fatal signal (`WAIT_KILLABLE_RECV`), so that it is
/// not answered twice; older kernels go without.
pub fn irrevocably_install_notifying_filter(program: &[Instruction]) -> Result<OwnedFd> {
    let listen = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let killable = listen | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let raw = match set_mode_filter(program, killable) {
        Err(Errno::EINVAL) => set_mode_filter(program, listen),
        other => other,
    }?;
    let raw = i32::try_from(raw).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel made this descriptor for the caller, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn set_mode_filter(program: &[Instruction], flags: libc::c_ulong) -> Result<libc::c_long> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    // The kernel reads through the pointer, which is not const in the C structure.
    let filter = program.as_ptr().cast_mut().cast::<libc::sock_filter>();
    let prog = libc::sock_fprog { len: length, filter };
    let operation = libc::c_long::from(libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: `prog` points to `len` instructions, which have the layout of sock_filter and which
    // the kernel copies.
    check(unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const prog) })
}

/// Whether this kernel knows an action such as `SECCOMP_RET_USER_NOTIF`, since Linux 4.14.
pub fn action_available(action: u32) -> Result<bool> {
    let operation = libc::c_long::from(libc::SECCOMP_GET_ACTION_AVAIL);
    // SAFETY: the kernel reads one integer through the pointer.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, operation, 0_u64, &raw const action) };
    match check(ret) {
        Ok(_) => Ok(true),
        Err(Errno::EOPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A call that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// Names the waiting call.
    pub id: u64,
    /// The calling thread in the listener's pid namespace; 0 when it is not seen from there.
    pub pid: u32,
    /// The system call's number, of the architecture beside it.
    pub number: i32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// The six arguments. What a pointer points to can change at any moment: never decide by it.
    pub args: [u64; 6],
}

/// The descriptor at which a filter's notifications arrive; readable when there is one.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
}

impl Listener {
    /// Takes the descriptor, which may come from another process.
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The next waiting call; waits for one. `None` when the caller died before it was read.
    pub fn receive(&self) -> Result<Option<Notification>> {
        // The kernel demands zeroes here.
        let mut raw = MaybeUninit::<libc::seccomp_notif>::zeroed();
        match self.ioctl(libc::SECCOMP_IOCTL_NOTIF_RECV, raw.as_mut_ptr().cast()) {
            Ok(()) => {}
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        // SAFETY: plain integers, zeroed and then filled in by the kernel.
        let raw = unsafe { raw.assume_init() };
        Ok(Some(Notification {
            id: raw.id,
            pid: raw.pid,
            number: raw.data.nr,
            arch: raw.data.arch,
            args: raw.data.args,
        }))
    }

    /// Lets the call fail. `ENOENT` when its caller is gone.
    pub fn respond_errno(&self, id: u64, errno: Errno) -> Result<()> {
        self.respond(libc::seccomp_notif_resp { id, val: 0, error: -errno.raw(), flags: 0 })
    }

    /// Lets the call happen, since Linux 5.5. Never a decision about safety: another thread may
    /// change what the arguments point to before the kernel looks again.
    pub fn respond_continue(&self, id: u64) -> Result<()> {
        let flags =
            u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).map_err(|_| Errno::EINVAL)?;
        self.respond(libc::seccomp_notif_resp { id, val: 0, error: 0, flags })
    }

    /// Whether the call still waits, so that its `pid` is not another process by now.
    pub fn id_valid(&self, id: u64) -> Result<bool> {
        let mut id = id;
        match self.ioctl(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, (&raw mut id).cast()) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn respond(&self, mut response: libc::seccomp_notif_resp) -> Result<()> {
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_SEND, (&raw mut response).cast())
    }

    /// The request's number holds the size of what `argument` points to.
    fn ioctl(&self, request: libc::Ioctl, argument: *mut libc::c_void) -> Result<()> {
        loop {
            // SAFETY: the callers above pass the structure that belongs to each request, live and
            // writable, and the descriptor is open.
            match check(unsafe { libc::ioctl(self.fd.as_raw_fd(), request, argument) }) {
                Err(Errno::EINTR) => {}
                other => return other.map(drop),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const _: () = assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::{Cloned, fork};
    use crate::sys::pidfd::{self, Exit};
    use crate::sys::testing::{alone, filter_on, ordinary_user};
    use crate::sys::{process, socket};

    #[test]
    fn bytes_become_instructions() {
        let mut bytes = Vec::new();
        for (code, operand) in [(0x20_u16, 4_u32), (0x06, 0x7fff_0000)] {
            bytes.extend(code.to_ne_bytes());
            bytes.extend([1, 2]);
            bytes.extend(operand.to_ne_bytes());
        }
        let read = Instruction::read_all(&bytes).unwrap();
        let last = Instruction { code: 6, jump_true: 1, jump_false: 2, operand: 0x7fff_0000 };
        assert_eq!((read.len(), read[1]), (2, last));
        assert_eq!(Instruction::read_all(&bytes[1..]), None);
    }

    #[test]
    fn a_filter_refuses_its_call() {
        alone(module_path!(), "a_filter_refuses_its_call", || {
            ordinary_user();
            let filter = filter_on(libc::SYS_personality, libc::SECCOMP_RET_ERRNO | 0x26);
            assert_eq!(irrevocably_install_filter(&filter), Err(Errno::EACCES));
            assert!(process::personality().is_ok());
            process::irrevocably_set_no_new_privs().unwrap();
            assert_eq!(irrevocably_install_filter(&[]), Err(Errno::EINVAL));
            irrevocably_install_filter(&filter).unwrap();
            assert_eq!(process::personality(), Err(Errno::ENOSYS));
        });
    }

    #[test]
    fn a_supervisor_answers_a_notified_call() {
        alone(module_path!(), "a_supervisor_answers_a_notified_call", || {
            ordinary_user();
            assert_eq!(action_available(libc::SECCOMP_RET_USER_NOTIF), Ok(true));
            assert_eq!(action_available(0x1234_0000), Ok(false));
            let (ours, theirs) = socket::pair().unwrap();
            let Cloned::Parent { pid, pidfd } = fork().unwrap() else {
                process::irrevocably_set_no_new_privs().unwrap();
                let filter = filter_on(libc::SYS_personality, libc::SECCOMP_RET_USER_NOTIF);
                let listener = irrevocably_install_notifying_filter(&filter).unwrap();
                let second = irrevocably_install_notifying_filter(&filter);
                socket::send(&theirs, b"l", &[listener.as_fd()]).unwrap();
                drop(listener);
                let refused = process::personality() == Err(Errno::EXDEV);
                let allowed = process::personality().is_ok();
                let busy = second.is_err_and(|errno| errno == Errno::EBUSY);
                process::exit_now(u8::from(refused && allowed && busy));
            };
            let (_, mut fds) = socket::receive(&ours, &mut [0; 4]).unwrap();
            let listener = Listener::new(fds.remove(0));
            let call = listener.receive().unwrap().unwrap();
            assert_eq!(libc::c_long::from(call.number), libc::SYS_personality);
            assert_eq!(
                (call.pid, call.args[0]),
                (pid.as_raw_nonzero().get().cast_unsigned(), 0xffff_ffff)
            );
            assert_eq!(listener.id_valid(call.id), Ok(true));
            listener.respond_errno(call.id, Errno::EXDEV).unwrap();
            assert_eq!(listener.id_valid(call.id), Ok(false));
            let call = listener.receive().unwrap().unwrap();
            listener.respond_continue(call.id).unwrap();
            assert_eq!(pidfd::wait(pidfd), Ok(Exit::Code(1)));
        });
    }
}

//! The kernel's error numbers, with their names and their text.

use std::fmt;

/// Result of a call to the kernel.
pub type Result<T> = std::result::Result<T, Errno>;

/// An error number of the kernel, as `errno(3)` lists them.
///
/// It is a bare integer underneath, so that it can be sent from one process to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident)*) => {
        impl Errno {
            $(#[doc = concat!("`", stringify!($name), "`")] pub const $name: Self = Self(libc::$name);)*

            /// The symbolic name, such as `EPERM`; `UNKNOWN` for a number without one.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $(libc::$name => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

errnos! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT
    ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG
    ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY
    ELOOP ENOMSG EIDRM ENODATA ETIME ENOLINK EPROTO EBADMSG EOVERFLOW EILSEQ EUSERS ENOTSOCK
    EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP
    EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET
    ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETIMEDOUT ECONNREFUSED EHOSTDOWN
    EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE
    ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE
}

/// Why something failed that is more than one call: the errno, and what the kernel or a library said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the kernel answered; `EINVAL` when a library refused before asking it.
    pub errno: Errno,
    /// What was said besides, often nothing.
    pub said: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.errno)?;
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}

impl std::error::Error for Failure {}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { errno, said: String::new() }
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(errno: rustix::io::Errno) -> Self {
        Errno::from(errno).into()
    }
}

impl Failure {
    /// From an error of a library: the errno at the root of its chain, and its text.
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        let mut errno = Errno::EINVAL;
        while let Some(link) = cause {
            if let Some(raw) =
                link.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error)
            {
                errno = Errno::from_raw(raw);
            }
            cause = link.source();
        }
        Self { errno, said: error.to_string() }
    }
}

impl Errno {
    /// The error with this number.
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// The number, as it stands in `errno(3)`.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// What the last call of this thread through libc left behind.
    pub fn last() -> Self {
        Self(nix::errno::Errno::last_raw())
    }

    /// The text that `strerror(3)` has, beginning in lower case as our sentences do.
    pub fn description(self) -> String {
        let text = nix::errno::Errno::from_raw(self.0).desc();
        let mut letters = text.chars();
        match (letters.next(), letters.next()) {
            // "RFS specific error" keeps its capitals.
            (Some(first), Some(second)) if second.is_lowercase() => {
                format!("{}{}", first.to_lowercase(), &text[first.len_utf8()..])
            }
            _ => text.to_owned(),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "UNKNOWN" => write!(f, "errno {}", self.0),
            name => write!(f, "{name} ({})", self.description()),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl std::error::Error for Errno {}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(errno.raw_os_error())
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(errno: nix::errno::Errno) -> Self {
        Self(errno as i32)
    }
}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

/// Turns the `-1` of a libc function into the error that `errno` holds.
pub(super) fn check(ret: impl Into<libc::c_long>) -> Result<libc::c_long> {
    match ret.into() {
        -1 => Err(Errno::last()),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_prints_its_name_and_text() {
        assert_eq!(Errno::EPERM.to_string(), "EPERM (operation not permitted)");
        assert_eq!(Errno::from_raw(4095).to_string(), "errno 4095");
        assert_eq!(format!("{:?}", Errno::ENOSYS), "ENOSYS(38)");
    }

    #[test]
    fn errors_of_both_libraries_convert_to_the_same_number() {
        assert_eq!(Errno::from(rustix::io::Errno::XDEV), Errno::EXDEV);
        assert_eq!(Errno::from(nix::errno::Errno::EXDEV), Errno::EXDEV);
        assert_eq!(std::io::Error::from(Errno::EXDEV).raw_os_error(), Some(18));
    }

    #[test]
    fn check_reads_errno_only_on_minus_one() {
        // SAFETY: close(2) takes any integer; -1 is no descriptor, so none is closed.
        assert_eq!(check(unsafe { libc::close(-1) }), Err(Errno::EBADF));
        assert_eq!(check(7), Ok(7));
    }
}

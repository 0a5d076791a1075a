//! What a filter answers, and its spelling: `allow`, `errno EPERM`, `notify EPERM`, `trap`, `log`, `kill`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Action {
    /// The kernel carries it out.
    Allow,
    /// It fails with this errno.
    Errno(Errno),
    /// The supervisor is told and answers with this errno; where nobody listens it fails with it all the same.
    Notify(Errno),
    /// The thread gets SIGSYS.
    Trap,
    /// Carried out and logged by the kernel.
    Log,
    /// The thread is killed.
    KillThread,
    /// The process is killed.
    KillProcess,
}

impl Action {
    /// The action where nobody listens for notifications.
    #[must_use]
    pub fn unheard(self) -> Self {
        match self {
            Self::Notify(errno) => Self::Errno(errno),
            other => other,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => out.write_str("allow"),
            Self::Errno(errno) => write!(out, "errno {errno}"),
            Self::Notify(errno) => write!(out, "notify {errno}"),
            Self::Trap => out.write_str("trap"),
            Self::Log => out.write_str("log"),
            Self::KillThread => out.write_str("kill-thread"),
            Self::KillProcess => out.write_str("kill"),
        }
    }
}

impl From<Action> for String {
    fn from(action: Action) -> Self {
        action.to_string()
    }
}

/// A word that is no action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an action (`allow`, `errno NAME`, `notify NAME`, `trap`, `log`, `kill-thread`, `kill`)"
)]
pub struct NotAnAction(String);

impl FromStr for Action {
    type Err = NotAnAction;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotAnAction(text.chars().take(64).collect());
        let errno = |name: &str| name.parse::<Errno>().map_err(|_| wrong());
        match text.split_once(' ') {
            Some(("errno", name)) => Ok(Self::Errno(errno(name)?)),
            Some(("notify", name)) => Ok(Self::Notify(errno(name)?)),
            Some(_) => Err(wrong()),
            None => match text {
                "allow" => Ok(Self::Allow),
                "trap" => Ok(Self::Trap),
                "log" => Ok(Self::Log),
                "kill-thread" => Ok(Self::KillThread),
                "kill" => Ok(Self::KillProcess),
                _ => Err(wrong()),
            },
        }
    }
}

impl TryFrom<String> for Action {
    type Error = NotAnAction;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// An errno that a filter returns: 1 to 4,095, what the kernel can tell apart from a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(u16);

/// The names that policies use; any other errno is given by number. The numbers are those of the generic
/// table that x86 and Arm share.
const NAMES: &[(&str, u16)] = &[
    ("EPERM", 1),
    ("ENOENT", 2),
    ("ESRCH", 3),
    ("EINTR", 4),
    ("EIO", 5),
    ("ENXIO", 6),
    ("E2BIG", 7),
    ("EBADF", 9),
    ("ECHILD", 10),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("EFAULT", 14),
    ("EBUSY", 16),
    ("EEXIST", 17),
    ("EXDEV", 18),
    ("ENODEV", 19),
    ("ENOTDIR", 20),
    ("EISDIR", 21),
    ("EINVAL", 22),
    ("EMFILE", 24),
    ("ENOTTY", 25),
    ("ENOSPC", 28),
    ("EROFS", 30),
    ("ENOSYS", 38),
    ("ENODATA", 61),
    ("EPROTO", 71),
    ("EOVERFLOW", 75),
    ("EPROTONOSUPPORT", 93),
    ("ESOCKTNOSUPPORT", 94),
    ("EOPNOTSUPP", 95),
    ("EPFNOSUPPORT", 96),
    ("EAFNOSUPPORT", 97),
    ("EADDRNOTAVAIL", 99),
    ("ENETDOWN", 100),
    ("ENETUNREACH", 101),
    ("ECONNREFUSED", 111),
];

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Self = Self(1);
    /// No such call.
    pub const ENOSYS: Self = Self(38);
    /// Address family not supported.
    pub const EAFNOSUPPORT: Self = Self(97);

    /// `None` outside 1 to 4,095.
    pub const fn new(number: u64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        if 1 <= number && number <= 4095 { Some(Self(number as u16)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => out.write_str(name),
            None => write!(out, "{}", self.0),
        }
    }
}

/// A word that is no errno.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an errno")]
pub struct NotAnErrno;

impl FromStr for Errno {
    type Err = NotAnErrno;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((_, number)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*number));
        }
        text.parse().ok().and_then(Self::new).ok_or(NotAnErrno)
    }
}

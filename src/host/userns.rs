//! Why this machine makes no user namespace, from the errors of those who tried.
//!
//! # Theory of operation
//! `clone3(2)` with `CLONE_NEWUSER` has few errors and each of them several causes. The first guess
//! is by the errno alone; the files of `/proc/sys` then tell the causes apart, as far as they can be
//! read. AppArmor's restriction (Ubuntu) is special: the clone succeeds and the new namespace has no
//! capabilities, so that the first thing that needs one fails with `EACCES` or `EPERM`.

use std::fmt;

use crate::sys::errno::Errno;

use super::bounded::{self, SMALL};

/// Why there is no usable user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsernsProblem {
    /// `user.max_user_namespaces` is 0.
    Disabled,
    /// `user.max_user_namespaces` is reached, or that of another kind, here or further out.
    TooMany,
    /// Namespaces of another kind are switched off by this setting.
    Closed(&'static str),
    /// Namespaces are nested 32 deep already.
    TooDeep,
    /// `kernel.unprivileged_userns_clone` is 0 (Debian before 11, hardened kernels).
    Forbidden,
    /// AppArmor lets only programs with a profile use them (Ubuntu since 23.10).
    AppArmor,
    /// A filter of system calls refuses: bryo runs inside a container.
    Filtered,
    /// The caller's root is not the namespace's root: a chroot.
    Chroot,
    /// The caller's ids are not mapped in the namespace it is in.
    Unmapped,
    /// The kernel was built without them, or is too old.
    Unsupported,
    /// `RLIMIT_NPROC`, `pids.max` or memory stops the new process.
    NoProcess,
    /// `/proc` is not mounted, through which ids are mapped.
    NoProc,
    /// Something else.
    Other(
        /// The error's number.
        i32,
    ),
}

impl fmt::Display for UsernsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "user namespaces are switched off: `user.max_user_namespaces` is 0",
            Self::TooMany => {
                "there are as many namespaces as `user.max_user_namespaces`, or its like for another kind, allows"
            }
            Self::Closed(setting) => {
                return write!(f, "namespaces that a sandbox needs are switched off: `{setting}` is 0");
            }
            Self::TooDeep => "user namespaces are nested 32 deep here, and the kernel allows no more",
            Self::Forbidden => {
                "user namespaces are for root only: `kernel.unprivileged_userns_clone` is 0"
            }
            Self::AppArmor => {
                "AppArmor takes the capabilities of a user namespace from programs without a profile \
                 (`kernel.apparmor_restrict_unprivileged_userns` is 1)"
            }
            Self::Filtered => "a filter of system calls forbids user namespaces, as in a container",
            Self::Chroot => "user namespaces cannot be made in a chroot",
            Self::Unmapped => "the caller's own id is not mapped in the user namespace it is in",
            Self::Unsupported => "the kernel has no user namespaces",
            Self::NoProc => "`/proc` is not mounted, and ids are mapped through it",
            Self::NoProcess => {
                "no process can be made: a limit on processes or memory is reached"
            }
            Self::Other(raw) => {
                return write!(
                    f,
                    "a user namespace cannot be made: {}",
                    Errno::from_raw(*raw).description()
                );
            }
        })
    }
}

impl UsernsProblem {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Disabled | Self::TooMany | Self::Closed(_) | Self::Forbidden | Self::AppArmor => {
                "an administrator can allow them: `bryo doctor --fix-script` prints how"
            }
            Self::TooDeep => "run it outside of the sandboxes it is nested in",
            Self::Filtered => {
                "start the container with a seccomp profile that allows `clone3`, `unshare` and \
                 `mount` (Docker: `--security-opt seccomp=unconfined`; bryo: `--nesting`), or run bryo on the host"
            }
            Self::Chroot => "enter the tree by `pivot_root` or a container instead of `chroot`",
            Self::Unmapped => "run it as a user that the outer namespace maps",
            Self::Unsupported => "use a kernel with CONFIG_USER_NS",
            Self::NoProcess => {
                "raise `ulimit -u` or the control group's `pids.max`, or end other processes"
            }
            Self::NoProc => "mount a procfs at `/proc`",
            Self::Other(_) => "`bryo doctor` tries each part alone",
        }
    }
}

/// How many namespaces of each kind beside user namespaces there may be.
const OTHER_KINDS: [&str; 6] = [
    "user.max_mnt_namespaces",
    "user.max_pid_namespaces",
    "user.max_net_namespaces",
    "user.max_ipc_namespaces",
    "user.max_uts_namespaces",
    "user.max_cgroup_namespaces",
];

/// What the files of `/proc/sys` say. None: there is no such file, or it cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsernsSettings {
    /// `user.max_user_namespaces`.
    pub max_user_namespaces: Option<u64>,
    /// The first of `user.max_*_namespaces` for another kind that is 0.
    pub closed: Option<&'static str>,
    /// `kernel.unprivileged_userns_clone`.
    pub unprivileged_userns_clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`.
    pub apparmor_restricts: Option<u64>,
    /// Whether this process is under a filter of system calls.
    pub filtered: bool,
}

impl UsernsSettings {
    /// Reads them.
    pub fn probe() -> Self {
        Self {
            max_user_namespaces: read_number("/proc/sys/user/max_user_namespaces"),
            closed: OTHER_KINDS.into_iter().find(|setting| {
                read_number(&format!("/proc/sys/{}", setting.replace('.', "/"))) == Some(0)
            }),
            unprivileged_userns_clone: read_number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restricts: read_number(
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            ),
            filtered: super::status::probe()
                .is_ok_and(|status| status.seccomp_filters.is_some_and(|n| n > 0)),
        }
    }
}

/// A file of `/proc/sys` that holds one number.
pub fn read_number(path: &str) -> Option<u64> {
    let bytes = bounded::read_optional(path, SMALL).ok().flatten()?;
    std::str::from_utf8(bytes.trim_ascii()).ok()?.parse().ok()
}

/// Why `clone3` with a new user namespace failed, by its error and the settings of this machine.
pub fn explain_clone_error(errno: Errno) -> UsernsProblem {
    explain_clone(errno, &UsernsSettings::probe())
}

/// As [`explain_clone_error`], for given settings.
pub fn explain_clone(errno: Errno, settings: &UsernsSettings) -> UsernsProblem {
    match errno {
        // ENOSPC since Linux 4.9 for a limit, and for the depth, where EUSERS was before.
        Errno::ENOSPC | Errno::EUSERS if settings.max_user_namespaces == Some(0) => {
            UsernsProblem::Disabled
        }
        Errno::ENOSPC => match (settings.closed, settings.max_user_namespaces) {
            (Some(setting), _) => UsernsProblem::Closed(setting),
            (None, Some(_)) => UsernsProblem::TooMany,
            (None, None) => UsernsProblem::TooDeep,
        },
        Errno::EUSERS => UsernsProblem::TooDeep,
        Errno::EPERM if settings.unprivileged_userns_clone == Some(0) => UsernsProblem::Forbidden,
        Errno::EPERM | Errno::ENOSYS | Errno::EINVAL if settings.filtered => {
            UsernsProblem::Filtered
        }
        Errno::EPERM | Errno::EACCES if settings.apparmor_restricts == Some(1) => {
            UsernsProblem::AppArmor
        }
        // create_user_ns: EPERM for a chroot, and for ids that the outer namespace does not map.
        Errno::EPERM if has_unmapped_ids() => UsernsProblem::Unmapped,
        Errno::EPERM => UsernsProblem::Chroot,
        Errno::ENOSYS | Errno::EINVAL => UsernsProblem::Unsupported,
        Errno::EAGAIN | Errno::ENOMEM => UsernsProblem::NoProcess,
        other => UsernsProblem::Other(other.raw()),
    }
}

/// Why a new user namespace has no power although it was made: `errno` is of the first call that
/// needed a capability there (a map with more than one's own id, a mount), or of writing `uid_map`.
pub fn explain_powerless(errno: Errno, settings: &UsernsSettings) -> UsernsProblem {
    match errno {
        // Of opening `/proc/PID`: nothing else that is called here can fail so.
        Errno::ENOENT | Errno::ENOTDIR => UsernsProblem::NoProc,
        Errno::EACCES | Errno::EPERM if settings.apparmor_restricts == Some(1) => {
            UsernsProblem::AppArmor
        }
        Errno::EPERM | Errno::EACCES | Errno::ENOSYS if settings.filtered => {
            UsernsProblem::Filtered
        }
        // Other Linux security modules strip too; AppArmor is the one known to.
        Errno::EACCES => UsernsProblem::AppArmor,
        other => UsernsProblem::Other(other.raw()),
    }
}

/// Whether the caller appears as nobody, which it does when its id is not mapped.
fn has_unmapped_ids() -> bool {
    rustix::process::geteuid().as_raw() == 65_534 && !maps_everybody()
}

/// Whether this is the first user namespace, or one that maps every id as it does. Yes when in doubt.
pub(super) fn maps_everybody() -> bool {
    let map = bounded::read_optional("/proc/self/uid_map", SMALL).ok().flatten();
    map.is_none_or(|map| map_is_whole(&map))
}

fn map_is_whole(map: &[u8]) -> bool {
    let words: Vec<&[u8]> =
        map.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    words == [&b"0"[..], b"0", b"4294967295"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_from_the_others_by_the_settings() {
        let none = UsernsSettings::default();
        let max = |n| UsernsSettings { max_user_namespaces: Some(n), ..none };
        let filtered = UsernsSettings { filtered: true, ..max(9) };
        let shut = UsernsSettings { closed: Some(OTHER_KINDS[0]), ..max(9) };
        let debian = UsernsSettings { unprivileged_userns_clone: Some(0), ..max(9) };
        let ubuntu = UsernsSettings { apparmor_restricts: Some(1), ..max(9) };
        for (errno, settings, problem) in [
            (Errno::ENOSPC, max(0), UsernsProblem::Disabled),
            (Errno::ENOSPC, max(9), UsernsProblem::TooMany),
            (Errno::ENOSPC, shut, UsernsProblem::Closed(OTHER_KINDS[0])),
            (Errno::EUSERS, max(9), UsernsProblem::TooDeep),
            (Errno::EPERM, debian, UsernsProblem::Forbidden),
            (Errno::EPERM, filtered, UsernsProblem::Filtered),
            (Errno::ENOSYS, filtered, UsernsProblem::Filtered),
            (Errno::EACCES, ubuntu, UsernsProblem::AppArmor),
            (Errno::EPERM, max(9), UsernsProblem::Chroot),
            (Errno::EINVAL, none, UsernsProblem::Unsupported),
            (Errno::EAGAIN, none, UsernsProblem::NoProcess),
            (Errno::EIO, none, UsernsProblem::Other(5)),
        ] {
            assert_eq!(explain_clone(errno, &settings), problem, "{errno:?} {settings:?}");
        }
    }

    #[test]
    fn a_namespace_without_power_is_apparmors_unless_a_filter_is_there() {
        let ubuntu = UsernsSettings { apparmor_restricts: Some(1), ..UsernsSettings::default() };
        let filtered = UsernsSettings { filtered: true, ..UsernsSettings::default() };
        assert_eq!(explain_powerless(Errno::EPERM, &ubuntu), UsernsProblem::AppArmor);
        assert_eq!(explain_powerless(Errno::EACCES, &ubuntu), UsernsProblem::AppArmor);
        assert_eq!(explain_powerless(Errno::EPERM, &filtered), UsernsProblem::Filtered);
        assert_eq!(explain_powerless(Errno::ENOENT, &ubuntu), UsernsProblem::NoProc);
        assert_eq!(
            explain_powerless(Errno::EPERM, &UsernsSettings::default()),
            UsernsProblem::Other(1)
        );
    }

    #[test]
    fn texts_say_which_setting_and_keep_to_the_style() {
        for problem in [
            UsernsProblem::Disabled,
            UsernsProblem::TooMany,
            UsernsProblem::Closed(OTHER_KINDS[5]),
            UsernsProblem::TooDeep,
            UsernsProblem::Forbidden,
            UsernsProblem::AppArmor,
            UsernsProblem::Filtered,
            UsernsProblem::Chroot,
            UsernsProblem::Unmapped,
            UsernsProblem::Unsupported,
            UsernsProblem::NoProcess,
            UsernsProblem::NoProc,
            UsernsProblem::Other(5),
        ] {
            let text = problem.to_string();
            assert!(!text.ends_with('.') && !text.contains("  "), "{text}");
            assert!(!problem.hint().is_empty() && !problem.hint().ends_with('.'));
        }
        assert!(UsernsProblem::Other(5).to_string().ends_with("I/O error"));
    }
}

//! The flag that allows a refused system call.

/// What somebody who wants a call has to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// `--nesting`: it makes namespaces or mounts.
    Nesting,
    /// `--cap-add SYS_CHROOT`.
    Chroot,
    /// `--cap-add SYS_ADMIN`.
    Names,
    /// `--no-notify`: it listens to system calls itself.
    Listen,
    /// `--seccomp unconfined`: no flag allows this one alone.
    Unconfined,
    /// None: files with set-id bits are never made.
    SetId,
    /// None: what it does stays refused.
    Never,
}

impl Remedy {
    /// Of a call that the default policy refuses.
    pub fn of(call: &str) -> Self {
        match call {
            "clone" | "clone3" | "unshare" | "setns" | "mount" | "umount" | "umount2"
            | "pivot_root" | "fsopen" | "fsconfig" | "fsmount" | "fspick" | "move_mount"
            | "open_tree" | "open_tree_attr" | "mount_setattr" => Self::Nesting,
            "chroot" => Self::Chroot,
            "sethostname" | "setdomainname" => Self::Names,
            "seccomp" => Self::Listen,
            "chmod" | "fchmod" | "fchmodat" | "fchmodat2" | "mknod" | "mknodat" | "creat"
            | "open" | "openat" | "mkdir" | "mkdirat" => Self::SetId,
            // Typing into terminals.
            "ioctl" => Self::Never,
            _ => Self::Unconfined,
        }
    }

    /// The flag, when there is one.
    pub fn flag(self) -> Option<&'static str> {
        match self {
            Self::Nesting => Some("--nesting"),
            Self::Chroot => Some("--cap-add SYS_CHROOT"),
            Self::Names => Some("--cap-add SYS_ADMIN"),
            Self::Listen => Some("--no-notify"),
            Self::Unconfined => Some("--seccomp unconfined"),
            Self::SetId | Self::Never => None,
        }
    }

    /// What to do where there is no flag.
    pub fn instead(self) -> Option<&'static str> {
        match self {
            Self::SetId => {
                Some("no flag gives set-id bits; leave them out of the mode: chmod 0755")
            }
            _ => None,
        }
    }
}

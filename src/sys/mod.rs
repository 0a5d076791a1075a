//! The kernel, one file per subject: the only unsafe code of the crate.
//!
//! # Theory of operation
//! Every function is one call, or the few calls that make sense only together; it takes borrowed
//! descriptors, returns owned ones, and fails with an [`errno::Errno`]. Integers that mean
//! something have a type. Nothing here decides: what to call, and what to do when it fails, is
//! for the layers above.
//!
//! # Not here
//! Calls that `rustix` or `nix` have in a safe form that needs no more types: the callers use
//! them directly. Reading `/proc` and guessing what a host can do: `host`.

mod backtrace;
pub mod beside;
pub mod caps;
pub mod clone;
pub mod datagram;
pub mod errno;
pub mod event;
pub mod heap;
pub mod interfaces;
pub mod landlock;
pub mod lease;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod open;
pub mod pages;
pub mod pidfd;
pub mod process;
pub mod processors;
pub mod pty;
pub mod resource;
pub mod routes;
pub mod seccomp;
pub mod signal;
pub mod sock_diag;
pub mod socket;
pub mod stat;
pub mod tun;
pub mod umask;

#[cfg(test)]
pub(crate) mod testing;

/// Defines a set of kernel flags: a newtype with named constants, union, and membership.
macro_rules! flags {
    ($(#[$meta:meta])* $name:ident: $repr:ty { $($(#[$doc:meta])* $flag:ident = $value:expr;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name($repr);

        impl $name {
            $($(#[$doc])* pub const $flag: Self = Self($value);)*

            /// No flag.
            pub const fn empty() -> Self {
                Self(0)
            }

            /// The flags as the kernel takes them.
            pub const fn bits(self) -> $repr {
                self.0
            }

            /// The flags of both.
            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// Whether every flag of `other` is in `self`.
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether there is no flag in it.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }

        impl std::ops::BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let named = [$((stringify!($flag), Self::$flag)),*];
                let mut rest = self.0;
                let mut set = f.debug_set();
                for (name, flag) in named {
                    if !flag.is_empty() && self.contains(flag) {
                        set.entry(&format_args!("{name}"));
                        rest &= !flag.0;
                    }
                }
                if rest != 0 {
                    set.entry(&format_args!("{rest:#x}"));
                }
                set.finish()
            }
        }
    };
}
use flags;

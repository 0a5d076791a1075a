//! Limits: resource limits and the counters of a user namespace; the control group in [`group`].
//!
//! The first two are set by pid 1 inside the new user namespace. `RLIMIT_NPROC` then counts the processes of
//! that namespace alone (since Linux 5.14); set outside it would count all of the caller's.
//!
//! # Not here
//! The timeout and the floor of free space: the supervisor watches those (`supervise`).

mod dbus;
pub mod group;
mod scope;

use crate::plan::step::LimitStep;
use crate::spec::limits::Resource;
use crate::sys::errno::{Errno, Result};
use crate::sys::resource::{self, Limit};

/// Takes one step.
pub fn apply(step: &LimitStep) -> Result<()> {
    match step {
        LimitStep::Rlimit { resource, soft, hard } => {
            set_rlimit(*resource, Limit { soft: *soft, hard: *hard })
        }
        LimitStep::UserCount { name, value } => {
            std::fs::write(format!("/proc/sys/user/{}", name.name()), value.to_string())
                .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO.raw())))
        }
    }
}

/// Sets a limit and reads it back.
fn set_rlimit(which: Resource, limit: Limit) -> Result<()> {
    let which: resource::Resource = which.name().parse().map_err(|_| Errno::EINVAL)?;
    resource::set_limit(None, which, limit)?;
    if resource::get_limit(None, which)? == limit { Ok(()) } else { Err(Errno::EPERM) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_of_a_spec_is_one_of_the_kernel() {
        for resource in Resource::ALL {
            assert!(resource.name().parse::<resource::Resource>().is_ok(), "{}", resource.name());
        }
    }
}

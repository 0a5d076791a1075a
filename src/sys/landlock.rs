//! Which Landlock this kernel has. Rules and rulesets: the `landlock` crate, in `confine`.

use super::errno::{Errno, Result, check};

/// The version of Landlock's ABI, from 1 (Linux 5.13) upwards.
///
/// `landlock_create_ruleset(2)` with `LANDLOCK_CREATE_RULESET_VERSION`. `ENOSYS` on a kernel built
/// without it, `EOPNOTSUPP` on one that was booted without it.
pub fn abi() -> Result<u32> {
    const VERSION: u32 = 1;
    let attr = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the attributes must be null and of size 0; nothing is created.
    let ret = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attr, 0_usize, VERSION) };
    u32::try_from(check(ret)?).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_abi_is_a_version_or_a_clean_refusal() {
        match abi() {
            Ok(version) => assert!(version >= 1),
            Err(errno) => assert!([Errno::ENOSYS, Errno::EOPNOTSUPP].contains(&errno)),
        }
    }
}

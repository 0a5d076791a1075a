//! Who somebody is by the system's own book-keeping, `getpwuid_r(3)`.
//!
//! # Not here
//! `geteuid`, `getegid`, `getgroups`: `rustix::process` has them as they are. Every home that
//! `/etc/passwd` names: `host`.

use std::path::PathBuf;

use rustix::fs::Uid;

use super::errno::Result;

/// A line of the user database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswdEntry {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
}

/// The entry of a user, `None` when the database has none.
///
/// It asks every source that `nsswitch.conf` names, which may load libraries, talk to daemons and
/// take long: never in a process that was forked, and not where the id alone will do.
pub fn passwd_entry(uid: Uid) -> Result<Option<PasswdEntry>> {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid.as_raw()))?;
    Ok(user.map(|user| PasswdEntry {
        name: user.name,
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        home: user.dir,
        shell: user.shell,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_in_the_book_and_a_made_up_id_is_not() {
        let root = passwd_entry(Uid::ROOT).unwrap().unwrap();
        assert_eq!((root.name.as_str(), root.uid, root.gid), ("root", 0, 0));
        assert_eq!(passwd_entry(Uid::from_raw(3_999_999_999)), Ok(None));
    }
}

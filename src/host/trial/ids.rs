//! Subordinate ids, mapped by the helpers.

use std::process::{Command, Stdio};

use crate::plan::facts::{Helper, IdRange, Subids};
use crate::sys::clone::{CloneFlags, Cloned, assert_single_threaded, clone3};

use super::super::subid::output_of;
use super::{TrialError, end};

/// How mapping the ranges went: whether each helper succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRanges {
    /// `newuidmap`.
    pub uids: bool,
    /// `newgidmap`.
    pub gids: bool,
}

/// Has the helpers map the caller's id and its first ranges for a child. `Err(None)` when a helper or
/// a range is missing, so that there is nothing to try.
pub fn try_subids(subids: &Subids) -> Result<IdRanges, Option<TrialError>> {
    let (Helper::Ready(for_users), Helper::Ready(for_groups)) =
        (&subids.newuidmap, &subids.newgidmap)
    else {
        return Err(None);
    };
    let (Some(uids), Some(gids)) = (subids.uids.first(), subids.gids.first()) else {
        return Err(None);
    };
    assert_single_threaded().map_err(|error| Some(TrialError::Threads(error)))?;
    let cloned = clone3(CloneFlags::NEW_USER, None);
    match cloned.map_err(|errno| Some(TrialError::Clone(errno)))? {
        Cloned::Child => loop {
            rustix::event::pause();
        },
        Cloned::Parent { pid, pidfd } => {
            let pid = pid.as_raw_pid().to_string();
            let uid = rustix::process::geteuid().as_raw();
            let gid = rustix::process::getegid().as_raw();
            let outcome = IdRanges {
                uids: map(for_users.as_path(), &pid, uid, *uids),
                gids: map(for_groups.as_path(), &pid, gid, *gids),
            };
            end(&pidfd);
            Ok(outcome)
        }
    }
}

/// One own id as 0 and a range from 1 on, as a run with `--ids subid` has it. A helper that asks a name
/// service may take long: it is not waited for without end.
fn map(helper: &std::path::Path, pid: &str, own: u32, range: IdRange) -> bool {
    let numbers = [0, own, 1, 1, range.first, range.count].map(|number| number.to_string());
    let mut command = Command::new(helper);
    command.arg(pid).args(numbers).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    output_of(&mut command).is_some()
}

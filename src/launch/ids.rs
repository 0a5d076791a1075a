//! Id maps of a new user namespace: written here, or by the helpers that may write more.

use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::{LaunchError, kind_name};
use crate::plan::step::{IdKind, IdMapping, IdsStep};
use crate::spec::Text;
use crate::sys::errno::Errno;
use crate::sys::namespace::{self, IdMap};

/// Takes a step on the id maps of a process that was just cloned.
pub(super) fn map(pid: Pid, step: &IdsStep) -> Result<(), LaunchError> {
    let process = || namespace::open_proc_dir(pid).map_err(LaunchError::Map);
    match step {
        IdsStep::DenySetgroups => namespace::deny_setgroups(process()?).map_err(LaunchError::Map),
        IdsStep::WriteMaps { uid, gid } => {
            let process = process()?;
            namespace::write_id_map(&process, IdMap::Uid, &line(uid)).map_err(LaunchError::Map)?;
            namespace::write_id_map(&process, IdMap::Gid, &line(gid)).map_err(LaunchError::Map)
        }
        IdsStep::WriteMap { kind, map } => {
            let file = match kind {
                IdKind::User => IdMap::Uid,
                IdKind::Group => IdMap::Gid,
            };
            let lines: Vec<String> = map.iter().map(line).collect();
            namespace::write_id_map(process()?, file, &lines.join("\n")).map_err(LaunchError::Map)
        }
        IdsStep::RunHelper { program, kind, map } => {
            let numbers = map.iter().flat_map(|map| [map.inside, map.outside, map.count]);
            let output = Command::new(program.as_path())
                .arg(pid.as_raw_nonzero().to_string())
                .args(numbers.map(|number| number.to_string()))
                .env_clear()
                .stdin(Stdio::null())
                .output()
                .map_err(|error| {
                    LaunchError::Map(Errno::from_raw(
                        error.raw_os_error().unwrap_or(Errno::EIO.raw()),
                    ))
                })?;
            if output.status.success() {
                return Ok(());
            }
            let said = output.stderr.split(|byte| *byte == b'\n').next().unwrap_or_default();
            Err(LaunchError::Helper {
                kind: kind_name(*kind),
                program: Text::from(program.as_path().as_os_str().to_owned()),
                said: Text::from(String::from_utf8_lossy(said).into_owned()),
            })
        }
    }
}

fn line(map: &IdMapping) -> String {
    format!("{} {} {}", map.inside, map.outside, map.count)
}

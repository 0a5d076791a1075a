//! The places of the host that sandboxes write directly (`--write`, `-v`): a link there may be a payload's, and no copy
//! follows it.

use crate::archive::Shared;
use crate::ops::error::OpsError;
use crate::ops::stores::Here;
use crate::spec::HostPath;
use crate::spec::rootfs::{Access, VolumeMode};
use crate::state::Record;

/// The directories of `--write` and `--volume` of every sandbox that is known: what one has planted, a copy of another
/// follows no more than its own. A run in the foreground that leaves nothing has no record, and is not known.
pub(super) fn look(here: &Here) -> Result<Shared, OpsError> {
    let mut paths = Vec::new();
    for found in here.stores.list()? {
        // One that was removed meanwhile, or cannot be read, has nobody who could be asked.
        let Ok(record) = found.record() else { continue };
        paths.extend(of_record(&record, here.home.as_ref()));
    }
    Ok(Shared::look(paths.iter().map(HostPath::as_path)))
}

/// By the spec of the run.
fn of_record(record: &Record, home: Option<&HostPath>) -> Vec<HostPath> {
    let rootfs = &record.spec.rootfs;
    let asked = rootfs.requests.iter().filter(|request| request.access == Access::Write);
    let asked = asked.filter_map(|request| request.path.resolve(home, record.from.as_ref()));
    let volumes = rootfs.volumes.iter().filter(|volume| volume.mode == VolumeMode::Rw);
    asked.chain(volumes.map(|volume| volume.source.clone())).collect()
}

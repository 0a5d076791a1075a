//! What of the host a sandbox writes without a layer between.

use crate::archive::Shared;
use crate::spec::HostPath;
use crate::spec::rootfs::{Access, VolumeMode};
use crate::state::Record;

/// The directories of `--write` and `--volume`, by the spec of the run.
pub(super) fn look(record: &Record, home: Option<&HostPath>) -> Shared {
    let rootfs = &record.spec.rootfs;
    let asked = rootfs.requests.iter().filter(|request| request.access == Access::Write);
    let asked = asked.filter_map(|request| request.path.resolve(home, record.from.as_ref()));
    let volumes = rootfs.volumes.iter().filter(|volume| volume.mode == VolumeMode::Rw);
    let paths: Vec<HostPath> = asked.chain(volumes.map(|volume| volume.source.clone())).collect();
    Shared::look(paths.iter().map(HostPath::as_path))
}

//! The places of the host that sandboxes write directly (`--write`, `-v`), or could: a link there may be a payload's, and no
//! copy follows it out of what that one could write.

use crate::archive::Shared;
use crate::host::{Probe, written};
use crate::ops::error::OpsError;
use crate::ops::stores::Here;
use crate::spec::HostPath;
use crate::spec::rootfs::{Access, VolumeMode};
use crate::state::Record;

/// The directories of `--write` and `--volume` of every sandbox that is known, and what the stores have noted of those that
/// left no record: what one has planted, a copy of another follows no more than its own.
pub(super) fn look(here: &Here) -> Result<Shared, OpsError> {
    let mut sandboxes = Vec::new();
    for found in here.stores.list()? {
        // One that was removed meanwhile, or cannot be read, is noted.
        let Ok(record) = found.record() else { continue };
        sandboxes.push(of_record(&record, here.home.as_ref()));
    }
    let mut probe = Probe::blind();
    probe.store_places()?;
    for store in probe.finish().stores {
        sandboxes.extend(written::recall(&store.path)?.into_iter().map(|run| run.places));
    }
    Ok(Shared::look(sandboxes.iter().map(|paths| paths.iter().map(HostPath::as_path))))
}

/// By the spec of the run.
fn of_record(record: &Record, home: Option<&HostPath>) -> Vec<HostPath> {
    let rootfs = &record.spec.rootfs;
    let asked = rootfs.requests.iter().filter(|request| request.access == Access::Write);
    let asked = asked.filter_map(|request| request.path.resolve(home, record.from.as_ref()));
    let volumes = rootfs.volumes.iter().filter(|volume| volume.mode == VolumeMode::Rw);
    asked.chain(volumes.map(|volume| volume.source.clone())).collect()
}

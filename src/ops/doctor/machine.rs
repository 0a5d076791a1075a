//! Everything `doctor` looks at, read and tried once.

use rustix::net::{AddressFamily, SocketType, ipproto, socket};

use crate::host::fuse::{self, Device, Version};
use crate::host::missing::{MissingCall, probe_missing_call};
use crate::host::subid::first_free;
use crate::host::trial::{
    Confinement, IdRanges, NamespaceTrials, Told, TrialError, try_confinement, try_namespaces,
    try_store, try_subids,
};
use crate::host::userns::{UsernsSettings, read_number};
use crate::host::{HostError, Own, Probe, is_in_sandbox, tool};
use crate::plan::Facts;
use crate::plan::facts::StoreState;
use crate::spec::HostPath;
use crate::spec::net::Tool;

use super::PackageManager;

/// Where `doctor` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// On a machine, or in a container.
    Machine,
    /// In a sandbox of bryo's.
    Sandbox,
}

/// What was seen.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What reading tells.
    pub facts: Facts,
    /// What could not be read, and why.
    pub unread: Vec<HostError>,
    /// A call that is not there, and that a run cannot do without.
    pub missing_call: Option<MissingCall>,
    /// Namespaces and mounts.
    pub namespaces: NamespaceTrials,
    /// Landlock and seccomp.
    pub confinement: Result<Confinement, TrialError>,
    /// The settings that forbid user namespaces.
    pub settings: UsernsSettings,
    /// The first store that can be used, and whether the kernel takes it for an upper layer.
    pub store: Option<(HostPath, Result<Told, TrialError>)>,
    /// Whether the helpers map the ranges; none when there was nothing to try.
    pub subids: Option<Result<IdRanges, TrialError>>,
    /// Whether a service manager of the user runs.
    pub service_manager: bool,
    /// Whether `/dev/net/tun` can be opened.
    pub tun: bool,
    /// Whether an echo socket can be had (`net.ipv4.ping_group_range`).
    pub ping: bool,
    /// The programs that could connect a network, where each is, and what it says that it is.
    pub tools: Vec<(Tool, Option<HostPath>, Option<String>)>,
    /// What fuse-overlayfs says that it is.
    pub fuse_version: Option<Version>,
    /// Where bryo itself is.
    pub program: Option<HostPath>,
    /// What installs packages here.
    pub packages: Option<PackageManager>,
    /// Where a new range of subordinate ids could begin.
    pub first_free_subid: u64,
    /// `kernel.threads-max`.
    pub threads_max: Option<u64>,
    /// Where all this was seen.
    pub place: Where,
}

impl Machine {
    /// Looks at this machine. What cannot be read is noted, and the rest is looked at.
    pub fn look() -> Self {
        let mut unread = Vec::new();
        let mut probe = Probe::begin().unwrap_or_else(|error| {
            unread.push(error);
            Probe::blind()
        });
        let caller = probe.facts().caller.clone();
        unread.extend(probe.mounts().err());
        unread.extend(probe.stores().err());
        unread.extend(probe.account(caller.uid, caller.gid).err());
        unread.extend(probe.subids().err());
        probe.kernel_overlay();
        probe.fuse();
        unread.extend(probe.groups(Own::AsSeen).err());
        let packages = PackageManager::ALL
            .into_iter()
            .find(|manager| probe.find_program(manager.program()).is_some());
        let service_manager = probe.service_manager().is_some();
        let tools = Tool::ALL.map(|tool| {
            let program = probe.find_program(tool.name());
            let version = program.as_ref().and_then(tool::version);
            (tool, program, version)
        });
        let facts = probe.finish();
        Self {
            missing_call: probe_missing_call(),
            namespaces: try_namespaces(),
            confinement: try_confinement(),
            settings: UsernsSettings::probe(),
            store: look_at_store(&facts),
            subids: facts.subids.as_ref().and_then(|subids| match try_subids(subids) {
                Ok(outcome) => Some(Ok(outcome)),
                Err(error) => error.map(Err),
            }),
            service_manager,
            tun: Device::Tun.can_open(),
            ping: can_ping(),
            tools: tools.to_vec(),
            fuse_version: facts
                .fuse
                .as_ref()
                .and_then(|fuse| fuse.program.as_ref())
                .and_then(fuse::version),
            program: own_program(),
            packages,
            first_free_subid: first_free(),
            threads_max: read_number("/proc/sys/kernel/threads-max"),
            place: if is_in_sandbox() { Where::Sandbox } else { Where::Machine },
            facts,
            unread,
        }
    }
}

/// Tries the first store that can be used, or the directory in which it would be made.
fn look_at_store(facts: &Facts) -> Option<(HostPath, Result<Told, TrialError>)> {
    let store = facts.stores.iter().find(|store| store.state == StoreState::Usable)?;
    let mut above = std::iter::once(store.path.clone()).chain(store.path.ancestors());
    let directory = above.find(|path| path.as_path().is_dir())?;
    Some((store.path.clone(), try_store(&directory)))
}

/// Opens one and closes it; nothing is sent.
fn can_ping() -> bool {
    socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP)).is_ok()
}

/// Where this program lies; the link is the kernel's own.
fn own_program() -> Option<HostPath> {
    std::env::current_exe().ok().and_then(|path| HostPath::new(path).ok())
}

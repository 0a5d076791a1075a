//! Collects facts one by one, so that each run pays for what it needs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use foldhash::{HashMap, HashMapExt as _};

use crate::plan::facts::{DiskOf, Facts, HostDirectory, Kernel, Kind, Mount, NetworkTool};
use crate::plan::step::Named;
use crate::spec::HostPath;
use crate::spec::limits::Resource;
use crate::spec::net::Tool;
use crate::spec::order;
use crate::spec::rootfs::Pattern;

use super::cgroup::{self, Own};
use super::passwd::NameService;
use super::place::LookInto;
use super::resolve::{Last, Resolver, Seen, look, split_last};
use super::status::ProcessStatus;
use super::store::Variables;
use super::wildcard::{Expander, Sought};
use super::{
    HostError, caller, disk, fuse, kernel, lookup, mountinfo, passwd, place, refuted, sockets,
    split, status, stdio, store, subid, twins, warned,
};

/// Facts in the making. Every method adds one of them and can be called in any order, but for those
/// that say otherwise.
#[derive(Debug)]
pub struct Probe {
    status: ProcessStatus,
    pub(super) resolver: Resolver,
    passwd: Option<Rc<[u8]>>,
    names: NameService,
    own_homes: Option<Rc<[HostPath]>>,
    /// How many of each kind of path [`Probe::directories`] knew.
    counted: [usize; 4],
    /// What the sandbox named that goes on.
    pub(super) known: Vec<Named>,
    pub(super) facts: Facts,
}

impl Probe {
    /// What every run needs: the kernel's release, the caller, the standard descriptors.
    pub fn begin() -> Result<Self, HostError> {
        Ok(Self::with(status::probe()?, kernel::probe_release()?))
    }

    /// As [`Probe::begin`] where `/proc` is not there, or is not wanted: what it would tell is unknown.
    pub fn blind() -> Self {
        Self::with(ProcessStatus::default(), kernel::probe_release().unwrap_or_default())
    }

    fn with(status: ProcessStatus, kernel: Kernel) -> Self {
        let (mut resolver, mut names) = (Resolver::default(), NameService::default());
        let facts = Facts {
            kernel,
            memory: kernel::probe_memory(),
            caller: caller::probe(&status, &mut names, &mut resolver),
            stdio: stdio::probe(),
            background: stdio::probe_background(),
            ..Facts::default()
        };
        Self {
            status,
            resolver,
            passwd: None,
            names,
            own_homes: None,
            counted: [0; 4],
            known: Vec::new(),
            facts,
        }
    }

    /// What is known so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How the kernel sees this process, for [`refuted::remember`].
    pub fn status(&self) -> &ProcessStatus {
        &self.status
    }

    /// The mount table, and whether a procfs can be mounted, which it tells.
    pub fn mounts(&mut self) -> Result<(), HostError> {
        let lines = mountinfo::probe()?;
        self.facts.procfs_mountable = Some(kernel::assume_procfs(&lines));
        self.facts.twins = twins::find(&lines);
        self.facts.mounts = lines.into_iter().map(|line| line.mount).collect();
        Ok(())
    }

    /// The entries of `/`.
    pub fn root_entries(&mut self) -> Result<(), HostError> {
        self.facts.root_entries = place::probe_root_entries(&mut self.resolver)?;
        Ok(())
    }

    /// What stands at a path. Asked once more, it is not looked at again.
    pub fn place(&mut self, asked: &HostPath, look_into: LookInto) {
        if self.facts.place(asked).is_none() {
            let place = place::probe(asked, &self.facts.caller, look_into, &mut self.resolver);
            self.facts.places.push(place);
        }
    }

    /// What the patterns of secrets, hidden places and warnings match. After [`Probe::mounts`], whose twins secrets have.
    pub fn patterns(
        &mut self,
        secrets: &[Pattern],
        hidden: &[Pattern],
        warned: &[Pattern],
    ) -> Result<(), HostError> {
        let homes = self.own_homes()?;
        if self.names.is_silent() && !secrets.is_empty() {
            return Err(HostError::Silent { uid: self.facts.caller.uid });
        }
        let elsewhere =
            homes.iter().flat_map(|home| secrets.iter().filter_map(|one| one.below_home(home)));
        let mut secrets: Vec<Pattern> = secrets.iter().cloned().chain(elsewhere).collect();
        let mut expander = Expander::new(&self.facts.caller, &mut self.resolver);
        let mut found = expander.expand(&secrets, Sought::Secrets)?;
        let places = found.there.iter().map(|found| &found.path).chain(&found.absent);
        let twins = &self.facts.twins;
        let twins: Vec<HostPath> = places.flat_map(|path| twins::names_of(path, twins)).collect();
        if !twins.is_empty() {
            secrets.extend(twins.iter().map(Pattern::literal));
            found = expander.expand(&secrets, Sought::Secrets)?;
        }
        let hidden = expander.expand(hidden, Sought::Others)?;
        let told = expander.expand(warned, Sought::Others)?.there;
        self.facts.absent = order::merged(found.absent, hidden.absent);
        self.facts.secrets = found.there;
        self.facts.hidden = hidden.there;
        let told = told.into_iter().filter(warned::is_told);
        self.facts.warned = told.map(|found| found.path).collect();
        Ok(())
    }

    /// Directories that no overlay can take whole, real paths; and whether the mounts in them can be
    /// entered. After [`Probe::mounts`].
    pub fn split(&mut self, directories: &[HostPath]) -> Result<(), HostError> {
        for mount in &mut self.facts.mounts {
            if mount.at.parent().is_some_and(|parent| directories.contains(&parent)) {
                mount.enterable = is_enterable(mount);
            }
        }
        for path in directories {
            let found = split::probe(path, &self.facts.caller, &mut self.resolver)?;
            self.facts.split.extend(found);
        }
        Ok(())
    }

    /// Sockets below trees that are bound bare, of which the `written` ones are searched; real paths.
    pub fn sockets(&mut self, trees: &[HostPath], written: &[HostPath]) -> Result<(), HostError> {
        self.facts.sockets = sockets::probe(trees, written, &mut self.resolver)?;
        Ok(())
    }

    /// Homes of others.
    pub fn other_homes(&mut self) -> Result<(), HostError> {
        let passwd = self.passwd()?;
        self.facts.other_homes =
            passwd::probe_other_homes(&passwd, &self.facts.caller, &mut self.resolver);
        Ok(())
    }

    /// Directories that could hold layers, and what is remembered in the first that can be used.
    pub fn stores(&mut self) -> Result<(), HostError> {
        use crate::plan::facts::StoreState;
        self.store_places()?;
        let first = self.facts.stores.iter().find(|store| store.state == StoreState::Usable);
        if let Some(store) = first {
            self.facts.refuted = refuted::recall(&store.path, &self.status);
        }
        Ok(())
    }

    /// Where the caller's stores are: [`Self::stores`] for who starts nothing.
    pub fn store_places(&mut self) -> Result<(), HostError> {
        let variables = Variables::from_environment();
        let homes = self.own_homes()?;
        self.facts.stores =
            store::probe(&variables, &self.facts.caller, &homes, &mut self.resolver)?;
        Ok(())
    }

    /// The ABI of Landlock; 0 when the kernel has none, or a filter hides it.
    pub fn landlock_abi(&mut self) {
        self.facts.landlock_abi = Some(crate::sys::landlock::abi().unwrap_or(0));
    }

    /// Whether a seccomp listener can be had.
    pub fn seccomp_notify(&mut self) {
        self.facts.seccomp_notify =
            Some(kernel::assume_seccomp_notify(self.facts.kernel, &self.status));
    }

    /// Whether the kernel mounts overlays in a user namespace.
    pub fn kernel_overlay(&mut self) {
        self.facts.kernel_overlay = Some(kernel::assume_overlay(self.facts.kernel));
    }

    /// fuse-overlayfs.
    pub fn fuse(&mut self) {
        self.facts.fuse = Some(fuse::probe(&mut self.resolver));
    }

    /// `/dev/net/tun`.
    pub fn tun(&mut self) {
        self.facts.tun = Some(fuse::Device::Tun.can_open());
    }

    /// The program that connects a network.
    pub fn network_tool(&mut self, tool: Tool) {
        let program = self.find_program(tool.name());
        self.facts.network_tool = Some(NetworkTool { program });
    }

    /// How names are made whole here.
    pub fn lookup(&mut self) {
        self.facts.lookup = Some(lookup::probe());
    }

    /// How the caller and the ids inside are called.
    pub fn account(&mut self, uid_inside: u32, gid_inside: u32) -> Result<(), HostError> {
        let passwd = self.passwd()?;
        let own = self.names.line(&passwd, self.facts.caller.uid, &mut self.resolver);
        self.facts.account =
            passwd::probe_account(&passwd, &own, &self.facts.caller, uid_inside, gid_inside)?;
        Ok(())
    }

    /// The text of `/etc/passwd`, read once.
    fn passwd(&mut self) -> Result<Rc<[u8]>, HostError> {
        if let Some(passwd) = &self.passwd {
            return Ok(Rc::clone(passwd));
        }
        let passwd: Rc<[u8]> = passwd::read_passwd()?.into();
        self.passwd = Some(Rc::clone(&passwd));
        Ok(passwd)
    }

    /// The caller's own homes, looked at once.
    pub(super) fn own_homes(&mut self) -> Result<Rc<[HostPath]>, HostError> {
        if let Some(homes) = &self.own_homes {
            return Ok(Rc::clone(homes));
        }
        let passwd = self.passwd()?;
        let caller = &self.facts.caller;
        let own = self.names.line(&passwd, caller.uid, &mut self.resolver);
        let homes: Rc<[HostPath]> =
            passwd::probe_own_homes(&passwd, &own, caller, &mut self.resolver).into();
        self.own_homes = Some(Rc::clone(&homes));
        Ok(homes)
    }

    /// Subordinate ids. After [`Probe::account`], whose name they are listed under.
    pub fn subids(&mut self) -> Result<(), HostError> {
        let facts = &self.facts;
        let subids = subid::probe(&facts.caller, &facts.account, &self.status, &mut self.resolver)?;
        self.facts.subids = Some(subids);
        Ok(())
    }

    /// Control groups; whether somebody says that the one of this process is delegated. After [`Probe::mounts`].
    pub fn groups(&mut self, own: Own) -> Result<(), HostError> {
        let socket = self.service_manager();
        let groups = cgroup::probe(&self.facts.mounts, self.facts.caller.uid, socket, own)?;
        self.facts.groups = Some(groups);
        Ok(())
    }

    /// What shares disks by weight. After [`Probe::groups`].
    pub fn weighers(&mut self) {
        if let Some(groups) = &mut self.facts.groups {
            groups.weighers = disk::probe_weighers(groups.mount.as_ref());
        }
    }

    /// The caller's own limits, and who gets core dumps where they allow no files of them.
    pub fn ceilings(&mut self, resources: &[Resource]) {
        self.facts.caller.ceilings = caller::probe_ceilings(resources);
        if self.facts.caller.ceiling(Resource::Core) == Some(0) {
            self.facts.core_handler = Some(kernel::probe_core_handler());
        }
    }

    /// The disk of a place.
    pub fn disk(&mut self, place: HostPath) {
        let disk = disk::probe(&place);
        self.facts.disks.push(DiskOf { place, disk });
    }

    /// Where the caller's service manager listens, if one runs.
    pub fn service_manager(&mut self) -> Option<HostPath> {
        let variable = std::env::var_os("XDG_RUNTIME_DIR").and_then(|dir| HostPath::new(dir).ok());
        let usual = HostPath::new(format!("/run/user/{}", self.facts.caller.uid)).ok();
        variable.into_iter().chain(usual).find_map(|dir| {
            let path = dir.join("systemd/private").ok()?;
            let is_socket = self.resolver.resolve(&path, Last::Follow).kind == Kind::Socket;
            is_socket.then_some(path)
        })
    }

    /// A program in a place that only root writes.
    pub fn find_program(&mut self, name: &str) -> Option<HostPath> {
        fuse::find_program(name, &mut self.resolver).map(|(path, _)| path)
    }

    /// All of it.
    pub fn finish(mut self) -> Facts {
        self.directories();
        self.facts
    }

    /// The directories above every path that was found so far. What was there when this was called
    /// before is not gone through again.
    pub fn directories(&mut self) {
        let facts = &self.facts;
        let found =
            [facts.places.len(), facts.secrets.len(), facts.hidden.len(), facts.absent.len()];
        if found == self.counted {
            return;
        }
        self.counted = found;
        let places = facts.places.iter().map(|place| (&place.real, &place.kind));
        let matches = facts.secrets.iter().chain(&facts.hidden).map(|m| (&m.path, &m.kind));
        let absent = facts.absent.iter().map(|path| (path, &Kind::Absent));
        let mut modes: HashMap<&[u8], Option<u32>> = HashMap::new();
        // Most paths follow one with the same parent.
        let mut last: &[u8] = b"";
        for (path, kind) in places.chain(matches).chain(absent) {
            let mut at = path.as_bytes();
            if *kind != Kind::Directory {
                at = split_last(at).map_or(at, |(parent, _)| parent);
            }
            if at == last {
                continue;
            }
            last = at;
            // What is above one that is known is known too.
            while !modes.contains_key(at) {
                modes.insert(at, self.resolver.mode_of(at));
                at = split_last(at).map_or(at, |(parent, _)| parent);
            }
        }
        let found = modes.into_iter().filter_map(|(path, mode)| {
            let path = HostPath::new(OsStr::from_bytes(path)).ok()?;
            Some(HostDirectory { path, mode: mode? })
        });
        let mut found: Vec<HostDirectory> = found.collect();
        order::sort_by(&mut found, |one, other| one.path.cmp(&other.path));
        self.facts.directories = found;
    }
}

/// A mount of FUSE that is not for the caller answers `EACCES` even to statx of its root.
fn is_enterable(mount: &Mount) -> bool {
    matches!(look(rustix::fs::CWD, mount.at.as_path()), Seen::There(_))
}

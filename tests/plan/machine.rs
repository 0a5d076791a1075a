//! A small made-up host, which answers what the planner wants to know as `host` would.

use std::collections::BTreeSet;

use bryo::plan::facts::{
    Caller, Facts, Fuse, HostDirectory, Kernel, Kind, Match, Mount, NetworkTool, Place, RootEntry,
    SplitDirectory, SplitEntry, StoreCandidate, StoreSource, StoreState, Workdir,
};
use bryo::plan::{Needs, PlanError, needs, tree_needs};
use bryo::spec::rootfs::Pattern;
use bryo::spec::{HostPath, Spec};

/// Directories of the host; each holds a file `f`.
pub(super) const DIRECTORIES: [&str; 34] = [
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/home/al",
    "/home/al/.config",
    "/home/al/.config/gh",
    "/home/al/.local",
    "/home/al/.ssh",
    "/home/al/.ssh/keys",
    "/home/al/a",
    "/home/al/a/b",
    "/home/al/a/b/c",
    "/home/al/proj",
    "/home/al/proj/src",
    "/home/bo",
    "/home/bo/x",
    "/mnt",
    "/mnt/d",
    "/mnt/d/e",
    "/opt",
    "/opt/o",
    "/proc",
    "/srv",
    "/srv/s",
    "/sys",
    "/tmp",
    "/tmp/t",
    "/usr",
    "/usr/lib",
    "/var",
    "/var/log",
    "/work",
    "/work/x",
];
/// What is not there.
pub(super) const ABSENT: [&str; 4] =
    ["/home/al/.aws", "/home/al/a/none/deep", "/work/none", "/opt/none"];
/// Where the caller may write.
const WRITABLE: [&str; 5] = ["/home/al", "/mnt/d", "/srv/s", "/tmp", "/work"];

pub(super) fn host(path: &str) -> HostPath {
    HostPath::new(path).unwrap()
}

pub(super) fn writable(path: &HostPath) -> bool {
    WRITABLE.iter().any(|top| path.starts_with(&host(top)))
}

/// What stands at a path.
pub(super) fn kind_of(path: &HostPath) -> Kind {
    let is_directory = |path: &HostPath| DIRECTORIES.iter().any(|known| *path == host(known));
    if path.is_root() || is_directory(path) {
        return Kind::Directory;
    }
    let is_file = path.file_name().is_some_and(|name| name == "f")
        && path.parent().is_some_and(|parent| is_directory(&parent));
    if is_file { Kind::File } else { Kind::Absent }
}

/// A machine.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) mounts: Vec<Mount>,
    pub(super) home: HostPath,
    pub(super) workdir: HostPath,
    pub(super) store: HostPath,
    pub(super) fuse: bool,
    pub(super) kernel_overlay: bool,
}

impl Host {
    fn place(asked: &HostPath) -> Place {
        Place {
            asked: asked.clone(),
            real: asked.clone(),
            kind: kind_of(asked),
            writable: writable(asked),
            foreign_writable: false,
            foreign: None,
            fs_magic: 0xef53,
            size: 1,
            number: None,
            links: Vec::new(),
        }
    }

    fn matched(&self, patterns: &[Pattern], facts: &mut Facts) -> Vec<Match> {
        let mut found = Vec::new();
        for pattern in patterns {
            let path = pattern.resolve(Some(&self.home), Some(&self.workdir)).unwrap();
            match kind_of(&path) {
                Kind::Absent => facts.absent.push(path),
                kind => found.push(Match { path, kind }),
            }
        }
        found.sort_by(|one, two| one.path.cmp(&two.path));
        found
    }

    /// What `host` would say.
    pub(super) fn facts(&self, spec: &Spec) -> Result<Facts, PlanError> {
        let needs = needs(spec);
        let mut facts = self.simple_facts(&needs);
        for wanted in &needs.places {
            let asked = wanted.path.resolve(Some(&self.home), Some(&self.workdir)).unwrap();
            facts.places.push(Self::place(&asked));
        }
        facts.secrets = self.matched(&needs.secrets, &mut facts);
        facts.hidden = self.matched(&needs.hidden, &mut facts);
        facts.absent.sort();
        facts.absent.dedup();
        let needs = tree_needs(spec, &facts)?;
        facts.split = needs.split.iter().map(Self::split).collect();
        facts.places.extend(needs.points.iter().map(Self::place));
        if needs.fuse {
            facts.fuse = Some(self.fuse());
        }
        facts.directories = directories(&facts);
        Ok(facts)
    }

    fn fuse(&self) -> Fuse {
        Fuse { program: self.fuse.then(|| host("/usr/bin/fuse-overlayfs")), device: true }
    }

    /// What does not hang on places.
    fn simple_facts(&self, needs: &Needs) -> Facts {
        let tops = DIRECTORIES.iter().map(|path| host(path)).filter(|path| path.depth() == 1);
        let entry = |path: HostPath| RootEntry {
            only_root_writes: !writable(&path),
            kind: Kind::Directory,
            path,
        };
        Facts {
            kernel: Kernel { major: 6, minor: 18 },
            caller: Caller {
                uid: 1000,
                gid: 1000,
                home: Some(self.home.clone()),
                workdir: Workdir::At(self.workdir.clone()),
                ..Caller::default()
            },
            mounts: self.mounts.clone(),
            root_entries: if needs.root_entries { tops.map(entry).collect() } else { Vec::new() },
            other_homes: if needs.other_homes { vec![host("/home/bo")] } else { Vec::new() },
            stores: vec![StoreCandidate {
                path: self.store.clone(),
                source: StoreSource::DataHome,
                fs_magic: 0xef53,
                state: StoreState::Usable,
            }],
            landlock_abi: needs.landlock_abi.then_some(7),
            seccomp_notify: needs.seccomp_notify.then_some(true),
            kernel_overlay: needs.kernel_overlay.then_some(self.kernel_overlay),
            tun: needs.tun.then_some(true),
            network_tool: needs.network_tool.map(|tool| NetworkTool {
                program: Some(host(&format!("/usr/bin/{}", tool.name()))),
            }),
            procfs_mountable: needs.procfs_mountable.then_some(true),
            fuse: needs.fuse.then(|| self.fuse()),
            ..Facts::default()
        }
    }

    fn split(path: &HostPath) -> SplitDirectory {
        let directories = DIRECTORIES.iter().map(|known| host(known));
        let below = directories.filter(|known| known.parent().as_ref() == Some(path));
        let entries = below.chain(path.join("f")).map(|path| SplitEntry {
            kind: kind_of(&path),
            mode: 0o755,
            size: 1,
            readable: true,
            writable: writable(&path),
            path,
        });
        SplitDirectory { path: path.clone(), mode: 0o751, entries: entries.collect() }
    }
}

/// Every directory above what was found.
fn directories(facts: &Facts) -> Vec<HostDirectory> {
    let paths = facts.places.iter().map(|place| &place.real);
    let paths = paths.chain(facts.secrets.iter().chain(&facts.hidden).map(|found| &found.path));
    let all = paths
        .chain(&facts.absent)
        .flat_map(|path| std::iter::once(path.clone()).chain(path.ancestors()));
    let unique: BTreeSet<HostPath> = all.filter(|path| kind_of(path) == Kind::Directory).collect();
    unique.into_iter().map(|path| HostDirectory { path, mode: 0o751 }).collect()
}

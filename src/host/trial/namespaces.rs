//! New namespaces, and what can be mounted in them.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, XattrFlags};
use rustix::mount::MountPropagationFlags;

use super::{Maps, Outcome, Subject, Teller, Told, TrialError, in_child};
use crate::spec::HostPath;
use crate::sys::clone::CloneFlags;
use crate::sys::errno::Errno;
use crate::sys::mount::{self, FsContext, FsError, MountAttr, Reach};
use crate::sys::netlink::{self, Changes, Filters, Veth};
use crate::sys::{namespace, open};

/// How new namespaces went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceTrials {
    /// All of them at once, and what was tried in them.
    pub all: Result<Told, TrialError>,
    /// When that failed: the user namespace alone.
    pub user_alone: Option<Result<(), TrialError>>,
    /// When that went well: each other one together with it, by its kernel name.
    pub each: Vec<(&'static str, Result<(), TrialError>)>,
}

/// The namespaces of a run, by the names of `/proc/PID/ns`.
const EACH: [(&str, CloneFlags); 6] = [
    ("mnt", CloneFlags::NEW_MOUNT),
    ("pid", CloneFlags::NEW_PID),
    ("net", CloneFlags::NEW_NET),
    ("ipc", CloneFlags::NEW_IPC),
    ("uts", CloneFlags::NEW_UTS),
    ("cgroup", CloneFlags::NEW_CGROUP),
];

/// Clones into all namespaces of a run, maps the caller's id, and mounts there whatever a run may.
pub fn try_namespaces() -> NamespaceTrials {
    let flags = EACH.iter().fold(CloneFlags::NEW_USER, |all, (_, flag)| all | *flag);
    let all = in_child(flags, Maps::Single, try_inside);
    let mut trials = NamespaceTrials { all, user_alone: None, each: Vec::new() };
    if trials.all.is_err() {
        let alone = in_child(CloneFlags::NEW_USER, Maps::Single, |_| {}).map(drop);
        if alone.is_ok() {
            let one = |flag| in_child(CloneFlags::NEW_USER | flag, Maps::Single, |_| {}).map(drop);
            trials.each = EACH.map(|(name, flag)| (name, one(flag))).into();
        }
        trials.user_alone = Some(alone);
    }
    trials
}

fn try_inside(teller: &Teller) {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    teller.tell(Subject::Private, rustix::mount::mount_change("/", private).map_err(Errno::from));
    teller.tell(Subject::HostTree, copy_host_tree());
    teller.tell(Subject::Proc, make("proc", &[]).map(drop));
    teller.tell(Subject::Sysfs, make("sysfs", &[]).map(drop));
    teller.tell(Subject::Devpts, make("devpts", &[]).map(drop));
    teller.tell(Subject::Mqueue, make("mqueue", &[]).map(drop));
    teller.tell(Subject::Loopback, namespace::bring_loopback_up());
    let bridge = make_bridge();
    teller.tell(Subject::Bridge, bridge);
    if bridge.is_ok() {
        let own = Ipv4Addr::new(192, 0, 2, 1);
        teller.tell(
            Subject::Filter,
            Filters::open().and_then(|all| all.keep(PORT, MEMBER, own, None)),
        );
    }
    teller.tell(Subject::UserLimit, lower_user_limit());
    teller.tell(Subject::Fuse, mount_fuse());
    // Last, as they cover `/` and change the current directory.
    let scratch = mount_scratch();
    teller.tell(Subject::Tmpfs, scratch.as_ref().map(drop).map_err(|errno| *errno));
    if let Ok(scratch) = scratch {
        teller.tell(Subject::TmpfsAttributes, set_attribute(&scratch));
        teller.tell(Subject::Overlay, mount_overlay(&scratch));
    }
}

/// A detached mount of a new file system.
fn make(fs_type: &str, options: &[(&str, String)]) -> Result<OwnedFd, Errno> {
    let errno = |error: FsError| error.errno;
    let context = FsContext::open(fs_type).map_err(errno)?;
    for (key, value) in options {
        context.set_string(key, value.as_str()).map_err(errno)?;
    }
    context.mount(MountAttr::NOSUID | MountAttr::NODEV).map_err(errno)
}

fn copy_host_tree() -> Outcome {
    let copy = mount::clone_tree(CWD, "/", Reach::Recursive)?;
    let set = MountAttr::RDONLY | MountAttr::NOSUID;
    mount::mount_setattr(copy, Reach::Recursive, set, MountAttr::empty(), None)
}

/// The port of its bridge.
const PORT: &str = "p0";

/// The link address behind it.
const MEMBER: netlink::Mac = [2, 0, 0, 0, 0, 1];

/// As the holder of a network makes it for a member, who is here itself.
fn make_bridge() -> Outcome {
    const MTU: u32 = 1500;
    let (mac, port_mac) = (MEMBER, [6, 0, 0, 0, 0, 1]);
    Changes::default().new_bridge("br0", [2, 0, 0, 0, 0, 2], MTU).apply()?;
    let own = rustix::fs::openat(CWD, "/proc/self/ns/net", OFlags::CLOEXEC, Mode::empty())?;
    let (bridge, namespace) = (netlink::index("br0")?, own.as_fd());
    let veth = Veth { port: PORT, bridge, name: "eth0", mac, port_mac, namespace, mtu: MTU };
    Changes::default().new_veth(veth).apply()?;
    Changes::default().bind_port(netlink::index(PORT)?, mac).apply()
}

/// Writes what is there already, as the namespace's own counter.
fn lower_user_limit() -> Outcome {
    let path = "/proc/sys/user/max_inotify_instances";
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    rustix::io::write(file, b"128")?;
    Ok(())
}

/// A FUSE mount that nobody serves. The device must be opened in the user namespace that mounts.
fn mount_fuse() -> Outcome {
    use std::os::fd::AsRawFd;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let device = rustix::fs::openat(CWD, "/dev/fuse", flags, Mode::empty())?;
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let options = [
        ("fd", device.as_raw_fd().to_string()),
        ("rootmode", "40000".to_owned()),
        ("user_id", uid.to_string()),
        ("group_id", gid.to_string()),
    ];
    make("fuse", &options).map(drop)
}

/// A tmpfs over `/` of this mount namespace, where overlays need one that is attached.
fn mount_scratch() -> Result<OwnedFd, Errno> {
    let scratch = make("tmpfs", &[])?;
    mount::move_mount(&scratch, open::open_host("/")?)?;
    Ok(scratch)
}

fn set_attribute(scratch: impl AsFd) -> Outcome {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(scratch, "attribute", flags, Mode::RUSR | Mode::WUSR)?;
    Ok(rustix::fs::fsetxattr(file, "user.bryo", b"1", XattrFlags::empty())?)
}

/// An overlay whose three directories are in `base`, and one write in it.
fn mount_overlay(base: impl AsFd) -> Outcome {
    for name in ["lower", "upper", "work"] {
        match rustix::fs::mkdirat(&base, name, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    // Relative names: no `/proc` is needed, and no name is too long.
    rustix::process::fchdir(&base)?;
    let errno = |error: FsError| error.errno;
    let context = FsContext::open("overlay").map_err(errno)?;
    context.set_flag("userxattr").map_err(errno)?;
    for (key, value) in [("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")] {
        context.set_string(key, value).map_err(errno)?;
    }
    let merged = context.mount(MountAttr::NOSUID | MountAttr::NODEV).map_err(errno)?;
    Ok(rustix::fs::mkdirat(merged, "made", Mode::RWXU)?)
}

/// Whether an overlay can have its upper layer on the file system of `directory`, which must be the
/// caller's to write: a directory of a random name is made there and removed again.
pub fn try_store(directory: &HostPath) -> Result<Told, TrialError> {
    let base = make_directory(directory).map_err(TrialError::Directory)?;
    let flags = CloneFlags::NEW_USER | CloneFlags::NEW_MOUNT;
    let told = in_child(flags, Maps::Single, |teller| {
        let outcome = open::open_host(base.as_path()).and_then(|base| mount_overlay(&base));
        teller.tell(Subject::StoreOverlay, outcome);
    });
    remove_directory(&base).map_err(TrialError::Directory)?;
    told
}

fn make_directory(parent: &HostPath) -> Outcome<HostPath> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let name = format!(".bryo-doctor-{:016x}", u64::from_ne_bytes(random));
    let path = parent.join(&name).map_err(|_| Errno::ENAMETOOLONG)?;
    rustix::fs::mkdirat(CWD, path.as_path(), Mode::RWXU)?;
    Ok(path)
}

/// Removes what [`mount_overlay`] may have left; the kernel gives `work/work` no permissions at all.
fn remove_directory(base: &HostPath) -> Outcome {
    for name in ["work/work", "upper/made", "lower", "upper", "work", ""] {
        let path = base.as_path().join(name);
        match rustix::fs::unlinkat(CWD, &path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

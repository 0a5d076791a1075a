//! Builds the sandbox's file tree, step by step, in a new mount namespace.
//!
//! # Theory of operation
//! The process still has the host's `/` as its root. Two tmpfs are mounted over that `/`, one on the
//! other: *scratch*, which holds mask and shadow layers and the empty things that cover others, and
//! the *new root*. Mounting over `/` needs no mount point of ours and changes nothing for our own
//! look-ups, because a process's root directory is not re-resolved. The tree is built below the new
//! root's descriptor; the last step makes it `/` and detaches the host's root, and scratch with it.
//! Overlays keep their layers of scratch alive by themselves.
//!
//! Every mount is made detached, given its flags, and only then moved to a place that was opened
//! before: no path is resolved twice. Paths of the sandbox are resolved with `RESOLVE_IN_ROOT` from
//! the new root, so that a link in it (`/var/run`) leads nowhere else; paths of the host without
//! following any link.
//!
//! # Not here
//! Which steps there are (`plan`), what a layer holds afterwards (`changes`), the server of a fuse
//! overlay (`launch`).

mod bind;
pub mod carry;
pub mod fuse;
mod held;
mod overlay;
mod pseudo;
mod scratch;
mod verify;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::Mode;

use crate::plan::step::{Allowed, FsStep, LayerNumber, MountAccess, MountFlags, ScratchLayer};
use crate::spec::{HostPath, SandboxPath};
use crate::sys::errno::Errno;
use crate::sys::mount::{MountAttr, Propagation, Reach};
use crate::sys::{mount, open, socket};

pub use crate::sys::errno::Failure;
pub use held::upper_in_held;
pub use overlay::check_lowers;
pub use verify::verify;

/// Result of a step.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Where the directories of the layers are. Paths and not descriptors: a directory that was opened in
/// another mount namespace cannot be a layer in this one (`EINVAL`).
pub trait Layers {
    /// `upper` and `work` of a layer; none when the plan never made it.
    fn directories(&self, layer: LayerNumber) -> Option<(&HostPath, &HostPath)>;

    /// The directory of a scratch layer that a store keeps; none when the plan makes it in scratch.
    fn mask(&self, layer: ScratchLayer) -> Option<&HostPath>;
}

/// The tree while it is built.
pub struct Builder<'a, L> {
    layers: &'a L,
    scratch: Option<scratch::Scratch>,
    held: Option<held::Held>,
    new_root: Option<OwnedFd>,
    /// How many roots lie under it that are not the tree's any more.
    left_roots: usize,
    /// The directory in which something was made last: many things are made in few directories.
    made_in: Option<(SandboxPath, OwnedFd)>,
    served: fuse::Served,
    /// The socket that was made, until somebody takes it.
    socket: Option<OwnedFd>,
}

impl<'a, L: Layers> Builder<'a, L> {
    /// Begins, in a mount namespace that nobody else uses.
    pub fn new(layers: &'a L) -> Self {
        Self {
            layers,
            scratch: None,
            held: None,
            new_root: None,
            left_roots: 0,
            made_in: None,
            served: fuse::Served::default(),
            socket: None,
        }
    }

    /// Takes one step; returns what the server of an overlay needs when that is another process. The
    /// next steps can be taken meanwhile.
    pub fn take(&mut self, step: &FsStep) -> Outcome<Option<fuse::Wanted>> {
        if !self.leaves_made_in(step) {
            self.made_in = None;
        }
        if let FsStep::Overlay { .. } = step {
            return self.mount_overlay(step);
        }
        self.take_alone(step).map(|()| None)
    }

    /// Whether the name of the directory in which something was made last still leads to it after a step.
    fn leaves_made_in(&self, step: &FsStep) -> bool {
        match step {
            FsStep::Directory { .. }
            | FsStep::Link { .. }
            | FsStep::File { .. }
            | FsStep::Socket { .. } => true,
            FsStep::Bind { at, .. } => {
                self.made_in.as_ref().is_none_or(|(path, _)| !path.starts_with(at))
            }
            _ => false,
        }
    }

    /// Takes a step that nobody else has a part in.
    fn take_alone(&mut self, step: &FsStep) -> Outcome {
        match step {
            FsStep::MakePrivate => make_private(),
            FsStep::Scratch => self.mount_scratch(),
            FsStep::Hold { size } => self.mount_held(*size),
            FsStep::ScratchLayer { layer, mode, entries } => {
                self.scratch()?.make_layer(*layer, *mode, entries)
            }
            FsStep::NewRoot => self.mount_new_root(),
            FsStep::Directory { at, mode } => self.make_directory(at, *mode),
            FsStep::Link { at, target } => self.make_link(at, target.as_os_str()),
            FsStep::File { at, content, mode } => self.make_file(at, content.as_bytes(), *mode),
            FsStep::FileOver { at, content, mode } => {
                self.put_file_over(at, content.as_bytes(), *mode)
            }
            FsStep::Socket { at } => self.make_socket(at),
            FsStep::Bind { from, at, flags } => self.bind(from, at, *flags),
            FsStep::Overlay { .. } => Err(Errno::EINVAL.into()),
            FsStep::Tmpfs { at, room, mode, flags } => self.mount_tmpfs(at, *room, *mode, *flags),
            FsStep::Proc { at } => self.mount_pseudo("proc", at),
            FsStep::Sysfs { at } => self.mount_pseudo("sysfs", at),
            FsStep::Devpts { at } => self.mount_pseudo("devpts", at),
            FsStep::Mqueue { at } => self.mount_pseudo("mqueue", at),
            FsStep::Cgroups { at } => self.mount_pseudo("cgroup2", at),
            FsStep::Cover { at, with } => self.cover(at, *with),
            FsStep::Seal { at } => self.seal(at),
            FsStep::Pivot => self.pivot(),
        }
    }

    /// What `at` is in the new tree, as a descriptor to mount on.
    pub fn target(&self, at: &SandboxPath) -> Outcome<OwnedFd> {
        Ok(open::open_path_in_root(self.root()?, relative(at))?)
    }

    fn root(&self) -> Outcome<BorrowedFd<'_>> {
        self.new_root.as_ref().map(AsFd::as_fd).ok_or_else(|| Errno::EINVAL.into())
    }

    /// Goes on with another mount as the root of the new tree.
    fn replace_root(&mut self, root: OwnedFd) {
        self.new_root = Some(root);
        self.left_roots += 1;
    }

    fn scratch(&mut self) -> Outcome<&mut scratch::Scratch> {
        self.scratch.as_mut().ok_or_else(|| Errno::EINVAL.into())
    }

    fn mount_scratch(&mut self) -> Outcome {
        self.scratch = Some(scratch::Scratch::mount()?);
        Ok(())
    }

    fn mount_held(&mut self, size: u64) -> Outcome {
        let on = self.scratch()?.directory("held")?;
        self.held = Some(held::Held::mount(on.as_fd(), size)?);
        Ok(())
    }

    /// What holds layers while the run lasts: for whoever brings them into the store.
    pub fn held(&self) -> Option<BorrowedFd<'_>> {
        self.held.as_ref().map(held::Held::descriptor)
    }

    /// The directories of a layer that is held.
    fn take_held(&self, layer: LayerNumber) -> Outcome<scratch::UpperDirectories> {
        let held = self.held.as_ref().ok_or(Errno::EINVAL)?;
        let (upper, _) = self.layers.directories(layer).ok_or(Errno::ENOENT)?;
        held.take(layer, upper)
    }

    fn mount_new_root(&mut self) -> Outcome {
        let root =
            pseudo::tmpfs(pseudo::Size::Default, 0o755, MountAttr::NOSUID.union(MountAttr::NODEV))?;
        mount::move_mount(&root, open::open_host("/")?)?;
        self.new_root = Some(root);
        Ok(())
    }

    /// The directory in which `at` is made, and the name it gets there.
    fn parent_of<'p>(&mut self, at: &'p SandboxPath) -> Outcome<(BorrowedFd<'_>, &'p Path)> {
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
            return Err(Errno::EEXIST.into());
        };
        let name = Path::new(name);
        if parent.is_root() {
            return Ok((self.root()?, name));
        }
        let known = self.made_in.take().filter(|(path, _)| *path == parent);
        let opened = match known {
            Some((_, opened)) => opened,
            None => self.target(&parent)?,
        };
        Ok((self.made_in.insert((parent, opened)).1.as_fd(), name))
    }

    fn make_directory(&mut self, at: &SandboxPath, mode: u32) -> Outcome {
        let (parent, name) = self.parent_of(at)?;
        make_directory_at(parent, name, mode)
    }

    fn make_link(&mut self, at: &SandboxPath, target: &std::ffi::OsStr) -> Outcome {
        let (parent, name) = self.parent_of(at)?;
        Ok(rustix::fs::symlinkat(target, parent, name)?)
    }

    fn make_file(&mut self, at: &SandboxPath, content: &[u8], mode: u32) -> Outcome {
        let (parent, name) = self.parent_of(at)?;
        scratch::write_new(parent, name, content, mode)
    }

    /// Anybody may write to it: the sandbox process has no file mode creation mask.
    fn make_socket(&mut self, at: &SandboxPath) -> Outcome {
        let (parent, name) = self.parent_of(at)?;
        let name = name.to_str().ok_or(Errno::EINVAL)?;
        self.socket = Some(socket::bind_datagrams_at(parent, name)?);
        Ok(())
    }

    /// The socket that the last step made, if it made one: nothing inside is to hold it.
    pub fn take_socket(&mut self) -> Option<OwnedFd> {
        self.socket.take()
    }

    fn put_file_over(&mut self, at: &SandboxPath, content: &[u8], mode: u32) -> Outcome {
        let target = self.target(at)?;
        let file = self.scratch()?.make_file(content, mode)?;
        let tree = mount::clone_tree(&file, "", Reach::One)?;
        seal_detached(tree.as_fd())?;
        Ok(mount::move_mount(&tree, &target)?)
    }

    fn seal(&self, at: &SandboxPath) -> Outcome {
        seal_detached(self.target(at)?.as_fd())
    }

    /// Drops every descriptor of the old tree, then makes the new one `/`.
    ///
    /// Afterwards the host's root lies over the new one, and scratch over that (and the tmpfs of a tree
    /// whose root is an overlay): two to detach, or three, of which `pivot_root` takes the uppermost away. Detaching one too many would take the new root
    /// away, one too few leave the host's: hence the count, and the look at what `/` is then.
    fn pivot(&mut self) -> Outcome {
        self.served.wait()?;
        let root = self.new_root.take().ok_or(Errno::EINVAL)?;
        self.held = None;
        let over = usize::from(self.scratch.take().is_some()) + self.left_roots;
        let id = mount::mount_id(&root)?;
        mount::pivot_root(&root)?;
        for _ in 0..over {
            mount::unmount_detach("/")?;
        }
        let above = open::open_host("/..")?;
        if mount::mount_id(above)? == id { Ok(()) } else { Err(Errno::ESTALE.into()) }
    }
}

/// Makes a directory with exactly this mode, which mkdir(2) alone does but for the set-id bits, which
/// are left out where nobody may set them. (The sandbox process has no file mode creation mask.)
fn make_directory_at(parent: BorrowedFd<'_>, name: &Path, mode: u32) -> Outcome {
    let wanted = Mode::from_raw_mode(mode);
    rustix::fs::mkdirat(parent, name, wanted)?;
    if mode & 0o6000 == 0 {
        return Ok(());
    }
    match rustix::fs::chmodat(parent, name, wanted, rustix::fs::AtFlags::empty()) {
        // The filter of a sandbox around this one refuses them; without, the directory opens no more.
        Err(rustix::io::Errno::PERM) => Ok(()),
        other => Ok(other?),
    }
}

/// A path of the sandbox as a name below the root's descriptor.
fn relative(at: &SandboxPath) -> &Path {
    let names = at.as_path().strip_prefix("/").unwrap_or(at.as_path());
    if names.as_os_str().is_empty() { Path::new(".") } else { names }
}

/// `MS_PRIVATE` on every mount: nothing that happens on the host appears inside, and the other way.
fn make_private() -> Outcome {
    let root = open::open_host("/")?;
    let none = MountAttr::empty();
    Ok(mount::mount_setattr(root, Reach::Recursive, none, none, Some(Propagation::Private))?)
}

/// Makes one mount read-only.
fn seal_detached(mount: BorrowedFd<'_>) -> Outcome {
    let set = MountAttr::RDONLY.union(MountAttr::NOSUID).union(MountAttr::NODEV);
    Ok(mount::mount_setattr(mount, Reach::One, set, MountAttr::empty(), None)?)
}

/// The kernel's flags for what the plan says; `nosuid` always.
fn attributes(flags: MountFlags) -> MountAttr {
    let mut set = MountAttr::NOSUID;
    if flags.access == MountAccess::ReadOnly {
        set = set.union(MountAttr::RDONLY);
    }
    if flags.devices == Allowed::No {
        set = set.union(MountAttr::NODEV);
    }
    if flags.exec == Allowed::No {
        set = set.union(MountAttr::NOEXEC);
    }
    set
}

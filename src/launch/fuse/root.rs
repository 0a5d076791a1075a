//! The server's root: a tmpfs with its layers and what its program needs to run, nothing else.
//!
//! It is built in a copy of the host's mounts. Mounts of the host are locked there, so each library
//! directory comes with what is mounted below it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

use super::Source;
use super::server::{Failed, Outcome, cannot};
use crate::sys::errno::Errno;
use crate::sys::mount::{self, FsContext, MountAttr, Propagation, Reach};
use crate::sys::open;

/// Where the layer directory is in the server's root.
pub(in crate::launch) const LAYER: &str = "/layer";

/// Where the lower trees are, by number.
pub(in crate::launch) const LOWER: &str = "/lower";

/// Where a lower tree is in the server's root.
pub(in crate::launch) fn lower_path(number: usize) -> String {
    format!("{LOWER}/{number}")
}

/// Where libraries and the dynamic loader are, on any distribution: what is not there is passed over.
pub(in crate::launch) const LIBRARIES: [&str; 13] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
];

/// Makes sure, in the mount namespace of the host, that the lower layers are on the mounts that the plan
/// saw: one that was mounted over them since then is not what the plan decided about.
pub(super) fn check(lowers: &[Source<'_>]) -> Outcome {
    for lower in lowers {
        if let Source::Host(path, mount) = lower {
            let found = open::open_host(path.as_path()).and_then(mount::mount_id);
            if cannot("look at a lower layer", found)? != *mount {
                return Err(Failed("use a lower layer", Errno::ESTALE.to_string()));
            }
        }
    }
    Ok(())
}

/// A detached, read-only copy of a lower layer. What is mounted below comes along: mounts of the host
/// are locked in this namespace, and cannot be left out.
pub(super) fn lower_tree(lower: &Source<'_>) -> Outcome<OwnedFd> {
    copy(lower, Reach::Recursive, MountAttr::RDONLY)
}

/// A detached copy of the directory that holds the upper layer.
pub(super) fn layer_tree(layer: &Source<'_>) -> Outcome<OwnedFd> {
    copy(layer, Reach::One, MountAttr::empty())
}

fn copy(source: &Source<'_>, reach: Reach, set: MountAttr) -> Outcome<OwnedFd> {
    let path = match source {
        Source::Sent(tree) => {
            return cannot("keep a layer", tree.try_clone().map_err(|error| errno(&error)));
        }
        Source::Host(path, _) => *path,
        Source::Layer(path) => path,
    };
    let opened = cannot("open a layer", open::open_host(path.as_path()))?;
    let tree = cannot("copy a layer", mount::clone_tree(opened, "", reach))?;
    let set = set.union(MountAttr::NOSUID).union(MountAttr::NODEV);
    let none = MountAttr::empty();
    let done = mount::mount_setattr(&tree, reach, set, none, Some(Propagation::Private));
    cannot("set the flags of a layer", done)?;
    Ok(tree)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO.raw()))
}

/// The tmpfs that becomes the server's root.
pub(in crate::launch) struct Root(OwnedFd);

impl Root {
    pub(in crate::launch) fn mount() -> Outcome<Self> {
        let context = FsContext::open("tmpfs").map_err(|error| error.errno);
        let context = cannot("make a tmpfs", context)?;
        let mode = context.set_string("mode", "755").map(drop).map_err(|error| error.errno);
        cannot("configure a tmpfs", mode)?;
        let flags = MountAttr::NOSUID.union(MountAttr::NODEV);
        let root = cannot("make a tmpfs", context.mount(flags).map_err(|error| error.errno))?;
        cannot("mount a tmpfs", open::open_host("/").and_then(|at| mount::move_mount(&root, at)))?;
        Ok(Self(root))
    }

    /// Makes the directories that lead to `path`, and returns the last with the name in it.
    fn parents<'p>(&self, path: &'p Path) -> Outcome<(OwnedFd, &'p Path)> {
        let mut directory = cannot("open the root", rustix::io::fcntl_dupfd_cloexec(&self.0, 3))?;
        let mut names = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(Path::new(name)),
            _ => None,
        });
        let Some(last) = names.next_back() else {
            return Err(Failed("make a place in the root", Errno::EINVAL.to_string()));
        };
        for name in names {
            let made = open::create_dir(&directory, name, Mode::from_raw_mode(0o755));
            directory = cannot("make a directory in the root", made)?;
        }
        Ok((directory, last))
    }

    pub(in crate::launch) fn put_tree(&self, tree: BorrowedFd<'_>, at: &Path) -> Outcome {
        let (parent, name) = self.parents(at)?;
        let place = open::create_dir(&parent, name, Mode::from_raw_mode(0o755));
        let place = cannot("make a directory in the root", place)?;
        cannot("mount a layer", mount::move_mount(tree, place))
    }

    pub(in crate::launch) fn put_libraries(&self) -> Outcome {
        LIBRARIES.iter().try_for_each(|place| self.put_library(Path::new(place)))
    }

    /// Puts a directory or file of the host at its own place, read-only; a link is made anew.
    fn put_library(&self, path: &Path) -> Outcome {
        let kind = match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(Failed("look at the host's libraries", errno.to_string())),
        };
        if kind == FileType::Symlink {
            let target =
                cannot("read a link to libraries", rustix::fs::readlinkat(CWD, path, Vec::new()))?;
            let (parent, name) = self.parents(path)?;
            return cannot("make a link", open::create_symlink(parent, name, target));
        }
        match open::open_host(path) {
            // Reached through a link that leads to another of the places.
            Err(Errno::ELOOP) => Ok(()),
            opened => self.put_copy(&cannot("open the host's libraries", opened)?, kind, path),
        }
    }

    fn put_copy(&self, source: &OwnedFd, kind: FileType, at: &Path) -> Outcome {
        let tree = cannot("copy a mount", mount::clone_tree(source, "", Reach::Recursive))?;
        let quiet = MountAttr::RDONLY.union(MountAttr::NOSUID).union(MountAttr::NODEV);
        let none = MountAttr::empty();
        let private = Some(Propagation::Private);
        let set = mount::mount_setattr(&tree, Reach::Recursive, quiet, none, private);
        cannot("make a mount read-only", set)?;
        let (parent, name) = self.parents(at)?;
        let mode = Mode::from_raw_mode(0o755);
        let place = match kind {
            FileType::Directory => open::create_dir(&parent, name, mode),
            _ => open::create_file(&parent, name, mode),
        };
        cannot("mount a library", place.and_then(|place| mount::move_mount(&tree, place)))
    }

    /// The program, where it is not among the libraries.
    pub(in crate::launch) fn put_program(&self, program: &Path) -> Outcome {
        let relative = program.strip_prefix("/").unwrap_or(program);
        if open::open_path_in_root(&self.0, relative).is_ok() {
            return Ok(());
        }
        let source = cannot("open the program", open::open_host(program))?;
        self.put_copy(&source, FileType::RegularFile, program)
    }

    /// What the program reads of `/proc`, without anything of other processes.
    pub(in crate::launch) fn put_proc(&self) -> Outcome {
        for name in ["overflowuid", "overflowgid"] {
            let path = format!("/proc/sys/kernel/{name}");
            let value = std::fs::read(&path).map_err(|error| errno(&error));
            let value = cannot("read the overflow ids", value)?;
            let (parent, name) = self.parents(Path::new(&path))?;
            cannot("write to the root", write_new(parent.as_fd(), name, &value))?;
        }
        let own = format!("/proc/{}", rustix::process::getpid().as_raw_nonzero());
        let own = cannot("open its own /proc", open::open_host(own))?;
        let tree = cannot("copy its own /proc", mount::clone_tree(own, "", Reach::One))?;
        let quiet = MountAttr::RDONLY.union(MountAttr::NOSUID).union(MountAttr::NODEV);
        let quiet = quiet.union(MountAttr::NOEXEC);
        let set = mount::mount_setattr(
            &tree,
            Reach::One,
            quiet,
            MountAttr::empty(),
            Some(Propagation::Private),
        );
        cannot("make /proc read-only", set)?;
        self.put_tree(tree.as_fd(), Path::new("/proc/self"))
    }

    /// An empty directory.
    pub(in crate::launch) fn put_directory(&self, at: &Path) -> Outcome {
        let (parent, name) = self.parents(at)?;
        let made = open::create_dir(&parent, name, Mode::from_raw_mode(0o755));
        cannot("make a directory in the root", made).map(drop)
    }

    /// Something that is open, or a device of the host, as it is.
    pub(in crate::launch) fn put_open(&self, source: &OwnedFd, at: &Path) -> Outcome {
        let tree = cannot("copy a mount", mount::clone_tree(source, "", Reach::One))?;
        let (parent, name) = self.parents(at)?;
        let place = open::create_file(&parent, name, Mode::from_raw_mode(0o644));
        cannot("mount a file", place.and_then(|place| mount::move_mount(&tree, place)))
    }

    /// Makes it read-only, and `/`; the host's is gone.
    pub(in crate::launch) fn enter(self) -> Outcome {
        let none = MountAttr::empty();
        let set = mount::mount_setattr(&self.0, Reach::One, MountAttr::RDONLY, none, None);
        cannot("make the root read-only", set)?;
        cannot("change the root directory", mount::pivot_root(&self.0))
    }
}

fn write_new(parent: BorrowedFd<'_>, name: &Path, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o444))?;
    match rustix::io::write(file, content)? {
        written if written == content.len() => Ok(()),
        _ => Err(Errno::EIO),
    }
}

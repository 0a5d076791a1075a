//! Mounts as an ordinary user makes them: each in its own user, mount and pid namespace.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::fs::Mode;

use super::*;
use crate::sys::clone::{CloneFlags, unshare};
use crate::sys::open::{create_dir, create_file, create_whiteout, fd_path, open_host};
use crate::sys::open::{open_path_beneath, set_xattr};
use crate::sys::pidfd::Exit;
use crate::sys::testing::{Scratch, alone, kernel_at_least, mapped, ordinary_user};

/// Runs `body` as an ordinary user in new namespaces, with an empty scratch directory of his.
fn sandboxed(name: &str, body: impl FnOnce(&Path)) {
    alone(module_path!(), name, || {
        ordinary_user();
        let scratch = Scratch::new();
        let path = scratch.0.canonicalize().unwrap();
        let flags = CloneFlags::NEW_MOUNT | CloneFlags::NEW_PID | CloneFlags::NEW_IPC;
        assert_eq!(mapped(flags, 1000, || body(&path)), Exit::Code(0));
    });
}

fn tmpfs() -> OwnedFd {
    let context = FsContext::open("tmpfs").unwrap();
    context.set_string("mode", "0755").unwrap();
    context.mount(MountAttr::NOSUID | MountAttr::NODEV).unwrap()
}

fn mode() -> Mode {
    Mode::from_raw_mode(0o755)
}

/// Makes `path` below the scratch directory, with a file `name` that says `text`.
fn layer(scratch: &Path, path: &str, files: &[(&str, &str)]) -> OwnedFd {
    let dir = scratch.join(path);
    fs::create_dir_all(&dir).unwrap();
    for (name, text) in files {
        fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), text).unwrap();
    }
    open_host(dir).unwrap()
}

/// Sets what a payload's view of the host gets.
fn read_only(mount: impl AsFd, reach: Reach) {
    let attr = MountAttr::RDONLY | MountAttr::NOSUID;
    let propagation = Some(Propagation::Private);
    mount_setattr(mount, reach, attr, MountAttr::empty(), propagation).unwrap();
}

fn names(dir: impl AsRef<Path>) -> BTreeSet<String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Attaches a detached mount to a new directory below the scratch directory.
fn attach(scratch: &Path, mount: OwnedFd) -> std::path::PathBuf {
    let place = scratch.join("merged");
    fs::create_dir_all(&place).unwrap();
    move_mount(mount, open_host(&place).unwrap()).unwrap();
    place
}

fn overlay(options: &[(&str, String)]) -> std::result::Result<OwnedFd, FsError> {
    let context = FsContext::open("overlay")?;
    for (key, value) in options {
        context.set_string(key, value.as_str())?;
    }
    context.set_flag("userxattr")?;
    context.mount(MountAttr::empty())
}

#[test]
fn a_tmpfs_moved_over_the_root_becomes_the_root() {
    sandboxed("a_tmpfs_moved_over_the_root_becomes_the_root", |_| {
        let root = open_host("/").unwrap();
        let new = tmpfs();
        move_mount(&new, &root).unwrap();
        let usr = create_dir(&new, "usr", mode()).unwrap();
        move_mount(clone_tree(open_host("/usr").unwrap(), "", Reach::Recursive).unwrap(), usr)
            .unwrap();
        let proc = create_dir(&new, "proc", mode()).unwrap();
        move_mount(FsContext::open("proc").unwrap().mount(MountAttr::NOSUID).unwrap(), proc)
            .unwrap();
        pivot_root(&new).unwrap();
        assert_eq!(names("/"), set(["proc", "usr"]));
        assert_eq!(names("/.."), set(["proc", "usr"]));
        assert!(names("/usr").contains("bin"));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        for line in mounts.lines() {
            let place = line.split(' ').nth(4).unwrap();
            assert!(["/", "/proc"].contains(&place) || place.starts_with("/usr"), "{line}");
        }
    });
}

#[test]
fn an_overlay_takes_its_layers_by_descriptor_paths() {
    sandboxed("an_overlay_takes_its_layers_by_descriptor_paths", |scratch| {
        let lower = layer(scratch, "lower", &[("kept", "host"), ("gone", "host")]);
        let upper = layer(scratch, "upper", &[]);
        let work = layer(scratch, "work", &[]);
        let mount = overlay(&[
            ("lowerdir", fd_path(&lower)),
            ("upperdir", fd_path(&upper)),
            ("workdir", fd_path(&work)),
        ])
        .unwrap();
        let merged = attach(scratch, mount);
        fs::write(merged.join("kept"), "changed").unwrap();
        fs::write(merged.join("new"), "new").unwrap();
        fs::remove_file(merged.join("gone")).unwrap();
        assert_eq!(names(&merged), set(["kept", "new"]));
        assert_eq!(names(scratch.join("lower")), set(["kept", "gone"]));
        assert_eq!(names(scratch.join("upper")), set(["gone", "kept", "new"]));
        assert_eq!(fs::read_to_string(scratch.join("lower/kept")).unwrap(), "host");
    });
}

#[test]
fn an_overlay_takes_its_layers_as_descriptors() {
    sandboxed("an_overlay_takes_its_layers_as_descriptors", |scratch| {
        let lower = layer(scratch, "lower", &[("kept", "host")]);
        let upper = layer(scratch, "upper", &[]);
        let work = layer(scratch, "work", &[]);
        let context = FsContext::open("overlay").unwrap();
        let first = context.set_fd("lowerdir+", &lower).map(drop);
        if !kernel_at_least(6, 13) {
            assert_eq!(first.unwrap_err().errno, Errno::EINVAL);
            return;
        }
        context.set_fd("upperdir", &upper).unwrap();
        context.set_fd("workdir", &work).unwrap();
        context.set_flag("userxattr").unwrap();
        let merged = attach(scratch, context.mount(MountAttr::empty()).unwrap());
        fs::write(merged.join("kept"), "changed").unwrap();
        assert_eq!(names(scratch.join("upper")), set(["kept"]));
    });
}

#[test]
fn an_overlay_takes_more_layers_than_one_string_holds() {
    sandboxed("an_overlay_takes_more_layers_than_one_string_holds", |scratch| {
        let name = |number: usize| format!("file{number}");
        let lowers: Vec<OwnedFd> = (0..40)
            .map(|number| layer(scratch, &format!("lower{number}"), &[(&name(number), "")]))
            .collect();
        let joined = lowers.iter().map(fd_path).collect::<Vec<_>>().join(":");
        let refused = overlay(&[("lowerdir", joined)]).unwrap_err();
        assert_eq!(refused.errno, Errno::EINVAL);
        let options: Vec<_> = lowers.iter().map(|lower| ("lowerdir+", fd_path(lower))).collect();
        if kernel_at_least(6, 7) {
            let merged = attach(scratch, overlay(&options).unwrap());
            assert_eq!(names(&merged), (0..40).map(name).collect());
        }
    });
}

/// A tmpfs attached below the scratch directory, with an empty directory in it.
fn masks(scratch: &Path) -> OwnedFd {
    let masks = tmpfs();
    move_mount(&masks, layer(scratch, "masks", &[])).unwrap();
    create_dir(&masks, "mask", mode()).unwrap()
}

#[test]
fn whiteouts_in_a_layer_hide_what_the_host_has() {
    sandboxed("whiteouts_in_a_layer_hide_what_the_host_has", |scratch| {
        let files = [("seen", ""), ("secret", ""), ("dir/hidden", ""), ("dir/x", "")];
        let host = layer(scratch, "host", &files);
        let mask = masks(scratch);
        create_whiteout(&mask, "secret").unwrap();
        let dir = create_dir(&mask, "dir", mode()).unwrap();
        create_whiteout(dir, "hidden").unwrap();
        let mount = overlay(&[("lowerdir", format!("{}:{}", fd_path(&mask), fd_path(&host)))]);
        let merged = attach(scratch, mount.unwrap());
        assert_eq!(names(&merged), set(["dir", "seen"]));
        assert_eq!(names(merged.join("dir")), set(["x"]));
        assert!(!merged.join("secret").exists() && !merged.join("dir/hidden").exists());
        assert!(fs::write(merged.join("seen"), "").is_err());
    });
}

#[test]
fn a_layer_on_a_tmpfs_attached_nowhere_is_for_new_kernels() {
    sandboxed("a_layer_on_a_tmpfs_attached_nowhere_is_for_new_kernels", |scratch| {
        let host = layer(scratch, "host", &[("seen", ""), ("secret", "")]);
        let detached = tmpfs();
        create_whiteout(&detached, "secret").unwrap();
        let lowers = format!("{}:{}", fd_path(&detached), fd_path(&host));
        match overlay(&[("lowerdir", lowers)]) {
            Ok(mount) => assert_eq!(names(attach(scratch, mount)), set(["seen"])),
            Err(error) => assert!(!kernel_at_least(6, 15), "{error}"),
        }
    });
}

#[test]
fn what_was_opened_before_the_clone_cannot_be_mounted_after_it() {
    alone(module_path!(), "what_was_opened_before_the_clone_cannot_be_mounted_after_it", || {
        ordinary_user();
        let scratch = Scratch::new();
        let path = scratch.0.canonicalize().unwrap();
        let before = layer(&path, "host", &[("file", "")]);
        let exit = mapped(CloneFlags::NEW_MOUNT, 1000, || {
            assert_eq!(clone_tree(&before, "", Reach::One).unwrap_err(), Errno::EINVAL);
            assert_eq!(move_mount(tmpfs(), &before).unwrap_err(), Errno::EINVAL);
            let empty = layer(&path, "empty", &[]);
            let layers = |host| [("lowerdir", format!("{}:{}", fd_path(&empty), fd_path(host)))];
            assert_eq!(overlay(&layers(&before)).unwrap_err().errno, Errno::EINVAL);
            let after = open_host(path.join("host")).unwrap();
            overlay(&layers(&after)).unwrap();
            clone_tree(&after, "", Reach::One).unwrap();
        });
        assert_eq!(exit, Exit::Code(0));
    });
}

#[test]
fn a_masked_directory_stays_masked_below_an_upper_layer() {
    sandboxed("a_masked_directory_stays_masked_below_an_upper_layer", |scratch| {
        let host = layer(scratch, "host", &[("secret/key", ""), ("seen", "")]);
        let upper = layer(scratch, "upper", &[]);
        let work = layer(scratch, "work", &[]);
        let mask = masks(scratch);
        create_whiteout(&mask, "secret").unwrap();
        let mount = overlay(&[
            ("lowerdir", format!("{}:{}", fd_path(&mask), fd_path(&host))),
            ("upperdir", fd_path(&upper)),
            ("workdir", fd_path(&work)),
        ]);
        let merged = attach(scratch, mount.unwrap());
        assert_eq!(names(&merged), set(["seen"]));
        fs::create_dir(merged.join("secret")).unwrap();
        assert_eq!(names(merged.join("secret")), set([]));
    });
}

#[test]
fn an_opaque_directory_in_a_layer_replaces_the_hosts() {
    sandboxed("an_opaque_directory_in_a_layer_replaces_the_hosts", |scratch| {
        let host = layer(scratch, "host", &[("home/key", ""), ("seen", "")]);
        let mask = masks(scratch);
        let home = create_dir(&mask, "home", mode()).unwrap();
        set_xattr(&home, "user.overlay.opaque", b"y").unwrap();
        let mount = overlay(&[("lowerdir", format!("{}:{}", fd_path(&mask), fd_path(&host)))]);
        let merged = attach(scratch, mount.unwrap());
        assert_eq!(names(merged.join("home")), set([]));
    });
}

#[test]
fn an_overlay_of_two_lowers_is_read_only_and_its_sockets_are_inert() {
    sandboxed("an_overlay_of_two_lowers_is_read_only_and_its_sockets_are_inert", |scratch| {
        let host = layer(scratch, "host", &[("file", "host")]);
        let socket = scratch.join("host/socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        UnixStream::connect(&socket).unwrap();
        let empty = layer(scratch, "empty", &[]);
        let mount = overlay(&[("lowerdir", format!("{}:{}", fd_path(&empty), fd_path(&host)))]);
        let merged = attach(scratch, mount.unwrap());
        assert_eq!(fs::read_to_string(merged.join("file")).unwrap(), "host");
        let refused = fs::write(merged.join("file"), "x").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::EROFS.raw()));
        let refused = UnixStream::connect(merged.join("socket")).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::ECONNREFUSED.raw()));
        // The control: a read-only bind of the same directory lets the socket through.
        let bind = clone_tree(&host, "", Reach::One).unwrap();
        read_only(&bind, Reach::One);
        let bound = attach(scratch, bind);
        assert!(fs::write(bound.join("file"), "x").is_err());
        UnixStream::connect(bound.join("socket")).unwrap();
    });
}

#[test]
fn a_refused_overlay_says_why() {
    sandboxed("a_refused_overlay_says_why", |scratch| {
        let lower = layer(scratch, "lower", &[]);
        let context = FsContext::open("overlay").unwrap();
        let error = context.set_string("no_such_option", "x").unwrap_err();
        assert_eq!(error.log, ["overlay: Unknown parameter 'no_such_option'"]);
        let text = "EINVAL (invalid argument); overlay: Unknown parameter 'no_such_option'";
        assert_eq!(error.to_string(), text);
        // What overlay says only to the kernel's own log is missing here.
        let lost = ("upperdir", "/nowhere/at/all".to_owned());
        let error = overlay(&[("lowerdir", fd_path(&lower)), lost]).unwrap_err();
        assert_eq!((error.errno, error.log.len()), (Errno::ENOENT, 0));
        let redirect = ("redirect_dir", "on".to_owned());
        let error = overlay(&[("lowerdir", fd_path(&lower)), redirect]).unwrap_err();
        assert_eq!(error.errno, Errno::EINVAL);
        assert_eq!(FsContext::open("no_such_fs").unwrap_err().errno, Errno::ENODEV);
    });
}

#[test]
fn a_file_can_be_bound_over_a_file_of_the_new_root() {
    sandboxed("a_file_can_be_bound_over_a_file_of_the_new_root", |scratch| {
        layer(scratch, "host", &[("file", "host")]);
        let host = open_host(scratch.join("host/file")).unwrap();
        let new = tmpfs();
        let place = create_file(&new, "file", mode()).unwrap();
        let bind = clone_tree(&host, "", Reach::One).unwrap();
        read_only(&bind, Reach::One);
        let root = attach(scratch, new);
        move_mount(bind, place).unwrap();
        assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "host");
        let refused = fs::write(root.join("file"), "x").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::EROFS.raw()));
        let dir = create_dir(open_host(&root).unwrap(), "dir", mode()).unwrap();
        let bind = clone_tree(&host, "", Reach::One).unwrap();
        assert_eq!(move_mount(bind, dir), Err(Errno::EINVAL));
    });
}

#[test]
fn the_hosts_tree_becomes_read_only_as_a_whole() {
    sandboxed("the_hosts_tree_becomes_read_only_as_a_whole", |scratch| {
        let tree = clone_tree(open_host("/").unwrap(), "", Reach::Recursive).unwrap();
        read_only(&tree, Reach::Recursive);
        let merged = attach(scratch, tree);
        for name in ["tmp", "dev/shm"] {
            let refused = fs::write(merged.join(name).join("bryo-test"), "").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(Errno::EROFS.raw()), "{name}");
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let below = mounts.lines().filter(|line| line.contains(merged.to_str().unwrap()));
        let flags: Vec<_> = below.map(|line| line.split(' ').nth(5).unwrap()).collect();
        assert!(flags.len() > 1, "{mounts}");
        assert!(flags.iter().all(|one| one.starts_with("ro,nosuid")), "{mounts}");
        // The flag is not locked for those who have capabilities here, only for namespaces below.
        let clear = || {
            let root = open_host(&merged).unwrap();
            mount_setattr(root, Reach::One, MountAttr::empty(), MountAttr::RDONLY, None)
        };
        assert_eq!(clear(), Ok(()));
        read_only(open_host(&merged).unwrap(), Reach::One);
        unshare(CloneFlags::NEW_USER | CloneFlags::NEW_MOUNT).unwrap();
        assert_eq!(clear(), Err(Errno::EPERM));
    });
}

#[test]
fn one_mount_without_its_children_is_refused() {
    sandboxed("one_mount_without_its_children_is_refused", |scratch| {
        let root = open_host("/").unwrap();
        assert_eq!(clone_tree(&root, "", Reach::One).unwrap_err(), Errno::EINVAL);
        clone_tree(&root, "", Reach::Recursive).unwrap();
        let plain = layer(scratch, "plain", &[]);
        clone_tree(plain, "", Reach::One).unwrap();
    });
}

#[test]
fn a_mount_has_its_own_id() {
    sandboxed("a_mount_has_its_own_id", |scratch| {
        let outside = mount_id(open_host(scratch).unwrap()).unwrap();
        let place = attach(scratch, tmpfs());
        let inside = mount_id(open_host(&place).unwrap()).unwrap();
        assert_ne!(outside, inside);
        let listed = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ids: Vec<_> = listed.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert!(ids.contains(&inside.to_string().as_str()));
        assert_eq!(
            open_path_beneath(open_host(scratch).unwrap(), "merged").unwrap_err(),
            Errno::EXDEV
        );
    });
}

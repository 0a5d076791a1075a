//! `export` of sandboxes in a store, read back by other programs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bryo::ops::export::{Destination, Exported, Form, Packing, Why, export};
use bryo::ops::{OpsError, diff::Selection};
use bryo::report::Explain;
use bryo::state::Which;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};

use crate::fixture::{Fixture, host};
use crate::review::{begun, ended, file, whiteout};

fn run(program: &str, arguments: &[&str], directory: &Path) -> Output {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output
}

fn try_export(fixture: &Fixture, form: &Form, out: &mut Vec<u8>) -> Result<Exported, OpsError> {
    let everything = Selection::default();
    let which = Which::Named(&"n".into());
    export(&fixture.stores(), which, &everything, form, Destination::Stream(out))
}

fn layer(fixture: &Fixture) -> (Vec<u8>, Exported) {
    let mut out = Vec::new();
    let exported = try_export(fixture, &Form::Layer(Packing::Plain), &mut out).unwrap();
    (out, exported)
}

/// Unpacks with GNU tar; the place in it where the layer lay.
fn unpacked(fixture: &Fixture, archive: &[u8]) -> PathBuf {
    fs::write(fixture.path("layer.tar"), archive).unwrap();
    fs::create_dir_all(fixture.path("out")).unwrap();
    run(
        "tar",
        &["--xattrs", "--xattrs-include=user.*", "-C", "out", "-xf", "layer.tar"],
        fixture.directory.path(),
    );
    fixture.path("out").join(fixture.path("over").strip_prefix("/").unwrap())
}

fn told(exported: &Exported) -> Vec<(String, Why)> {
    let name =
        |path: &bryo::spec::HostPath| path.file_name().unwrap().to_string_lossy().into_owned();
    exported.left_out.iter().map(|left| (name(&left.path), left.why)).collect()
}

/// Names that are hard on an archive.
fn odd_names() -> Vec<Vec<u8>> {
    vec![
        b"line\nfeed".to_vec(),
        b"\x1b[2J".to_vec(),
        b"bad\xff".to_vec(),
        "größe".into(),
        vec![b'x'; 255],
        b"-rf".to_vec(),
        [vec![b'y'; 99], b"\xfe".to_vec()].concat(),
    ]
}

fn fill(over: &Path, upper: &Path) {
    for (name, text) in [("changed", "old\n"), ("gone", "x"), ("swapped", "x")] {
        file(&over.join(name), text, 0o644);
    }
    fs::create_dir_all(over.join("rep/sub")).unwrap();
    file(&over.join("rep/old"), "x", 0o644);
    file(&upper.join("changed"), "new\n", 0o600);
    whiteout(&upper.join("gone"));
    fs::create_dir(upper.join("rep")).unwrap();
    rustix::fs::setxattr(upper.join("rep"), "user.overlay.opaque", b"y", XattrFlags::empty())
        .unwrap();
    file(&upper.join("rep/.a"), "in", 0o644);
    fs::create_dir(upper.join("swapped")).unwrap();
    file(&upper.join("swapped/in"), "y", 0o755);
    symlink("a".repeat(300), upper.join("link")).unwrap();
    mknodat(CWD, upper.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::hard_link(upper.join("changed"), upper.join("second")).unwrap();
    rustix::fs::setxattr(upper.join("changed"), "user.note", b"a=b\n\0c", XattrFlags::empty())
        .unwrap();
    for name in odd_names() {
        file(&upper.join(OsStr::from_bytes(&name)), &name, 0o644);
    }
    let sparse = fs::File::create(upper.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"begin", 0).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"middle", 5 << 20).unwrap();
    sparse.set_len(20 << 20).unwrap();
}

#[test]
fn tar_reads_back_what_the_sandbox_wrote() {
    let fixture = Fixture::new();
    ended(&fixture, fill);
    let (archive, exported) = layer(&fixture);
    assert_eq!(told(&exported), []);
    // The holes are not in it.
    assert!(archive.len() < 1 << 20, "{}", archive.len());
    let out = unpacked(&fixture, &archive);
    assert_eq!(fs::read(out.join("changed")).unwrap(), b"new\n");
    let changed = fs::symlink_metadata(out.join("changed")).unwrap();
    assert_eq!((changed.mode() & 0o7777, changed.mtime()), (0o600, 1_000_000_000));
    assert_eq!(changed.ino(), fs::symlink_metadata(out.join("second")).unwrap().ino());
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(out.join("changed"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"a=b\n\0c");
    assert_eq!(fs::symlink_metadata(out.join(".wh.gone")).unwrap().len(), 0);
    assert!(out.join("rep/.wh..wh..opq").exists() && !out.join("rep/.wh.old").exists());
    assert_eq!(fs::read(out.join("rep/.a")).unwrap(), b"in");
    assert_eq!(fs::read(out.join("swapped/in")).unwrap(), b"y");
    assert_eq!(fs::read_link(out.join("link")).unwrap().as_os_str().len(), 300);
    assert!(fs::symlink_metadata(out.join("pipe")).unwrap().file_type().is_fifo());
    for name in odd_names() {
        assert_eq!(fs::read(out.join(OsStr::from_bytes(&name))).unwrap(), name, "{name:?}");
    }
    let sparse = fs::read(out.join("sparse")).unwrap();
    assert_eq!(sparse.len(), 20 << 20);
    assert_eq!(&sparse[5 << 20..(5 << 20) + 6], b"middle");
    assert_eq!(sparse.iter().filter(|byte| **byte != 0).count(), 11);
    assert!(fs::metadata(out.join("sparse")).unwrap().blocks() < 1000);
}

#[test]
fn the_same_layer_gives_the_same_bytes_packed_or_not() {
    let fixture = Fixture::new();
    ended(&fixture, fill);
    let (first, _) = layer(&fixture);
    assert_eq!(first, layer(&fixture).0);
    let mut packed = Vec::new();
    try_export(&fixture, &Form::Layer(Packing::Zstd), &mut packed).unwrap();
    assert_eq!(zstd::decode_all(&packed[..]).unwrap(), first);
}

/// Another program puts the layer over an image that holds what the host has.
#[test]
fn umoci_makes_of_the_layer_what_the_sandbox_saw() {
    let installed = Command::new("umoci").arg("--version").output().is_ok();
    if !installed {
        return;
    }
    let fixture = Fixture::new();
    ended(&fixture, fill);
    let here = fixture.directory.path();
    fs::write(fixture.path("layer.tar"), layer(&fixture).0).unwrap();
    let over = fixture.path("over");
    let over = over.strip_prefix("/").unwrap().to_str().unwrap();
    let base = fixture.path("base.tar");
    run("tar", &["-cf", base.to_str().unwrap(), over], Path::new("/"));
    for arguments in [
        &["init", "--layout", "image"][..],
        &["new", "--image", "image:all"],
        &["raw", "add-layer", "--image", "image:all", "base.tar"],
        &["raw", "add-layer", "--image", "image:all", "layer.tar"],
        &["unpack", "--rootless", "--image", "image:all", "bundle"],
    ] {
        run("umoci", arguments, here);
    }
    let out = fixture.path("bundle/rootfs").join(over);
    assert_eq!(fs::read(out.join("changed")).unwrap(), b"new\n");
    for gone in ["gone", "rep/old", "rep/sub", ".wh.gone", "rep/.wh..wh..opq"] {
        assert!(!out.join(gone).exists(), "{gone}");
    }
    assert_eq!(fs::read(out.join("rep/.a")).unwrap(), b"in");
    assert_eq!(fs::read(out.join("swapped/in")).unwrap(), b"y");
    let inode = |name| fs::symlink_metadata(out.join(name)).unwrap().ino();
    assert_eq!(inode("changed"), inode("second"));
    assert_eq!(fs::metadata(out.join("sparse")).unwrap().len(), 20 << 20);
}

#[test]
fn what_an_archive_cannot_hold_is_left_out_and_told() {
    let fixture = Fixture::new();
    ended(&fixture, |over, upper| {
        drop(std::os::unix::net::UnixListener::bind(upper.join("socket")).unwrap());
        file(&upper.join(".wh.kept"), "x", 0o644);
        file(&upper.join("setuid"), "x", 0o4755);
        fs::create_dir(over.join("forged")).unwrap();
        fs::create_dir(upper.join("forged")).unwrap();
        let name = "user.overlay.redirect";
        rustix::fs::setxattr(upper.join("forged"), name, b"/etc", XattrFlags::empty()).unwrap();
    });
    let (archive, exported) = layer(&fixture);
    let expected = [
        (".wh.kept", Why::Name),
        ("forged", Why::Forged),
        ("setuid", Why::SetId),
        ("socket", Why::Socket),
    ];
    assert_eq!(told(&exported), expected.map(|(name, why)| (name.to_owned(), why)));
    let out = unpacked(&fixture, &archive);
    let names: Vec<_> =
        fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["setuid"]);
    assert_eq!(fs::metadata(out.join("setuid")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_sandbox_that_runs_is_not_exported() {
    let fixture = Fixture::new();
    let running = begun(&fixture, |_, upper| file(&upper.join("f"), "x", 0o644));
    let mut out = Vec::new();
    let error = try_export(&fixture, &Form::Layer(Packing::Plain), &mut out).unwrap_err();
    assert!(error.to_string().contains("is running"), "{error}");
    assert_eq!(out, b"");
    drop(running);
}

/// The process holds a mount namespace in which an overlay over the layer is mounted.
#[test]
fn a_layer_that_is_mounted_somewhere_is_not_exported() {
    let fixture = Fixture::new();
    let id = ended(&fixture, |_, upper| file(&upper.join("f"), "x", 0o644));
    for name in ["work", "merged"] {
        fs::create_dir(fixture.path(name)).unwrap();
    }
    let upper = fixture.path(&format!("data/bryo/kept/{id}/upper-0"));
    let mount = format!(
        "mount -t overlay o -o userxattr,lowerdir=over,upperdir={},workdir=work merged; echo; read x",
        upper.display()
    );
    let mut holder = Command::new("unshare")
        .args(["-Urm", "sh", "-ec", &mount])
        .current_dir(fixture.directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let mut out = Vec::new();
    let refused = try_export(&fixture, &Form::Layer(Packing::Plain), &mut out);
    assert!(matches!(refused, Err(OpsError::Mounted { .. })), "{refused:?}");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert_eq!(told(&layer(&fixture).1), []);
}

#[test]
fn a_planted_link_is_neither_followed_nor_replaced_and_a_failure_leaves_what_was_there() {
    let fixture = Fixture::new();
    ended(&fixture, |_, upper| file(&upper.join("f"), "x", 0o644));
    let (stores, everything) = (fixture.stores(), Selection::default());
    let to = |path: &Path, form: &Form| {
        let path = host(path);
        export(&stores, Which::Named(&"n".into()), &everything, form, Destination::File(&path))
    };
    let plain = Form::Layer(Packing::Plain);
    file(&fixture.path("victim"), "precious", 0o644);
    symlink(fixture.path("victim"), fixture.path("planted")).unwrap();
    let error = to(&fixture.path("planted"), &plain).unwrap_err();
    assert!(error.to_string().contains("no regular file stands there"), "{error}");
    assert!(error.hint().is_some());
    mknodat(CWD, fixture.path("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert!(to(&fixture.path("fifo"), &plain).is_err());
    assert_eq!(fs::read(fixture.path("victim")).unwrap(), b"precious");
    // The control: written to by its name, the link leads to the file.
    fs::write(fixture.path("planted"), "lost").unwrap();
    assert_eq!(fs::read(fixture.path("victim")).unwrap(), b"lost");

    to(&fixture.path("victim"), &plain).unwrap();
    assert_eq!(fs::read(fixture.path("victim")).unwrap(), layer(&fixture).0);
    let mode = fs::metadata(fixture.path("victim")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let left = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".bryo-");
    let entries = || fs::read_dir(fixture.directory.path()).unwrap().map(Result::unwrap);
    assert_eq!(entries().filter(left).count(), 0);
}

fn patch(fixture: &Fixture) -> (Vec<u8>, Exported) {
    let mut out = Vec::new();
    let base = Some(host(&fixture.path("over")));
    let exported = try_export(fixture, &Form::Patch(base), &mut out).unwrap();
    (out, exported)
}

#[test]
fn git_applies_the_patch_and_has_what_the_sandbox_had() {
    let fixture = Fixture::new();
    ended(&fixture, |over, upper| {
        file(&over.join("changed"), "one\ntwo\nthree", 0o644);
        file(&upper.join("changed"), "one\n2\nthree\n", 0o644);
        file(&over.join("gone"), "x\n", 0o644);
        whiteout(&upper.join("gone"));
        file(&over.join("mode"), "#!/bin/sh\n", 0o644);
        file(&upper.join("mode"), "#!/bin/sh\n", 0o755);
        fs::create_dir_all(over.join("dir/sub")).unwrap();
        file(&over.join("dir/a"), "a\n", 0o644);
        file(&over.join("dir/sub/b"), "b\n", 0o755);
        whiteout(&upper.join("dir"));
        file(&over.join("swap"), "text\n", 0o644);
        symlink("changed", upper.join("swap")).unwrap();
        symlink("old", over.join("link")).unwrap();
        symlink("new", upper.join("link")).unwrap();
        file(&upper.join("empty"), "", 0o644);
        fs::create_dir(upper.join("new")).unwrap();
        file(&upper.join("new/n\"\\\n\x1b"), "odd\r\n\x1b[2J\n", 0o644);
        file(&upper.join("binary"), b"\0\x01", 0o644);
    });
    let (text, exported) = patch(&fixture);
    assert_eq!(told(&exported), [("binary".to_owned(), Why::Binary)]);
    fs::write(fixture.path("patch"), &text).unwrap();
    let tree = fixture.path("over");
    run("git", &["init", "-q"], &tree);
    run("git", &["apply", "--whitespace=nowarn", "../patch"], &tree);
    assert_eq!(fs::read(tree.join("changed")).unwrap(), b"one\n2\nthree\n");
    for gone in ["gone", "dir/a", "dir/sub/b"] {
        assert!(!tree.join(gone).exists(), "{gone}");
    }
    assert_eq!(fs::metadata(tree.join("mode")).unwrap().mode() & 0o111, 0o111);
    assert_eq!(fs::read_link(tree.join("swap")).unwrap(), Path::new("changed"));
    assert_eq!(fs::read_link(tree.join("link")).unwrap(), Path::new("new"));
    assert_eq!(fs::read(tree.join("empty")).unwrap(), b"");
    assert_eq!(fs::read(tree.join("new/n\"\\\n\x1b")).unwrap(), b"odd\r\n\x1b[2J\n");
    assert!(!tree.join("binary").exists());
}

#[test]
fn what_lies_elsewhere_than_below_the_base_is_counted() {
    let fixture = Fixture::new();
    ended(&fixture, |_, upper| {
        fs::create_dir(upper.join("in")).unwrap();
        file(&upper.join("in/a"), "a\n", 0o644);
        file(&upper.join("b"), "b\n", 0o644);
    });
    let mut out = Vec::new();
    let base = Some(host(&fixture.path("over/in")));
    let exported = try_export(&fixture, &Form::Patch(base), &mut out).unwrap();
    assert_eq!(exported.elsewhere, 2);
    let expected =
        "diff --git a/a b/a\nnew file mode 100644\n--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+a\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

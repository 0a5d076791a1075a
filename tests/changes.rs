//! What is read out of copy-on-write layers. Those that a payload would like to make: `hostile`.
//!
//! Real layers are written through overlays that `unshare` mounts in a user namespace.
#![expect(
    clippy::unwrap_used,
    reason = "allow-unwrap-in-tests does not reach helper functions of integration tests"
)]

#[path = "changes/hostile.rs"]
mod hostile;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bryo::changes::{Aspect, Change, Changes, ChangesError, count, written};
use bryo::plan::step::{Backend, Copied, Layer, LayerNumber};
use bryo::spec::{HostPath, SandboxPath};
use bryo::state::Effort;
use bryo::state::record::{ChangeCounts, LayerRecord};
use rustix::fs::{CWD, FileType, Mode, OFlags, XattrFlags, mknodat, openat};
use tempfile::TempDir;

/// A host's directory and a layer over it, each to be filled.
struct Fixture {
    directory: TempDir,
    backend: Backend,
    masked: Vec<SandboxPath>,
    covered: Vec<SandboxPath>,
}

impl Fixture {
    fn new(backend: Backend) -> Self {
        Self::in_directory(backend, TempDir::new().unwrap())
    }

    fn in_directory(backend: Backend, directory: TempDir) -> Self {
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory, backend, masked: Vec::new(), covered: Vec::new() }
    }

    fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(relative)
    }

    fn lower(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path("lower").join(name)
    }

    fn upper(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path("upper").join(name)
    }

    fn record(&self) -> LayerRecord {
        record(&self.path("lower"), self.backend, &self.masked, &self.covered)
    }

    fn read(&self) -> Vec<Change> {
        read(&[(self.record(), self.path("upper"))])
    }

    /// As `A name`, below the layer's root.
    fn listed(&self) -> Vec<String> {
        self.read().iter().map(|change| line(change, &self.path("lower"))).collect()
    }

    fn written(&self) -> bool {
        written::<ChangesError>(
            &[self.record()],
            |_| Ok(Some(open(&self.path("upper")))),
            Effort::Whole,
        )
    }

    /// Runs a script in the merged directory of an overlay.
    fn run(&self, script: &str) {
        let mount = mount_command(self.backend);
        let status = Command::new("unshare")
            .args(["-Urm", "bash", "-ec"])
            .arg(format!("{mount}; cd merged; {script}\ncd ..; umount merged"))
            .current_dir(self.directory.path())
            .status()
            .unwrap();
        assert!(status.success(), "{script}");
    }
}

fn mount_command(backend: Backend) -> &'static str {
    match backend {
        Backend::Kernel => {
            "mount -t overlay o -o userxattr,lowerdir=lower,upperdir=upper,workdir=work merged"
        }
        Backend::Fuse => {
            "fuse-overlayfs -o lowerdir=lower,upperdir=upper,workdir=work merged 2>/dev/null"
        }
    }
}

fn record(
    over: &Path,
    backend: Backend,
    masked: &[SandboxPath],
    covered: &[SandboxPath],
) -> LayerRecord {
    let over = HostPath::new(over).unwrap();
    let layer = Layer {
        at: over.same_in_sandbox(),
        over: Some(over),
        backend,
        mode: 0o755,
        covered: covered.to_vec(),
        copied: Vec::new(),
        hidden: Vec::new(),
    };
    LayerRecord { layer, masked: masked.to_vec(), shown: None, mark: None, root: None }
}

fn read(layers: &[(LayerRecord, PathBuf)]) -> Vec<Change> {
    let records: Vec<LayerRecord> = layers.iter().map(|(record, _)| record.clone()).collect();
    let open =
        |LayerNumber(n): LayerNumber| Ok::<_, ChangesError>(Some(open(&layers[usize::from(n)].1)));
    Changes::open(&records, open).unwrap().map(Result::unwrap).collect()
}

fn open(path: &Path) -> OwnedFd {
    openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn line(change: &Change, root: &Path) -> String {
    let relative = change.path.as_path().strip_prefix(root).unwrap();
    format!("{} {}", change.kind.letter(), relative.as_os_str().as_bytes().escape_ascii())
}

fn whiteout(path: &Path) {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

fn mark(path: &Path, name: &str, value: &str) {
    rustix::fs::setxattr(path, name, value.as_bytes(), XattrFlags::empty()).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn inside(path: &str) -> SandboxPath {
    SandboxPath::new(path).unwrap()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn every_kind_of_change_is_listed_from_layers_of_both_servers() {
    for backend in [Backend::Kernel, Backend::Fuse] {
        let fixture = Fixture::new(backend);
        let prepare = "cd lower; mkdir -p d/sub rep/old moved_from/deep chm emp todir same
            for f in d/a d/sub/b z y rep/q rep/old/r moved_from/m moved_from/deep/n tolink grown; do
                echo $f >$f; done
            ln -s there link; mkfifo pipe; touch -d @1000000000 y";
        assert!(
            Command::new("bash")
                .args(["-ec", prepare])
                .current_dir(fixture.directory.path())
                .status()
                .unwrap()
                .success()
        );
        fixture.run(
            "rm z; rm -r d/sub; rm -r rep; mkdir rep; echo new >rep/n; echo q2 >rep/q
            mv moved_from moved_to; mkdir -p fresh/in; touch fresh/in/file; mkdir emp/x; rmdir emp/x
            : <>y; chmod 700 chm; echo more >>grown; rm tolink; ln -s x tolink; rmdir todir
            echo >todir; ln -sfn elsewhere link; rm pipe; mkfifo pipe2; ln grown hard; touch same/new",
        );
        let expected = [
            "C chm",
            "D d/sub",
            "A fresh",
            "A fresh/in",
            "A fresh/in/file",
            "C grown",
            "A hard",
            "C link",
            "D moved_from",
            "A moved_to",
            "A moved_to/deep",
            "A moved_to/deep/n",
            "A moved_to/m",
            "D pipe",
            "A pipe2",
            "A rep/n",
            "D rep/old",
            "C rep/q",
            "A same/new",
            "C todir",
            "C tolink",
            "D z",
        ];
        assert_eq!(fixture.listed(), expected, "{backend:?}");
        assert!(fixture.written());
    }
}

#[test]
fn a_file_is_compared_by_content_when_size_and_time_are_those_of_the_host() {
    let fixture = Fixture::new(Backend::Kernel);
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5);
    for (name, lower, upper) in
        [("same", "abc", "abc"), ("forged", "abc", "abd"), ("empty", "", "")]
    {
        for (path, text) in [(fixture.lower(name), lower), (fixture.upper(name), upper)] {
            fs::write(&path, text).unwrap();
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
    }
    let large = vec![7_u8; 300_000];
    let mut other = large.clone();
    other[299_999] = 8;
    for (path, bytes) in [(fixture.lower("large"), &large), (fixture.upper("large"), &other)] {
        fs::write(&path, bytes).unwrap();
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
    }
    let changes = fixture.read();
    let names: Vec<_> = changes.iter().map(|c| c.path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["forged", "large"]);
    assert!(changes.iter().all(|c| c.differs.iter().eq([Aspect::Content])));
    mark(&fixture.upper("same"), "user.mine", "1");
    let changes = fixture.read();
    assert!(changes[2].differs.iter().eq([Aspect::Attributes]), "{changes:?}");
}

#[test]
fn directories_that_the_overlay_only_copied_are_no_change() {
    let fixture = Fixture::new(Backend::Kernel);
    fs::create_dir_all(fixture.lower("a/b/c")).unwrap();
    assert!(!fixture.written());
    fs::create_dir_all(fixture.upper("a/b/c")).unwrap();
    mark(&fixture.upper("a"), "user.overlay.origin", "");
    mark(&fixture.upper("a"), "user.overlay.impure", "y");
    assert_eq!(fixture.listed(), [""; 0]);
    assert!(!fixture.written());
    mark(&fixture.upper("a/b"), "user.mine", "1");
    assert_eq!(fixture.listed(), ["C a/b"]);
    assert!(fixture.written());
}

#[test]
fn the_permissions_of_the_layers_own_root_are_a_change_of_the_directory_it_covers() {
    let fixture = Fixture::new(Backend::Kernel);
    chmod(&fixture.upper(""), 0o700);
    chmod(&fixture.lower(""), 0o755);
    let changes = fixture.read();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].path.as_path(), fixture.path("lower"));
    assert!(changes[0].differs.iter().eq([Aspect::Mode]));
    assert_eq!(changes[0].was.as_ref().unwrap().mode, 0o755);
}

#[test]
fn an_opaque_directory_deletes_what_only_the_host_has_in_it_at_every_depth() {
    let fixture = Fixture::new(Backend::Kernel);
    for path in ["rep/a/x", "rep/b/y", "keep/c"] {
        fs::create_dir_all(fixture.lower(path)).unwrap();
    }
    fs::create_dir_all(fixture.upper("rep/a/new")).unwrap();
    fs::create_dir_all(fixture.upper("new/in")).unwrap();
    fs::create_dir_all(fixture.upper("keep")).unwrap();
    mark(&fixture.upper("rep"), "user.overlay.opaque", "y");
    // On a directory that the host does not have it means nothing.
    mark(&fixture.upper("new"), "user.overlay.opaque", "y");
    let expected = ["A new", "A new/in", "A rep/a/new", "D rep/a/x", "D rep/b"];
    assert_eq!(fixture.listed(), expected);
}

#[test]
fn layers_that_stand_in_each_other_are_one_tree() {
    let outer = Fixture::new(Backend::Kernel);
    let inner = Fixture::new(Backend::Kernel);
    for name in ["proj/src", "proj-2", "a"] {
        fs::create_dir_all(outer.lower(name)).unwrap();
    }
    for name in ["a/1", "proj-2/x", "z"] {
        fs::create_dir_all(outer.upper(name)).unwrap();
    }
    for name in ["new", "src"] {
        fs::create_dir_all(inner.upper(name)).unwrap();
    }
    whiteout(&inner.upper("gone"));
    let outer_record = record(&outer.path("lower"), Backend::Kernel, &[], &[inside("/proj")]);
    let inner_record = record(&outer.lower("proj"), Backend::Kernel, &[], &[]);
    fs::write(outer.lower("proj/gone"), "").unwrap();
    let changes = read(&[(outer_record, outer.path("upper")), (inner_record, inner.path("upper"))]);
    let lines: Vec<String> = changes.iter().map(|c| line(c, &outer.path("lower"))).collect();
    assert_eq!(lines, ["A a/1", "D proj/gone", "A proj/new", "A proj-2/x", "A z"]);
    assert!(changes.is_sorted_by_key(|c| c.path.clone()));
}

#[test]
fn a_layer_that_began_empty_knows_what_of_the_host_stood_in_its_shadow() {
    let fixture = Fixture::new(Backend::Kernel);
    for path in ["shown/here", "shown/elsewhere", "other"] {
        fs::create_dir_all(fixture.lower(path)).unwrap();
    }
    for name in ["shown/file", "rc", "config"] {
        fs::write(fixture.lower(name), "host's").unwrap();
    }
    fs::create_dir_all(fixture.upper("shown")).unwrap();
    fs::create_dir_all(fixture.upper("other/new")).unwrap();
    fs::create_dir_all(fixture.upper("fresh")).unwrap();
    for name in ["shown/file", "rc", "config"] {
        fs::write(fixture.upper(name), "payload's").unwrap();
    }
    let mut record = fixture.record();
    record.layer.over = None;
    record.shown = Some(["/shown", "/shown/here", "/config"].map(inside).to_vec());
    let changes = read(&[(record, fixture.path("upper"))]);
    let listed: Vec<(String, bool)> =
        changes.iter().map(|c| (line(c, &fixture.path("lower")), c.hidden)).collect();
    let expected = [
        ("C config", false),
        ("A fresh", false),
        ("A other", true),
        ("A other/new", true),
        ("A rc", true),
        ("A shown/file", true),
    ];
    assert_eq!(listed, expected.map(|(line, hidden)| (line.to_owned(), hidden)));
}

#[test]
fn a_file_that_is_seen_elsewhere_is_listed_under_its_own_name() {
    for backend in [Backend::Kernel, Backend::Fuse] {
        let fixture = Fixture::new(backend);
        let files = ["changed", "gone", "same", "directory"].map(|name| {
            fs::write(fixture.path(name), "host's").unwrap();
            let from = HostPath::new(fixture.path(name)).unwrap();
            Copied { path: inside(&format!("/seen/{name}-here")), from }
        });
        fs::create_dir_all(fixture.upper("seen/directory-here/in")).unwrap();
        fs::write(fixture.upper("seen/changed-here"), "other").unwrap();
        match backend {
            Backend::Kernel => whiteout(&fixture.upper("seen/gone-here")),
            Backend::Fuse => fs::write(fixture.upper("seen/.wh.gone-here"), "").unwrap(),
        }
        let mut record = fixture.record();
        record.shown = Some(files.iter().map(|file| file.path.clone()).collect());
        record.layer.copied = files.to_vec();
        let changes = read(&[(record, fixture.path("upper"))]);
        let lines: Vec<String> = changes.iter().map(|c| line(c, &fixture.path(""))).collect();
        // The directory in the layer was only there to hold them, and the host has none.
        assert_eq!(lines, ["C changed", "C directory", "D gone", "A lower/seen"], "{backend:?}");
    }
}

#[test]
fn a_root_that_the_payload_closed_is_one_more_change() {
    let fixture = Fixture::new(Backend::Kernel);
    fs::create_dir(fixture.upper("in")).unwrap();
    chmod(&fixture.upper(""), 0o000);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |_| {
        Ok::<_, ChangesError>(Some(openat(CWD, fixture.upper(""), flags, Mode::empty()).unwrap()))
    };
    let changes: Vec<Change> =
        Changes::open(&[fixture.record()], open).unwrap().map(Result::unwrap).collect();
    assert_eq!(changes[0].path.as_path(), fixture.path("lower"));
    assert!(changes[0].differs.has(Aspect::Mode));
    assert_eq!(changes.len(), if is_root() { 2 } else { 1 });
    chmod(&fixture.upper(""), 0o700);
}

#[test]
fn counting_stops_where_it_was_told_to() {
    let fixture = Fixture::new(Backend::Kernel);
    for n in 0..10 {
        fs::create_dir(fixture.upper(n.to_string())).unwrap();
    }
    let changes = || {
        Changes::open::<ChangesError>(&[fixture.record()], |_| Ok(Some(open(&fixture.upper("")))))
            .unwrap()
    };
    assert_eq!(count(changes(), 100), ChangeCounts { added: 10, ..ChangeCounts::default() });
    let most = count(changes(), 4);
    assert_eq!((most.added, most.at_least), (4, true));
}

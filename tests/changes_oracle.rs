//! The oracle: what is read out of a layer is the true difference of the two trees, and what is forgotten
//! in one is as if it had not been written.
//!
//! # Theory of operation
//! A seed gives a tree and a script of random operations. The script runs in an overlay over the tree,
//! what the overlay shows then is copied, and the copy is compared with the tree in the simplest way
//! there is: both read wholly, name by name. [`bryo::changes`] reads only the layer, and has to find the
//! same.
//!
//! Then some paths are forgotten. What the overlay shows when it is mounted again has to be the copy with
//! those paths taken from the tree, and nothing else may differ.
//!
//! `BRYO_TEST_SEEDS=N` tries more seeds than `make test` does.
#![expect(
    clippy::unwrap_used,
    reason = "allow-unwrap-in-tests does not reach helper functions of integration tests"
)]

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bryo::changes::{Changes, ChangesError, Forgot, forget};
use bryo::plan::step::{Backend, Layer, LayerNumber};
use bryo::spec::HostPath;
use bryo::state::Store;
use bryo::state::record::LayerRecord;
use rustix::fs::{CWD, Mode, OFlags, openat};
use tempfile::TempDir;

use oracle::{Listed, Random, difference};

#[path = "oracle/mod.rs"]
mod oracle;

/// Seeds that `make test` tries, of each kind of overlay.
const SEEDS: u64 = 60;
const OPERATIONS: usize = 40;

fn record(directory: &Path, backend: Backend) -> LayerRecord {
    let over = HostPath::new(directory.join("lower")).unwrap();
    let layer = Layer {
        at: over.same_in_sandbox(),
        over: Some(over),
        backend,
        mode: 0o755,
        covered: Vec::new(),
        copied: Vec::new(),
        hidden: Vec::new(),
    };
    LayerRecord { layer, masked: Vec::new(), shown: None, mark: None, root: None }
}

fn upper(directory: &Path) -> impl Fn(LayerNumber) -> Result<Option<OwnedFd>, ChangesError> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    move |_| Ok(Some(openat(CWD, directory.join("upper"), flags, Mode::empty()).unwrap()))
}

/// What is read out of the layer.
fn read(directory: &Path, backend: Backend) -> Listed {
    let changes = Changes::open(&[record(directory, backend)], upper(directory)).unwrap();
    let changes: Vec<_> = changes.map(Result::unwrap).collect();
    assert!(changes.is_sorted_by(|a, b| a.path < b.path), "not sorted: {changes:?}");
    assert!(changes.iter().all(|change| change.trouble.is_none()), "{changes:?}");
    let lower = directory.join("lower");
    changes
        .iter()
        .map(|c| (c.path.as_path().strip_prefix(&lower).unwrap().to_owned(), c.kind.letter()))
        .collect()
}

/// Forgets some of what was changed, and places that may or may not be there; makes `SEED/expected`.
fn forget_some(directory: &Path, seed: u64, listed: &Listed, backend: Backend, store: &Store) {
    let mut random = Random(!seed);
    let changed: Vec<&PathBuf> = listed.iter().map(|(path, _)| path).collect();
    let mut paths: Vec<PathBuf> = Vec::new();
    for _ in 0..3 {
        paths.extend(changed.get(random.below(changed.len() + 1)).map(|path| (*path).clone()));
    }
    paths.push(["a", "b/c", "c/c/a", "a/b"][random.below(4)].into());
    if seed.is_multiple_of(12) {
        paths.push(PathBuf::new());
    }
    let (lower, result) = (directory.join("lower"), directory.join("result"));
    copy(&result, &directory.join("expected"));
    let sandbox = store.create(None).unwrap();
    let bin = sandbox.bin().unwrap();
    let absolute: Vec<HostPath> =
        paths.iter().map(|path| HostPath::new(lower.join(path)).unwrap()).collect();
    let layers = [record(directory, backend)];
    let forgot = forget(&layers, upper(directory), &absolute, &bin).unwrap();
    bin.empty().unwrap();
    sandbox.remove().unwrap();
    for (path, forgot) in paths.iter().zip(forgot) {
        expect(directory, path, &forgot, seed);
    }
}

/// Makes what is expected so that a path is forgotten, or makes sure that there was a reason not to.
fn expect(directory: &Path, path: &Path, forgot: &Forgot, seed: u64) {
    let (lower, expected) = (directory.join("lower"), directory.join("expected"));
    let (wanted, place) = (lower.join(path), expected.join(path));
    match forgot {
        Forgot::Path => {
            run("rm", &["-rf".as_ref(), "--".as_ref(), place.as_os_str()], directory);
            if wanted.symlink_metadata().is_ok() {
                copy(&wanted, &place);
            }
        }
        Forgot::Nothing => {
            let mut differs = Listed::new();
            difference(&lower, &expected, Path::new(""), &mut differs);
            let at = |(other, _): &&(PathBuf, char)| other.starts_with(path);
            assert_eq!(differs.iter().find(at), None, "seed {seed}: {}", path.display());
        }
        Forgot::Within(above) => {
            let above = above.as_path().strip_prefix(&lower).unwrap().to_owned();
            assert!(path.starts_with(&above) && path != above, "seed {seed}: {}", path.display());
            let still = expected.join(&above).symlink_metadata();
            assert!(!still.is_ok_and(|found| found.is_dir()), "seed {seed}: {}", path.display());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    run("cp", &["-aT".as_ref(), "--".as_ref(), from.as_os_str(), to.as_os_str()], Path::new("/"));
}

/// What is different from what is expected.
fn differences(expected: &Path, found: &Path) -> Listed {
    let mut listed = Listed::new();
    difference(expected, found, Path::new(""), &mut listed);
    listed
}

fn run(program: &str, arguments: &[&OsStr], directory: &Path) {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Makes `SEED/{lower,upper,work,merged,prepare,script}`.
///
/// fuse-overlayfs (1.10 tried) opens what it has noted as a file's origin when it is mounted again, and
/// waits for ever where that is a FIFO by now: its trees have none.
fn write_scripts(directory: &Path, seed: u64, backend: Backend) {
    let mut random = Random(seed);
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir_all(directory.join(name)).unwrap();
    }
    let settle = match backend {
        Backend::Kernel => "find . -type f -exec touch -d @1000000000 {} +",
        Backend::Fuse => "find . -type p -delete; find . -type f -exec touch -d @1000000000 {} +",
    };
    let prepare = format!("cd lower\n{}\n{settle}", random.script(OPERATIONS));
    fs::write(directory.join("prepare"), prepare).unwrap();
    fs::write(directory.join("script"), random.script(OPERATIONS)).unwrap();
}

fn in_namespace(script: &str, directory: &Path) {
    let words = ["900", "unshare", "-Urm", "bash", "-c", script].map(OsStr::new);
    run("timeout", &words, directory);
}

/// Mounts every layer again.
fn what_was_forgotten_is_not_shown(backend: Backend, mount: &str, seeds: u64, root: &Path) {
    let again = format!(
        "set -e
        for seed in [0-9]*/; do
            cd $seed
            {mount}
            cp -aT merged again; umount merged
            cd ..
        done"
    );
    in_namespace(&again, root);
    for seed in 0..seeds {
        let directory = root.join(seed.to_string());
        let expected = directory.join("expected");
        let differs = differences(&expected, &directory.join("again"));
        assert!(differs.is_empty(), "seed {seed}: after forgetting, differently: {differs:?}");
        let listed = differences(&directory.join("lower"), &expected);
        assert_eq!(read(&directory, backend), listed, "seed {seed}, after forgetting");
    }
}

fn holds_for(backend: Backend, mount: &str) {
    let seeds = std::env::var("BRYO_TEST_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS);
    let root = TempDir::new().unwrap();
    for seed in 0..seeds {
        write_scripts(&root.path().join(seed.to_string()), seed, backend);
    }
    let all = format!(
        "set -e
        for seed in */; do
            cd $seed; bash prepare 2>errors
            {mount}
            (cd merged; bash ../script 2>>../errors || :)
            # Times that fuse-overlayfs has told need not be those that it keeps.
            umount merged; {mount}
            cp -aT merged result; umount merged
            cd ..
        done"
    );
    in_namespace(&all, root.path());
    let store = Store::open(&HostPath::new(root.path().join("store")).unwrap()).unwrap();
    let mut found = 0;
    for seed in 0..seeds {
        let directory = root.path().join(seed.to_string());
        let expected = differences(&directory.join("lower"), &directory.join("result"));
        let read = read(&directory, backend);
        found += read.len();
        let only = |a: &Listed, b: &Listed| {
            let lines = a.difference(b).map(|(path, letter)| {
                format!("{letter} {}", path.as_os_str().as_bytes().escape_ascii())
            });
            lines.collect::<Vec<_>>()
        };
        assert!(
            read == expected,
            "seed {seed}: not read {:?}, wrongly read {:?}; script:\n{}",
            only(&expected, &read),
            only(&read, &expected),
            fs::read_to_string(directory.join("script")).unwrap(),
        );
        forget_some(&directory, seed, &read, backend, &store);
    }
    what_was_forgotten_is_not_shown(backend, mount, seeds, root.path());
    // The scripts do something.
    assert!(found > usize::try_from(seeds).unwrap() * 5, "{found} changes in {seeds} layers");
}

#[test]
fn what_is_read_from_a_layer_of_the_kernel_is_the_true_difference() {
    let mount = "mount -t overlay o -o userxattr,lowerdir=lower,upperdir=upper,workdir=work merged";
    holds_for(Backend::Kernel, mount);
}

#[test]
fn what_is_read_from_a_layer_of_fuse_overlayfs_is_the_true_difference() {
    let mount = "fuse-overlayfs -o lowerdir=lower,upperdir=upper,workdir=work merged 2>>errors";
    holds_for(Backend::Fuse, mount);
}

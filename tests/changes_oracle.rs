//! The oracle: what is read out of a layer is the true difference of the two trees.
//!
//! # Theory of operation
//! A seed gives a tree and a script of random operations. The script runs in an overlay over the tree,
//! what the overlay shows then is copied, and the copy is compared with the tree in the simplest way
//! there is: both read wholly, name by name. [`bryo::changes`] reads only the layer, and has to find the
//! same.
//!
//! `BRYO_TEST_SEEDS=N` tries more seeds than `make test` does.
#![expect(
    clippy::unwrap_used,
    reason = "allow-unwrap-in-tests does not reach helper functions of integration tests"
)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use bryo::changes::{Changes, ChangesError};
use bryo::plan::step::{Backend, Layer, LayerNumber};
use bryo::spec::HostPath;
use bryo::state::record::LayerRecord;
use rustix::fs::{CWD, Mode, OFlags, openat};
use tempfile::TempDir;

/// Seeds that `make test` tries, of each kind of overlay.
const SEEDS: u64 = 60;
const OPERATIONS: usize = 40;

/// A generator whose numbers are the same everywhere: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A path of one to three names, quoted for bash.
    fn path(&mut self) -> String {
        const NAMES: [&str; 8] =
            ["a", "b", "c", r"-x", r"d\x20e", r"\n", r"\xc3\xbc", r"\xff\x1b[2J"];
        let depth = 1 + self.below(3);
        let names: Vec<&str> = (0..depth).map(|_| self.pick(&NAMES)).collect();
        format!("$'./{}'", names.join("/"))
    }

    /// One line of a script. What fails in it, fails.
    fn operation(&mut self) -> String {
        let (p, q) = (self.path(), self.path());
        let text = self.pick(&["", "1", "2", "1234", "4321"]);
        let file = format!("[ -p {p} ] || [ -L {p} ] ||");
        match self.below(20) {
            0..=2 => format!("{file} printf %s {text} >{p}"),
            3 => format!("{file} printf %s {text} >>{p}"),
            // What a payload does that wants to hide a change.
            4 => format!("{file} {{ printf %s {text} >{p}; touch -d @1000000000 {p}; }}"),
            5 => format!("{file} : <>{p}"),
            6 => format!("rm -rf {p}"),
            7..=8 => format!("mkdir -p {p}"),
            9 => format!("rm -rf {p}; mkdir {p}; printf %s {text} >{p}/new"),
            10 => format!("rmdir {p}"),
            11 => format!("mv -T {p} {q}"),
            12 => format!("ln -sfn {text}x {p}"),
            13 => format!("mkfifo {p}"),
            14 => format!("ln {p} {q}"),
            15 => format!("cp -aT --remove-destination {p} {q}"),
            16 => format!("[ -L {p} ] || [ ! -d {p} ] || chmod {} {p}", self.pick(&["700", "755"])),
            17 => format!("[ -f {p} ] && chmod {} {p}", self.pick(&["600", "644", "755"])),
            18 => format!("[ -L {p} ] || [ -p {p} ] || setfattr -n user.t -v 1{text} {p}"),
            _ => format!("[ -L {p} ] || touch -d @1000000000 {p}"),
        }
    }

    fn script(&mut self, operations: usize) -> String {
        let mut script = String::new();
        for _ in 0..operations {
            writeln!(script, "{}", self.operation()).unwrap();
        }
        script
    }
}

/// A path and the letter it is listed under.
type Listed = BTreeSet<(PathBuf, char)>;

/// The true difference, by reading both trees.
fn difference(was: &Path, now: &Path, at: &Path, listed: &mut Listed) {
    let names: BTreeSet<OsString> = [was, now]
        .into_iter()
        .flat_map(|root| fs::read_dir(root.join(at)).into_iter().flatten())
        .map(|entry| entry.unwrap().file_name())
        .collect();
    for name in names {
        let at = at.join(name);
        let (old, new) = (was.join(&at), now.join(&at));
        match (fs::symlink_metadata(&old), fs::symlink_metadata(&new)) {
            (Ok(_), Err(_)) => _ = listed.insert((at, 'D')),
            (Err(_), Ok(kind)) => {
                listed.insert((at.clone(), 'A'));
                if kind.is_dir() {
                    difference(was, now, &at, listed);
                }
            }
            (Ok(before), Ok(after)) => {
                if differ((&old, &before), (&new, &after)) {
                    listed.insert((at.clone(), 'C'));
                }
                if after.is_dir() {
                    difference(
                        if before.is_dir() { was } else { Path::new("/none") },
                        now,
                        &at,
                        listed,
                    );
                }
            }
            (Err(_), Err(_)) => {}
        }
    }
}

fn differ((old, before): (&Path, &Metadata), (new, after): (&Path, &Metadata)) -> bool {
    let kind = |m: &Metadata| m.mode() & 0o170_000;
    if kind(before) != kind(after) {
        return true;
    }
    if before.is_symlink() {
        return fs::read_link(old).unwrap() != fs::read_link(new).unwrap();
    }
    if before.mode() != after.mode() || before.uid() != after.uid() || before.gid() != after.gid() {
        return true;
    }
    if before.file_type().is_fifo() {
        return false;
    }
    let attribute = |path: &Path| {
        let mut value = [0_u8; 32];
        rustix::fs::getxattr(path, "user.t", &mut value[..]).ok().map(|n| value[..n].to_vec())
    };
    let time = |m: &Metadata| (m.mtime(), m.mtime_nsec());
    attribute(old) != attribute(new)
        || before.is_file()
            && (time(before) != time(after) || fs::read(old).unwrap() != fs::read(new).unwrap())
}

/// What is read out of the layer.
fn read(directory: &Path, backend: Backend) -> Listed {
    let lower = directory.join("lower");
    let over = HostPath::new(&lower).unwrap();
    let layer = Layer {
        at: over.same_in_sandbox(),
        over: Some(over),
        backend,
        mode: 0o755,
        covered: Vec::new(),
        copied: Vec::new(),
    };
    let record = LayerRecord { layer, masked: Vec::new(), shown: None, mark: None };
    let upper = |_: LayerNumber| {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok::<_, ChangesError>(Some(
            openat(CWD, directory.join("upper"), flags, Mode::empty()).unwrap(),
        ))
    };
    let changes: Vec<_> = Changes::open(&[record], upper).unwrap().map(Result::unwrap).collect();
    assert!(changes.is_sorted_by(|a, b| a.path < b.path), "not sorted: {changes:?}");
    assert!(changes.iter().all(|change| change.trouble.is_none()), "{changes:?}");
    changes
        .iter()
        .map(|c| (c.path.as_path().strip_prefix(&lower).unwrap().to_owned(), c.kind.letter()))
        .collect()
}

fn run(program: &str, arguments: &[&str], directory: &Path) {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Makes `SEED/{lower,upper,work,merged,prepare,script}`.
fn write_scripts(directory: &Path, seed: u64) {
    let mut random = Random(seed);
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir_all(directory.join(name)).unwrap();
    }
    let settle = "find . -type f -exec touch -d @1000000000 {} +";
    let prepare = format!("cd lower\n{}\n{settle}", random.script(OPERATIONS));
    fs::write(directory.join("prepare"), prepare).unwrap();
    fs::write(directory.join("script"), random.script(OPERATIONS)).unwrap();
}

fn holds_for(backend: Backend, mount: &str) {
    let seeds = std::env::var("BRYO_TEST_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS);
    let root = TempDir::new().unwrap();
    for seed in 0..seeds {
        write_scripts(&root.path().join(seed.to_string()), seed);
    }
    let all = format!(
        "set -e
        for seed in */; do
            cd $seed; bash prepare 2>errors
            {mount}
            (cd merged; bash ../script 2>>../errors || :)
            cp -aT merged result; umount merged
            cd ..
        done"
    );
    run("timeout", &["900", "unshare", "-Urm", "bash", "-c", &all], root.path());
    let mut found = 0;
    for seed in 0..seeds {
        let directory = root.path().join(seed.to_string());
        let mut expected = Listed::new();
        difference(
            &directory.join("lower"),
            &directory.join("result"),
            Path::new(""),
            &mut expected,
        );
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
    }
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

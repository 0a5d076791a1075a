//! Programs that tests start: the binary under test, and C programs compiled on first use.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The binary under test: `$BRYO_BIN`, or the one cargo has just built.
pub(crate) fn bryo() -> PathBuf {
    std::env::var_os("BRYO_BIN").map_or_else(|| env!("CARGO_BIN_EXE_bryo").into(), PathBuf::from)
}

/// The keeper, see `keeper.c`.
pub(crate) fn keeper() -> PathBuf {
    compile(include_str!("keeper.c"))
}

/// Where all worlds and compiled programs of this test run are: `$BRYO_TEST_HOMES` (the parent of the
/// throw-away user's home), or cargo's folder for it.
pub(crate) fn homes() -> PathBuf {
    std::env::var_os("BRYO_TEST_HOMES")
        .map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from)
}

/// Compiles a C program, statically, once per test run; gives its path.
pub(crate) fn compile(source: &str) -> PathBuf {
    static COMPILED: OnceLock<Mutex<HashMap<u64, PathBuf>>> = OnceLock::new();
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let mut compiled =
        COMPILED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    compiled.entry(hasher.finish()).or_insert_with_key(|key| cc(source, *key)).clone()
}

fn cc(source: &str, key: u64) -> PathBuf {
    let folder = homes().join(".programs");
    std::fs::create_dir_all(&folder).unwrap();
    let to = folder.join(format!("{key:016x}"));
    if to.exists() {
        return to;
    }
    // Another test process may be compiling the same: each has its own files until the rename.
    let own = folder.join(format!("{key:016x}-{}", std::process::id()));
    let text = own.with_extension("c");
    std::fs::write(&text, source).unwrap();
    let output = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
        .args(["-O1", "-static", "-pthread", "-w", "-o"])
        .args([&own, &text])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(&text).unwrap();
    std::fs::rename(&own, &to).unwrap();
    to
}

/// Whether a program of that name is in `PATH`.
pub(crate) fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(name).is_file())
}

/// Copies a program by a process of its own: while one of this process' many threads forks, the child has what this
/// process has open, and a program that somebody has open for writing cannot be executed.
pub(crate) fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args([from, to]).status().unwrap();
    assert!(status.success());
}

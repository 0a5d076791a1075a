//! What the command line is read in: the caller's variables and current directory.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use crate::ops::asked;
use crate::profile::Library;
use crate::profile::moved::{Known, follow};
use crate::profile::value::ValueError;
use crate::spec::HostPath;
use crate::spec::rootfs::{Pattern, Rootfs};

use super::error::CliError;
use super::flag::quoted;

/// The caller's variables and current directory, read once.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Variables, each name at most once: the first counts, as for `getenv(3)`.
    pub environment: Vec<(OsString, OsString)>,
    /// The current directory, links resolved; none when it was deleted or cannot be read.
    pub workdir: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let mut environment: Vec<(OsString, OsString)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for (name, value) in std::env::vars_os() {
            if !name.is_empty() && seen.insert(name.clone()) {
                environment.push((name, value));
            }
        }
        Self { environment, workdir: std::env::current_dir().ok() }
    }

    /// The value of a variable.
    pub fn variable(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        let name = name.as_ref();
        self.environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_os_str())
    }

    /// An absolute path in a variable.
    fn directory(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// The profiles there are for this caller.
    pub fn library(&self) -> Library {
        let settings = self
            .directory("XDG_CONFIG_HOME")
            .or_else(|| Some(self.directory("HOME")?.join(".config")));
        Library::new(settings.map(|directory| directory.join("bryo/profiles")))
    }

    /// What later commands of this caller follow: the folders of settings, and the stores.
    pub fn trusted(&self) -> Vec<HostPath> {
        let below_home = |path: &str| Some(self.directory("HOME")?.join(path));
        let places = [
            self.directory("XDG_CONFIG_HOME").map(|directory| directory.join("bryo")),
            below_home(".config/bryo"),
            self.directory("BRYO_STORE"),
            self.directory("XDG_DATA_HOME").map(|directory| directory.join("bryo")),
            below_home(".local/share/bryo"),
        ];
        places.into_iter().flatten().filter_map(|place| HostPath::new(place).ok()).collect()
    }

    /// The path of the host that was typed as `text`: relative ones begin at the current directory, `~/`
    /// at home.
    ///
    /// `..` means what the kernel makes of it, links followed: the part up to the last one has to exist.
    pub fn host_path(&self, flag: &'static str, text: &OsStr) -> Result<HostPath, CliError> {
        let bad = |source| CliError::BadValue { flag, value: quoted(text), source };
        if text.is_empty() {
            return Err(bad(ValueError::Empty));
        }
        if text.as_bytes().contains(&0) {
            return Err(bad(ValueError::Nul));
        }
        let path = self.spelt(flag, text)?;
        let path = without_parents(&path).map_err(|source| CliError::Unresolvable {
            flag,
            path: quoted(text),
            source,
        })?;
        HostPath::new(&path).map_err(|error| bad(ValueError::Path(error)))
    }

    /// The same of a file that this command reads or writes itself: `..` climbs out of nothing that a planted link led to.
    /// Who opens it asks where that was ([`asked::refuse_opened`]).
    pub fn file(&self, flag: &'static str, text: &OsStr) -> Result<HostPath, CliError> {
        for climbed in self.climbed(text) {
            asked::refuse_way("`..` after it", &climbed)?;
        }
        self.host_path(flag, text)
    }

    /// The same from the root on, as it is spelt.
    fn spelt(&self, flag: &'static str, text: &OsStr) -> Result<PathBuf, CliError> {
        let unusable =
            |why, instead| CliError::Unusable { flag, value: quoted(text), why, instead };
        Ok(match text.as_bytes() {
            b"~" | [b'~', b'/', ..] => {
                let home = self.directory("HOME").ok_or_else(|| {
                    unusable("`HOME` is not set to an absolute path", "write the path from `/` on")
                })?;
                home.join(OsStr::from_bytes(text.as_bytes().get(2..).unwrap_or_default()))
            }
            [b'/', ..] => PathBuf::from(text),
            _ => {
                let workdir = self.workdir.as_ref().ok_or_else(|| {
                    unusable(
                        "the current directory is not there any more",
                        "write the path from `/` on",
                    )
                })?;
                workdir.join(text)
            }
        })
    }

    /// The directories that `..` climbs from in a path that [`Surroundings::host_path`] takes, as they are spelt: by
    /// links, it may lead elsewhere than beside.
    pub fn climbed(&self, text: &OsStr) -> Vec<HostPath> {
        let Ok(path) = self.spelt("", text) else { return Vec::new() };
        let (mut here, mut climbed) = (PathBuf::new(), Vec::new());
        for part in path.components() {
            if part != Component::ParentDir {
                here.push(part);
                continue;
            }
            climbed.extend(HostPath::new(&here));
            here = fs::canonicalize(&here).unwrap_or(here);
            here.pop();
        }
        climbed
    }

    /// Adds to a profile's places those where the caller's variables lead instead.
    pub fn follow_moved(&self, entries: &[String], rootfs: &mut Rootfs) {
        let home = self.directory("HOME").and_then(|home| HostPath::new(home).ok());
        let real = |place: &HostPath| HostPath::new(fs::canonicalize(place.as_path()).ok()?).ok();
        let known = Known { places: &|name| self.led_to(name), real: &real };
        follow(entries, home.as_ref(), &known, rootfs);
    }

    /// Where a variable leads: to one place, or to those that colons separate, or both.
    fn led_to(&self, name: &str) -> Vec<HostPath> {
        let Some(value) = self.variable(name) else { return Vec::new() };
        let parts = value.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes);
        let parts = parts.filter(|part| part.len() < value.len());
        let places = [value].into_iter().chain(parts);
        let places = places.filter_map(|place| self.host_path("", place).ok());
        places.filter_map(out_of_the_kernels).collect()
    }

    /// A place in a request: as [`Surroundings::host_path`], taken literally.
    pub fn place(&self, flag: &'static str, text: &OsStr) -> Result<Pattern, CliError> {
        Ok(Pattern::literal(&self.host_path(flag, text)?))
    }
}

/// A place as it is called outside of what the kernel makes: `/proc/self/cwd/x`, `/dev/fd/3/x` lead out of that. None of one
/// that does not, as what is there for processes and devices holds no files.
fn out_of_the_kernels(path: HostPath) -> Option<HostPath> {
    let is_in = |path: &HostPath| {
        ["/dev", "/proc", "/sys"].iter().any(|own| path.as_path().starts_with(own))
    };
    if !is_in(&path) {
        return Some(path);
    }
    // What is not there, yet, is below what is.
    let mut ways = std::iter::once(path.clone()).chain(path.ancestors());
    let led = ways.find_map(|there| {
        let real = HostPath::new(fs::canonicalize(there.as_path()).ok()?).ok()?;
        path.moved(&there, &real)
    });
    led.filter(|led| !is_in(led))
}

/// Resolves everything up to the last `..`; the rest stays as it is.
fn without_parents(path: &Path) -> std::io::Result<PathBuf> {
    let components: Vec<Component<'_>> = path.components().collect();
    let Some(last) = components.iter().rposition(|part| *part == Component::ParentDir) else {
        return Ok(path.to_owned());
    };
    let head: PathBuf = components[..=last].iter().collect();
    let mut resolved = fs::canonicalize(head)?;
    resolved.extend(&components[last + 1..]);
    Ok(resolved)
}

/// The bytes of a file that a flag names, if there are at most `most`. A pipe that somebody writes to is
/// read to its end: a shell's `<(…)` is one. Anything that may never end is refused.
pub fn read_bounded(
    flag: &'static str,
    typed: &OsStr,
    path: &HostPath,
    most: usize,
) -> Result<Vec<u8>, CliError> {
    let unreadable = |source| CliError::Unreadable { flag, path: quoted(typed), source };
    let unusable = |why| CliError::Unusable {
        flag,
        value: quoted(typed),
        why,
        instead: "name a regular file, or write `<(COMMAND)`",
    };
    // A FIFO that nobody writes to is not waited for.
    let mut opened = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open(path.as_path())
        .map_err(unreadable)?;
    asked::refuse_opened(flag, path, &opened)?;
    let kind = opened.metadata().map_err(unreadable)?.file_type();
    let mut bytes = Vec::new();
    if kind.is_fifo() {
        if !read_first(&mut opened, &mut bytes).map_err(unreadable)? {
            return Err(unusable("it is a pipe that nobody writes to"));
        }
    } else if kind.is_dir() {
        return Err(unusable("it is a directory"));
    } else if !kind.is_file() {
        return Err(unusable("it is a device"));
    }
    let limit = u64::try_from(most.saturating_sub(bytes.len())).unwrap_or(u64::MAX);
    opened.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > most {
        return Err(CliError::BadValue {
            flag,
            value: quoted(typed),
            source: ValueError::TooLarge,
        });
    }
    Ok(bytes)
}

/// What is in a pipe now; whether anybody has the other end open, or had. From then on a read waits.
fn read_first(pipe: &mut fs::File, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut first = [0; 4096];
    match pipe.read(&mut first) {
        Ok(0) => return Ok(false),
        Ok(length) => bytes.extend_from_slice(&first[..length]),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    let flags = rustix::fs::fcntl_getfl(&*pipe)?;
    rustix::fs::fcntl_setfl(&*pipe, flags.difference(rustix::fs::OFlags::NONBLOCK))?;
    Ok(true)
}

/// The part of a text before its first `separator`, and what follows.
pub fn split_once(text: &OsStr, separator: u8) -> Option<(&OsStr, &OsStr)> {
    let at = text.as_bytes().iter().position(|byte| *byte == separator)?;
    let (head, tail) = text.as_bytes().split_at(at);
    Some((OsStr::from_bytes(head), OsStr::from_bytes(&tail[1..])))
}

/// A string of bytes.
pub fn os_string(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_path_is_absolute_afterwards() {
        let here = tempfile::tempdir().unwrap();
        let here = fs::canonicalize(here.path()).unwrap();
        fs::create_dir_all(here.join("a/b")).unwrap();
        std::os::unix::fs::symlink(here.join("a/b"), here.join("link")).unwrap();
        let caller = Surroundings {
            environment: vec![("HOME".into(), "/home/al".into())],
            workdir: Some(here.clone()),
        };
        let path = |text: &str| {
            caller.host_path("--read", OsStr::new(text)).map(|p| p.as_path().to_owned())
        };
        assert_eq!(path("x/./y").unwrap(), here.join("x/y"));
        assert_eq!(path("~/x").unwrap(), Path::new("/home/al/x"));
        assert_eq!(path("~").unwrap(), Path::new("/home/al"));
        assert_eq!(path("~x").unwrap(), here.join("~x"));
        assert_eq!(path("link/../new").unwrap(), here.join("a/new"), "as the kernel resolves it");
        let climbed = |text: &str| {
            let climbed = caller.climbed(OsStr::new(text)).into_iter();
            climbed.map(|path| path.as_path().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(climbed("x/y"), Vec::<PathBuf>::new());
        assert_eq!(climbed("link/../new"), [here.join("link")]);
        // From where the first one led.
        assert_eq!(
            climbed("link/../../link/.."),
            [here.join("link"), here.join("a"), here.join("link")]
        );
        assert!(matches!(path("gone/../x"), Err(CliError::Unresolvable { .. })));
        assert!(matches!(path(""), Err(CliError::BadValue { .. })));
    }

    #[test]
    fn what_leads_out_of_the_kernels_file_systems_is_where_it_leads() {
        let here = HostPath::new(std::env::current_dir().unwrap()).unwrap();
        let led = |path: &str| out_of_the_kernels(HostPath::new(path).unwrap());
        assert_eq!(led("/proc/self/cwd"), Some(here.clone()));
        assert_eq!(led("/proc/self/cwd/src/not there"), here.join("src/not there").ok());
        assert_eq!(led("/proc/self/root/usr"), HostPath::new("/usr").ok());
        assert_eq!(led("/home/al/x"), HostPath::new("/home/al/x").ok());
        for nowhere in
            ["/proc", "/proc/self/status", "/proc/none/cwd", "/dev/null", "/sys/x", "/dev"]
        {
            assert_eq!(led(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn without_a_current_directory_only_relative_paths_fail() {
        let caller = Surroundings::default();
        assert!(caller.host_path("--read", OsStr::new("/x")).is_ok());
        assert!(matches!(
            caller.host_path("--read", OsStr::new("x")),
            Err(CliError::Unusable { .. })
        ));
        assert!(matches!(
            caller.host_path("--read", OsStr::new("~/x")),
            Err(CliError::Unusable { .. })
        ));
    }
}

//! What a run would fail at, as far as it can be seen without making one: the program, where it starts, the files that are
//! written for the caller.
//!
//! # Decisions
//! - Only what is certain is said, and of what is not that it is not.
//! - Nothing is tried that others could notice: no file is made, no port opened.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

use rustix::fs::{Access, AtFlags, CWD};

use crate::ops::asked::{self, AskedError};
use crate::plan::foresight::{Behind, Foresight};
use crate::plan::step::{Foreseen, Notice};
use crate::plan::{Facts, PlanError};
use crate::spec::{HostPath, Network, SandboxPath, Spec, Text};

/// The links that the kernel follows in one path.
const MOST_LINKS: u32 = 40;

/// As much of a script as the kernel reads to find its interpreter.
const FIRST_LINE: u64 = 256;

/// What a path leads to inside.
enum Found {
    Nothing,
    Directory,
    /// A regular file of the host, with its mode.
    File(HostPath, u32),
    Other,
    Unknown,
}

/// What is seen of the program and the directory it starts in.
pub(super) fn foresee(spec: &Spec, facts: &Facts) -> Result<Vec<Notice>, PlanError> {
    let foresight = Foresight::new(spec, facts)?;
    // One that nobody named is the planner's to find.
    let asked = spec.command.workdir.as_ref();
    let start = asked.and_then(|at| start(&foresight, at)).map(Notice::Foreseen);
    Ok(start.into_iter().chain(program(&foresight, spec)).collect())
}

/// The files that are written for the caller, with their flags.
fn files(spec: &Spec) -> impl Iterator<Item = (&'static str, &HostPath)> {
    let capture = spec.egress.capture.iter().filter(|_| spec.network == Network::User);
    let report = spec.lifetime.report.iter().map(|file| ("--report", file));
    report.chain(capture.map(|capture| ("--pcap", &capture.file)))
}

/// Refuses those that lie behind a link which an earlier payload may have planted.
pub(super) fn refuse_ways(spec: &Spec) -> Result<(), AskedError> {
    files(spec).try_for_each(|(flag, file)| {
        file.parent().map_or(Ok(()), |above| asked::refuse_way(flag, &above))
    })
}

/// What is seen of files and ports on the host.
pub(super) fn outside(spec: &Spec) -> Vec<Notice> {
    let refused = files(spec).map(|(_, file)| file).filter(|file| !may_be_made(file));
    let refused = refused.cloned().map(Foreseen::CannotWrite);
    let ports = (!spec.publish.is_empty()).then_some(Foreseen::Ports);
    refused.chain(ports).map(Notice::Foreseen).collect()
}

fn start(foresight: &Foresight, at: &SandboxPath) -> Option<Foreseen> {
    match follow(foresight, at) {
        Found::Directory => None,
        Found::Nothing => Some(Foreseen::NoStart(at.clone())),
        Found::File(..) | Found::Other => Some(Foreseen::StartIsNoDirectory(at.clone())),
        Found::Unknown => Some(Foreseen::Unknown(at.as_path().as_os_str().to_owned().into())),
    }
}

/// As execvp(3) looks: one that may not be executed does not end the search.
fn program(foresight: &Foresight, spec: &Spec) -> Option<Notice> {
    let name = spec.command.argv.first()?.clone();
    let unknown = |name| Some(Notice::Foreseen(Foreseen::Unknown(name)));
    let Some(places) = foresight.programs(spec) else { return unknown(name) };
    let mut is_refused = false;
    for place in places {
        match follow(foresight, &place) {
            Found::Nothing => {}
            Found::Unknown => return unknown(name),
            // By its mode alone: who it is inside, and may do there, need not be who asks.
            Found::File(file, mode) if mode & 0o111 != 0 => {
                let missing = interpreter(foresight, &file)?;
                let foreseen = Foreseen::NoInterpreter { program: name, interpreter: missing };
                return Some(Notice::Foreseen(foreseen));
            }
            Found::File(..) | Found::Directory | Found::Other => is_refused = true,
        }
    }
    Some(if is_refused {
        Notice::Foreseen(Foreseen::NotExecutable(name))
    } else {
        Notice::NoProgram(name)
    })
}

/// What the first line of a script names, where it is certain that it is not there.
fn interpreter(foresight: &Foresight, script: &HostPath) -> Option<SandboxPath> {
    let mut start = Vec::new();
    File::open(script.as_path()).ok()?.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.split(|byte| *byte == b'\n').next()?.strip_prefix(b"#!")?;
    let name = line.trim_ascii_start().split(u8::is_ascii_whitespace).next()?;
    let named = SandboxPath::new(OsStr::from_bytes(name)).ok()?;
    matches!(follow(foresight, &named), Found::Nothing).then_some(named)
}

/// Follows a path of the sandbox name by name, through its links and the host's.
fn follow(foresight: &Foresight, path: &SandboxPath) -> Found {
    let mut names: VecDeque<OsString> = parts(path.as_path()).collect();
    let (mut here, mut links, mut last) = (SandboxPath::root(), 0, Found::Directory);
    while let Some(name) = names.pop_front() {
        if name == ".." {
            (here, last) = (here.parent().unwrap_or(here), Found::Directory);
            continue;
        }
        let Ok(next) = here.join(&name) else { return Found::Unknown };
        let found = step(foresight, &next);
        match found {
            Step::Link(target) if links < MOST_LINKS => {
                links += 1;
                let target = Path::new(target.as_os_str());
                if target.is_absolute() {
                    here = SandboxPath::root();
                }
                let led: Vec<OsString> = parts(target).collect();
                for name in led.into_iter().rev() {
                    names.push_front(name);
                }
                last = Found::Directory;
            }
            Step::Link(_) => return Found::Unknown,
            Step::End(Found::Directory) => (here, last) = (next, Found::Directory),
            // A name below what is no directory is none.
            Step::End(Found::File(..) | Found::Other) if !names.is_empty() => {
                return Found::Nothing;
            }
            Step::End(end) => return end,
        }
    }
    last
}

/// What a single name is.
enum Step {
    Link(Text),
    End(Found),
}

fn step(foresight: &Foresight, at: &SandboxPath) -> Step {
    let host = match foresight.at(at) {
        Behind::Link(target) => return Step::Link(target),
        Behind::Nothing => return Step::End(Found::Nothing),
        Behind::Directory => return Step::End(Found::Directory),
        Behind::Other => return Step::End(Found::Other),
        Behind::Unknown => return Step::End(Found::Unknown),
        Behind::Host(host) => host,
    };
    let seen = match std::fs::symlink_metadata(host.as_path()) {
        Ok(seen) => seen,
        Err(error) => {
            let is_absent = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
            return Step::End(if !is_absent {
                // Of what cannot be looked at nobody knows.
                Found::Unknown
            } else if foresight.holds(at) {
                Found::Directory
            } else {
                Found::Nothing
            });
        }
    };
    if seen.is_symlink() {
        let target = std::fs::read_link(host.as_path());
        return target
            .map_or(Step::End(Found::Unknown), |to| Step::Link(to.into_os_string().into()));
    }
    Step::End(if seen.is_dir() {
        Found::Directory
    } else if seen.is_file() {
        Found::File(host, seen.mode())
    } else {
        Found::Other
    })
}

/// The names of a path, `..` among them.
fn parts(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

/// Whether the caller may make a file, or put one in its place.
fn may_be_made(file: &HostPath) -> bool {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    let may =
        |at: &HostPath| rustix::fs::accessat(CWD, at.as_path(), wanted, AtFlags::EACCESS).is_ok();
    file.parent().is_some_and(|above| above.as_path().is_dir() && may(&above))
}

//! `--cow --write --read --hide --tmpfs --socket --device --volume`: single places.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{bad, many, quoted, values};
use crate::front::cli::surroundings::{Surroundings, split_once};
use crate::profile::value::{ValueError, parse_size};
use crate::spec::path::PathError;
use crate::spec::rootfs::{Access, Origin, PathRequest, Volume, VolumeMode};
use crate::spec::{SandboxPath, Spec};

pub(super) const HEADING: &str = "Files";

/// Flags that give one place one access.
const ACCESSES: [(&str, &str, Access); 6] = [
    ("cow", "--cow", Access::Cow),
    ("write", "--write", Access::Write),
    ("read", "--read", Access::Read),
    ("hide", "--hide", Access::Hide),
    ("socket", "--socket", Access::Socket),
    ("device", "--device", Access::Device),
];

pub(super) fn flags() -> Vec<Arg> {
    vec![
        values("cow", "PATH", "Writable inside, unchanged on the host: changes go to a layer"),
        values("write", "PATH", "Writable inside and on the host"),
        values("read", "PATH", "Visible, read-only; also opens what is hidden by default"),
        values("hide", "PATH", "Not visible"),
        values(
            "tmpfs",
            "PATH[:SIZE]",
            "Private, empty, gone afterwards; an eighth of the memory at most, if no size is given",
        ),
        values("volume", "SRC:DST[:MODE]", "SRC of the host at DST; MODE is rw, ro or cow")
            .short('v'),
        values("socket", "PATH", "Let a unix socket of the host be connected to"),
        values("device", "PATH", "Show a device, or a directory of them below /dev"),
    ]
}

pub(super) fn apply(
    matches: &ArgMatches,
    spec: &mut Spec,
    caller: &Surroundings,
) -> Result<(), CliError> {
    let mut seen = Seen::default();
    for (id, flag, access) in ACCESSES {
        for text in many(matches, id) {
            if flag == "--device" && text.as_bytes().contains(&b':') {
                return Err(device_with_colon(text));
            }
            let path = caller.place(flag, text)?;
            spec.rootfs.climbed.extend(caller.climbed(text));
            seen.note(path.rest(), flag)?;
            spec.rootfs.requests.push(PathRequest { path, access, origin: Origin::Flag });
        }
    }
    for text in many(matches, "tmpfs") {
        let request = parse_tmpfs(text, caller)?;
        seen.note(request.path.rest(), "--tmpfs")?;
        spec.rootfs.requests.push(request);
    }
    for text in many(matches, "volume") {
        let volume = parse_volume(text, caller)?;
        seen.note(&volume.target, "--volume")?;
        spec.rootfs.volumes.push(volume);
        let source = split_once(text, b':').map_or(text, |(source, _)| source);
        spec.rootfs.climbed.extend(caller.climbed(source));
    }
    Ok(())
}

/// Which flag named which place: one place is named once.
#[derive(Default)]
struct Seen(Vec<(SandboxPath, &'static str)>);

impl Seen {
    fn note(&mut self, path: &SandboxPath, flag: &'static str) -> Result<(), CliError> {
        if let Some((_, one)) = self.0.iter().find(|(known, _)| known == path) {
            let typed = |flag: &str| format!("{flag} {path}");
            return Err(if *one == flag {
                CliError::Repeated(typed(flag))
            } else {
                CliError::Contradiction { one: typed(one), other: typed(flag) }
            });
        }
        self.0.push((path.clone(), flag));
        Ok(())
    }
}

fn device_with_colon(text: &OsStr) -> CliError {
    CliError::Unusable {
        flag: "--device",
        value: quoted(text),
        why: "a device keeps its place and its permissions",
        instead: "write the path alone, as in `--device /dev/dri`",
    }
}

/// `PATH`, `PATH:SIZE`, and Docker's `PATH:size=64m,rw,…`.
fn parse_tmpfs(text: &OsStr, caller: &Surroundings) -> Result<PathRequest, CliError> {
    let (path, rest) =
        split_once(text, b':').map_or((text, None), |(path, rest)| (path, Some(rest)));
    let mut size = None;
    for part in rest.into_iter().flat_map(|rest| rest.as_bytes().split(|byte| *byte == b',')) {
        let part = OsStr::from_bytes(part)
            .to_str()
            .ok_or_else(|| CliError::NotUtf8 { flag: "--tmpfs", value: quoted(text) })?;
        match part.strip_prefix("size=").unwrap_or(part) {
            // What every private file system is.
            "rw" | "nosuid" | "nodev" | "exec" => {}
            number if number.starts_with(|c: char| c.is_ascii_digit()) => {
                size = Some(parse_size(number).map_err(|source| bad("--tmpfs", text, source))?);
            }
            _ => {
                return Err(CliError::Unusable {
                    flag: "--tmpfs",
                    value: quoted(text),
                    why: "after the path there can only be a size",
                    instead: "write `--tmpfs PATH` or `--tmpfs PATH:64m`",
                });
            }
        }
    }
    let path = caller.place("--tmpfs", path)?;
    Ok(PathRequest { path, access: Access::Tmpfs { size }, origin: Origin::Flag })
}

/// `SRC:DST[:MODE]`.
fn parse_volume(text: &OsStr, caller: &Surroundings) -> Result<Volume, CliError> {
    let unusable =
        |why, instead| CliError::Unusable { flag: "--volume", value: quoted(text), why, instead };
    let Some((source, rest)) = split_once(text, b':') else {
        return Err(unusable(
            "there is no `:` between a place of the host and one inside",
            "`-v SRC:DST`; for a private empty directory `--tmpfs PATH`",
        ));
    };
    if !source.is_empty()
        && !source.as_bytes().contains(&b'/')
        && !matches!(source.as_bytes(), b"." | b".." | b"~")
    {
        return Err(unusable(
            "there are no named volumes yet",
            "for a directory write a path with a slash, as in `-v ./NAME:/DST`",
        ));
    }
    let (target, mode) = split_once(rest, b':').map_or((rest, None), |(t, mode)| (t, Some(mode)));
    let mode = match mode.map(OsStr::as_bytes) {
        None | Some(b"rw") => VolumeMode::Rw,
        Some(b"ro") => VolumeMode::Ro,
        Some(b"cow") => VolumeMode::Cow,
        Some(b"z" | b"Z" | b"ro,z" | b"ro,Z" | b"rw,z" | b"rw,Z") => {
            return Err(unusable(
                "files of the host are not relabelled",
                "leave `z` and `Z` out: the payload runs under your own label",
            ));
        }
        Some(_) => {
            return Err(unusable("there is no such mode", "a mode is `rw`, `ro` or `cow`"));
        }
    };
    let target = SandboxPath::new(target).map_err(|error| match error {
        PathError::Relative(_) | PathError::Climbs(_) => unusable(
            "the place inside has to begin with `/` and have no `..`",
            "`-v SRC:/DST`; a third part is a mode: `rw`, `ro` or `cow`",
        ),
        error => bad("--volume", text, ValueError::Path(error)),
    })?;
    Ok(Volume { source: caller.host_path("--volume", source)?, target, mode })
}

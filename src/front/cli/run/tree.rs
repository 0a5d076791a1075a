//! `--rootfs --root --overlay --read-only --shm-size`: what stands at `/`.

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{choice, not_both, one, one_parsed, toggle, toggled, value};
use crate::front::cli::surroundings::Surroundings;
use crate::profile::value::parse_size;
use crate::spec::Spec;
use crate::spec::rootfs::{Base, OverlayChoice};

pub(super) const HEADING: &str = "Root";

pub(super) fn flags() -> Vec<Arg> {
    vec![
        value(
            "rootfs",
            "DIR",
            "See this directory as /, copy-on-write, in place of the host's tree",
        ),
        value("root", "WHAT", "See the `host`'s tree as /, or `empty`: only what other flags name"),
        value(
            "overlay",
            "WHO",
            "Who serves copy-on-write: `auto`, the `kernel` or nothing, `fuse` or nothing",
        ),
        toggle("read-only", "Nothing is writable but /tmp, /run, /dev and what other flags name"),
        value("shm-size", "SIZE", "How much /dev/shm holds; an eighth of the memory if not given"),
    ]
}

pub(super) fn apply(
    matches: &ArgMatches,
    spec: &mut Spec,
    caller: &Surroundings,
) -> Result<(), CliError> {
    not_both(matches, "rootfs", "root")?;
    let rootfs = &mut spec.rootfs;
    if let Some(directory) = one(matches, "rootfs") {
        rootfs.base = Base::Directory(caller.host_path("--rootfs", directory)?);
        rootfs.climbed.extend(caller.climbed(directory));
    }
    let choose = choice(&["host", "empty"], &[false, true]);
    if let Some(empty) = one_parsed(matches, "root", "--root", choose)? {
        rootfs.base = if empty { Base::Empty } else { Base::Host };
    }
    let servers = [OverlayChoice::Auto, OverlayChoice::Kernel, OverlayChoice::Fuse];
    let choose = choice(&["auto", "kernel", "fuse"], &servers);
    if let Some(overlay) = one_parsed(matches, "overlay", "--overlay", choose)? {
        rootfs.overlay = overlay;
    }
    if let Some(read_only) = toggled(matches, "read-only", "--read-only")? {
        rootfs.read_only = read_only;
    }
    if let Some(size) = one_parsed(matches, "shm-size", "--shm-size", parse_size)? {
        rootfs.shm_size = Some(size);
    }
    Ok(())
}

//! Plans the small files that say who and where one is: accounts, machine id, host name, hosts.
//!
//! # Decisions
//! - `/etc/passwd` and `/etc/group` are the host's, with a line for the id inside where it has none:
//!   else `whoami`, git and ssh fail.
//! - `/etc/machine-id` is the same in every sandbox: it names the machine to whoever reads it, and
//!   programs refuse to start when it is missing or zero.
//! - `/etc/hosts` names the sandbox itself and loopback, and what `--add-host` gives; with the host's network it is the
//!   host's. Of the host's own file nothing is shown: the name server answers from it, as far as the rules allow.
//! - `/etc/resolv.conf` names the netstack's name server, where there is a netstack.
//! - Of a root file system of the user's only the last two are replaced: who is in it, it says itself.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Facts, Kind};
use super::ids;
use super::places::RESOLV_CONF;
use super::process::hostname;
use super::resolver;
use super::step::FsStep;
use super::view::{Rank, Rule, Rules, fixed};
use crate::spec::net::HostEntry;
use crate::spec::rootfs::Base;
use crate::spec::{HostPath, Spec, Text};

/// The machine id of every sandbox: `bryo`, four times.
const MACHINE_ID: &str = "6272796f6272796f6272796f6272796f\n";

/// Files that are looked at because they may be replaced.
pub(super) const FILES: [&str; 3] = ["/etc/machine-id", "/etc/hostname", "/etc/hosts"];

/// Appends the files that differ from the host's.
pub(super) fn plan_identity(
    spec: &Spec,
    facts: &Facts,
    rules: &Rules,
    draft: &mut Draft,
) -> Result<(), PlanError> {
    match &spec.rootfs.base {
        Base::Host => {}
        Base::Directory(directory) => {
            return plan_in_directory(spec, facts, (directory, rules), draft);
        }
        Base::Empty => return Ok(()),
    }
    let (uid, gid) = ids::inside(spec, facts);
    let account = &facts.account;
    if let Some(passwd) = &account.passwd_without {
        let home = facts.caller.home.as_ref().map_or(&b"/"[..], |home| home.as_bytes());
        let shell = account.shell.as_ref().map_or(&b"/bin/sh"[..], |shell| shell.as_bytes());
        let name = field(account.name.as_ref(), "user");
        let numbers = format!(":x:{uid}:{gid}::");
        let line = [&name, numbers.as_bytes(), &clean(home), b":", &clean(shell)].concat();
        over(rules, &fixed("/etc/passwd"), appended(passwd, &line), draft);
    }
    if let Some(group) = &account.group_without {
        let name = field(account.group.as_ref(), "user");
        let line = [&name, format!(":x:{gid}:").as_bytes()].concat();
        over(rules, &fixed("/etc/group"), appended(group, &line), draft);
    }
    let name = hostname(spec)?;
    let [machine_id, hostname_file, hosts] = FILES;
    let is_file = |place: &&super::facts::Place| place.kind == Kind::File;
    let mut replace = |path: &str, content: String| {
        if let Some(place) = facts.place(&fixed(path)).filter(is_file)
            && place.real == fixed(path)
        {
            over(rules, &fixed(path), Text::from(content), draft);
        }
    };
    replace(machine_id, MACHINE_ID.to_owned());
    replace(hostname_file, format!("{name}\n"));
    if spec.network.is_own() {
        replace(hosts, hosts_of(name, resolver::given(spec, facts)));
    }
    if let Some(content) = resolver::resolver(spec, facts)
        && let Some(place) = facts.place(&fixed(RESOLV_CONF)).filter(is_file)
    {
        over(rules, &place.real, content, draft);
    }
    Ok(())
}

/// What `/etc/hosts` says of the sandbox itself, and of names that were given.
fn hosts_of(name: &str, given: &[HostEntry]) -> String {
    let local = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    let own = format!("{local}127.0.1.1\t{name}\n");
    given
        .iter()
        .fold(own, |text, HostEntry { name, address }| text + &format!("{address}\t{name}\n"))
}

/// In a root file system of the user's: what differs from network to network. Where it has no such file, or a link in
/// its place, its own stays.
fn plan_in_directory(
    spec: &Spec,
    facts: &Facts,
    (directory, rules): (&HostPath, &Rules),
    draft: &mut Draft,
) -> Result<(), PlanError> {
    if !spec.network.is_own() {
        return Ok(());
    }
    let resolver = resolver::resolver(spec, facts).map(|content| (RESOLV_CONF, content));
    let hosts = ("/etc/hosts", Text::from(hosts_of(hostname(spec)?, resolver::given(spec, facts))));
    for (path, content) in std::iter::once(hosts).chain(resolver) {
        let at = fixed(path).same_in_sandbox();
        let Some(place) = in_directory(directory, path).and_then(|path| facts.place(&path)) else {
            continue;
        };
        // What a flag puts there wins.
        let is_free = rules.at(&at).is_none();
        if place.kind == Kind::File && place.real == place.asked && is_free {
            draft.fs(FsStep::FileOver { at, content, mode: 0o644 });
        }
    }
    Ok(())
}

/// Where a file of a root file system is on the host.
pub(super) fn in_directory(directory: &HostPath, path: &str) -> Option<HostPath> {
    directory.join(path.trim_start_matches('/')).ok()
}

/// Only over what the host shows there: a flag that speaks of the file itself wins.
fn over(rules: &Rules, path: &HostPath, content: Text, draft: &mut Draft) {
    let at = path.same_in_sandbox();
    let is_hosts = |rule: &Rule| rule.shows_host() && !(rule.at == at && rule.rank == Rank::Flag);
    if rules.deciding(&at).is_some_and(is_hosts) {
        draft.fs(FsStep::FileOver { at, content, mode: 0o644 });
    }
}

fn field(name: Option<&Text>, otherwise: &str) -> Vec<u8> {
    name.map_or_else(|| otherwise.as_bytes().to_vec(), |name| clean(name.as_bytes()))
}

/// Without what ends a field or a line.
fn clean(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !matches!(byte, b':' | b'\n' | 0)).collect()
}

fn appended(text: &Text, line: &[u8]) -> Text {
    let mut bytes = text.as_bytes().to_vec();
    if bytes.last().is_some_and(|byte| *byte != b'\n') {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line);
    bytes.push(b'\n');
    Text::from(OsStr::from_bytes(&bytes).to_owned())
}

//! A script that an administrator can read and then run, made of the remedies of one report.
//!
//! # Theory of operation
//! The script holds the functions that its calls use and nothing else, so that it is short enough to
//! be read. Each call looks first whether there is anything to do, and says what it does: run twice,
//! the script changes nothing the second time. Whatever comes from this machine (paths, names) is
//! quoted; what comes from nobody but bryo is not.
//!
//! # Decisions
//! - POSIX `sh`: an administrator's machine has it.
//! - Only root runs it, all of it: it never calls `sudo` itself.
//! - Kernel parameters go into a file of their own, so that they can be taken back by removing it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::remedy::{Fix, Package, PackageManager};
use super::{Remedy, Report};

/// The script for everything a command can mend. A comment when there is nothing.
pub fn fix_script(report: &Report) -> String {
    let mut calls: Vec<(String, String)> = Vec::new();
    let mut by_hand = Vec::new();
    let mut functions = BTreeSet::new();
    for finding in &report.findings {
        let Some(remedy) = &finding.remedy else { continue };
        match call(remedy) {
            Some((function, line)) => {
                let reason = format!("{}: {}", finding.title, finding.detail);
                if !calls.iter().any(|(_, known)| *known == line) {
                    calls.push((reason, line));
                }
                functions.insert(function);
            }
            None => by_hand.push(format!("{}: {}", finding.title, remedy.command)),
        }
    }
    let mut script = "#!/bin/sh\n".to_owned();
    if calls.is_empty() && by_hand.is_empty() {
        script.push_str("# nothing to fix\n");
    } else if calls.is_empty() {
        script.push_str("# nothing that a script can fix\n");
    } else {
        script.push_str(HEAD);
        for function in functions {
            script.push_str(function.text());
        }
        for (reason, line) in calls {
            _ = write!(script, "\n{}\n{line}\n", comment(&reason));
        }
    }
    if !by_hand.is_empty() {
        script.push_str("\n# What no script can do:\n");
        for line in by_hand {
            _ = writeln!(script, "{}", comment(&line));
        }
    }
    script
}

/// One line that no shell reads. What comes from this machine may hold anything but is shown escaped.
fn comment(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("# {line}")
}

const HEAD: &str = r#"# Made by `bryo doctor --fix-script` for this machine. Read it, then run it as root.
set -eu

say() { printf 'bryo fix: %s\n' "$*"; }

if [ "$(id -u)" != 0 ]; then
	echo 'bryo fix: this must be run by root' >&2
	exit 1
fi
"#;

/// A function of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Function {
    Sysctl,
    AppArmor,
    Package,
    SetUserId,
    Subids,
    Device,
    Delegation,
}

/// The function a remedy needs, and the line that calls it; none for what is done by hand.
fn call(remedy: &Remedy) -> Option<(Function, String)> {
    Some(match &remedy.fix {
        Fix::Sysctl { key, value } => (Function::Sysctl, format!("set_sysctl {key} {value}")),
        Fix::SysctlRange { key, first, last } => {
            (Function::Sysctl, format!("set_sysctl {key} '{first} {last}'"))
        }
        Fix::AppArmorProfile { program } => {
            let path = program.as_path().to_str().filter(|path| path.chars().all(is_plain))?;
            (Function::AppArmor, format!("allow_namespaces {path}"))
        }
        Fix::Package { package } => (Function::Package, package_call(*package)),
        Fix::SetUserId { program } => {
            let path = quote(program.as_path().to_str()?);
            (Function::SetUserId, format!("set_user_id {path}"))
        }
        Fix::Subids { account, uids, gids } => {
            let account = quote(account);
            let files = [(*uids, "uid"), (*gids, "gid")];
            let lines: Vec<String> = files
                .iter()
                .filter(|(wanted, _)| *wanted)
                .map(|(_, kind)| format!("add_subids {kind} {account}"))
                .collect();
            (Function::Subids, lines.join("\n"))
        }
        Fix::Device { path, module } => (Function::Device, format!("open_device {path} {module}")),
        Fix::Delegation => (Function::Delegation, "delegate_controllers".to_owned()),
        Fix::ByHand => return None,
    })
}

/// AppArmor reads globs and quotes in a path, so only one without them is written into a profile.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._+-".contains(c)
}

/// `word` so that every POSIX shell takes it as one word and as nothing else; `report::quote` is for
/// people, and writes what an old `sh` does not read.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn package_call(package: Package) -> String {
    let names = PackageManager::ALL.map(|manager| package.name(manager)).join(" ");
    format!("install_package {} {names}", package.program())
}

impl Function {
    fn text(self) -> &'static str {
        match self {
            Self::Sysctl => SYSCTL,
            Self::AppArmor => APPARMOR,
            Self::Package => PACKAGE,
            Self::SetUserId => SET_USER_ID,
            Self::Subids => SUBIDS_TEXT,
            Self::Device => DEVICE,
            Self::Delegation => DELEGATION,
        }
    }
}

const SYSCTL: &str = r#"
# A kernel parameter, now and at every boot.
set_sysctl() { # key value
	file=/etc/sysctl.d/90-bryo.conf
	if ! grep -qsxF "$1 = $2" "$file"; then
		say "$1 = $2 (in $file)"
		mkdir -p /etc/sysctl.d
		{ grep -sv "^$1 = " "$file" || :; printf '%s = %s\n' "$1" "$2"; } >"$file.new"
		mv "$file.new" "$file"
	fi
	path=/proc/sys/$(echo "$1" | tr . /)
	if [ "$(tr '\t' ' ' <"$path")" != "$2" ]; then
		say "$1 = $2 (now)"
		echo "$2" >"$path"
	fi
}
"#;

const APPARMOR: &str = r#"
# An AppArmor profile that lets one program make user namespaces and restricts nothing else: bryo
# confines what it runs by itself. Whoever can write that program can use them too.
allow_namespaces() { # program
	file=/etc/apparmor.d/bryo
	profile="abi <abi/4.0>,
include <tunables/global>
profile bryo $1 flags=(unconfined) {
  userns,
  include if exists <local/bryo>
}"
	if [ "$(cat "$file" 2>/dev/null || :)" != "$profile" ]; then
		say "profile for $1 (in $file)"
		printf '%s\n' "$profile" >"$file"
	fi
	say "loading $file"
	apparmor_parser --replace "$file"
}
"#;

const PACKAGE: &str = r#"
# Installs the package that brings a program, under the name it has on this distribution.
install_package() { # program apt-get dnf zypper pacman apk
	if command -v "$1" >/dev/null; then
		return
	elif command -v apt-get >/dev/null; then
		say "installing $2"
		DEBIAN_FRONTEND=noninteractive apt-get install -y "$2"
	elif command -v dnf >/dev/null; then
		say "installing $3"
		dnf install -y "$3"
	elif command -v zypper >/dev/null; then
		say "installing $4"
		zypper --non-interactive install "$4"
	elif command -v pacman >/dev/null; then
		say "installing $5"
		pacman -S --noconfirm "$5"
	elif command -v apk >/dev/null; then
		say "installing $6"
		apk add "$6"
	else
		echo "bryo fix: install what brings $1: this script does not know how to here" >&2
		exit 1
	fi
}
"#;

const SET_USER_ID: &str = r#"
# Gives a helper program of the distribution its set-user-id bit back.
set_user_id() { # program
	if [ "$(stat -c %u:%a "$1")" != 0:4755 ]; then
		say "chown root:root, chmod 4755 $1"
		chown root:root "$1"
		chmod 4755 "$1"
	fi
}
"#;

const SUBIDS_TEXT: &str = r#"
# A range of 65536 subordinate ids, behind all that are given already.
add_subids() { # uid|gid account
	if cut -d: -f1 "/etc/sub$1" 2>/dev/null | grep -qxFe "$2"; then
		return
	fi
	touch /etc/subuid /etc/subgid
	first=$(awk -F: 'BEGIN { n = 100000 } NF == 3 && $2 + $3 > n { n = $2 + $3 } END { print n }' \
		/etc/subuid /etc/subgid)
	last=$((first + 65535))
	say "ids $first to $last for $2 (in /etc/sub$1)"
	if cut -d: -f1 /etc/passwd | grep -qxFe "$2"; then
		usermod "--add-sub${1}s" "$first-$last" "$2"
	else # an account of a directory service, which usermod does not know
		printf '%s:%s:65536\n' "$2" "$first" >>"/etc/sub$1"
	fi
}
"#;

const DELEGATION: &str = r#"
# Lets every user's systemd bound processors, disks, memory and processes; from the next login on.
delegate_controllers() {
	file=/etc/systemd/system/user@.service.d/delegate.conf
	wanted='[Service]
Delegate=cpu cpuset io memory pids'
	if [ "$(cat "$file" 2>/dev/null || :)" != "$wanted" ]; then
		say "$wanted (in $file)"
		mkdir -p "${file%/*}"
		printf '%s\n' "$wanted" >"$file"
		systemctl daemon-reload
	fi
}
"#;

const DEVICE: &str = r#"
# A device that everybody may open on every distribution: now and at every boot.
open_device() { # device module
	if [ ! -c "$1" ]; then
		say "loading module $2"
		modprobe "$2"
		mkdir -p /etc/modules-load.d
		echo "$2" >"/etc/modules-load.d/bryo-$2.conf"
	fi
	if [ "$(stat -c %a "$1")" != 666 ]; then
		say "chmod 0666 $1"
		chmod 0666 "$1"
		if [ -d /etc/udev/rules.d ]; then
			printf 'KERNEL=="%s", MODE="0666"\n' "${1##*/}" >"/etc/udev/rules.d/60-bryo-$2.rules"
		fi
	fi
}
"#;

#[cfg(test)]
mod tests;

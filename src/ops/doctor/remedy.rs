//! What can be done about something that is missing, as data.

use std::fmt::Write as _;

use serde::Serialize;

use crate::plan::DELEGATE;
use crate::report::shell_quote;
use crate::spec::HostPath;

/// Something to do, and the command a person types for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// What.
    #[serde(flatten)]
    pub fix: Fix,
    /// One line for a shell, or a sentence where no command can do it.
    pub command: String,
}

/// What can be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fix {
    /// Sets a kernel parameter, now and at every boot.
    Sysctl {
        /// As `user.max_user_namespaces`.
        key: &'static str,
        /// Its value.
        value: u64,
    },
    /// Sets a kernel parameter that is a range, now and at every boot.
    SysctlRange {
        /// As `net.ipv4.ping_group_range`.
        key: &'static str,
        /// Its first number.
        first: u64,
        /// Its last.
        last: u64,
    },
    /// Lets this program make user namespaces where AppArmor asks for a profile.
    AppArmorProfile {
        /// Where bryo is.
        program: HostPath,
    },
    /// Installs a package.
    Package {
        /// Which.
        package: Package,
    },
    /// Gives a program its set-user-id bit back.
    SetUserId {
        /// Where it is.
        program: HostPath,
    },
    /// Gives an account a range of 65,536 subordinate ids.
    Subids {
        /// Its name.
        account: String,
        /// Whether `/etc/subuid` lacks one.
        uids: bool,
        /// Whether `/etc/subgid` lacks one.
        gids: bool,
    },
    /// Loads a module and gives its device the mode that every distribution gives it.
    Device {
        /// As `/dev/fuse`.
        path: &'static str,
        /// The module that makes it.
        module: &'static str,
    },
    /// Lets the service managers of users bound everything.
    Delegation,
    /// Only a person can.
    ByHand,
}

/// A package, by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Package {
    /// `newuidmap` and `newgidmap`.
    Uidmap,
    /// `fuse-overlayfs`.
    FuseOverlayfs,
}

/// The program that installs packages here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageManager {
    /// Debian, Ubuntu.
    AptGet,
    /// Fedora, RHEL.
    Dnf,
    /// SUSE.
    Zypper,
    /// Arch.
    Pacman,
    /// Alpine.
    Apk,
}

impl PackageManager {
    /// All of them, in the order in which they are looked for.
    pub const ALL: [Self; 5] = [Self::AptGet, Self::Dnf, Self::Zypper, Self::Pacman, Self::Apk];

    /// The program's name.
    pub const fn program(self) -> &'static str {
        match self {
            Self::AptGet => "apt-get",
            Self::Dnf => "dnf",
            Self::Zypper => "zypper",
            Self::Pacman => "pacman",
            Self::Apk => "apk",
        }
    }

    /// The command without the package's name.
    pub const fn install(self) -> &'static str {
        match self {
            Self::AptGet => "apt-get install -y",
            Self::Dnf => "dnf install -y",
            Self::Zypper => "zypper --non-interactive install",
            Self::Pacman => "pacman -S --noconfirm",
            Self::Apk => "apk add",
        }
    }
}

impl Package {
    /// What it is called there.
    pub const fn name(self, manager: PackageManager) -> &'static str {
        match (self, manager) {
            (Self::FuseOverlayfs, _) => "fuse-overlayfs",
            (Self::Uidmap, PackageManager::AptGet) => "uidmap",
            (Self::Uidmap, PackageManager::Dnf) => "shadow-utils",
            (Self::Uidmap, PackageManager::Zypper | PackageManager::Pacman) => "shadow",
            (Self::Uidmap, PackageManager::Apk) => "shadow-subids",
        }
    }

    /// A program that is there once it is installed.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Uidmap => "newuidmap",
            Self::FuseOverlayfs => "fuse-overlayfs",
        }
    }
}

/// The script does in several steps what no single command can.
const BY_SCRIPT: &str = "bryo doctor --fix-script | sudo sh";

impl Remedy {
    pub(super) fn sysctl(key: &'static str, value: u64) -> Self {
        let command = format!("sudo sysctl -w {key}={value}");
        Self { fix: Fix::Sysctl { key, value }, command }
    }

    pub(super) fn sysctl_range(key: &'static str, first: u64, last: u64) -> Self {
        let command = format!("sudo sysctl -w {key}='{first} {last}'");
        Self { fix: Fix::SysctlRange { key, first, last }, command }
    }

    pub(super) fn apparmor(program: HostPath) -> Self {
        Self { fix: Fix::AppArmorProfile { program }, command: BY_SCRIPT.to_owned() }
    }

    pub(super) fn package(package: Package, manager: Option<PackageManager>) -> Self {
        let command = match manager {
            Some(manager) => format!("sudo {} {}", manager.install(), package.name(manager)),
            None => format!("install the package that brings `{}`", package.program()),
        };
        Self { fix: Fix::Package { package }, command }
    }

    pub(super) fn set_user_id(program: &HostPath) -> Self {
        let quoted = shell_quote(program.as_path());
        let command = format!("sudo chown root:root {quoted} && sudo chmod 4755 {quoted}");
        Self { fix: Fix::SetUserId { program: program.clone() }, command }
    }

    pub(super) fn subids(account: &str, uids: bool, gids: bool, first: u64) -> Self {
        let mut command = "sudo usermod".to_owned();
        for (wanted, flag) in [(uids, "--add-subuids"), (gids, "--add-subgids")] {
            if wanted {
                _ = write!(command, " {flag} {first}-{}", first + SUBIDS - 1);
            }
        }
        let command = format!("{command} {}", shell_quote(account));
        Self { fix: Fix::Subids { account: account.to_owned(), uids, gids }, command }
    }

    pub(super) fn device(path: &'static str, module: &'static str) -> Self {
        let command = format!("sudo modprobe {module} && sudo chmod 0666 {path}");
        Self { fix: Fix::Device { path, module }, command }
    }

    pub(super) fn delegation() -> Self {
        let command = format!("sudo sh -c {}", shell_quote(DELEGATE));
        Self { fix: Fix::Delegation, command }
    }

    /// Whether it is to be read, and not to be copied to a shell.
    pub(super) fn is_a_sentence(&self) -> bool {
        self.fix == Fix::ByHand && !self.command.starts_with("sudo ") && !self.command.contains('`')
    }

    pub(super) fn by_hand(sentence: impl Into<String>) -> Self {
        Self { fix: Fix::ByHand, command: sentence.into() }
    }
}

/// How many subordinate ids an account is given: what images expect.
pub(super) const SUBIDS: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_kind_of_a_remedy_and_its_command() {
        let json = serde_json::to_value(Remedy::sysctl("user.max_user_namespaces", 5)).unwrap();
        let expected = serde_json::json!({
            "kind": "sysctl", "key": "user.max_user_namespaces", "value": 5,
            "command": "sudo sysctl -w user.max_user_namespaces=5"
        });
        assert_eq!(json, expected);
        let remedy = Remedy::package(Package::Uidmap, Some(PackageManager::AptGet));
        assert_eq!(remedy.command, "sudo apt-get install -y uidmap");
    }

    #[test]
    fn only_the_missing_range_is_added() {
        let remedy = Remedy::subids("al", false, true, 100_000);
        assert_eq!(remedy.command, "sudo usermod --add-subgids 100000-165535 al");
    }
}

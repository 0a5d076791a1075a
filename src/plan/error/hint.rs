//! What to do about each reason why there is no plan.

use super::PlanError;
use crate::plan::copies::COW_VOLUME;
use crate::plan::facts::Kind;
use crate::spec::HostPath;

/// Where paths of flags are looked for.
const ON_HOST: &str = "check the spelling; a path is taken from the host, links are followed";

impl PlanError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Share(error) => Some(error.hint()),
            Self::Member(error) => Some(error.hint()),
            Self::Tool(error) => Some(error.hint()),
            _ => self
                .hint_about_paths()
                .or_else(|| self.hint_about_planted())
                .or_else(|| self.hint_about_writes())
                .or_else(|| self.hint_about_groups())
                .or_else(|| self.hint_about_ports())
                .or_else(|| self.hint_about_the_rest()),
        }
    }

    fn hint_about_paths(&self) -> Option<String> {
        Some(match self {
            Self::NotFound(_) => ON_HOST.to_owned(),
            Self::Unresolved(_) => "give an absolute path".to_owned(),
            Self::Unsuitable { kind: Kind::Socket, path, .. } => format!("use `--socket {path}`"),
            Self::Unsuitable { kind: Kind::Device, path, .. } => format!("use `--device {path}`"),
            Self::Unsuitable { kind: Kind::File, flag: "--cow" | COW_VOLUME, .. } => {
                "name the directory it is in".to_owned()
            }
            Self::NotYours { path, flag: COW_VOLUME } => format!(
                "with `ro` it is read-only; or name what is yours in `{path}`; with `--user root` copies of root's files \
                 are written, which takes fuse-overlayfs"
            ),
            Self::NotYours { path, .. } => format!(
                "leave it out and `{path}` is read-only; `--tmpfs {path}` is an empty directory there; with `--user \
                 root` copies of root's files are written, which takes fuse-overlayfs"
            ),
            Self::OwnPlace { at, flag } => hint_about_own(at, flag),
            Self::NotInDev(path) => format!("use `--read {path}`, or name the device itself"),
            Self::NoMountPoint(_) => "make it on the host first".to_owned(),
            Self::BelowFile { .. } => "mount one of the two somewhere else".to_owned(),
            Self::Contradiction { .. } => "keep one of the two".to_owned(),
            Self::WorkdirHidden(path) => {
                format!("to show it all the same, add `--cow {path}` or `--read {path}`")
            }
            Self::WorkdirInSecret { workdir, .. } => {
                format!("to show it all the same, add `--read {workdir}`")
            }
            Self::LinkToSecret { real, flag, .. } | Self::LinkToSettings { real, flag, .. } => {
                format!("to show it all the same, name it without the link: `{flag} {real}`")
            }
            Self::WorkdirHiddenByFlag(_) | Self::WorkdirOwn(_) => {
                "go to another directory, or give one with `--workdir`".to_owned()
            }
            Self::StoreStaysHidden(_) => {
                "start somewhere else and show another place; `BRYO_STORE=DIR` moves the layers"
                    .to_owned()
            }
            Self::NoRootMount => {
                "the kernel makes no user namespaces in a chroot; start it outside".to_owned()
            }
            Self::NoOverlay { why, .. } => why.hint().to_owned(),
            Self::UnusableStore(path) => {
                format!("`mkdir -m 700 {path}`, as the user who runs bryo, on a local file system")
            }
            Self::NoStore | Self::CannotNote(_) => {
                "let BRYO_STORE name a directory of yours on a local file system".to_owned()
            }
            _ => return None,
        })
    }

    fn hint_about_planted(&self) -> Option<String> {
        Some(match self {
            Self::LinkPlanted { real, .. } => format!(
                "that run may have put the link there; if you mean what it leads to, name that instead: `{real}`"
            ),
            Self::WorkdirPlanted { real, .. } => format!(
                "that run may have put the link there; if you mean what it leads to, go there by its name: `cd {real}`"
            ),
            _ => return None,
        })
    }

    fn hint_about_writes(&self) -> Option<String> {
        Some(match self {
            Self::NestingAround { .. } => {
                "let a directory beside it be written, or a copy: `--cow`".to_owned()
            }
            Self::LinkToTrusted { link, .. } => format!(
                "put what it leads to in the place of `{link}`, or let a directory beside it be written, or a copy: \
                 `--cow`"
            ),
            Self::TrustedThere { trusted, .. } => format!(
                "put what it leads to in the place of `{trusted}`, or let a directory beside it be written, or a \
                 copy: `--cow`"
            ),
            Self::SecretSystem { variable, .. } => {
                format!("unset `{variable}`, or let it name a directory that holds nothing else")
            }
            Self::CannotHide { path, .. } => {
                format!("make it first, as a file or a directory: `mkdir -p {path}`")
            }
            _ => return None,
        })
    }

    fn hint_about_ports(&self) -> Option<String> {
        Some(match self {
            Self::NoTun => {
                "`sudo modprobe tun && sudo chmod 0666 /dev/net/tun`, or `--network none`"
                    .to_owned()
            }
            Self::PolicyElsewhere(_) => {
                "they hold with `--network user`; a shared network has the rules of who owns it, as in \
                 `bryo network create --allow HOST NAME`"
                    .to_owned()
            }
            Self::LossElsewhere => {
                "start that one with `--on-network-loss end`, or take `--on-network-loss continue` here".to_owned()
            }
            Self::RateElsewhere(_) => {
                "it is bounded with `--network user`; a shared network has the rate of who owns it, as in \
                 `bryo network create --net-rate 10M NAME`"
                    .to_owned()
            }
            Self::TooManyPublished { .. } => {
                "with `--network host` a program listens at ports of this machine itself".to_owned()
            }
            _ => return None,
        })
    }

    fn hint_about_the_rest(&self) -> Option<String> {
        Some(match self {
            Self::EmptyCommand => "give a command after `--`, as in `bryo run -- make`".to_owned(),
            Self::LongArgument { .. } | Self::LongVariable { .. } => {
                "give it in a file, or on standard input".to_owned()
            }
            Self::NotMapped { .. } => {
                "a sandbox that was started with `--ids subid` has more ids than one".to_owned()
            }
            Self::BadHostname(_) => "letters, digits, `-` and `.`, at most 64".to_owned(),
            Self::AboveOwnLimit { resource, most } => format!(
                "`--ulimit {}={most}` at most, or let limits.conf(5) give you more",
                resource.name()
            ),
            Self::RootHasNoProcessLimit => {
                "run bryo as an ordinary user, or with `--pids-limit -1`".to_owned()
            }
            Self::UnsuitableStdio { number: 0, .. } => "`</dev/null`".to_owned(),
            Self::UnsuitableStdio { .. } => "redirect it to a file or a pipe".to_owned(),
            Self::LiftsMasks { nesting: true } => {
                "`--cap-drop SYS_ADMIN`: `--nesting` needs no capability, also with `--user root`"
                    .to_owned()
            }
            Self::LiftsMasks { nesting: false } => {
                "`--cap-drop SYS_ADMIN`, or a seccomp policy that refuses them, as the built-in ones do"
                    .to_owned()
            }
            Self::NoLandlock => {
                "boot with `lsm=landlock,…`, or take a profile that has it `if-available`"
                    .to_owned()
            }
            Self::AbstractSocketsOpen => {
                "keep a seccomp policy, or take `--network none`".to_owned()
            }
            Self::NoSubids(_) => {
                "`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER`, or \
                 leave out `--ids subid`"
                    .to_owned()
            }
            Self::OverlappingSubids { .. } => {
                "give each user ranges of its own in /etc/subuid and /etc/subgid".to_owned()
            }
            Self::NoMapHelper(_) => {
                "install it: `sudo apt install uidmap`, or leave out `--ids subid`".to_owned()
            }
            Self::UnprivilegedMapHelper(_) => {
                "`sudo apt install --reinstall uidmap` restores it".to_owned()
            }
            _ => return None,
        })
    }
}

/// What to name instead of a place that every sandbox has its own of.
fn hint_about_own(at: &HostPath, flag: &str) -> String {
    match at.as_path().to_str() {
        Some("/" | "/dev") => "name a directory or a device below it".to_owned(),
        Some(_) if flag == "--device" && at.as_path().starts_with("/dev") => {
            format!("name a device in it: `--device {at}/NAME`")
        }
        _ if at.as_path().starts_with("/dev") && flag != "--hide" => {
            format!("a device is given by `--device {at}`")
        }
        _ => "leave it out: nothing else can be shown there".to_owned(),
    }
}

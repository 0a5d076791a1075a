//! Flags of Docker and of later versions that are refused, each with its reason.
//!
//! They are no flags for clap: it reports them as unknown, and then they are looked up here, so that the
//! usual command line pays nothing for them.

use crate::front::cli::error::CliError;

/// One such flag.
struct Refused {
    /// As typed: the long form first.
    names: &'static [&'static str],
    why: &'static str,
    instead: &'static str,
}

const REFUSED: &[Refused] = &[
    Refused {
        names: &["--privileged"],
        why: "a sandbox without walls is none",
        instead: "name what is needed: `--write PATH`, `--device PATH`, `--cap-add CAP`",
    },
    Refused {
        names: &["--pid"],
        why: "with the host's processes in sight a payload could signal and trace yours",
        instead: "",
    },
    Refused {
        names: &["--ipc"],
        why: "shared memory of the host belongs to programs that trust each other",
        instead: "files are shared with `--write PATH`",
    },
    Refused {
        names: &["--userns"],
        why: "the user namespace is what makes a sandbox without root",
        instead: "`--ids subid` maps more ids",
    },
    Refused {
        names: &["--ro-bind", "--bind", "--dev-bind", "--ro-bind-try", "--bind-try"],
        why: "the host's tree is there, and a place is named once",
        instead: "`--read PATH`, `--write PATH`, or `-v SRC:DST[:ro]` for another place",
    },
    Refused {
        names: &[
            "--unshare-all",
            "--unshare-net",
            "--unshare-pid",
            "--unshare-user",
            "--die-with-parent",
            "--new-session",
            "--proc",
            "--dev",
        ],
        why: "it is always so",
        instead: "leave it out; bubblewrap's other flags have other names here: `-e`, `-w`, `--tmpfs`",
    },
    Refused {
        names: &["--share-net"],
        why: "which network it is, is said",
        instead: "`--network host`, or `user`",
    },
    Refused { names: &["--uts"], why: "a sandbox always has its own", instead: "" },
    Refused {
        names: &["--cgroupns"],
        why: "a sandbox always has its own",
        instead: "`--cgroup private` lets it make groups in that",
    },
    Refused {
        names: &["--image", "--platform", "--pull"],
        why: "images are not there yet",
        instead: "`--rootfs DIR` runs in a directory that holds an unpacked image",
    },
    Refused {
        names: &["--memory-reservation"],
        why: "memory is reserved only where every group above yours reserves it too, and they do not",
        instead: "`--memory-high SIZE` slows it down beyond SIZE",
    },
    Refused {
        names: &["--cpu-shares", "-c"],
        why: "shares were those of the old control groups, and tools turn them into weights differently",
        instead: "`--cpu-weight N`: 100 is what everybody has, as 1024 shares were",
    },
    Refused {
        names: &["--cpu-quota", "--cpu-period"],
        why: "the two say together what one flag does",
        instead: "`--cpus N`: the quota divided by the period",
    },
    Refused {
        names: &["--blkio-weight"],
        why: "its weights were those of the old control groups, and tools turn them into others differently",
        instead: "`--io-weight N`: 100 is what everybody has, as a weight of 500 was",
    },
    Refused {
        names: &[
            "--device-read-bps",
            "--device-write-bps",
            "--device-read-iops",
            "--device-write-iops",
        ],
        why: "the four are one flag here",
        instead: "`--io-max DEVICE:rbps=…,wbps=…,riops=…,wiops=…`",
    },
    Refused {
        names: &["--storage-opt"],
        why: "there is no storage driver that would have options",
        instead: "`--disk SIZE`: as `size=SIZE`",
    },
    Refused {
        names: &["--publish-all", "--expose", "-P"],
        why: "no image says which ports a program listens at",
        instead: "name them: `-p 8080:80`",
    },
    Refused {
        names: &["--link"],
        why: "sandboxes on one network find each other by their names",
        instead: "`--network bridge:NAME` for both, and `--network-alias` for another name",
    },
    Refused {
        names: &["--mac-address", "--link-local-ip"],
        why: "the address of a link is the one that its network lets packets in from",
        instead: "`--ip ADDRESS` chooses one on a network that several share",
    },
    Refused {
        names: &["--keep"],
        why: "a sandbox that outlives its terminal has none of its own to write to",
        instead: "`--detach` keeps what it writes, and `bryo attach` shows it",
    },
    Refused {
        names: &["--mount"],
        why: "places are named by shorter flags",
        instead: "`-v SRC:DST[:MODE]`, `--tmpfs PATH`, `--write PATH`, `--read PATH`",
    },
    Refused {
        names: &["--entrypoint"],
        why: "there is no image that would have one",
        instead: "write the program after the flags",
    },
    Refused {
        names: &["--gpus"],
        why: "devices are named by their path",
        instead: "`--device /dev/dri`, or the nodes `/dev/nvidia*`",
    },
    Refused {
        names: &["--x11", "--dbus", "--wayland"],
        why: "who can talk to the desktop can type into its windows and start programs",
        instead: "",
    },
    Refused {
        names: &["--group-add"],
        why: "groups cannot be added without privileges; your own stay",
        instead: "",
    },
    Refused {
        names: &["--cidfile", "--pidfile"],
        why: "`--detach` prints the id, and a name can be chosen",
        instead: "`--name NAME`, or `id=$(bryo run -d …)`",
    },
    Refused {
        names: &["--attach", "-a", "--sig-proxy"],
        why: "a run has the descriptors and the signals of its caller, as any program has",
        instead: "redirect what is not wanted, or `--detach`",
    },
    Refused {
        names: &["--detach-keys"],
        why: "a run in the foreground ends with its caller, who cannot leave it to itself",
        instead: "`--detach`, then `bryo attach --detach-keys KEYS`",
    },
    Refused {
        names: &["--log-driver", "--log-opt"],
        why: "what a detached sandbox writes is kept by its own supervisor",
        instead: "`--log-max-size SIZE`, `bryo logs -f`",
    },
    Refused {
        names: &["--cgroup-parent", "--kernel-memory", "--oom-kill-disable"],
        why: "it takes another group than a user can have, or an old kernel",
        instead: "`--memory SIZE` and its like make a group for the sandbox",
    },
    Refused {
        names: &["--oom-score-adj"],
        why: "which program ends for want of memory is decided by limits here",
        instead: "`--memory SIZE`: then only its own programs can",
    },
    Refused {
        names: &["--volumes-from"],
        why: "a sandbox's places are its own",
        instead: "`-v SRC:DST` names each again",
    },
    Refused { names: &["--runtime", "--isolation"], why: "it is the runtime itself", instead: "" },
    Refused {
        names: &["--label-file"],
        why: "labels are read from flags alone",
        instead: "`--label NAME=VALUE`, as often as wanted",
    },
    Refused {
        names: &["--sysctl"],
        why: "the kernel's settings belong to the machine",
        instead: "",
    },
];

/// The reason why `flag` is refused, if it is one of these.
pub(in crate::front::cli) fn refusal(flag: &str) -> Option<CliError> {
    let refused = REFUSED.iter().find(|refused| refused.names.contains(&flag))?;
    Some(CliError::Refused { flag: flag.to_owned(), why: refused.why, instead: refused.instead })
}

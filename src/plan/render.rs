//! The plan as people read it: `bryo run --dry-run`.
//!
//! Steps are numbered as in errors and in the record and grouped by the process that takes them. What a
//! step holds besides its one line (layers, masks, rules, variables) stands indented below it.
//!
//! # Not here
//! JSON: a plan is its own serialisation. The words for a step: `describe`.

use std::fmt;

use super::error::named;
use super::facts::Controller;
use super::step::{
    Action, ConfineStep, FilterProgram, FsStep, IdsStep, LandlockGrant, Layer, Lower, Missing,
    Notice, Plan, ProcessStep, Room, ScratchEntry, Stage, StoreStep, Upper,
};
use crate::spec::seccomp::{
    Nesting, Notifications, OpenAt2, PolicyVariant, SetIdModes, UnixSockets,
};
use crate::spec::{HostPath, Text};

/// The text, ending in a newline.
pub fn render(plan: &Plan) -> String {
    let mut text = String::new();
    // First, as nobody reads some hundred steps to their end.
    if !plan.notices.is_empty() {
        text.push_str("to know:\n");
        for notice in &plan.notices {
            line(&mut text, &format_args!("      {notice}"));
        }
    }
    let mut stage = None;
    for (number, step) in (1usize..).zip(&plan.steps) {
        if stage != Some(step.stage) {
            stage = Some(step.stage);
            line(&mut text, &format_args!("{}: {}", step.stage, who(step.stage)));
        }
        line(&mut text, &format_args!("{number:>4}  {}", step.action));
        for detail in details(&step.action, plan) {
            line(&mut text, &format_args!("        {detail}"));
        }
    }
    if !plan.groups_kept.is_empty() {
        let groups: Vec<String> = plan.groups_kept.iter().map(u32::to_string).collect();
        line(&mut text, &format_args!("groups that stay: {}", groups.join(" ")));
    }
    text
}

fn line(text: &mut String, line: &dyn fmt::Display) {
    text.push_str(&line.to_string());
    text.push('\n');
}

fn who(stage: Stage) -> &'static str {
    match stage {
        Stage::Prepare => "on the host, before anything is cloned",
        Stage::Launch => "on the host, around the clone",
        Stage::Sandbox => "pid 1 of the new namespaces",
        Stage::Netstack => "the netstack, on the host",
        Stage::Init => "pid 1, once the payload is forked",
        Stage::Payload => "the payload's process",
        Stage::Supervise => "on the host, while the payload runs",
    }
}

fn details(action: &Action, plan: &Plan) -> Vec<String> {
    match action {
        Action::Store(StoreStep::Layer(number) | StoreStep::LayerAgain(number)) => {
            plan.layers.get(usize::from(number.0)).map(layer_lines).unwrap_or_default()
        }
        Action::Store(StoreStep::Note { places, .. }) => quoted(places),
        Action::Ids(IdsStep::RunHelper { map, .. }) => {
            map.iter().map(ToString::to_string).collect()
        }
        Action::Fs(FsStep::ScratchLayer { mode, entries, .. })
        | Action::Store(StoreStep::Mask { mode, entries, .. }) => {
            let mut lines = vec![format!("root {mode:04o}")];
            lines.extend(entries.iter().map(ToString::to_string));
            lines
        }
        Action::Fs(FsStep::Overlay { lower, upper, server, .. }) => {
            let mut lines: Vec<String> = lower.iter().map(ToString::to_string).collect();
            lines.extend(upper.iter().map(ToString::to_string));
            lines.push(format!("served by {server}"));
            lines
        }
        Action::Fs(FsStep::Tmpfs { room: Room::Own(Some(bytes)), .. }) => {
            vec![format!("at most {bytes} bytes")]
        }
        Action::Fs(FsStep::Tmpfs { room: Room::Held, .. }) => {
            vec!["of what holds all that is written".to_owned()]
        }
        Action::Confine(ConfineStep::Landlock(rules)) => {
            let mut lines: Vec<String> =
                rules.paths.iter().map(|path| format!("{} `{}`", path.grant, path.at)).collect();
            let scopes =
                [(rules.scope_abstract_unix, "abstract sockets"), (rules.scope_signals, "signals")];
            lines.extend(
                scopes
                    .iter()
                    .filter(|(on, _)| *on)
                    .map(|(_, what)| format!("no {what} to outside")),
            );
            lines
        }
        Action::Confine(ConfineStep::Seccomp { program, .. }) => variant_lines(program),
        Action::Process(ProcessStep::Exec { argv, environment, search }) => {
            let mut lines: Vec<String> =
                argv.iter().skip(1).map(|argument| format!("argument `{argument}`")).collect();
            lines.extend(environment.iter().map(|v| format!("with {}={}", v.name, v.value)));
            let search: Vec<String> = search.iter().map(ToString::to_string).collect();
            lines.push(format!("looked up in {}", search.join(" ")));
            lines
        }
        _ => Vec::new(),
    }
}

fn layer_lines(layer: &Layer) -> Vec<String> {
    let over = match &layer.over {
        Some(host) => format!("over `{host}`"),
        None => "over nothing".to_owned(),
    };
    let mut lines = vec![format!("{over}, seen at `{}`, {}", layer.at, layer.backend)];
    lines.extend(layer.covered.iter().map(|path| format!("without `{path}`, another tree")));
    lines.extend(
        layer.copied.iter().map(|file| format!("`{}` copied from `{}`", file.path, file.from)),
    );
    lines
}

fn variant_lines(program: &FilterProgram) -> Vec<String> {
    let (FilterProgram::Builtin { variant, .. } | FilterProgram::Custom { variant, .. }) = program;
    let PolicyVariant { nesting, set_id_modes, openat2, unix_sockets, notify, .. } = variant;
    let differences = [
        (*nesting == Nesting::Allow, "namespaces and mounts are allowed"),
        (*set_id_modes == SetIdModes::Allow, "set-id modes are allowed"),
        (*openat2 == OpenAt2::Hide, "openat2 does not exist"),
        (*unix_sockets == UnixSockets::Refuse, "unix sockets are refused"),
        (*notify == Notifications::Off, "refused calls are not told"),
    ];
    differences.iter().filter(|(on, _)| *on).map(|(_, what)| (*what).to_owned()).collect()
}

impl fmt::Display for ScratchEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, mode } => write!(f, "directory `{path}`, {mode:04o}"),
            Self::Whiteout { path } => write!(f, "hides `{path}`"),
            Self::Link { path, target } => write!(f, "link `{path}` to `{target}`"),
            Self::Copy { path, from } => write!(f, "copy `{path}` of `{from}`"),
            Self::Placeholder { path } => write!(f, "file `{path}`"),
        }
    }
}

impl fmt::Display for Lower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { path, mount } => write!(f, "lower `{path}`, mount {mount}"),
            Self::Scratch(layer) => write!(f, "lower scratch layer {}", layer.0),
        }
    }
}

impl fmt::Display for Upper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(number) => write!(f, "upper layer {}", number.0),
            Self::Held(number) => write!(f, "upper layer {}, held in memory", number.0),
            Self::Scratch { number, .. } => write!(f, "upper in memory, number {number}"),
        }
    }
}

impl fmt::Display for LandlockGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadExecute => "read and execute",
            Self::All => "everything",
            Self::Device => "read, write, ioctl",
            Self::Socket => "connect to",
        })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedNetwork(sandbox) => {
                write!(f, "the network is that of sandbox `{sandbox}`, with what that one allows")
            }
            Self::LoopbackReachable => f.write_str(LOOPBACK),
            Self::OpenNetwork(flag) => {
                write!(f, "every public address can be reached: {flag} means `--network user`")
            }
            Self::ToolReaches(tool) => write!(
                f,
                "`{}` passes on everything: private networks and this machine's own addresses can be reached",
                tool.name()
            ),
            Self::PrivateWorkdir(at) => {
                write!(f, "`{at}` is never shared; the payload starts in a private one")
            }
            Self::ReadOnlyWorkdir(at) => {
                write!(f, "`{at}` is not yours to write: it is read-only inside")
            }
            Self::NoWorkdir => f.write_str(NO_WORKDIR),
            Self::NoProgram(path) => write!(f, "`{path}` is not seen inside: nothing would start"),
            Self::Foreseen(foreseen) => foreseen.fmt(f),
            Self::LostWorkdir => f.write_str(LOST_WORKDIR),
            Self::PassedOver(file) => passed_over(file, f),
            Self::LinkedToolchain { at, leads } => linked_toolchain(at, leads, f),
            Self::PlantedLink { at, leads, link } => planted_link(at, leads, link, f),
            Self::UnsuitablePlace { path, kind } => unsuitable(path, named(kind), f),
            Self::HidesNothing(path) => {
                write!(f, "`{path}` is not there: --hide keeps it hidden if it appears")
            }
            Self::MadeSettings(path) => made_settings(path, f),
            Self::SecretsToCome(path) => secrets_to_come(path, f),
            Self::NamesHidden { named, hidden } => names_hidden(named, hidden, f),
            Self::OwnFileWritten(path) => own_file_written(path, f),
            Self::CommandsWritten(paths) => commands_written(paths, f),
            Self::Warned(path) => write!(f, "`{path}` may hold secrets and is visible"),
            Self::Fuse { at, why, file } => {
                write!(f, "`{at}` is served by fuse-overlayfs, which is slower: {why}")?;
                file.as_ref().map_or(Ok(()), |file| write!(f, ", as `{file}`"))
            }
            Self::OwnLimit { resource, most } => write!(
                f,
                "your own limit of `{}` is stricter than what was asked for: {most} at most, as a quarter of it stays yours",
                resource.name()
            ),
            Self::Missing(missing) => missing.fmt(f),
            Self::ReadOnlyFile(path) => read_only_file(path, f),
            Self::ForeignIds(path) => foreign_ids(path, f),
            Self::Nesting => f.write_str(NESTING),
        }
    }
}

const LOOPBACK: &str = "every service on this machine's loopback can be reached";
const NESTING: &str =
    "sandboxes can be nested: no file system rules of Landlock, and mounts are allowed";
const NO_WORKDIR: &str = "the current directory is not seen inside; the payload starts in `/`";
const LOST_WORKDIR: &str =
    "the current directory was removed or cannot be entered; the payload starts in `/`";

fn made_settings(path: &HostPath, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "`{path}` is made, and hidden: later runs take profiles from there")
}

fn read_only_file(path: &HostPath, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "`{path}` is read-only: it cannot be copied on write, and is too large to copy")
}

fn own_file_written(path: &HostPath, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "this bryo, `{path}`, can be written: what you start as it later may be another program"
    )
}

fn names_hidden(named: &HostPath, hidden: &HostPath, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "`{hidden}` is hidden by the profile")?;
    if named == hidden { Ok(()) } else { write!(f, ", and `{named}` with it") }
}

fn commands_written(paths: &[HostPath], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const NAMED: usize = 3;
    let named = quoted(&paths[..paths.len().min(NAMED)]).join(", ");
    let more = match paths.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    write!(
        f,
        "your PATH has {named}{more}, which can be written: other programs execute what is put there"
    )
}

fn unsuitable(path: &HostPath, kind: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "`{path}`, which the profile names, is passed over: it is {kind}")
}

fn linked_toolchain(at: &HostPath, leads: &HostPath, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "`{at}` is not shown: it leads to `{leads}`, which is no toolchain")
}

fn quoted(paths: &[HostPath]) -> Vec<String> {
    paths.iter().map(|path| format!("`{path}`")).collect()
}

fn planted_link(
    at: &HostPath,
    leads: &HostPath,
    link: &HostPath,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write!(
        f,
        "`{at}` is passed over: it leads to `{leads}` by the link `{link}`, which an earlier run may have put there"
    )
}

fn passed_over(file: &Text, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "`{file}` is passed over: it has the name of a built-in profile, which is used")
}

fn foreign_ids(path: &HostPath, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "writes below `{path}` may fail with EOVERFLOW: it holds files of other ids, and fuse-overlayfs is missing"
    )
}

fn secrets_to_come(path: &HostPath, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "what appears below `{path}` meanwhile is seen, secrets too: it is written straight to the host"
    )
}

impl fmt::Display for super::step::Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotExecutable(program) => {
                write!(f, "`{program}` cannot be executed: nothing would start")
            }
            Self::NoInterpreter { program, interpreter } => write!(
                f,
                "`{interpreter}`, the interpreter of `{program}`, is not seen inside: nothing would start"
            ),
            Self::NoStart(at) => {
                write!(f, "`{at}`, to start in, is not seen inside: nothing would start")
            }
            Self::StartIsNoDirectory(at) => {
                write!(f, "`{at}`, to start in, is not a directory: nothing would start")
            }
            Self::CannotWrite(path) => {
                write!(f, "`{path}` cannot be written: nothing would start")
            }
            Self::Unknown(what) => {
                write!(f, "whether `{what}` is there is known only when it runs")
            }
            Self::Ports => f.write_str("whether the ports to be published are free is not tried"),
        }
    }
}

impl fmt::Display for super::step::FuseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "asked for with --overlay",
            Self::KernelRefuses => "this kernel mounts no overlay in a user namespace",
            Self::StoreFileSystem => "the store's file system cannot hold an upper of the kernel's",
            Self::ForeignIds => "it holds files of other ids that you may write",
            Self::RootOverHost => "root over the host's tree",
        })
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Landlock => "this kernel has no Landlock that could be used",
            Self::LandlockScopes => "this kernel's Landlock bounds no signals and abstract sockets",
            Self::SeccompNotify => "refused system calls cannot be named: another filter listens",
            Self::Procfs => "no procfs can be mounted here: `/proc` is empty",
            Self::ProcessLimit => "the kernel does not hold root to a number of processes",
            Self::CoreHandler => {
                "this host's core handler is given what crashes: your own limit of core files is 0"
            }
            Self::Group => "no limits by a control group: none can be made here",
            Self::Disk => {
                "what is written is not bounded: this host has no means, or not so much memory"
            }
            Self::Controller(Controller::Cpu) => {
                "no limit of processor time: the controller is missing"
            }
            Self::Controller(Controller::Cpuset) => {
                "no choice of processors: the controller is missing"
            }
            Self::Disks => "a place whose disk was to be bounded is on none",
            Self::Weigher => "no share of the disks: nothing weighs here who uses them",
            Self::Controller(Controller::Io) => "no limit of disks: the controller is missing",
            Self::Controller(Controller::Memory) => "no limit of memory: the controller is missing",
            Self::Controller(Controller::Pids) => {
                "no number of processes: the controller is missing"
            }
            Self::UserCounts => {
                "inotify and namespaces are not limited: `/proc/sys` is read-only here"
            }
            Self::Store => {
                "changes are held in memory and end with the run: no store can hold them"
            }
        })
    }
}

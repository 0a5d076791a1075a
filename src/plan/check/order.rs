//! Which process does what, and when.

use super::CheckError;
use crate::plan::step::{
    Action, ConfineStep, EnterStep, FsStep, IdsStep, LimitStep, NetStep, NetstackStep, Plan,
    ProcessStep, Stage,
};
use crate::spec::net::{Egress, NetworkName, Publish, Tool};
use crate::spec::{IdMode, Need, Network, SeccompChoice, Spec};

/// The steps of one process, with their numbers as shown.
pub(super) fn of(plan: &Plan, stage: Stage) -> impl Iterator<Item = (usize, &Action)> {
    plan.of(stage).map(|(index, action)| (index + 1, action))
}

/// The number of the one step that fits; an error when there is none or more than one.
pub(super) fn only(
    plan: &Plan,
    stage: Stage,
    what: &'static str,
    fits: impl Fn(&Action) -> bool,
) -> Result<usize, CheckError> {
    let mut found = of(plan, stage).filter(|(_, action)| fits(action)).map(|(number, _)| number);
    let first = found.next().ok_or(CheckError::Missing { what, stage })?;
    match found.next() {
        Some(number) => Err(CheckError::Order { number, rule: "it was done before" }),
        None => Ok(first),
    }
}

pub(super) fn before(first: usize, second: usize, rule: &'static str) -> Result<(), CheckError> {
    if first < second { Ok(()) } else { Err(CheckError::Order { number: first, rule }) }
}

/// Processes in their order, and each kind of step only in a process that can take it.
pub(super) fn check_stages(plan: &Plan) -> Result<(), CheckError> {
    let mut last = Stage::Prepare;
    for (number, step) in (1..).zip(&plan.steps) {
        if step.stage < last {
            return Err(CheckError::Stage(number));
        }
        last = step.stage;
        let fits = match &step.action {
            Action::Store(_) | Action::Publish(_) => step.stage == Stage::Prepare,
            Action::Enter(_) | Action::Clone(_) | Action::Ids(_) | Action::Group(_) => {
                step.stage == Stage::Launch
            }
            Action::Fs(_) | Action::Net(_) | Action::Limit(_) => step.stage == Stage::Sandbox,
            Action::Confine(_) => {
                matches!(step.stage, Stage::Netstack | Stage::Init | Stage::Payload)
            }
            Action::Netstack(_) => step.stage == Stage::Netstack,
            Action::Process(_) => matches!(step.stage, Stage::Sandbox | Stage::Payload),
            Action::Watch(_) => step.stage == Stage::Supervise,
        };
        if !fits {
            return Err(CheckError::Order { number, rule: "this process cannot take it" });
        }
    }
    Ok(())
}

/// One clone into all namespaces, `setgroups` denied before the launcher writes a map.
pub(super) fn check_launch(spec: &Spec, plan: &Plan) -> Result<(), CheckError> {
    let stage = Stage::Launch;
    let clone = only(plan, stage, "clone", |action| matches!(action, Action::Clone(_)))?;
    let shares = matches!(spec.network, Network::Sandbox(_));
    for (number, action) in of(plan, stage) {
        match action {
            Action::Enter(step) => check_enter(spec, (number, step), clone)?,
            Action::Ids(_) if shares => {
                return Err(CheckError::NotAsked { number, what: "other ids" });
            }
            Action::Clone(namespaces) => {
                let all = namespaces.pid && namespaces.ipc && namespaces.uts;
                let wanted = (!shares, spec.network.is_new());
                if !all || (namespaces.user, namespaces.net) != wanted {
                    return Err(CheckError::NotAsked { number, what: "its namespaces" });
                }
            }
            // Before the clone or after it: see `check_group`.
            Action::Group(_) => {}
            _ => before(clone, number, "nothing exists before the clone")?,
        }
    }
    super::group::check_group(plan, clone)?;
    match spec.network {
        Network::Sandbox(_) => check_shared(spec, plan)?,
        Network::Bridge(_) => check_member(plan)?,
        _ => {}
    }
    match spec.ids.mode {
        IdMode::Single if shares => Ok(()),
        IdMode::Single => {
            let deny = |action: &Action| matches!(action, Action::Ids(IdsStep::DenySetgroups));
            let write = |action: &Action| matches!(action, Action::Ids(IdsStep::WriteMaps { .. }));
            let deny = only(plan, stage, "deny setgroups", deny)?;
            before(
                deny,
                only(plan, stage, "map ids", write)?,
                "the kernel refuses it after the map",
            )
        }
        IdMode::Subid => {
            let drops = |action: &Action| {
                matches!(action, Action::Process(ProcessStep::TakeIds { drop_groups: true, .. }))
            };
            only(plan, Stage::Sandbox, "drop the supplementary groups", drops).map(drop)
        }
    }
}

/// Others' namespaces are entered where the spec says whose, around the clone.
fn check_enter(spec: &Spec, step: (usize, &EnterStep), clone: usize) -> Result<(), CheckError> {
    let joins = |name: &NetworkName| spec.network == Network::Bridge(name.clone());
    match step {
        (number, EnterStep::Sandbox(_)) if matches!(spec.network, Network::Sandbox(_)) => {
            before(number, clone, "the clone is made there")
        }
        (number, EnterStep::Network(name)) if joins(name) => {
            before(number, clone, "the clone is made there")
        }
        (number, EnterStep::Attach(name)) if joins(name) => {
            before(clone, number, "nothing exists before the clone")
        }
        (number, _) => Err(CheckError::NotAsked { number, what: "others' namespaces" }),
    }
}

/// A member of a network is made in its user namespace, connected by its holder, and configured by itself.
fn check_member(plan: &Plan) -> Result<(), CheckError> {
    let enters = |action: &Action| matches!(action, Action::Enter(EnterStep::Network(_)));
    let attached = |action: &Action| matches!(action, Action::Enter(EnterStep::Attach(_)));
    let port = |action: &Action| matches!(action, Action::Net(NetStep::Port(_)));
    only(plan, Stage::Launch, "enter the network's user namespace", enters)?;
    only(plan, Stage::Launch, "be connected", attached)?;
    only(plan, Stage::Sandbox, "take the address", port)?;
    let keeps = |a: &Action| {
        let Action::Confine(ConfineStep::Capabilities { keep }) = a else { return false };
        keep.iter().any(|kept| OF_THE_NETWORK.contains(&kept.to_string().as_str()))
    };
    match of(plan, Stage::Payload).find(|(_, action)| keeps(action)) {
        Some((number, _)) => {
            Err(CheckError::NotAsked { number, what: "power over its own address" })
        }
        None => Ok(()),
    }
}

/// Capabilities with which an address can be changed.
const OF_THE_NETWORK: [&str; 3] = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"];

/// Where a user namespace is shared, nobody in it keeps a capability or changes its ceilings.
fn check_shared(spec: &Spec, plan: &Plan) -> Result<(), CheckError> {
    let enters = |action: &Action| matches!(action, Action::Enter(_));
    only(plan, Stage::Launch, "enter the other's namespaces", enters)?;
    if !spec.confine.capabilities.is_empty() {
        return Err(CheckError::NotAsked { number: 0, what: "power over another sandbox" });
    }
    let counts = |action: &Action| matches!(action, Action::Limit(LimitStep::UserCount { .. }));
    match of(plan, Stage::Sandbox).find(|(_, action)| counts(action)) {
        Some((number, _)) => Err(CheckError::NotAsked { number, what: "another's ceilings" }),
        None => Ok(()),
    }
}

/// Undumpable first; the pivot once, and nothing on the tree after it.
pub(super) fn check_sandbox(plan: &Plan) -> Result<(), CheckError> {
    let stage = Stage::Sandbox;
    let undumpable = |action: &Action| matches!(action, Action::Process(ProcessStep::Undumpable));
    let first = only(plan, stage, "become undumpable", undumpable)?;
    for (number, _) in of(plan, stage).filter(|(number, _)| *number != first) {
        before(first, number, "it comes before everything of its process")?;
    }
    let private =
        only(plan, stage, "make every mount private", |a| is_fs(a, &FsStep::MakePrivate))?;
    let scratch =
        only(plan, stage, "mount the scratch file system", |a| is_fs(a, &FsStep::Scratch))?;
    let root = only(plan, stage, "mount the new root", |a| is_fs(a, &FsStep::NewRoot))?;
    let pivot = only(plan, stage, "make the new root `/`", |a| is_fs(a, &FsStep::Pivot))?;
    before(private, scratch, "mounts are private before the first is made")?;
    before(scratch, root, "the scratch file system lies below the new root")?;
    for (number, _) in of(plan, stage).filter(|(_, action)| matches!(action, Action::Fs(_))) {
        let is_set_up = [private, scratch, root].contains(&number);
        if !is_set_up {
            before(root, number, "there is no tree yet")?;
        }
        if number != pivot {
            before(number, pivot, "the tree is finished")?;
        }
    }
    Ok(())
}

fn is_fs(action: &Action, step: &FsStep) -> bool {
    matches!(action, Action::Fs(other) if other == step)
}

/// One exactly where the spec asks for it: confined before it serves, and serving what the spec says.
pub(super) fn check_netstack(spec: &Spec, plan: &Plan) -> Result<(), CheckError> {
    check_published(spec, plan)?;
    let stage = Stage::Netstack;
    let is_link =
        |action: &Action| matches!(action, Action::Net(NetStep::Tun(_) | NetStep::HandOver));
    if let Some(tool) = spec.network.tool() {
        return check_tool(tool, plan);
    }
    if spec.network != Network::User {
        let link = of(plan, Stage::Sandbox).find(|(_, action)| is_link(action));
        return match link.or_else(|| of(plan, stage).next()) {
            Some((number, _)) => Err(CheckError::NotAsked { number, what: "a way out" }),
            None => Ok(()),
        };
    }
    only(plan, Stage::Sandbox, "make the interface", is_link)?;
    let is_confined =
        |action: &Action| matches!(action, Action::Netstack(NetstackStep::Confine { .. }));
    // The domains that are searched may be the host's; they open nothing.
    let is_asked = |egress: &Egress| {
        let dns_search = spec.egress.dns_search.clone();
        Egress { dns_search, ..egress.clone() } == spec.egress
    };
    let is_serving = |action: &Action| matches!(action, Action::Netstack(NetstackStep::Serve(egress)) if is_asked(egress));
    let confined = only(plan, stage, "give up what it does not need", is_confined)?;
    let filter = only(plan, stage, "install the system call filter", is_filter)?;
    let serving = only(plan, stage, "serve what the spec says", is_serving)?;
    before(confined, filter, "a filter needs no_new_privs")?;
    before(filter, serving, "no packet comes before the filter")
}

/// The program that was asked for, and nobody else.
fn check_tool(wanted: Tool, plan: &Plan) -> Result<(), CheckError> {
    let hands = |action: &Action| matches!(action, Action::Net(NetStep::HandOver));
    let starts = |action: &Action| matches!(action, Action::Netstack(NetstackStep::Tool { tool, .. }) if *tool == wanted);
    only(plan, Stage::Sandbox, "hand the network namespace over", hands)?;
    let started = only(plan, Stage::Netstack, "start the program that connects it", starts)?;
    let keeps = |action: &Action| matches!(action, Action::Netstack(NetstackStep::KeepLoopback(_)));
    let kept = only(plan, Stage::Netstack, "keep loopback within", keeps)?;
    before(started, kept, "the program makes the interface")?;
    let other = of(plan, Stage::Netstack).find(|(number, _)| ![started, kept].contains(number));
    let link = |action: &Action| matches!(action, Action::Net(NetStep::Tun(_)));
    match other.or_else(|| of(plan, Stage::Sandbox).find(|(_, action)| link(action))) {
        Some((number, _)) => Err(CheckError::NotAsked { number, what: "a way out" }),
        None => Ok(()),
    }
}

/// No port is open that the spec does not name, and each that it names.
fn check_published(spec: &Spec, plan: &Plan) -> Result<(), CheckError> {
    let mut wanted: Vec<Publish> = match spec.network {
        Network::User | Network::Bridge(_) => {
            spec.publish.iter().flat_map(|publish| publish.each()).collect()
        }
        _ => Vec::new(),
    };
    for (number, action) in of(plan, Stage::Prepare) {
        let Action::Publish(publish) = action else { continue };
        let at = wanted.iter().position(|one| one == publish);
        wanted.remove(at.ok_or(CheckError::NotAsked { number, what: "an open port" })?);
    }
    match wanted.first() {
        None => Ok(()),
        Some(_) => Err(CheckError::Missing { what: "listen at a port", stage: Stage::Prepare }),
    }
}

/// Init keeps nothing, and its filter comes last.
pub(super) fn check_init(plan: &Plan) -> Result<(), CheckError> {
    let stage = Stage::Init;
    let drops = |action: &Action| matches!(action, Action::Confine(ConfineStep::Capabilities { keep }) if keep.is_empty());
    let drops = only(plan, stage, "drop every capability", drops)?;
    let no_new_privs = no_new_privs(plan, stage)?;
    let filter = only(plan, stage, "install the system call filter", is_filter)?;
    before(no_new_privs, filter, "a filter needs no_new_privs")?;
    for (number, _) in of(plan, stage).filter(|(number, _)| *number != filter) {
        before(number, filter, "nothing comes after the filter")?;
    }
    before(drops, filter, "the filter comes last")
}

fn no_new_privs(plan: &Plan, stage: Stage) -> Result<usize, CheckError> {
    let fits = |action: &Action| matches!(action, Action::Confine(ConfineStep::NoNewPrivs));
    only(plan, stage, "set no_new_privs", fits)
}

fn is_filter(action: &Action) -> bool {
    matches!(action, Action::Confine(ConfineStep::Seccomp { .. }))
}

/// What is given up, what is kept, and that the filter stands right before the exec.
pub(super) fn check_payload(spec: &Spec, plan: &Plan) -> Result<(), CheckError> {
    let stage = Stage::Payload;
    let is_exec = |action: &Action| matches!(action, Action::Process(ProcessStep::Exec { .. }));
    let exec = only(plan, stage, "execute the command", is_exec)?;
    for (number, _) in of(plan, stage).filter(|(number, _)| *number != exec) {
        before(number, exec, "nothing comes after the exec")?;
    }
    let no_new_privs = no_new_privs(plan, stage)?;
    if spec.confine.seccomp == SeccompChoice::Unconfined {
        if let Some((number, _)) = of(plan, stage).find(|(_, action)| is_filter(action)) {
            return Err(CheckError::NotAsked { number, what: "a filter" });
        }
    } else {
        let filter = only(plan, stage, "install the system call filter", is_filter)?;
        before(no_new_privs, filter, "a filter needs no_new_privs")?;
        if filter + 1 != exec {
            let rule = "the filter comes right before the exec";
            return Err(CheckError::Order { number: filter, rule });
        }
    }
    check_landlock(spec, plan, no_new_privs)?;
    check_capabilities(spec, plan)?;
    check_descriptors(spec, plan)?;
    let keyring = |action: &Action| matches!(action, Action::Confine(ConfineStep::Keyring));
    only(plan, stage, "take a new session keyring", keyring)?;
    for (number, action) in of(plan, stage) {
        if let Action::Process(ProcessStep::Exec { argv, environment, .. }) = action
            && (*argv != spec.command.argv || *environment != spec.command.environment)
        {
            return Err(CheckError::NotAsked { number, what: "its arguments or variables" });
        }
    }
    Ok(())
}

fn check_landlock(spec: &Spec, plan: &Plan, no_new_privs: usize) -> Result<(), CheckError> {
    let stage = Stage::Payload;
    let is_landlock = |action: &Action| matches!(action, Action::Confine(ConfineStep::Landlock(_)));
    let rules = of(plan, stage).find(|(_, action)| is_landlock(action));
    let is_workdir = |action: &Action| matches!(action, Action::Process(ProcessStep::Workdir(_)));
    let workdir = only(plan, stage, "go to its directory", is_workdir)?;
    match rules {
        Some((number, _)) => {
            only(plan, stage, "confine with Landlock", is_landlock)?;
            before(no_new_privs, number, "Landlock needs no_new_privs")?;
            before(workdir, number, "Landlock could refuse the way to the directory")
        }
        None if spec.confine.landlock == Need::Required && !spec.confine.nesting => {
            Err(CheckError::Missing { what: "confine with Landlock", stage })
        }
        None => Ok(()),
    }
}

fn check_capabilities(spec: &Spec, plan: &Plan) -> Result<(), CheckError> {
    let stage = Stage::Payload;
    let is_drop = |a: &Action| matches!(a, Action::Confine(ConfineStep::Capabilities { .. }));
    let is_lock = |a: &Action| matches!(a, Action::Confine(ConfineStep::Securebits));
    let drops = only(plan, stage, "drop capabilities", is_drop)?;
    let locks = only(plan, stage, "lock the securebits", is_lock)?;
    before(locks, drops, "locking the securebits takes a capability")?;
    for (number, action) in of(plan, stage) {
        if let Action::Confine(ConfineStep::Capabilities { keep }) = action
            && keep.iter().any(|kept| !spec.confine.capabilities.contains(kept))
        {
            return Err(CheckError::NotAsked { number, what: "a capability that stays" });
        }
    }
    Ok(())
}

/// A way to the service manager only for who was given one.
fn check_service(spec: &Spec, plan: &Plan) -> Result<(), CheckError> {
    let service = spec.lifetime.service.clone().unwrap_or_default();
    for (number, action) in of(plan, Stage::Sandbox) {
        if let Action::Fs(FsStep::Socket { at }) = action
            && service.socket_inside().as_ref() != Some(at)
        {
            return Err(CheckError::NotAsked { number, what: "a socket to the service manager" });
        }
    }
    Ok(())
}

fn check_descriptors(spec: &Spec, plan: &Plan) -> Result<(), CheckError> {
    let stage = Stage::Payload;
    let is_close = |a: &Action| matches!(a, Action::Process(ProcessStep::CloseDescriptors { .. }));
    only(plan, stage, "close descriptors", is_close)?;
    for (number, action) in of(plan, stage) {
        if let Action::Process(ProcessStep::CloseDescriptors { keep }) = action
            && keep.iter().any(|kept| !spec.command.descriptors.pass.contains(kept))
        {
            return Err(CheckError::NotAsked { number, what: "a descriptor that stays" });
        }
    }
    check_service(spec, plan)?;
    for number in 0..=2u8 {
        let is_this = |a: &Action| matches!(a, Action::Process(ProcessStep::Stdio { number: n, .. }) if *n == number);
        only(plan, stage, "something at each of descriptors 0 to 2", is_this)?;
    }
    let up = of(plan, Stage::Sandbox).any(|(_, a)| matches!(a, Action::Net(NetStep::LoopbackUp)));
    if !spec.network.is_new() && up {
        return Err(CheckError::NotAsked { number: 0, what: "the host's loopback interface" });
    }
    Ok(())
}

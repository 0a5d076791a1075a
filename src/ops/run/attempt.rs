//! One attempt at a run: store, launch, supervision, record.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::time::Instant;

use super::again::{self, Again, Uppers};
use super::end::{self, Over};
use super::join::{Joined, Way};
use super::refute::refuted;
use super::size::verify_size;
use super::{Desk, RunError, capture, explain, held};
use crate::confine::seccomp::{self, Program};
use crate::host::written;
use crate::launch::pipes::Pipes;
use crate::launch::{self, Host, LaunchError, LayerDirectories};
use crate::net::publish::Opened;
use crate::net::user::published::Published;
use crate::ops::sweep;
use crate::plan::facts::{Facts, Refuted};
use crate::plan::publish::PublishedPort;
use crate::plan::step::{
    Action, Backend, ConfineStep, FilterProgram, FsStep, Layer, OverlayServer, Plan, Stage,
    StoreStep,
};
use crate::spec::seccomp::PolicyVariant;
use crate::spec::{HostPath, Spec};
use crate::state::{
    Beginning, Effort, Enforced, Launcher, Mark, Record, SandboxDirectory, SandboxId, StateError,
    Store, Timestamp,
};
use crate::supervise::{Call, Model, Signals};
use crate::sys::errno::Errno;
use crate::sys::seccomp::Instruction;

/// Why an attempt failed.
pub(super) enum Failed {
    /// On an assumption: a plan without it may work.
    Refuted {
        /// What was assumed.
        fact: Refuted,
        /// The failure, should there be no other plan.
        error: Box<RunError>,
        /// For the next attempt.
        signals: Box<Signals>,
    },
    /// The host changed between the look at it and the step: another look may be enough.
    Stale {
        /// The failure, should it not be.
        error: Box<RunError>,
        /// For the next attempt.
        signals: Box<Signals>,
    },
    /// For good.
    Finally(Box<RunError>),
}

impl<E: Into<RunError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Finally(Box::new(error.into()))
    }
}

/// The sandboxes that a run has to do with.
#[derive(Clone, Copy)]
pub(super) struct Others<'a> {
    /// Whose layers it goes on with.
    pub(super) again: Option<&'a Again>,
    /// The network that was there before.
    pub(super) joined: Option<&'a Joined>,
}

/// What is made before the clone.
#[derive(Default)]
pub(super) struct Prepared {
    store: Option<Store>,
    pub(super) directory: Option<SandboxDirectory>,
    layers: LayerDirectories,
    marks: Vec<Mark>,
    /// What the record said before this run.
    pub(super) before: Option<Record>,
    payload_filter: Option<Program>,
    init_filter: Option<Program>,
    server_filter: Option<Program>,
    netstack_filter: Option<Program>,
    /// Ports that are open, until the netstack has them.
    published: Cell<Vec<Published>>,
    /// Where they are.
    ports: Vec<PublishedPort>,
    /// The file of packets, empty.
    capture: Option<OwnedFd>,
}

/// Carries the plan out. On an error nothing is left, in the store neither.
pub(super) fn carry_out(
    spec: &Spec,
    facts: &Facts,
    plan: &Plan,
    others: Others<'_>,
    (signals, mut desk): (Signals, Option<&mut dyn Desk>),
) -> Result<Over, Failed> {
    let _put_back_at_the_end = Pipes::look();
    // Before anything is made that an error would leave.
    let way = Way::into(others.joined)?;
    let prepared = match Prepared::new(spec, plan, others.again) {
        Err(error @ RunError::State(StateError::Mask { .. })) => {
            let (error, signals) = (Box::new(error), Box::new(signals));
            return Err(Failed::Refuted { fact: Refuted::StoreHoldsMasks, error, signals });
        }
        other => other?,
    };
    let mut record = prepared.begin(spec, facts, plan)?;
    let id = record.id.to_string();
    if let (Some(desk), Some(directory)) = (&mut desk, &prepared.directory) {
        desk.settle(directory)?;
    }
    if let Err(error) = way.know(&record) {
        return Err(prepared.give_up(plan, error, signals));
    }
    let started = Instant::now();
    let host = prepared.host(plan, &id, &way)?;
    let write = |group: Option<&HostPath>| {
        record.cgroup = group.cloned();
        match &prepared.directory {
            Some(directory) if prepared.before.is_some() => directory.replace_record(&record),
            Some(directory) => directory.begin(&record),
            None => Ok(()),
        }
    };
    let launched = launch::launch(plan, &host, write, || prepared.sweep());
    // What is open is the netstack's alone now.
    drop(host.published.take());
    let mut running = match launched.inspect_err(|_| way.withdraw()) {
        Ok(running) => running,
        Err(error) => return Err(prepared.give_up(plan, error, signals)),
    };
    prepared.tell_start(&mut desk, &record);
    // Now, while the payload runs, and not when it has ended.
    let enforced = end::enforced(plan, &running.enforced);
    prepared.show(desk.is_some().then_some(&enforced), &mut record);
    let model = Model { plan, host: &host, explain: &explain::visit };
    let station = desk.and_then(Desk::station);
    let held = running.held.take();
    let ended = prepared.watch_over(running, (spec, &record), model, station, signals);
    way.withdraw();
    let ended = ended?;
    let ran = started.elapsed();
    held::bring(spec, facts, held.zip(prepared.directory.as_ref()), &mut record)?;
    let told = end::Told { enforced, ended: &ended, lost: way.loss(), duration: ran };
    record.health = prepared.health(spec);
    let record = end::complete(record, told, &|call| prepared.errno_for(call).raw());
    Ok(Over { directory: prepared.directory, record, ended, ran })
}

impl Prepared {
    /// Writes what is enforced, for who looks while it runs, or after this process was killed. Without it the run is
    /// no other.
    fn show(&self, enforced: Option<&Vec<Enforced>>, record: &mut Record) {
        if let (Some(directory), Some(enforced)) = (&self.directory, enforced) {
            record.enforced.clone_from(enforced);
            directory.replace_record(record).unwrap_or_default();
        }
    }

    fn new(spec: &Spec, plan: &Plan, again: Option<&Again>) -> Result<Self, RunError> {
        let mut prepared = Self::default();
        // Before anything is made that would have to be removed.
        let opened = open_ports(plan)?;
        (prepared.published, prepared.ports) = (opened.sockets.into(), opened.ports);
        prepared.capture = capture::open(spec)?;
        prepared.store = open_store(plan)?;
        if prepared.store.is_some() {
            verify_size(spec)?;
        }
        held::verify_room(plan, prepared.store.as_ref())?;
        // The store is known to be the caller's by now, and nothing is in it that a policy with a mistake
        // would leave there.
        let store = prepared.store.as_ref();
        prepared.payload_filter = filter(plan, Stage::Payload, store)?;
        prepared.init_filter = filter(plan, Stage::Init, store)?;
        prepared.server_filter = server_filter(plan)?;
        prepared.netstack_filter = filter(plan, Stage::Netstack, store)?;
        for (_, action) in plan.of(Stage::Prepare) {
            if let Action::Store(step) = action {
                prepared.take_step(spec, plan, again, step)?;
            }
        }
        Ok(prepared)
    }

    fn take_step(
        &mut self,
        spec: &Spec,
        plan: &Plan,
        again: Option<&Again>,
        step: &StoreStep,
    ) -> Result<(), RunError> {
        match step {
            StoreStep::Open { .. } => {
                let is_kernels = |layer: &&Layer| layer.backend == Backend::Kernel;
                let layers = plan.layers.iter().filter(is_kernels).count();
                let layers = u16::try_from(layers).unwrap_or(u16::MAX);
                let create = |store: &Store| store.create_for(spec.name.as_deref(), layers);
                self.directory = self.store.as_ref().map(create).transpose()?;
            }
            StoreStep::Take { .. } => {
                let again = again.ok_or(RunError::NothingToTake)?;
                let directory = again.lock()?;
                // As it is now that nobody else can change it.
                let before = again.unchanged(&directory)?;
                Uppers::of(&directory, &before)?.verify_hidden(&before, plan)?;
                self.before = Some(before);
                self.directory = Some(directory.run_again()?);
            }
            StoreStep::Layer(number) | StoreStep::LayerAgain(number) => {
                let layer = plan.layers.get(usize::from(number.0));
                let Some((directory, layer)) = self.directory.as_mut().zip(layer) else {
                    return Ok(());
                };
                let made = match step {
                    StoreStep::LayerAgain(_) => again::take_layer(directory, *number, layer)?,
                    _ => directory.make_layer(*number, layer)?,
                };
                self.layers.push(made.upper, made.work);
                self.marks.push(made.mark);
            }
            StoreStep::Directory { path } => crate::state::make_own(path)?,
            StoreStep::Note { store, places } => {
                // Makes it where it is missing.
                let store = Store::open(store)?;
                written::note(store.path(), places)?;
            }
            StoreStep::Mask { store, layer, mode, entries } => {
                let own = self.store.as_ref().filter(|own| own.path() == store);
                let kept = match own {
                    Some(own) => own.mask(*mode, entries)?,
                    None => Store::open(store)?.mask(*mode, entries)?,
                };
                self.layers.keep(*layer, kept);
            }
        }
        Ok(())
    }

    /// The record as it is while the payload runs.
    fn begin(&self, spec: &Spec, facts: &Facts, plan: &Plan) -> Result<Record, RunError> {
        let beginning = Beginning {
            from: facts.caller.workdir.path().cloned(),
            launcher: Launcher::this()?,
            spec,
            target: facts.target.as_ref(),
            plan,
            marks: &self.marks,
            published: &self.ports,
        };
        let (id, created) = match &self.directory {
            Some(directory) => (directory.id(), directory.created()),
            None => (SandboxId::random().map_err(RunError::Random)?, Timestamp::now()),
        };
        let record = Record::begin(id, created, beginning);
        let Some((before, directory)) = self.before.as_ref().zip(self.directory.as_ref()) else {
            return Ok(record);
        };
        let uppers = Uppers::of(directory, before)?;
        Ok(record.after(before.clone(), |number, place| uppers.has(number, place)))
    }

    fn host<'a>(
        &'a self,
        plan: &Plan,
        id: &'a str,
        way: &'a Way<'_>,
    ) -> Result<Host<'a>, RunError> {
        let instructions = |program: &Option<Program>| {
            let read =
                |program: &Program| Instruction::read_all(program.bytes()).ok_or(RunError::Filter);
            program.as_ref().map(read).transpose()
        };
        Ok(Host {
            id,
            layers: &self.layers,
            payload_filter: instructions(&self.payload_filter)?,
            init_filter: instructions(&self.init_filter)?,
            server_filter: instructions(&self.server_filter)?,
            netstack_filter: instructions(&self.netstack_filter)?,
            door: way.door(),
            membership: way.membership(),
            published: self.published.take().into(),
            capture: self.capture.as_ref(),
            terminal: end::terminal(plan),
        })
    }

    /// Puts in order what killed runs left, while the sandbox builds its tree: the launcher has nothing to do then,
    /// and may get no processor while a short payload runs. What cannot be put in order now is
    /// told by the commands that list sandboxes.
    fn sweep(&self) {
        if let Some(store) = &self.store {
            drop(sweep::sweep_store(store, Effort::Brief));
        }
    }

    /// What the listener answers: from the call's number alone.
    pub(super) fn errno_for(&self, call: Call) -> Errno {
        let program = self.payload_filter.as_ref();
        program.map_or(Errno::EPERM, |program| {
            Errno::from_raw(i32::from(program.errno_for(call.arch, call.number).number()))
        })
    }

    /// Removes what was prepared. A failure of that is told with the sweep of the next command: the
    /// error of the launch is what the user needs to hear.
    fn give_up(self, plan: &Plan, error: LaunchError, signals: Signals) -> Failed {
        let ran_before = self.before.is_some();
        let put_away = match (self.directory, &self.before) {
            (Some(directory), Some(before)) => directory.keep(before),
            (Some(directory), None) => directory.remove(),
            (None, _) => Ok(()),
        };
        if let Err(left) = put_away {
            return Failed::from(RunError::Left {
                launch: Box::new(error),
                source: Box::new(left),
            });
        }
        let LaunchError::Step { step, source, .. } = &error else { return error.into() };
        if matches!(source.errno, Errno::ESTALE | Errno::ENOENT) {
            return Failed::Stale { error: Box::new(error.into()), signals: Box::new(signals) };
        }
        let action = plan.steps.get(*step).map(|step| &step.action);
        if let Some(refusal) = held::refusal(plan, action, source.errno, ran_before) {
            return Failed::from(refusal);
        }
        match action.and_then(|action| refuted(action, source.errno)) {
            Some(fact) => {
                Failed::Refuted { fact, error: Box::new(error.into()), signals: Box::new(signals) }
            }
            None => error.into(),
        }
    }
}

/// The ports that the plan opens.
fn open_ports(plan: &Plan) -> Result<Opened, RunError> {
    let mut opened = Opened::default();
    for (_, action) in plan.of(Stage::Prepare) {
        if let Action::Publish(publish) = action {
            opened.open(*publish)?;
        }
    }
    Ok(opened)
}

/// The store that the plan opens.
fn open_store(plan: &Plan) -> Result<Option<Store>, RunError> {
    let path = plan.of(Stage::Prepare).find_map(|(_, action)| match action {
        Action::Store(StoreStep::Open { store } | StoreStep::Take { store, .. }) => Some(store),
        _ => None,
    });
    Ok(path.map(Store::open).transpose()?)
}

/// The filter that a stage installs: built in, or compiled now and cached.
fn filter(plan: &Plan, stage: Stage, store: Option<&Store>) -> Result<Option<Program>, RunError> {
    let wanted = plan.of(stage).find_map(|(_, action)| match action {
        Action::Confine(ConfineStep::Seccomp { program, .. }) => Some(program),
        _ => None,
    });
    let Some(wanted) = wanted else { return Ok(None) };
    let cache = match store {
        Some(store) if !seccomp::is_compiled(wanted) => Some(store.policies()?),
        _ => None,
    };
    Ok(Some(seccomp::program(wanted, cache.as_ref().map(HostPath::as_path))?))
}

/// Whether the payload's filter can be made, and anything started under it.
pub(super) fn verify_filter(plan: &Plan) -> Result<(), RunError> {
    filter(plan, Stage::Payload, None).map(|_| ())
}

/// The filter of the overlays' servers, where there are any.
fn server_filter(plan: &Plan) -> Result<Option<Program>, RunError> {
    let served = |action: &Action| {
        matches!(action, Action::Fs(FsStep::Overlay { server: OverlayServer::Fuse { .. }, .. }))
    };
    if !plan.of(Stage::Sandbox).any(|(_, action)| served(action)) {
        return Ok(None);
    }
    let wanted =
        FilterProgram::Builtin { name: "fuse".to_owned(), variant: PolicyVariant::default() };
    Ok(Some(seccomp::program(&wanted, None)?))
}

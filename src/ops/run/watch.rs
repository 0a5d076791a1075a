//! Watching over a run: what the supervisor is given for it.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::attempt::Prepared;
use super::{Desk, RunError};
use crate::launch::{Joinable, Running};
use crate::ops::foreign::remove_group;
use crate::ops::network::{cannot_reconnect, reconnect};
use crate::spec::{Network, Spec};
use crate::state::Record;
use crate::state::events::What;
use crate::state::health::{Health, Status};
use crate::supervise::{
    self, Call, Checkup, Deputy, Duties, Ended, Model, Signals, Station, SuperviseError, Witness,
};

/// How long its processes may take to end.
const GROUP: Duration = Duration::from_secs(2);

impl Prepared {
    /// Until nothing of the run is left.
    pub(super) fn watch_over<'a>(
        &'a self,
        running: Running,
        (spec, record): (&'a Spec, &Record),
        model: Model<'a>,
        station: Option<&'a mut Station>,
        signals: Signals,
    ) -> Result<Ended, RunError> {
        let errno_for = |call: Call| self.errno_for(call);
        let deputy = self.reconnect(&running, record);
        let mut duties = Duties::of(model.plan, self.watched_store()?, &errno_for)?;
        (duties.station, duties.deputy) = (station, deputy.as_ref());
        duties.model = Some(model);
        duties.place = model.host.membership;
        duties.service = spec.lifetime.service.as_ref().and_then(|one| one.notify.as_ref());
        let witness = |what, details: &[(&str, String)]| self.witness(what, details);
        let told = |health: &Health, news| self.learn(health, news, &witness);
        duties.checkup =
            spec.lifetime.health.as_ref().map(|wanted| Checkup { wanted, told: &told });
        duties.witness = Some(&witness);
        let has_door = Cell::new(false);
        let open_door = || self.open_door(spec).inspect(|_| has_door.set(true));
        duties.open_door = Some(&open_door);
        let ended = supervise::supervise(running, duties, signals);
        // What it holds of the run is given up before the rest is.
        drop(deputy);
        let ended = ended?;
        if let Some(group) = &ended.group_left {
            remove_group(group, GROUP).map_err(SuperviseError::Group)?;
        }
        if let Some(directory) = self.directory.as_ref().filter(|_| has_door.get()) {
            directory.close_line()?;
        }
        Ok(ended)
    }

    /// Connects one that goes on where it was with the networks that it was connected with while it ran before. By
    /// another process: locks and holders are waited for, and the run is watched over meanwhile.
    fn reconnect(&self, running: &Running, record: &Record) -> Option<Deputy> {
        let (before, directory) = self.before.as_ref().zip(self.directory.as_ref())?;
        let is_member = matches!(record.spec.network, Network::Bridge(_));
        let door = running.namespaces.as_ref().filter(|_| is_member).and_then(Joinable::door);
        let door = door.filter(|_| before.spec.network == record.spec.network)?;
        let found = directory.as_found();
        if found.joined().is_empty() {
            return None;
        }
        let work = || reconnect(&found, record, &door, &running.pidfd);
        Deputy::begin(work).inspect_err(|errno| cannot_reconnect(&found, *errno)).ok()
    }

    /// Listens where nobody did, as somebody wants to speak with this run.
    fn open_door(&self, spec: &Spec) -> Option<Station> {
        let listener = self.directory.as_ref()?.listen().ok()?;
        Some(Station::at_door(listener, spec.lifetime.stop))
    }

    /// Any descriptor on the store's file system, for the floor of free space.
    fn watched_store(&self) -> Result<Option<OwnedFd>, RunError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let copy = rustix::io::fcntl_dupfd_cloexec(directory.descriptor(), 3);
        copy.map(Some).map_err(|errno| RunError::Descriptor(errno.into()))
    }

    /// The payload was executed: its desk knows what is to be done, and of a run in somebody's foreground it is written
    /// down, as its end is by `end::shelve`.
    pub(super) fn tell_start(&self, desk: &mut Option<&mut dyn Desk>, record: &Record) {
        if let Some(desk) = desk {
            return desk.started(record);
        }
        let Some(directory) = &self.directory else { return };
        let all: &[What] = match record.continued {
            None => &[What::Create, What::Start],
            Some(_) => &[What::Start],
        };
        directory.as_found().tell_each(record.name.as_deref(), all);
    }

    /// Writes down what happened.
    fn witness(&self, what: What, details: &[(&str, String)]) {
        if let Some(directory) = &self.directory {
            directory.as_found().tell_as_called(what, details);
        }
    }

    /// Keeps what a check said, and tells of a change. What cannot be kept is with the next one.
    fn learn(&self, health: &Health, news: Option<Status>, witness: &Witness<'_>) {
        if let Some(directory) = &self.directory {
            directory.write_health(health).unwrap_or_default();
        }
        if let Some(status) = news {
            witness(What::HealthStatus, &[("health", status.word().to_owned())]);
        }
    }

    /// What the checks said, for the record.
    pub(super) fn health(&self, spec: &Spec) -> Option<Health> {
        spec.lifetime.health.as_ref()?;
        self.directory.as_ref()?.take_health()
    }
}

//! A run that is a service of systemd: who says that it is ready, what it is handed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Spec;
use super::path::SandboxPath;
use super::text::Text;

/// Where the payload finds the socket for what it has to say; in every sandbox's own `/dev`.
pub const NOTIFY_SOCKET: &str = "/dev/notify";

/// What a payload is told of it.
pub const VARIABLES: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
];

/// Takes away from a spec what it has of a service manager that is not there any more.
pub fn take_off(spec: &mut Spec) {
    let Some(service) = spec.lifetime.service.take() else { return };
    let command = &mut spec.command;
    command.descriptors.pass.retain(|number| !service.descriptors().contains(number));
    let is_told = |name: &Text| VARIABLES.iter().any(|told| name.as_bytes() == told.as_bytes());
    command.environment.retain(|variable| !is_told(&variable.name));
}

/// What a service manager that started bryo is told, and what of its the payload gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// Who is told, and by whom; none where nobody is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// How many sockets it handed over, from descriptor [`Service::FIRST_SOCKET`] on.
    pub sockets: u32,
    /// The control group that bryo was started in is delegated to it.
    pub delegated: bool,
}

/// What is said to the service manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Where it listens: `/PATH`, or `@NAME` of an abstract socket.
    pub socket: Text,
    /// Who speaks.
    pub speaker: Speaker,
    /// How often it must hear that all is well, if it wants that.
    pub watchdog: Option<Duration>,
}

/// Who says that a service is ready, and that it is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Speaker {
    /// Bryo, once the payload is executed.
    Bryo,
    /// The payload, which knows how; bryo passes on what it may say.
    Payload,
}

impl Service {
    /// As `sd_listen_fds(3)` has it.
    pub const FIRST_SOCKET: u32 = 3;

    /// Whether the payload speaks for itself.
    pub fn relays(&self) -> bool {
        self.notify.as_ref().is_some_and(|notify| notify.speaker == Speaker::Payload)
    }

    /// The socket inside, where there is one.
    pub fn socket_inside(&self) -> Option<SandboxPath> {
        // A constant that is absolute and normal.
        self.relays().then(|| SandboxPath::new(NOTIFY_SOCKET).ok()).flatten()
    }

    /// The variables that hold the number of the process that they are meant for.
    pub fn own_numbers(&self) -> Vec<Text> {
        let watched = self.notify.as_ref().is_some_and(|notify| notify.watchdog.is_some());
        let names = [
            (self.sockets > 0).then_some("LISTEN_PID"),
            (self.relays() && watched).then_some("WATCHDOG_PID"),
        ];
        names.into_iter().flatten().map(Text::from).collect()
    }

    /// The descriptors that it was handed.
    pub fn descriptors(&self) -> std::ops::Range<u32> {
        Self::FIRST_SOCKET..Self::FIRST_SOCKET.saturating_add(self.sockets)
    }
}

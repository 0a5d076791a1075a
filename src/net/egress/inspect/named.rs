//! Whether the hosts that a connection names may be talked to.

use super::head::{Authority, Head, Host, Through};
use super::{Check, Listener, Policy, Reason, Ruling, Service};
use crate::spec::net::HostName;

impl Listener {
    /// Whether those a request names may be talked to.
    pub(super) fn judge(&mut self, policy: &Policy, head: &Head) -> Result<(), Reason> {
        match (&head.through, &head.to) {
            (Some(Through::Request(to) | Through::Connection(to)), _) => {
                let service = Service::Tcp(to.port.unwrap_or(80));
                self.named(policy, &to.host, service, true)
            }
            (None, Some(to)) => self.named(policy, &to.host, self.service, false),
            (None, None) if self.must_name() => Err(Reason::NoName),
            (None, None) => Ok(()),
        }
    }

    fn named(
        &mut self,
        policy: &Policy,
        host: &Host,
        service: Service,
        dialled: bool,
    ) -> Result<(), Reason> {
        match host {
            Host::Name(name) => {
                policy.speaks(name, service, self.check)?;
                self.said = Some(name.clone());
                Ok(())
            }
            // Who goes through a proxy dials there.
            Host::Address(address) if dialled => match policy.decide(*address, service, &[]) {
                Ruling::Dial { .. } => Ok(()),
                Ruling::Refuse(reason) => Err(reason),
            },
            Host::Address(_) if self.must_name() => Err(Reason::NoName),
            Host::Address(_) => Ok(()),
        }
    }

    /// What is dialled by whoever is asked for a tunnel, and what must be said there.
    pub(super) fn tunnel(policy: &Policy, to: &Authority) -> Result<(Service, Check), Reason> {
        let service = Service::Tcp(to.port.unwrap_or(443));
        let check = match &to.host {
            Host::Name(name) => policy.check_through(name, service),
            Host::Address(address) => match policy.decide(*address, service, &[]) {
                Ruling::Dial { check, .. } => check,
                Ruling::Refuse(reason) => return Err(reason),
            },
        };
        Ok((service, check))
    }
}

/// Whether the name in a greeting may be talked to.
pub(super) fn check_name(
    policy: &Policy,
    (service, check): (Service, Check),
    name: Option<HostName>,
    said: &mut Option<HostName>,
) -> Result<(), Reason> {
    match name {
        Some(name) => {
            policy.speaks(&name, service, check)?;
            *said = Some(name);
            Ok(())
        }
        None if matches!(check, Check::Names { .. }) => Err(Reason::NoName),
        None => Ok(()),
    }
}

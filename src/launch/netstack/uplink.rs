//! The netstack of a network of several sandboxes: the way out of all of them, and their name server.
//!
//! # Theory of operation
//! It is confined as the one of a single sandbox and does the same, but for this: packets come from every address of
//! the network, not from one; its master is the network's holder, which tells the names and the published ports of
//! members, as they come and go; and it ends when the holder does.

use std::os::fd::{AsFd, OwnedFd};

use super::orders::teller;
use super::process::{confine, engine, leave_launcher, open_link, set_limits};
use crate::launch::holder::{Start, Tell, receive, send};
use crate::net::egress::Gate;
use crate::net::user::Inside;
use crate::net::user::engine::Order as Say;
use crate::net::user::published::Published;
use crate::plan::step::{
    Action, ConfineStep, FilterProgram, NetStep, NetstackStep, Plan, Stage, Step,
};
use crate::plan::traffic::{Totals, Traffic};
use crate::spec::net::HostName;
use crate::spec::seccomp::PolicyVariant;
use crate::sys::errno::{Errno, Result};
use crate::sys::process::{self, exit_now};
use crate::sys::{socket, tun};

/// Descriptors that are not for flows: published ports come in without being asked.
const RESERVED: u64 = 600;

/// Runs it to its end; the holder sends its end of the interface.
pub(in crate::launch) fn run(order: &Start<'_>, holder: &OwnedFd) -> ! {
    exit_now(u8::from(serve(order, holder).is_err()))
}

fn serve(order: &Start<'_>, holder: &OwnedFd) -> Result<()> {
    leave_launcher(&[holder.as_fd()])?;
    rustix::process::chdir("/")?;
    // It outlives the command that it would show.
    process::irrevocably_clear_arguments()?;
    let bounds = set_limits(0)?;
    let mut byte = [0];
    let (_, mut fds) = socket::receive(holder, &mut byte)?;
    // None when the holder could not make it, and has ended.
    let link = fds.pop().ok_or(Errno::ECONNRESET)?;
    let plan = plan(order);
    let network = [order.segment.subnet, order.segment.subnet6];
    let files = bounds.files.saturating_sub(RESERVED.min(bounds.files / 2));
    let link = open_link(&plan, link, None)?;
    let (mut engine, gate) = engine(&plan, link, Vec::new(), &network, files, holder.as_fd())?;
    gate.keep_apart();
    gate.tell_with(teller(holder.as_fd())?);
    confine(&plan, order.netstack_filter, None).map_err(|failed| failed.errno)?;
    engine.run(holder.as_fd(), |totals| hear(holder, &gate, totals, order.uplink.mtu))?;
    // Where it fails, the end takes longer.
    tun::leave_to_namespace(engine.link()).unwrap_or(());
    Ok(())
}

/// The steps of a netstack, as a plan has them.
fn plan(order: &Start<'_>) -> Plan {
    let step = |stage, action| Step { stage, action };
    let program =
        FilterProgram::Builtin { name: "netstack".to_owned(), variant: PolicyVariant::default() };
    let confined = NetstackStep::Confine { landlock_abi: order.landlock_abi };
    Plan::of_steps(vec![
        step(Stage::Sandbox, Action::Net(NetStep::Tun(order.uplink))),
        step(Stage::Netstack, Action::Netstack(confined)),
        step(Stage::Netstack, Action::Confine(ConfineStep::Seccomp { program, listen: false })),
        step(Stage::Netstack, Action::Netstack(NetstackStep::Serve(order.segment.egress.clone()))),
    ])
}

fn hear(holder: &OwnedFd, gate: &Gate, totals: Totals, mtu: u16) -> Say {
    match receive::<Tell>(holder) {
        Ok(Some((tell, fd))) => take(gate, totals, mtu, tell, fd).unwrap_or(Say::Stop),
        // It is gone, or says something that means nothing.
        Ok(None) | Err(_) => Say::Stop,
    }
}

/// What follows from what the holder said; none when that means nothing.
fn take(gate: &Gate, totals: Totals, mtu: u16, tell: Tell, fd: Option<OwnedFd>) -> Option<Say> {
    Some(match (tell, fd) {
        (Tell::Here(name, addresses), None) => {
            gate.member_is(HostName::parse(&name).ok()?, addresses.clone());
            Say::Came(addresses)
        }
        (Tell::Gone(name), None) => {
            gate.member_is(HostName::parse(&name).ok()?, Vec::new());
            Say::Go
        }
        (Tell::Open { v4, v6, port, transport }, Some(socket)) => {
            let inside = Inside { v4: v4.into(), v6, mtu };
            Say::Open(Published { socket, transport, port }, inside)
        }
        (Tell::Servers(servers), None) => {
            gate.servers_are(servers);
            Say::Go
        }
        (Tell::Left(addresses), told) => {
            gate.left(&addresses);
            Say::Left(addresses, told)
        }
        (Tell::Report(of), Some(to)) => {
            let totals = of.is_empty().then_some(totals);
            // Who asked may have gone.
            send(to, &Traffic { totals, ..gate.told(&of) }, None).unwrap_or(());
            Say::Go
        }
        (
            Tell::Here(..) | Tell::Gone(_) | Tell::Open { .. } | Tell::Report(_) | Tell::Servers(_),
            _,
        ) => {
            return None;
        }
    })
}

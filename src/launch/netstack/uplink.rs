//! The netstack of a network of several sandboxes: the way out of all of them, and their name server.
//!
//! # Theory of operation
//! It is confined as the one of a single sandbox and does the same, but for this: packets come from every address of
//! the network, not from one; its master is the network's holder, which tells the names of members; and it ends
//! when the holder does.

use std::os::fd::{AsFd, OwnedFd};

use super::process::{confine, engine, leave_launcher, open_link, set_limits};
use crate::launch::holder::{Start, Tell, receive};
use crate::net::egress::Gate;
use crate::net::user::engine::Order as Say;
use crate::plan::step::{
    Action, ConfineStep, FilterProgram, NetStep, NetstackStep, Plan, Stage, Step,
};
use crate::spec::net::HostName;
use crate::spec::seccomp::PolicyVariant;
use crate::sys::errno::{Errno, Result};
use crate::sys::process::{self, exit_now};
use crate::sys::{socket, tun};

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
    let (mut engine, gate) =
        engine(&plan, open_link(&plan, link, None)?, Vec::new(), bounds.files)?;
    engine.also_from(&[order.segment.subnet, order.segment.subnet6]);
    confine(&plan, order.netstack_filter, None).map_err(|failed| failed.errno)?;
    engine.run(holder.as_fd(), || hear(holder, &gate))?;
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
    let steps = vec![
        step(Stage::Sandbox, Action::Net(NetStep::Tun(order.uplink))),
        step(Stage::Netstack, Action::Netstack(confined)),
        step(Stage::Netstack, Action::Confine(ConfineStep::Seccomp { program, listen: false })),
        step(Stage::Netstack, Action::Netstack(NetstackStep::Serve(order.segment.egress.clone()))),
    ];
    Plan { steps, layers: Vec::new(), store: None, notices: Vec::new(), groups_kept: Vec::new() }
}

fn hear(holder: &OwnedFd, gate: &Gate) -> Say {
    match receive::<Tell>(holder) {
        Ok(Some((Tell::Here(name, addresses), None))) => match HostName::parse(&name) {
            Ok(name) => {
                gate.member_is(name, addresses);
                Say::Go
            }
            Err(_) => Say::Stop,
        },
        Ok(Some((Tell::Gone(name), None))) => match HostName::parse(&name) {
            Ok(name) => {
                gate.member_is(name, Vec::new());
                Say::Go
            }
            Err(_) => Say::Stop,
        },
        // It is gone, or says something that means nothing.
        Ok(_) | Err(_) => Say::Stop,
    }
}

//! Two sandboxes on a network of bryo's, and two plain namespaces with a veth pair between them.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::contest::{Bed, Contestant};
use super::{PEER, ROUNDS, on_bed};
use crate::row::{Aim, Row, Side};
use crate::tools::Tools;

const NETWORK: &str = "bench";
const VETH: &str = "veth";
const SUBNET: &str = "10.97.5.0/24";
/// The other sandbox's address, whoever of both came first.
const SERVER: &str = "10.97.5.7";

/// How long the other sandbox may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// A network with a sandbox on it that serves.
struct Network<'a> {
    bed: &'a Bed<'a>,
    server: Child,
}

pub(super) fn rows(tools: &Tools) -> Vec<Row> {
    on_bed(tools, |bed| match measured(bed) {
        Ok(rows) => rows,
        Err(text) => vec![Row::single("network: sandbox to sandbox", "", Err(text), 0.0)],
    })
}

fn measured(bed: &Bed) -> Result<Vec<Row>, String> {
    let _network = Network::make(bed)?;
    let sides = [bed.on_bridge(NETWORK), bed.behind_nothing(VETH)];
    answers(&sides[0], SERVER)?;
    // What it is compared with is there on every machine: without it nothing is told.
    answers(&sides[1], PEER)?;
    let aims = [Aim::AtLeast { to: VETH, least: 0.8 }];
    let row = |title: &str, unit, order: &str, aims: &[Aim]| {
        let ask = |side: &Contestant| {
            let to = if side.name == VETH { PEER } else { SERVER };
            side.order(&order.replace("PEER", to))
        };
        let sides = sides.iter().map(|side| Side::new(side.name, move || ask(side))).collect();
        Row::compare(format!("network: sandbox to sandbox, {title}"), unit, ROUNDS, sides, aims)
    };
    Ok(vec![
        row("TCP, streams: 1", "Gbit/s", "up PEER 1 250", &aims),
        row("TCP, streams: 8", "Gbit/s", "up PEER 8 250", &aims),
        row("short connections", "1/s", "short PEER 3000", &aims),
        row("a byte there and back over TCP", "µs", "echo PEER 3000", &[]),
    ])
}

impl<'a> Network<'a> {
    fn make(bed: &'a Bed<'a>) -> Result<Self, String> {
        let made = bed.network(&["create", "--internal", "--subnet", SUBNET, NETWORK])?;
        if made.trim_end() != NETWORK {
            return Err(format!("cannot make the network: {made}"));
        }
        let mut command = bed.member(NETWORK, &["--ip", SERVER]);
        command.arg("serve").stderr(Stdio::null());
        let server = command.spawn().map_err(|e| e.to_string())?;
        Ok(Self { bed, server })
    }
}

/// Waits until everything that is measured answers there: each listens by itself, and a side that fails once is left out.
fn answers(client: &Contestant, server: &str) -> Result<(), String> {
    let began = Instant::now();
    for order in ["echo PEER 1", "up PEER 1 10", "short PEER 4"] {
        while let Err(text) = client.order(&order.replace("PEER", server)) {
            if began.elapsed() > PATIENCE {
                return Err(format!("{}: nobody answers at {server}: {text}", client.name));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
        self.bed.network(&["rm", NETWORK]).ok();
    }
}

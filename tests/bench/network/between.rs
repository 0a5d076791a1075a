//! Two sandboxes on a network of bryo's, and two plain namespaces with a veth pair between them.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::contest::{Bed, Contestant};
use super::{PEER, ROUNDS, on_bed};
use crate::row::{Aim, Row, Side};
use crate::tools::Tools;

const NETWORK: &str = "bench";
const VETH: &str = "veth";

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
    let network = Network::make(bed)?;
    let sides = [bed.on_bridge(NETWORK), bed.behind_nothing(VETH)];
    let server = network.server_of(&sides[0])?;
    let aims = [Aim::AtLeast { to: VETH, least: 0.8 }];
    let row = |title: &str, unit, order: &str, aims: &[Aim]| {
        let ask = |side: &Contestant| {
            let to = if side.name == VETH { PEER } else { &server };
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
        let made = bed.network(&["create", "--internal", NETWORK])?;
        if made.trim_end() != NETWORK {
            return Err(format!("cannot make the network: {made}"));
        }
        let mut command = bed.member(NETWORK);
        command.arg("serve").stderr(Stdio::null());
        let server = command.spawn().map_err(|e| e.to_string())?;
        Ok(Self { bed, server })
    }

    /// The server's address, once it answers.
    fn server_of(&self, client: &Contestant) -> Result<String, String> {
        let began = Instant::now();
        loop {
            let listed = self.bed.network(&["inspect", NETWORK])?;
            let first = listed.split_once("\"v4\": \"").and_then(|(_, rest)| rest.split_once('"'));
            let answered = match first {
                Some((address, _)) => {
                    client.order(&format!("echo {address} 1")).map(|_| address.to_owned())
                }
                None => Err("nobody is on the network".to_owned()),
            };
            if answered.is_ok() || began.elapsed() > PATIENCE {
                return answered;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
        self.bed.network(&["rm", NETWORK]).ok();
    }
}

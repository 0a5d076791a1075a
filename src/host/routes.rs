//! Where packets of this machine go without asking a router: `/proc/net/route`, `proc(5)`.

use std::net::Ipv4Addr;

use super::HostError;
use super::bounded::{self, SMALL};
use crate::spec::net::Prefix;

/// Every range of IPv4 that the machine has a route to, the default one left out.
pub fn probe() -> Result<Vec<Prefix>, HostError> {
    Ok(parse(&bounded::read_file("/proc/net/route", SMALL)?))
}

/// Total: lines that cannot be read are passed over.
fn parse(text: &[u8]) -> Vec<Prefix> {
    let text = String::from_utf8_lossy(text);
    let number = |word: &str| u32::from_str_radix(word, 16).ok().map(u32::from_be);
    let route = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (destination, mask) = (number(words.get(1)?)?, number(words.get(7)?)?);
        let length = u8::try_from(mask.leading_ones()).ok()?;
        (length > 0).then(|| Prefix::of(Ipv4Addr::from_bits(destination).into(), length))
    };
    text.lines().filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_rubbish_passed_over() {
        let text = b"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            x\t0000000A\t0\t0\t0\t0\t0\t000000FF\t0\nbad\nx\tzz\t0\t0\t0\t0\t0\t00FFFFFF\n";
        let routes: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["192.168.2.0/24", "10.0.0.0/8"]);
    }
}

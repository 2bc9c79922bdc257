//! Where a browser on this machine can reach us.

use std::net::{IpAddr, Ipv4Addr};

/// The IPv4 addresses of this machine, 127.0.0.1 last: browsers without special flags open no media path to
/// loopback unless there is another interface, and some not even then; where there is only loopback it must do.
pub(super) fn local() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    order(interfaces.iter().map(if_addrs::Interface::ip))
}

fn order(found: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = found
        .filter(|ip| match ip {
            // 169.254/16: no server gave an address, so nobody is there to talk to.
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
            IpAddr::V6(_) => false,
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.push(Ipv4Addr::LOCALHOST.into());
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_comes_last_and_always() {
        let found = ["127.0.0.1", "192.0.2.7", "::1", "169.254.3.4", "192.0.2.7", "2001:db8::1", "10.0.0.1"];
        let order = order(found.iter().map(|ip| ip.parse().unwrap()));
        assert_eq!(order, ["10.0.0.1", "192.0.2.7", "127.0.0.1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert_eq!(super::order(core::iter::empty()), [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }
}

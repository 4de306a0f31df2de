//! Who calls: the address behind trusted proxies.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

/// An address block (`10.0.0.0/8`, `::1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// An address or a block in CIDR form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is no address or network; write 10.0.0.0/8 or 2001:db8::/32");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| bad())?;
        let bits = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|p| *p <= bits).ok_or_else(bad)?,
            None => bits,
        };
        Ok(Self { base, prefix })
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                (u64::from(base.to_bits()) >> shift) == (u64::from(address.to_bits()) >> shift)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                self.prefix == 0 || (base.to_bits() ^ address.to_bits()) >> (128 - u32::from(self.prefix)) == 0
            }
            _ => false,
        }
    }
}

/// The caller's address: the peer itself, or, if the peer is trusted, the last address in `X-Forwarded-For` that is not.
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer.to_canonical();
    }
    let forwarded: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let mut client = peer;
    for hop in forwarded.iter().rev() {
        // A hop that is no address was not written by a proxy that we trust: stop believing there.
        let Some(address) = hop_address(hop) else { break };
        client = address;
        if !is_trusted(address) {
            break;
        }
    }
    client.to_canonical()
}

/// Some proxies write the port too (`192.0.2.1:4711`, `[2001:db8::1]:4711`).
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = hop.trim_matches(['[', ']']);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Key for limits: the address, for IPv6 its /64 (what one customer has).
pub fn rate_key(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

/// Key for limits when single addresses are too many: the /16, for IPv6 the /32 (what one provider has).
pub fn coarse_rate_key(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & !u32::from(u16::MAX)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !(u128::MAX >> 32)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<_> = trusted.iter().map(|t| Network::parse(t).unwrap()).collect();
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn forwarded_for_only_from_trusted_proxies() {
        assert_eq!(from("9.9.9.9", &["1.1.1.1"], &["10.0.0.0/8"]), "9.9.9.9");
        assert_eq!(from("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"], &["10.0.0.0/8"]), "1.1.1.1");
        assert_eq!(from("10.0.0.1", &["6.6.6.6", "1.1.1.1"], &["10.0.0.0/8"]), "1.1.1.1");
        assert_eq!(from("10.0.0.1", &["x, 10.0.0.3"], &["10.0.0.0/8"]), "10.0.0.3");
        assert_eq!(from("::ffff:10.0.0.1", &["2001:db8::1"], &["10.0.0.0/8"]), "2001:db8::1");
        assert_eq!(from("::1", &["1.2.3.4"], &["::1"]), "1.2.3.4");
        assert_eq!(from("1.2.3.4", &[], &["0.0.0.0/0"]), "1.2.3.4");
        assert_eq!(from("10.0.0.1", &["6.6.6.6:1, 1.1.1.1:4711"], &["10.0.0.0/8"]), "1.1.1.1");
        assert_eq!(from("10.0.0.1", &["[2001:db8::1]:4711"], &["10.0.0.0/8"]), "2001:db8::1");
        assert_eq!(from("10.0.0.1", &["[2001:db8::1]"], &["10.0.0.0/8"]), "2001:db8::1");
        assert!(Network::parse("10.0.0.0/33").is_err());
        let coarse = |text: &str| coarse_rate_key(text.parse().unwrap()).to_string();
        assert_eq!((coarse("203.0.113.7"), coarse("2001:db8:1::7")), ("203.0.0.0".into(), "2001:db8::".into()));
        assert_eq!(rate_key("2001:db8::1:2:3:4".parse().unwrap()), "2001:db8::".parse::<IpAddr>().unwrap());
    }
}

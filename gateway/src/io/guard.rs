//! Where downloads may go: what a payload names must not lead into the operator's own network.
//!
//! A URL is checked before it is called, and the addresses that its name resolves to are checked by the resolver that the
//! connection uses: what was checked is what is connected to, whatever a second question to the name server would say.
//! Redirects are not followed by the client; whoever follows one comes here again.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use connector_sdk::HttpFault;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// IPv4 blocks that are nobody's or somebody's own (RFC 6890 and its successors), and the address under which Azure's
/// machines reach their host.
const PRIVATE_V4: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Blocks within the global unicast addresses of IPv6 (2000::/3) that are not public, or lead to IPv4 by a tunnel.
const PRIVATE_V6: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// IPv4 behind a NAT64 gateway (RFC 6052).
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// What one instance may call for fetch orders.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    private_hosts: Arc<[String]>,
}

/// A name that leads to no address that may be called.
#[derive(Debug)]
struct NoPublicAddress;

impl fmt::Display for NoPublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its name resolves to private addresses only")
    }
}

impl Error for NoPublicAddress {}

impl Guard {
    /// `private_hosts`: names and addresses of one's own network that may be called all the same.
    pub fn new(private_hosts: &[String]) -> Self {
        Self { private_hosts: private_hosts.iter().map(|host| host.trim().to_ascii_lowercase()).collect() }
    }

    /// What can be said before the name is resolved.
    pub fn check(&self, url: &str) -> Result<(), HttpFault> {
        let refuse =
            |reason: &str| Err(HttpFault::Forbidden { host: super::http::host(url), reason: reason.to_owned() });
        let Ok(parsed) = Url::parse(url) else { return refuse("it is no URL") };
        let Some(host) = parsed.host() else { return refuse("it names no host") };
        let own = self.is_own(&host.to_string());
        match parsed.scheme() {
            "https" => {}
            "http" if own => {}
            _ => return refuse("only https is allowed"),
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return refuse("a URL with a user in it is not allowed");
        }
        let address = match host {
            Host::Ipv4(address) => IpAddr::V4(address),
            Host::Ipv6(address) => IpAddr::V6(address),
            Host::Domain(_) => return Ok(()),
        };
        if own || is_public(address) { Ok(()) } else { refuse("it is a private address") }
    }

    fn is_own(&self, host: &str) -> bool {
        let bare = host.trim_matches(['[', ']']);
        self.private_hosts.iter().any(|own| own == bare || own == host)
    }

    /// Those of a name's addresses that may be connected to.
    fn allowed(&self, name: &str, found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let own = self.is_own(&name.to_ascii_lowercase());
        found.filter(|address| own || is_public(address.ip())).collect()
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed = guard.allowed(name.as_str(), found);
            if allowed.is_empty() {
                return Err(NoPublicAddress.into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether a call failed because of the addresses behind a name.
pub fn refused(error: &reqwest::Error) -> Option<String> {
    let mut source = error.source();
    while let Some(inner) = source {
        if inner.is::<NoPublicAddress>() {
            return Some(inner.to_string());
        }
        source = inner.source();
    }
    None
}

/// Whether an address is one of the open internet.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !PRIVATE_V4.iter().any(|(base, prefix)| in_v4(v4, *base, *prefix)),
        IpAddr::V6(v6) if in_v6(v6, NAT64) => {
            let [.., a, b, c, d] = v6.octets();
            is_public(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        IpAddr::V6(v6) => in_v6(v6, GLOBAL_UNICAST) && !PRIVATE_V6.iter().any(|block| in_v6(v6, *block)),
    }
}

fn in_v4(address: Ipv4Addr, base: Ipv4Addr, prefix: u32) -> bool {
    (address.to_bits() ^ base.to_bits()) >> (32 - prefix) == 0
}

fn in_v6(address: Ipv6Addr, (base, prefix): (Ipv6Addr, u32)) -> bool {
    (address.to_bits() ^ base.to_bits()) >> (128 - prefix) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_of_every_sort() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.8.8.8",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn urls_are_checked_before_they_are_called() {
        let guard = Guard::new(&["Media.internal".to_owned(), "::1".to_owned(), "10.0.0.9".to_owned()]);
        for good in [
            "https://files.example/a",
            "https://files.example:8443/a",
            "http://media.internal:9000/a",
            "https://10.0.0.9/a",
            "http://[::1]/a",
            "https://1.1.1.1/a",
        ] {
            assert!(guard.check(good).is_ok(), "{good}");
        }
        for bad in [
            "http://files.example/a",
            "ftp://files.example/a",
            "file:///etc/passwd",
            "https://user@files.example/",
            "https://:pw@files.example/",
            "https://10.0.0.8/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://017700000001/",
            "https://[::ffff:127.0.0.1]/",
            "https://[fd00:ec2::254]/",
            "gopher://media.internal/",
            "no url",
        ] {
            assert!(matches!(guard.check(bad), Err(HttpFault::Forbidden { .. })), "{bad}");
        }
    }

    #[test]
    fn only_public_addresses_of_a_name_are_connected_to() {
        let guard = Guard::new(&["media.internal".to_owned()]);
        let found = || ["127.0.0.1:0", "1.1.1.1:0", "[fe80::1]:0"].into_iter().map(|text| text.parse().unwrap());
        assert_eq!(guard.allowed("files.example", found()), ["1.1.1.1:0".parse().unwrap()]);
        assert_eq!(guard.allowed("Media.Internal", found()).len(), 3);
        assert!(guard.allowed("evil.media.internal", found().take(1)).is_empty());
    }
}

//! Which endpoints are meant: the values of `--local` and `--peer`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// One endpoint or a set of them: an address or network, a port, or both.
///
/// Accepted: `ADDR`, `ADDR:PORT`, `NET/LEN`, `NET/LEN:PORT`, `:PORT`, `*:PORT`, and for IPv6 with a port
/// `[ADDR]:PORT`, `[NET/LEN]:PORT` or `[NET]/LEN:PORT`. A port may be `*`. Text with two colons or more and
/// no brackets is an IPv6 address without a port. Host bits of a network are ignored.
///
/// An IPv4 address and the same address mapped into IPv6 (`::ffff:a.b.c.d`, what a dual-stack socket shows)
/// are one. Scopes are not compared: a link-local address matches on every interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddrFilter {
    /// Canonical: no host bits, and never a v4-mapped network. `None` is any address.
    net: Option<IpNet>,
    /// `None` is any port. Never `None` together with `net`.
    port: Option<u16>,
}

/// Why a text is no [`AddrFilter`]. Made to follow the quoted text in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddrError {
    /// The part before the port is no address.
    #[error("is no IP address (host names are not looked up)")]
    Address,
    /// The part after `/` is no length, or too long for its family.
    #[error("has a wrong network length (0 to 32 for IPv4, 0 to 128 for IPv6)")]
    Length,
    /// The part after the last `:` is no port.
    #[error("has a wrong port (0 to 65535)")]
    Port,
    /// `[` without `]`, or something in brackets that is not IPv6.
    #[error("has wrong brackets (they go round an IPv6 address)")]
    Brackets,
    /// An address with `%scope`.
    #[error("has a scope: leave it out, the address matches on every interface")]
    Scope,
    /// Neither address nor port.
    #[error("would match everything: leave the option out")]
    Everything,
}

impl AddrFilter {
    /// Whether `endpoint` is one of those meant.
    #[must_use]
    pub fn matches(&self, endpoint: &SocketAddr) -> bool {
        self.port.is_none_or(|port| port == endpoint.port())
            && self.net.is_none_or(|net| net.contains(&endpoint.ip().to_canonical()))
    }
}

impl FromStr for AddrFilter {
    type Err = ParseAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('%') {
            return Err(ParseAddrError::Scope);
        }
        let (net, port) = if let Some(rest) = text.strip_prefix('[') {
            bracketed(rest)?
        } else if text.bytes().filter(|byte| *byte == b':').count() > 1 {
            (Some(network(text)?), None)
        } else {
            let (host, port) = split_port(text)?;
            (if matches!(host, "" | "*") { None } else { Some(network(host)?) }, port)
        };
        if net.is_none() && port.is_none() {
            return Err(ParseAddrError::Everything);
        }
        Ok(Self { net, port })
    }
}

/// What follows a `[`: `ADDR]`, `NET/LEN]` or `NET]/LEN`, each with or without a port.
fn bracketed(rest: &str) -> Result<(Option<IpNet>, Option<u16>), ParseAddrError> {
    let (inside, after) = rest.split_once(']').ok_or(ParseAddrError::Brackets)?;
    if !inside.contains(':') {
        return Err(ParseAddrError::Brackets);
    }
    let (length, port) = split_port(after)?;
    let net = match length {
        "" => network(inside)?,
        _ if length.starts_with('/') && !inside.contains('/') => network(&format!("{inside}{length}"))?,
        _ => return Err(ParseAddrError::Brackets),
    };
    Ok((Some(net), port))
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), ParseAddrError> {
    match text.rsplit_once(':') {
        None => Ok((text, None)),
        Some((host, "*")) => Ok((host, None)),
        Some((host, port)) => Ok((host, Some(digits(port).ok_or(ParseAddrError::Port)?))),
    }
}

/// `ADDR` or `ADDR/LEN`, in the one form that [`AddrFilter::matches`] compares.
fn network(text: &str) -> Result<IpNet, ParseAddrError> {
    let (addr, length) = text.split_once('/').map_or((text, None), |(addr, length)| (addr, Some(length)));
    let addr: IpAddr = addr.parse().map_err(|_| ParseAddrError::Address)?;
    let net = match length {
        None => IpNet::from(addr),
        Some(length) => {
            let length = digits(length).ok_or(ParseAddrError::Length)?;
            IpNet::new(addr, length).map_err(|_| ParseAddrError::Length)?.trunc()
        }
    };
    Ok(unmapped(net))
}

/// A network inside `::ffff:0:0/96` as the IPv4 network it stands for.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let v4: Option<Ipv4Addr> = v6.addr().to_ipv4_mapped();
    v4.zip(v6.prefix_len().checked_sub(96))
        .and_then(|(addr, length)| Ipv4Net::new(addr, length).ok())
        .map_or(net, IpNet::V4)
}

/// A number of digits alone: `parse` by itself would let `+80` pass.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

impl fmt::Display for AddrFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.net, self.port) {
            (None, None) => f.write_str("*"),
            (None, Some(port)) => write!(f, ":{port}"),
            (Some(net), None) => write_net(f, net),
            (Some(net @ IpNet::V4(_)), Some(port)) => {
                write_net(f, net)?;
                write!(f, ":{port}")
            }
            (Some(net @ IpNet::V6(_)), Some(port)) => {
                f.write_str("[")?;
                write_net(f, net)?;
                write!(f, "]:{port}")
            }
        }
    }
}

fn write_net(f: &mut fmt::Formatter<'_>, net: IpNet) -> fmt::Result {
    if net.prefix_len() == net.max_prefix_len() { write!(f, "{}", net.addr()) } else { write!(f, "{net}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(text: &str) -> AddrFilter {
        text.parse().unwrap_or_else(|err| panic!("{text}: {err}"))
    }

    #[test]
    fn matches_what_it_says() {
        let table: &[(&str, &[&str], &[&str])] = &[
            (
                "127.0.0.1",
                &["127.0.0.1:0", "127.0.0.1:80", "[::ffff:127.0.0.1]:80"],
                &["127.0.0.2:80", "[::1]:80"],
            ),
            ("127.0.0.1:80", &["127.0.0.1:80", "[::ffff:127.0.0.1]:80"], &["127.0.0.1:81"]),
            (":443", &["1.2.3.4:443", "[2001:db8::1]:443"], &["1.2.3.4:444"]),
            ("*:443", &["1.2.3.4:443"], &["1.2.3.4:444"]),
            ("10.0.0.0/8", &["10.255.0.1:9", "[::ffff:10.0.0.1]:9"], &["11.0.0.1:9", "[fe80::1]:9"]),
            ("10.1.2.3/8:443", &["10.0.0.1:443"], &["10.0.0.1:80", "11.0.0.1:443"]),
            ("0.0.0.0/0", &["9.9.9.9:1", "[::ffff:9.9.9.9]:1"], &["[::1]:1"]),
            ("fe80::/10", &["[fe80::1]:5", "[febf::1]:5"], &["[fec0::1]:5", "10.0.0.1:5"]),
            ("[fe80::/10]:443", &["[fe80::1]:443"], &["[fe80::1]:80"]),
            ("[fe80::]/10:443", &["[fe80::1]:443"], &["[fe80::1]:80"]),
            ("[::1]", &["[::1]:1"], &["[::2]:1"]),
            ("[::1]:8080", &["[::1]:8080"], &["[::1]:80"]),
            ("::1", &["[::1]:1"], &["127.0.0.1:1"]),
            ("::1:80", &["[::1:80]:7"], &["[::1]:80"]),
            ("::/0", &["[::1]:1"], &["1.2.3.4:1", "[::ffff:1.2.3.4]:1"]),
            ("::ffff:10.0.0.1", &["10.0.0.1:1", "[::ffff:10.0.0.1]:1"], &["10.0.0.2:1"]),
            ("[::ffff:10.0.0.0/104]:80", &["10.9.9.9:80"], &["11.0.0.1:80", "10.9.9.9:81"]),
            ("0.0.0.0:*", &["0.0.0.0:5"], &["1.0.0.0:5"]),
            ("[::1]:*", &["[::1]:5"], &["[::2]:5"]),
        ];
        for (text, yes, no) in table {
            for endpoint in *yes {
                assert!(filter(text).matches(&endpoint.parse().unwrap()), "{text} should match {endpoint}");
            }
            for endpoint in *no {
                assert!(
                    !filter(text).matches(&endpoint.parse().unwrap()),
                    "{text} should not match {endpoint}"
                );
            }
        }
    }

    #[test]
    fn ignores_the_scope_of_an_endpoint() {
        let scoped = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, 7);
        assert!(filter("fe80::1").matches(&SocketAddr::V6(scoped)));
    }

    #[test]
    fn refuses_with_the_reason() {
        use ParseAddrError::{Address, Brackets, Everything, Length, Port, Scope};
        let table = [
            ("", Everything),
            ("*", Everything),
            ("*:*", Everything),
            (":*", Everything),
            (":", Port),
            ("localhost", Address),
            ("localhost:80", Address),
            ("1.2.3", Address),
            ("010.0.0.1", Address),
            ("1.2.3.4:", Port),
            ("1.2.3.4:http", Port),
            ("1.2.3.4:65536", Port),
            ("1.2.3.4:+80", Port),
            ("10.0.0.0/33", Length),
            ("10.0.0.0/", Length),
            ("10.0.0.0/+8", Length),
            ("fe80::/129", Length),
            ("fe80::/10:443", Length),
            ("/8", Address),
            ("[::1", Brackets),
            ("[::1]80", Brackets),
            ("[::1/64]/64", Brackets),
            ("[1.2.3.4]:80", Brackets),
            ("[]:80", Brackets),
            ("[::g]:80", Address),
            ("fe80::1%eth0", Scope),
            ("::1::", Address),
        ];
        for (text, want) in table {
            assert_eq!(text.parse::<AddrFilter>(), Err(want), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,40}") {
            let _ = text.parse::<AddrFilter>();
        }

        #[test]
        fn an_endpoint_matches_itself_and_its_display(bits: u128, four: bool, port: u16) {
            let ip = if four { IpAddr::from(((bits >> 96) as u32).to_be_bytes()) } else { IpAddr::from(bits.to_be_bytes()) };
            let endpoint = SocketAddr::new(ip, port);
            prop_assert!(filter(&endpoint.to_string()).matches(&endpoint));
            prop_assert!(filter(&ip.to_string()).matches(&endpoint));
        }

        #[test]
        fn reads_back_what_it_shows(bits: u128, four: bool, length in 0u8..=128, port: Option<u16>) {
            let ip = if four { IpAddr::from(((bits >> 96) as u32).to_be_bytes()) } else { IpAddr::from(bits.to_be_bytes()) };
            let net = IpNet::new(ip, if four { length / 4 } else { length }).unwrap().trunc();
            let made = AddrFilter { net: Some(unmapped(net)), port };
            prop_assert_eq!(filter(&made.to_string()), made);
        }

        #[test]
        fn agrees_with_bit_arithmetic(net: u32, ip: u32, length in 0u8..=32) {
            let made = filter(&format!("{}/{length}", Ipv4Addr::from(net)));
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            let endpoint = SocketAddr::new(IpAddr::from(Ipv4Addr::from(ip)), 1);
            prop_assert_eq!(made.matches(&endpoint), (ip & mask) == (net & mask));
        }
    }
}

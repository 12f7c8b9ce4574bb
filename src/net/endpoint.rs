//! One end of a socket, written as `ss -n` writes it.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

/// One end of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Address and port. A v4 peer of a v6 socket stays `::ffff:a.b.c.d`, as the kernel has it.
    Inet(SocketAddr),
    /// Name of a Unix-domain socket.
    Unix(UnixName),
    /// An end in another address family, which is not read.
    Other,
}

/// Name of a Unix-domain socket (unix(7)).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UnixName {
    /// None: never bound.
    Unnamed,
    /// A path, relative to whatever directory its maker was in, or absolute.
    Path(Vec<u8>),
    /// A name in the abstract namespace, without the NUL it starts with. Read from `/proc/net/unix` the NULs
    /// within are `@`.
    Abstract(Vec<u8>),
}

impl Endpoint {
    /// Address and port, a v4-mapped v6 address as the v4 address it stands for; `None` for any other socket.
    /// This is what to compare and to match against.
    #[must_use]
    pub fn canonical(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(addr) => Some(SocketAddr::new(addr.ip().to_canonical(), addr.port())),
            Self::Unix(_) | Self::Other => None,
        }
    }

    /// The address alone, as [`Endpoint::canonical`] has it.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.canonical().map(|addr| addr.ip())
    }

    /// The port; 0 if none is bound.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.canonical().map(|addr| addr.port())
    }
}

impl fmt::Display for Endpoint {
    /// `127.0.0.1:80`, `[::1]:80`, `[::ffff:127.0.0.1]:80`, `*:80` for any v6 address, `0.0.0.0:*` without a
    /// port; a path, `@name`, or `*`. Bytes of a Unix name that are no printable text are escaped (`\n`,
    /// `\xff`), a backslash as `\\`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr) => {
                match addr {
                    SocketAddr::V4(v4) => write!(f, "{}", v4.ip())?,
                    SocketAddr::V6(v6) if v6.ip().is_unspecified() => f.write_str("*")?,
                    SocketAddr::V6(v6) if v6.scope_id() != 0 => write!(f, "[{}%{}]", v6.ip(), v6.scope_id())?,
                    SocketAddr::V6(v6) => write!(f, "[{}]", v6.ip())?,
                }
                match addr.port() {
                    0 => f.write_str(":*"),
                    port => write!(f, ":{port}"),
                }
            }
            Self::Unix(UnixName::Unnamed) | Self::Other => f.write_str("*"),
            Self::Unix(UnixName::Path(path)) => write_escaped(f, path),
            Self::Unix(UnixName::Abstract(name)) => {
                f.write_str("@")?;
                write_escaped(f, name)
            }
        }
    }
}

impl serde::Serialize for Endpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                letter if letter.is_control() => write!(f, "{}", letter.escape_default())?,
                letter => f.write_char(letter)?,
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn inet(text: &str) -> Endpoint {
        Endpoint::Inet(text.parse().unwrap())
    }

    #[test]
    fn reads_as_ss_writes() {
        for (given, shown) in [
            ("127.0.0.1:8888", "127.0.0.1:8888"),
            ("0.0.0.0:22", "0.0.0.0:22"),
            ("0.0.0.0:0", "0.0.0.0:*"),
            ("[::1]:80", "[::1]:80"),
            ("[::]:80", "*:80"),
            ("[::]:0", "*:*"),
            ("[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.1]:80"),
            ("[fe80::1%3]:80", "[fe80::1%3]:80"),
        ] {
            assert_eq!(inet(given).to_string(), shown);
        }
        let unix = |name: UnixName| Endpoint::Unix(name).to_string();
        assert_eq!(unix(UnixName::Unnamed), "*");
        assert_eq!(unix(UnixName::Path(b"/run/x y.sock".to_vec())), "/run/x y.sock");
        assert_eq!(unix(UnixName::Abstract(b"a\xc3\xa4\x00b".to_vec())), "@aä\\u{0}b");
        assert_eq!(unix(UnixName::Path(b"/\x1b[2J\n\xff\\".to_vec())), "/\\u{1b}[2J\\n\\xff\\\\");
    }

    #[test]
    fn mapped_addresses_compare_as_v4() {
        assert_eq!(inet("[::ffff:10.0.0.1]:80").canonical(), inet("10.0.0.1:80").canonical());
        assert_ne!(inet("[::ffff:10.0.0.1]:80"), inet("10.0.0.1:80"));
        assert_eq!(inet("[::1]:80").ip(), Some("::1".parse().unwrap()));
        assert_eq!(inet("[::1]:80").port(), Some(80));
        assert_eq!(Endpoint::Unix(UnixName::Unnamed).canonical(), None);
    }

    proptest! {
        #[test]
        fn never_writes_a_control_character(name in prop::collection::vec(any::<u8>(), 0..108)) {
            let shown = Endpoint::Unix(UnixName::Path(name)).to_string();
            prop_assert!(!shown.chars().any(char::is_control));
        }

        #[test]
        fn addresses_read_back(addr in any::<SocketAddr>()) {
            let text = Endpoint::Inet(SocketAddr::new(addr.ip(), addr.port())).to_string();
            if addr.port() != 0 && !(addr.is_ipv6() && addr.ip().is_unspecified()) {
                prop_assert_eq!(text.parse(), Ok(SocketAddr::new(addr.ip(), addr.port())));
            }
        }
    }
}

//! The PROXY protocol, version 2: how a load balancer passes on the address of its client.
//!
//! See the specification, <https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>, section 2.2. Version 1, a line
//! of text, is not supported: every current balancer can send version 2. The parser is our own because it has to read
//! exactly the header from the socket, and needs only two of its address families.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The first twelve bytes of every header.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Maximum length of the addresses and the type-length-value fields after them. Balancers send at most some hundred bytes.
const MAX_LENGTH: u16 = 2_048;
/// The length of two IPv4 addresses and two ports.
const TCP4_LENGTH: usize = 12;
/// The length of two IPv6 addresses and two ports.
const TCP6_LENGTH: usize = 36;

/// Why a connection has no valid header.
#[derive(Debug, Error)]
pub(super) enum HeaderError {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("it does not begin with a header of version 2; set send-proxy-v2 at the balancer")]
    NoHeader,
    #[error("its header is malformed")]
    Malformed,
    #[error("its header is longer than {MAX_LENGTH} bytes")]
    TooLong,
}

/// Reads the header, and no byte after it. Returns the client's address, or `None` if the connection is the balancer's
/// own (a health check) or not of a kind that has addresses.
pub(super) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, HeaderError> {
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).await?;
    let [.., version_and_command, family, high, low] = fixed;
    if !fixed.starts_with(&SIGNATURE) || version_and_command >> 4 != 2 {
        return Err(HeaderError::NoHeader);
    }
    let length = u16::from_be_bytes([high, low]);
    if length > MAX_LENGTH {
        return Err(HeaderError::TooLong);
    }
    let mut rest = vec![0; usize::from(length)];
    stream.read_exact(&mut rest).await?;
    match (version_and_command & 0xf, family) {
        // LOCAL: the addresses, if there are any, must be ignored.
        (0, _) => Ok(None),
        (1, 0x11) => {
            addresses::<4>(&rest, TCP4_LENGTH).map(|(ip, port)| Some((Ipv4Addr::from(ip), port).into()))
        }
        (1, 0x21) => addresses::<16>(&rest, TCP6_LENGTH).map(|(ip, port)| {
            // Canonical, so that an IPv4 client of a dual-stack balancer has one address.
            Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(ip)).to_canonical(), port))
        }),
        // UNSPEC and UNIX: the receiver must use the real address.
        (1, 0x00 | 0x31) => Ok(None),
        _ => Err(HeaderError::Malformed),
    }
}

/// Takes the source address and port from `source, destination, source port, destination port`.
fn addresses<const N: usize>(block: &[u8], length: usize) -> Result<([u8; N], u16), HeaderError> {
    let port = 2 * N;
    match (block.get(..length), block.first_chunk::<N>(), block.get(port..port + 2)) {
        (Some(_), Some(source), Some(&[high, low])) => Ok((*source, u16::from_be_bytes([high, low]))),
        _ => Err(HeaderError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, family], &length, block].concat()
    }

    fn tcp4() -> Vec<u8> {
        [&[192, 0, 2, 7, 10, 0, 0, 1][..], &[0x30, 0x39, 0x1d, 0x13]].concat()
    }

    async fn read(bytes: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
        read_header(&mut &bytes[..]).await
    }

    #[tokio::test]
    async fn the_clients_address_is_read_and_nothing_after_the_header() {
        let expected = Some("192.0.2.7:12345".parse().unwrap());
        let bytes = [header(0x21, 0x11, &tcp4()), b"\x16\x03\x01".to_vec()].concat();
        let mut rest = &bytes[..];
        assert_eq!(read_header(&mut rest).await.unwrap(), expected);
        assert_eq!(rest, b"\x16\x03\x01");
        // Fields after the addresses are skipped.
        let with_fields = [tcp4(), vec![3, 0, 4, 1, 2, 3, 4]].concat();
        assert_eq!(read(&header(0x21, 0x11, &with_fields)).await.unwrap(), expected);

        let (client, balancer) = ("2001:db8::7".parse::<Ipv6Addr>().unwrap(), Ipv6Addr::LOCALHOST);
        let tcp6 = [&client.octets()[..], &balancer.octets(), &[0x30, 0x39, 0x1d, 0x13]].concat();
        let expected = Some("[2001:db8::7]:12345".parse().unwrap());
        assert_eq!(read(&header(0x21, 0x21, &tcp6)).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn the_balancers_own_connections_keep_their_address() {
        for own in [header(0x20, 0x00, &[]), header(0x20, 0x11, &tcp4()), header(0x21, 0x00, &[])] {
            assert_eq!(read(&own).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn everything_else_is_refused() {
        let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 32]].concat();
        let version_1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 7443\r\n".to_vec();
        for none in [hello, version_1, header(0x11, 0x11, &tcp4()), header(0x31, 0x11, &tcp4())] {
            assert!(matches!(read(&none).await, Err(HeaderError::NoHeader)), "{none:?}");
        }
        for bad in
            [header(0x2f, 0x11, &tcp4()), header(0x21, 0x12, &tcp4()), header(0x21, 0x11, &tcp4()[..11])]
        {
            assert!(matches!(read(&bad).await, Err(HeaderError::Malformed)), "{bad:?}");
        }
        let long = header(0x21, 0x11, &vec![0; usize::from(MAX_LENGTH) + 1]);
        assert!(matches!(read(&long).await, Err(HeaderError::TooLong)));
        assert!(matches!(read(&header(0x21, 0x11, &tcp4())[..20]).await, Err(HeaderError::Io(_))));
    }
}

//! A port that a test listens on more than once.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// A port that stays taken while nothing listens on it. Otherwise another test could get it while a market restarts.
pub(crate) struct Port {
    address: SocketAddr,
    _taken: TcpSocket,
}

impl Port {
    /// Takes a port; port 0 means a free one.
    pub(crate) fn take(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // With this option on both sockets, a listener can be bound to the port as well.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { address: socket.local_addr()?, _taken: socket })
    }

    /// Returns the address, with the port that was taken.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens on the port. An earlier listener must be closed first.
    pub(crate) async fn listen(&self) -> io::Result<TcpListener> {
        TcpListener::bind(self.address).await
    }
}

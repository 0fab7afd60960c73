//! A port that a test listens on more than once.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket},
    time::{Instant, sleep},
};

/// How long a port may stay in use, and how often it is tried again.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

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

    /// Listens on the port. An earlier listener must be closed first. A program that another test is starting at that moment
    /// has a copy of it until it runs, so this waits a little for the port to be free.
    pub(crate) async fn listen(&self) -> io::Result<TcpListener> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match TcpListener::bind(self.address).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    sleep(POLL).await;
                }
                bound => return bound,
            }
        }
    }
}

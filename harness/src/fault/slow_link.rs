//! A link that delays what it carries, without help from the kernel.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::FaultError;

/// Chunks in flight per direction; the sender waits beyond.
const IN_FLIGHT_MAX: usize = 1024;

/// A TCP forwarder on the loopback that holds every chunk for a fixed time in each direction, so a round trip takes at least twice that
/// longer. TLS passes through untouched.
#[derive(Debug)]
pub struct SlowLink {
    address: SocketAddr,
    task: JoinHandle<()>,
    delay: Duration,
}

impl SlowLink {
    /// Opens a port on the loopback that leads to `target`.
    ///
    /// # Errors
    /// [`FaultError::Other`] when no port can be opened.
    pub async fn open(target: SocketAddr, delay: Duration) -> Result<Self, FaultError> {
        Self::open_at(Ipv4Addr::LOCALHOST, target, delay).await
    }

    /// As [`SlowLink::open`], on another loopback address: one that no certificate names, for example.
    ///
    /// # Errors
    /// As [`SlowLink::open`].
    pub async fn open_at(local: Ipv4Addr, target: SocketAddr, delay: Duration) -> Result<Self, FaultError> {
        let failed = |error: std::io::Error| FaultError::Other(format!("failed to open a slow link to {target}: {error}"));
        let listener = TcpListener::bind((local, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let task = tokio::spawn(async move {
            while let Ok((inbound, _peer)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Ok(outbound) = TcpStream::connect(target).await {
                        forward(inbound, outbound, delay).await;
                    }
                });
            }
        });
        Ok(Self { address, task, delay })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a byte really takes the stated time: measured on an echo through a link of the same kind, which is not the
    /// injector's own word for it.
    ///
    /// # Errors
    /// [`FaultError::Other`] when the echo comes back too early or not at all.
    pub async fn confirm(&self) -> Result<Duration, FaultError> {
        let other = |text: &str| FaultError::Other(format!("the slow link could not be confirmed: {text}"));
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|e| other(&e.to_string()))?;
        let target = echo.local_addr().map_err(|e| other(&e.to_string()))?;
        tokio::spawn(async move {
            if let Ok((mut stream, _peer)) = echo.accept().await {
                let mut byte = [0_u8; 1];
                while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
            }
        });
        let twin = Self::open(target, self.delay).await?;
        let mut stream = TcpStream::connect(twin.address).await.map_err(|e| other(&e.to_string()))?;
        let started = Instant::now();
        stream.write_all(b"x").await.map_err(|e| other(&e.to_string()))?;
        let mut byte = [0_u8; 1];
        timeout(Duration::from_secs(5), stream.read_exact(&mut byte))
            .await
            .map_err(|_elapsed| other("no echo"))?
            .map_err(|e| other(&e.to_string()))?;
        let took = started.elapsed();
        if took >= self.delay * 2 { Ok(took) } else { Err(other(&format!("an echo took only {} µs", took.as_micros()))) }
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(inbound: TcpStream, outbound: TcpStream, delay: Duration) {
    // Nagle's algorithm would add a delay of its own.
    let _ = (inbound.set_nodelay(true), outbound.set_nodelay(true));
    let (in_read, in_write) = inbound.into_split();
    let (out_read, out_write) = outbound.into_split();
    tokio::join!(one_way(in_read, out_write, delay), one_way(out_read, in_write, delay));
}

async fn one_way(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf, delay: Duration) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(IN_FLIGHT_MAX);
    let reading = async move {
        let mut buffer = vec![0_u8; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let writing = async move {
        while let Some((due, chunk)) = receiver.recv().await {
            sleep_until(due).await;
            if to.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_link_is_slow() {
        let link = SlowLink::open(SocketAddr::from(([127, 0, 0, 1], 9)), Duration::from_millis(20)).await.unwrap();
        assert!(link.confirm().await.unwrap() >= Duration::from_millis(40));
    }
}

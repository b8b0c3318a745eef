//! How long a TCP connection takes.

use std::{net::SocketAddr, time::Duration};

use dora_fixtures::assets;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::topology::Node;

/// Connections of which the middle one counts.
const CONNECTIONS: usize = 5;
/// A connection that takes longer has failed.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// All of them together.
const EXEC_LIMIT: Duration = Duration::from_secs(30);

/// The median of five connections from the harness.
///
/// # Errors
/// A connection failed.
pub async fn connect_time(to: SocketAddr) -> Result<Duration, String> {
    let mut times = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let started = Instant::now();
        match timeout(CONNECT_LIMIT, TcpStream::connect(to)).await {
            Ok(Ok(_stream)) => times.push(started.elapsed()),
            Ok(Err(error)) => return Err(format!("no connection to {to}: {error}")),
            Err(_elapsed) => return Err(format!("no connection to {to} within {} s", CONNECT_LIMIT.as_secs())),
        }
    }
    Ok(median(times))
}

/// The median of five connections from another node's pod.
///
/// # Errors
/// A connection failed, or the engine's refusal.
pub async fn connect_time_from(from: &Node, to: SocketAddr) -> Result<Duration, String> {
    let script = assets::text("config/fault/connect-times.sh").map_err(|error| error.to_string())?;
    let (count, address, port) = (CONNECTIONS.to_string(), to.ip().to_string(), to.port().to_string());
    let output = from
        .exec_in_pod(&["bash", "-s", "--", &count, &address, &port], script.as_bytes(), EXEC_LIMIT)
        .await
        .map_err(|error| error.to_string())?;
    let times: Option<Vec<Duration>> = output.stdout.lines().map(|line| line.trim().parse().ok().map(Duration::from_micros)).collect();
    match times {
        Some(times) if times.len() == CONNECTIONS => Ok(median(times)),
        _ => Err(format!("{} could not connect to {to}: {}", from.name(), output.stdout.trim().replace('\n', ", "))),
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

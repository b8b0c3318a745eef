//! When a seat last reached a port: by new connections, and by one that stays open.
//!
//! An open connection says one byte at a time and looks whether the other kernel acknowledged it, which no program has to do: so the
//! probe works with every server. The bytes are a TLS handshake that never comes to its end.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::LocalSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::probe::{Answer, answer};

/// Between two new connections to one port. A server pays a process or a thread for each.
const NEW_EVERY: Duration = Duration::from_millis(100);
/// A new connection that takes longer is none.
const NEW_LIMIT: Duration = Duration::from_millis(400);
/// Between two looks at an open connection.
const HELD_EVERY: Duration = Duration::from_millis(50);
/// PostgreSQL's `SSLRequest` (its manual, "Message Formats"), answered with `S`.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The record of a `ClientHello` (RFC 8446, 5.1 and 4.1.2) that announces 8192 bytes; the rest are zeros.
const HELLO: [u8; 11] = [22, 3, 1, 0x20, 0, 1, 0, 0x1f, 0xfc, 3, 3];

/// Between two looks whether the watch was told to end.
const END_EVERY: Duration = Duration::from_millis(100);

/// What a watch is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WatchOrder {
    /// The ports.
    pub ports: Vec<Watched>,
    /// The watch ends when this file is there. It is on the volume that all seats share, so one file ends the watches of all.
    pub end: String,
}

/// A reading of the kernel's table serves all open connections for this time.
const TABLE_AGE: Duration = Duration::from_millis(25);

/// A port that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Which port of whom.
    pub address: SocketAddr,
    /// Whether PostgreSQL's request for encryption comes first.
    pub asks_for_tls: bool,
}

/// How a port was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SampleKind {
    /// A new connection was tried.
    New,
    /// Something came back over an open connection: an acknowledgement, data, or its end.
    Held,
}

/// One look at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Which port of whom.
    pub address: SocketAddr,
    /// How.
    pub kind: SampleKind,
    /// When the look began, in microseconds since the epoch: a try whose packets are dropped lasts until its time is up.
    pub began_us: u64,
    /// When it ended, in microseconds since the epoch. Seats and harness have the same clock where the engine is on the same machine.
    pub at_us: u64,
    /// Whether it was reached. An open connection has only samples of being reached.
    pub reached: bool,
}

/// Microseconds since the epoch.
pub(in crate::network) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_micros() as u64).unwrap_or_default()
}

type Samples = Rc<RefCell<Vec<Sample>>>;

/// Watches all ports until told to end, at most for `time`.
pub(super) async fn watch(order: WatchOrder, time: Duration) -> Vec<Sample> {
    let until = Instant::now() + time;
    let (samples, table) = (Samples::default(), Rc::<RefCell<Table>>::default());
    let tasks = LocalSet::new();
    for watched in order.ports {
        let address = watched.address;
        tasks.spawn_local(keep_connecting(address, until, Rc::clone(&samples)));
        tasks.spawn_local(hold(watched, until, Rc::clone(&samples), Rc::clone(&table)));
    }
    let end = Path::new(&order.end);
    let is_over = || Instant::now() >= until || end.exists();
    let over = async {
        while !is_over() {
            sleep(END_EVERY).await;
        }
    };
    tasks.run_until(over).await;
    drop(tasks);
    samples.take()
}

/// Notes a look that ends now.
fn note(samples: &Samples, address: SocketAddr, kind: SampleKind, began_us: u64, reached: bool) {
    samples.borrow_mut().push(Sample { address, kind, began_us, at_us: now_us(), reached });
}

async fn keep_connecting(address: SocketAddr, until: Instant, samples: Samples) {
    while Instant::now() < until {
        let (next, began_us) = (Instant::now() + NEW_EVERY, now_us());
        let reached = answer(address, NEW_LIMIT).await == Answer::Answered;
        note(&samples, address, SampleKind::New, began_us, reached);
        sleep_until(next).await;
    }
}

async fn hold(watched: Watched, until: Instant, samples: Samples, table: Rc<RefCell<Table>>) {
    while Instant::now() < until {
        if let Ok(Some(stream)) = timeout(NEW_LIMIT, open(&watched)).await {
            keep(stream, watched.address, until, &samples, &table).await;
        }
        sleep(HELD_EVERY).await;
    }
}

async fn open(watched: &Watched) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(watched.address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    if watched.asks_for_tls {
        stream.write_all(&SSL_REQUEST).await.ok()?;
        stream.read_exact(&mut [0_u8; 1]).await.ok()?;
    }
    Some(stream)
}

/// Until the other end breaks it off.
async fn keep(mut stream: TcpStream, address: SocketAddr, until: Instant, samples: &Samples, table: &RefCell<Table>) {
    let Ok(local) = stream.local_addr() else { return };
    let mut said = Instant::now();
    let mut hello = HELLO.into_iter().chain(std::iter::repeat(0));
    while Instant::now() < until {
        let began_us = now_us();
        let waiting = table.borrow_mut().unacknowledged(local.port(), address, said);
        if waiting == Some(0) {
            note(samples, address, SampleKind::Held, began_us, true);
            let byte = hello.next().unwrap_or_default();
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            said = Instant::now();
        }
        let mut heard = [0_u8; 64];
        match timeout(HELD_EVERY, stream.read(&mut heard)).await {
            Err(_elapsed) => {}
            Ok(read) => {
                note(samples, address, SampleKind::Held, began_us, true);
                if !matches!(read, Ok(count) if count > 0) {
                    return;
                }
            }
        }
    }
}

/// The namespace's own connections: bytes that the other end has not acknowledged, by own port and the other end.
#[derive(Debug, Default)]
struct Table {
    read: Option<Instant>,
    unacknowledged: HashMap<(u16, SocketAddr), u64>,
}

impl Table {
    /// Bytes of a connection that are not acknowledged. What was `said` since the table was read is not in it, so it is read anew.
    fn unacknowledged(&mut self, own_port: u16, other: SocketAddr, said: Instant) -> Option<u64> {
        if self.read.is_none_or(|read| read <= said || read.elapsed() > TABLE_AGE) {
            self.read = Some(Instant::now());
            self.unacknowledged = parse(&std::fs::read_to_string("/proc/net/tcp").unwrap_or_default());
        }
        self.unacknowledged.get(&(own_port, other)).copied()
    }
}

/// The upper half of the fifth column of `/proc/net/tcp` (proc(5)), by the second's port and the third.
fn parse(table: &str) -> HashMap<(u16, SocketAddr), u64> {
    let end = |field: &str| {
        let (address, port) = field.split_once(':')?;
        // The kernel prints the address as a number of this machine; its bytes are in the network's order.
        let address = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes());
        Some(SocketAddr::from((address, u16::from_str_radix(port, 16).ok()?)))
    };
    let connection = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (own, other) = (end(fields.next()?)?, end(fields.next()?)?);
        let queues = fields.nth(1)?;
        Some(((own.port(), other), u64::from_str_radix(queues.split(':').next()?, 16).ok()?))
    };
    table.lines().filter_map(connection).collect()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn the_kernels_word_on_what_is_acknowledged_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when
   0: 0A0112C6:D2F0 0B0112C6:18EB 01 00000003:00000000 01:00000014
   1: 0A0112C6:D2F1 0B0112C6:18EB 01 00000000:00000010 00:00000000";
        let other = SocketAddr::from(([198, 18, 1, 11], 0x18EB));
        assert_eq!(parse(table), HashMap::from([((0xD2F0, other), 3), ((0xD2F1, other), 0)]));
    }

    fn order(address: SocketAddr, end: &str) -> WatchOrder {
        WatchOrder { ports: vec![Watched { address, asks_for_tls: false }], end: end.to_owned() }
    }

    #[tokio::test]
    async fn a_watch_ends_when_it_is_told_to() {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let began = Instant::now();
        watch(order(server.local_addr().unwrap(), "/"), Duration::from_secs(30)).await;
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_reached_by_its_kernel() {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = server.local_addr().unwrap();
        let samples = watch(order(address, "/nowhere"), Duration::from_secs(2)).await;
        let of = |kind: SampleKind| samples.iter().filter(|sample| sample.kind == kind && sample.reached).count();
        assert!(of(SampleKind::New) >= 2, "{samples:?}");
        assert!(of(SampleKind::Held) >= 3, "{samples:?}");
    }

    #[tokio::test]
    async fn nobody_is_not_reached() {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = server.local_addr().unwrap();
        drop(server);
        let samples = watch(order(address, "/nowhere"), Duration::from_secs(1)).await;
        assert!(!samples.is_empty() && samples.iter().all(|sample| !sample.reached && sample.kind == SampleKind::New), "{samples:?}");
        let in_turn = |pair: &[Sample]| pair[0].began_us <= pair[0].at_us && pair[0].at_us <= pair[1].began_us;
        assert!(samples.windows(2).all(in_turn), "{samples:?}");
    }
}

//! The program that delays packets where the kernel cannot: it takes them from a netfilter queue and gives them back when they are due.
//!
//! It is this very binary in a hidden mode, copied into a pod's holder: the queue belongs to the pod's network namespace.

use std::{
    collections::BinaryHeap,
    io::ErrorKind,
    time::{Duration, Instant},
};

use nfq::{Message, Queue, Verdict};
use rand::RngExt as _;

/// The first argument that turns a binary of this project into the program.
pub const DELAY_ARGUMENT: &str = "__delay";
/// Packets that wait at most; the kernel passes further ones at once.
const WAITING_MAX: u32 = 100_000;
/// How often is looked: what a packet may be late.
const TICK: Duration = Duration::from_micros(500);
/// A forgotten program ends by itself; without it the kernel passes everything at once.
const LIFE_MAX: Duration = Duration::from_hours(4);

/// Becomes the program when this process was started as it, and then never returns. Every binary that injects
/// [`super::Latency`] calls it first thing in `main`.
pub fn become_delay_if_asked() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, queue, delay_us, jitter_us] = arguments.as_slice() else { return };
    if mode != DELAY_ARGUMENT {
        return;
    }
    let numbers = (queue.parse(), delay_us.parse(), jitter_us.parse());
    let (Ok(queue), Ok(delay_us), Ok(jitter_us)) = numbers else { std::process::exit(2) };
    match delay(queue, Duration::from_micros(delay_us), Duration::from_micros(jitter_us)) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("failed to hold queue {queue}: {error}");
            std::process::exit(1);
        }
    }
}

/// A packet and when it goes on; the earliest is the greatest.
struct Waiting {
    due: Instant,
    packet: Message,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.due.cmp(&self.due)
    }
}

fn delay(number: u16, delay: Duration, jitter: Duration) -> std::io::Result<()> {
    let mut queue = Queue::open()?;
    queue.bind(number)?;
    queue.set_queue_max_len(number, WAITING_MAX)?;
    // Only the verdict is wanted, not the content.
    queue.set_copy_range(number, 0)?;
    queue.set_recv_enobufs(false)?;
    queue.set_nonblocking(true);
    println!("ready");
    let started = Instant::now();
    let mut random = rand::rng();
    let mut waiting = BinaryHeap::new();
    while started.elapsed() < LIFE_MAX {
        loop {
            match queue.recv() {
                Ok(packet) => {
                    let swing = jitter.mul_f64(random.random_range(0.0..=2.0));
                    waiting.push(Waiting { due: Instant::now() + (delay + swing).saturating_sub(jitter), packet });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        while waiting.peek().is_some_and(|first| first.due <= Instant::now()) {
            if let Some(Waiting { mut packet, .. }) = waiting.pop() {
                packet.set_verdict(Verdict::Accept);
                queue.verdict(packet)?;
            }
        }
        std::thread::sleep(TICK);
    }
    Ok(())
}

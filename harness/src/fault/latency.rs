//! Packets take longer.

use std::{sync::OnceLock, time::Duration};

use async_trait::async_trait;
use dora_fixtures::assets;

use super::{
    Fault, FaultError, Firewall,
    delay_queue::DELAY_ARGUMENT,
    firewall::{Rule, Verdict},
    probe::{connect_time, connect_time_from},
    traffic,
};
use crate::{topology::Node, watchdog::THIS_PROGRAM};

/// The queue's number; a namespace has its own numbers.
const QUEUE: u16 = 4242;
/// Copying the program into the pod takes a second or two.
const START_LIMIT: Duration = Duration::from_secs(20);
/// An undelayed connection on a bridge takes less than this, also on a busy machine.
const PROMPT_MAX: Duration = Duration::from_millis(20);

/// How packets are delayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// The kernel's netem.
    Netem,
    /// A program in the pod that holds them back.
    Queue,
}

/// What leaves a node takes longer, so every round trip does. Packets may overtake each other within the jitter, as on a real path.
#[derive(Debug)]
pub struct Latency {
    node: Node,
    role: String,
    port: u16,
    delay: Duration,
    jitter: Duration,
    /// Only what goes to these; empty: all.
    to: Vec<Node>,
    firewall: Firewall,
    means: OnceLock<Means>,
}

impl Latency {
    /// `port` is the node's client port, to which connections are timed.
    pub fn new(node: Node, role: impl Into<String>, port: u16, delay: Duration) -> Self {
        let outgoing = vec![Rule::loopback(Verdict::Pass), Rule::all(Verdict::Queue(QUEUE))];
        let firewall = Firewall::with(Vec::new(), outgoing);
        Self { node, role: role.into(), port, delay, jitter: Duration::ZERO, to: Vec::new(), firewall, means: OnceLock::new() }
    }

    /// Under the name of an earlier fault, to heal what another process injected.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        Self { firewall: self.firewall.named(id), ..self }
    }

    /// Every packet's delay differs by up to this, evenly.
    #[must_use]
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter: jitter.min(self.delay), ..self }
    }

    /// Only what goes to these nodes; clients in the harness notice nothing.
    #[must_use]
    pub fn towards(self, nodes: &[Node]) -> Self {
        let outgoing = nodes.iter().map(|node| Rule::peer(node.address(), Verdict::Queue(QUEUE))).collect();
        Self { to: nodes.to_vec(), firewall: self.firewall.holding(Vec::new(), outgoing), ..self }
    }

    /// Where the program stands in the pod; each fault has its own.
    fn program(&self) -> String {
        format!("/tmp/{}", self.firewall.name())
    }

    async fn queue(&self) -> Result<(), FaultError> {
        let program = self.program();
        let failed = |error: std::io::Error| FaultError::Other(format!("failed to read this program's own file: {error}"));
        let content = tokio::fs::read(THIS_PROGRAM).await.map_err(failed)?;
        let name = program.trim_start_matches("/tmp/");
        self.node.put_files_in_pod("/tmp", &[(name, &content, 0o755)]).await?;
        let script = assets::text("config/fault/start-delay.sh")?;
        let (queue, delay_us, jitter_us) = (QUEUE.to_string(), self.delay.as_micros().to_string(), self.jitter.as_micros().to_string());
        let command = ["sh", "-s", "--", &program, DELAY_ARGUMENT, &queue, &delay_us, &jitter_us];
        let output = self.node.exec_in_pod(&command, script.as_bytes(), START_LIMIT).await?;
        if output.code != 0 {
            let why = format!("the kernel has no netem, and its queue for programs (NFQUEUE) cannot be held: {}", output.stderr.trim());
            return Err(FaultError::Unsupported { what: "delaying packets".into(), why });
        }
        self.firewall.put(&self.node).await
    }

    /// How long connections take that are to be slow.
    async fn slow(&self) -> Result<Duration, String> {
        match self.to.first() {
            Some(peer) => connect_time_from(peer, self.node.socket(self.port)).await,
            None => connect_time(self.node.socket(self.port)).await,
        }
    }
}

#[async_trait]
impl Fault for Latency {
    fn kind(&self) -> &'static str {
        "latency"
    }

    fn target(&self) -> String {
        let (delay, jitter) = (self.delay.as_millis(), self.jitter.as_millis());
        let jitter = if jitter == 0 { String::new() } else { format!(" ± {jitter}") };
        let to: Vec<&str> = self.to.iter().map(Node::name).collect();
        let to = if to.is_empty() { "all".to_owned() } else { to.join("+") };
        format!("{delay}{jitter} ms from {} ({}) to {to}", self.node.name(), self.role)
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        if self.delay <= PROMPT_MAX {
            let why = format!("a delay of {} ms cannot be told from a busy machine; give more than 20 ms", self.delay.as_millis());
            return Err(FaultError::Other(why));
        }
        super::life::whole(self, super::life::WHOLE_LIMIT).await
    }

    async fn inject(&self) -> Result<(), FaultError> {
        if self.to.is_empty() {
            match traffic::apply(&self.node, "netem", &traffic::delay(self.delay.as_millis(), self.jitter.as_millis())).await {
                Ok(()) => {
                    self.means.get_or_init(|| Means::Netem);
                    return Ok(());
                }
                Err(FaultError::Unsupported { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.means.get_or_init(|| Means::Queue);
        self.queue().await
    }

    fn confirmed_by(&self) -> String {
        let others = if self.to.is_empty() { "" } else { ", and from the harness as little as ever" };
        format!("the median of five TCP connections to port {} takes as long as the delay{others}", self.port)
    }

    async fn is_broken(&self) -> Result<(), String> {
        let took = self.slow().await?;
        // The least that the jitter leaves, and the clock's own half a millisecond.
        let least = self.delay.saturating_sub(self.jitter).saturating_sub(Duration::from_millis(1));
        let most = (self.delay + self.jitter) * 2 + PROMPT_MAX;
        if took < least || took > most {
            return Err(format!("a connection takes {:.1} ms", took.as_secs_f64() * 1e3));
        }
        if !self.to.is_empty() {
            let others = connect_time(self.node.socket(self.port)).await?;
            if others >= least {
                return Err(format!("a connection from the harness takes {:.1} ms, too", others.as_secs_f64() * 1e3));
            }
        }
        Ok(())
    }

    async fn heal(&self) -> Result<(), FaultError> {
        self.firewall.remove(&self.node).await?;
        let script = assets::text("config/fault/stop-delay.sh")?;
        self.node.exec_in_pod(&["sh", "-s", "--", &self.program()], script.as_bytes(), START_LIMIT).await?;
        // Another process may have injected it: then it is not known by which means.
        if self.to.is_empty() && self.means.get() != Some(&Means::Queue) {
            traffic::clear(&self.node).await?;
        }
        Ok(())
    }

    fn healed_by(&self) -> String {
        format!("the median of five TCP connections to port {} takes less than {} ms", self.port, PROMPT_MAX.as_millis())
    }

    async fn is_mended(&self) -> Result<(), String> {
        let took = self.slow().await?;
        if took < PROMPT_MAX { Ok(()) } else { Err(format!("a connection takes {:.1} ms", took.as_secs_f64() * 1e3)) }
    }
}

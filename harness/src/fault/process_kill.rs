//! One process inside a node gets a signal, the others run on.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{Fault, FaultError, Signal};
use crate::{engine::Process, topology::Node};

/// Sending a signal takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(10);

/// A signal to the processes of a node whose command line contains a text, such as Patroni's while PostgreSQL runs on, or the
/// postmaster's while Patroni lives. The signal is sent from inside the node; the probe is the list of processes that the
/// engine's host keeps.
#[derive(Debug)]
pub struct ProcessKill {
    node: Node,
    role: String,
    pattern: String,
    signal: Signal,
    /// Those that got the signal, by their number on the host.
    victims: Mutex<BTreeSet<u64>>,
}

impl ProcessKill {
    /// `pattern` is a part of the command line, such as `patroni /dora`; it must not match processes that are to survive.
    pub fn new(node: Node, role: impl Into<String>, pattern: impl Into<String>, signal: Signal) -> Self {
        Self { node, role: role.into(), pattern: pattern.into(), signal, victims: Mutex::default() }
    }

    async fn matching(&self) -> Result<Vec<Process>, String> {
        let all = self.node.processes().await.map_err(|error| error.to_string())?;
        Ok(all.into_iter().filter(|process| process.command.contains(&self.pattern) && !process.state.starts_with('Z')).collect())
    }

    async fn send(&self, signal: Signal) -> Result<(), FaultError> {
        let flag = format!("-{}", signal.name());
        // As the database's user: in the container root lacks the right to signal others.
        let output = self.node.exec(&["pkill", &flag, "-f", "--", &escaped(&self.pattern)], &[], EXEC_LIMIT).await?;
        match output.code {
            0 => Ok(()),
            1 => Err(FaultError::Other(format!("no process of {} matches `{}`", self.node.name(), self.pattern))),
            _ => Err(FaultError::Other(format!("failed to send {signal} on {}: {}", self.node.name(), output.stderr.trim()))),
        }
    }
}

/// The text as a regular expression that matches it, and not the command line that carries the expression itself.
fn escaped(pattern: &str) -> String {
    let mut expression = String::new();
    for character in pattern.chars() {
        if "\\^$.|?*+()[]{}".contains(character) {
            expression.push('\\');
        }
        if expression.is_empty() && character.is_alphanumeric() {
            expression.extend(['[', character, ']']);
        } else {
            expression.push(character);
        }
    }
    expression
}

#[async_trait]
impl Fault for ProcessKill {
    fn kind(&self) -> &'static str {
        "process-kill"
    }

    fn target(&self) -> String {
        format!("`{}` on {} ({})", self.pattern, self.node.name(), self.role)
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        if self.signal == Signal::Cont {
            return Err(FaultError::Other("SIGCONT breaks nothing; it is how SIGSTOP is healed".into()));
        }
        super::life::whole(self, super::life::WHOLE_LIMIT).await?;
        let found = self.matching().await.map_err(FaultError::Other)?;
        *self.victims.lock().await = found.into_iter().map(|process| process.pid).collect();
        Ok(())
    }

    async fn inject(&self) -> Result<(), FaultError> {
        self.send(self.signal).await
    }

    fn confirmed_by(&self) -> String {
        let seen = if self.signal == Signal::Stop { "as stopped" } else { "none" };
        format!("the engine's list of processes has {seen} of those that matched `{}`", self.pattern)
    }

    async fn is_broken(&self) -> Result<(), String> {
        let victims = self.victims.lock().await.clone();
        if victims.is_empty() {
            return Err("no process was aimed at".into());
        }
        let left: Vec<Process> = self.matching().await?.into_iter().filter(|process| victims.contains(&process.pid)).collect();
        if self.signal == Signal::Stop {
            let running: Vec<&Process> = left.iter().filter(|process| !process.state.starts_with('T')).collect();
            return match running.as_slice() {
                [] if left.is_empty() => Err("the processes are gone, not stopped".into()),
                [] => Ok(()),
                [first, ..] => Err(format!("process {} is in state {}", first.pid, first.state)),
            };
        }
        match left.first() {
            None => Ok(()),
            Some(process) => Err(format!("process {} lives on in state {}", process.pid, process.state)),
        }
    }

    async fn heal(&self) -> Result<(), FaultError> {
        if !self.node.state().await?.running {
            return Ok(self.node.start().await?);
        }
        let found = self.matching().await.map_err(FaultError::Other)?;
        if found.iter().any(|process| process.state.starts_with('T')) {
            return self.send(Signal::Cont).await;
        }
        if found.is_empty() {
            // Nobody in the node starts it again: the node as a whole is.
            self.node.stop(Duration::from_secs(10)).await?;
            self.node.start().await?;
        }
        Ok(())
    }

    fn healed_by(&self) -> String {
        format!("the engine's list of processes has a running one that matches `{}`", self.pattern)
    }

    async fn is_mended(&self) -> Result<(), String> {
        let found = self.matching().await?;
        if found.is_empty() {
            return Err(format!("no process matches `{}`", self.pattern));
        }
        match found.iter().find(|process| process.state.starts_with('T')) {
            Some(stopped) => Err(format!("process {} is stopped", stopped.pid)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_does_not_match_itself() {
        assert_eq!(escaped("postgres -D /dora (x)"), "[p]ostgres -D /dora \\(x\\)");
        assert_eq!(escaped("-config"), "-config");
    }
}

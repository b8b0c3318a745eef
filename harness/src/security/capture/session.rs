//! A capture inside a pod's network namespace, from its start to the packets. It runs in the pod's holder, which may read packets and
//! outlives the database.

use std::time::Duration;

use dora_fixtures::assets::{self, AssetError};

use super::{Packet, read_packets};
use crate::{engine::EngineError, topology::Node};

/// Starting and ending it.
const EXEC_LIMIT: Duration = Duration::from_secs(30);
/// A forgotten capture ends by itself.
const SECONDS_MAX: &str = "120";
const PROGRAM: &str = "dora-capture.pl";
const FILE: &str = "/tmp/dora-capture.pcap";

/// A capture failed.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The program is not there.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// The program did not do what it should.
    #[error("failed to capture packets of {node}: {reason}")]
    Program {
        /// Where.
        node: String,
        /// Its words.
        reason: String,
    },
}

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    node: Node,
}

/// What a capture took.
#[derive(Debug)]
pub struct Captured {
    /// Where.
    pub node: Node,
    /// All packets, in order.
    pub packets: Vec<Packet>,
    /// How many the kernel could not keep; where it is not zero, what is absent from the packets may have travelled all the same.
    pub dropped: u64,
}

impl Capture {
    /// Starts it and returns when it takes packets.
    ///
    /// # Errors
    /// [`CaptureError`].
    pub async fn start(node: &Node) -> Result<Self, CaptureError> {
        let program = assets::bytes("config/capture/capture.pl")?;
        node.put_files_in_pod("/tmp", &[(PROGRAM, program, 0o755)]).await?;
        let script = assets::text("config/capture/start.sh")?;
        let path = format!("/tmp/{PROGRAM}");
        let output = node.exec_in_pod(&["sh", "-c", script, "start", &path, FILE, SECONDS_MAX], &[], EXEC_LIMIT).await?;
        let capture = Self { node: node.clone() };
        if output.code == 0 { Ok(capture) } else { Err(capture.failed(output.stderr)) }
    }

    fn failed(&self, reason: impl std::fmt::Display) -> CaptureError {
        CaptureError::Program { node: self.node.name().to_owned(), reason: reason.to_string().trim().to_owned() }
    }

    /// Ends it and reads the packets; nothing of them stays in the pod.
    ///
    /// # Errors
    /// [`CaptureError`].
    pub async fn finish(self) -> Result<Captured, CaptureError> {
        let output = self.node.exec_in_pod(&["sh", "-c", assets::text("config/capture/stop.sh")?, "stop", FILE], &[], EXEC_LIMIT).await?;
        let (taken, dropped) = counts(&output.stdout).ok_or_else(|| self.failed(format!("{}{}", output.stdout, output.stderr)))?;
        let files = self.node.get_files_in_pod(FILE).await?;
        self.node.exec_in_pod(&["rm", "-f", FILE], &[], EXEC_LIMIT).await?;
        let (_, content) = files.first().ok_or_else(|| self.failed("the file is not there"))?;
        let packets = read_packets(content).map_err(|reason| self.failed(reason))?;
        if packets.len() as u64 != taken {
            return Err(self.failed(format!("it says that it took {taken} packets, and {} are in the file", packets.len())));
        }
        Ok(Captured { node: self.node, packets, dropped })
    }
}

/// `packets N dropped M`.
fn counts(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_whitespace();
    match (words.next()?, words.next()?, words.next()?, words.next()?) {
        ("packets", taken, "dropped", dropped) => Some((taken.parse().ok()?, dropped.parse().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_last_words_are_read() {
        assert_eq!(counts("packets 12 dropped 3\n"), Some((12, 3)));
        assert_eq!(counts("ready\n"), None);
    }
}

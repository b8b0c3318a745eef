//! A capture inside a pod's network namespace, from its start to the packets. It runs in the pod's holder, which may read packets and
//! outlives the database.

use std::time::Duration;

use dora_fixtures::assets::{self, AssetError};

use super::{Packet, read_packets};
use crate::{engine::EngineError, patience::stretched, topology::Node};

/// Starting and ending it.
const EXEC_LIMIT: Duration = Duration::from_secs(30);
/// A forgotten capture ends by itself after this time, stretched.
const CAPTURE_LIMIT: Duration = Duration::from_secs(120);
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
    /// It had ended before it was asked to: what was sent afterwards is not in it, and what is absent from it proves nothing.
    #[error("the capture of packets of {node} had ended by itself, at the latest {} s after its start", limit.as_secs())]
    EndedByItself {
        /// Where.
        node: String,
        /// How long it may take.
        limit: Duration,
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
        let seconds = stretched(CAPTURE_LIMIT).as_secs_f64().ceil().to_string();
        let output = node.exec_in_pod(&["sh", "-c", script, "start", &path, FILE, &seconds], &[], EXEC_LIMIT).await?;
        let capture = Self { node: node.clone() };
        if output.code == 0 { Ok(capture) } else { Err(capture.failed(output.stderr)) }
    }

    fn failed(&self, reason: impl std::fmt::Display) -> CaptureError {
        CaptureError::Program { node: self.node.name().to_owned(), reason: reason.to_string().trim().to_owned() }
    }

    /// Ends it and reads the packets; nothing of them stays in the pod.
    ///
    /// # Errors
    /// [`CaptureError`]; [`CaptureError::EndedByItself`] when it did not run until now.
    pub async fn finish(self) -> Result<Captured, CaptureError> {
        let output = self.node.exec_in_pod(&["sh", "-c", assets::text("config/capture/stop.sh")?, "stop", FILE], &[], EXEC_LIMIT).await?;
        let Counts { taken, dropped, was_asked } =
            counts(&output.stdout).ok_or_else(|| self.failed(format!("{}{}", output.stdout, output.stderr)))?;
        let files = self.node.get_files_in_pod(FILE).await?;
        self.node.exec_in_pod(&["rm", "-f", FILE], &[], EXEC_LIMIT).await?;
        if !was_asked {
            return Err(CaptureError::EndedByItself { node: self.node.name().to_owned(), limit: stretched(CAPTURE_LIMIT) });
        }
        let (_, content) = files.first().ok_or_else(|| self.failed("the file is not there"))?;
        let packets = read_packets(content).map_err(|reason| self.failed(reason))?;
        if packets.len() as u64 != taken {
            return Err(self.failed(format!("it says that it took {taken} packets, and {} are in the file", packets.len())));
        }
        Ok(Captured { node: self.node, packets, dropped })
    }
}

/// The program's last words.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    taken: u64,
    dropped: u64,
    /// Whether it ran until it was asked to end.
    was_asked: bool,
}

/// `packets N dropped M ended asked`, or `ended time`.
fn counts(text: &str) -> Option<Counts> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["packets", taken, "dropped", dropped, "ended", why] = words.as_slice() else { return None };
    let was_asked = match *why {
        "asked" => true,
        "time" => false,
        _ => return None,
    };
    Some(Counts { taken: taken.parse().ok()?, dropped: dropped.parse().ok()?, was_asked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_last_words_are_read() {
        assert_eq!(counts("packets 12 dropped 3 ended asked\n"), Some(Counts { taken: 12, dropped: 3, was_asked: true }));
        assert_eq!(counts("packets 12 dropped 3 ended time\n"), Some(Counts { taken: 12, dropped: 3, was_asked: false }));
        assert_eq!(counts("packets 12 dropped 3\n"), None, "a capture that does not say how it ended is no evidence");
        assert_eq!(counts("ready\n"), None);
    }
}

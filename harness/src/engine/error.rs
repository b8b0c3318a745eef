//! What can go wrong between the harness and the container engine.

use std::time::Duration;

use crate::patience::DeadlineError;

/// An error of the container engine, in words that say what to do next.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nothing answers at the engine's address.
    #[error(
        "no container engine answers ({reason}); start one (`sh bootstrap.sh images`, or `dockerd` as root), or point DOCKER_HOST at one"
    )]
    Unreachable {
        /// The client's own words.
        reason: String,
    },
    /// The engine refused or failed a request.
    #[error("the engine failed to {what}: {source}")]
    Request {
        /// What was asked of it, as a verb phrase.
        what: String,
        /// The client's error.
        source: Box<bollard::errors::Error>,
    },
    /// The engine went away while the run was using it.
    #[error(
        "the engine went away while it was asked to {what}; what it still holds of this run is removed by `dora sweep` once it is back"
    )]
    Gone {
        /// What was asked of it, as a verb phrase.
        what: String,
    },
    /// A container did not start.
    #[error("node {node} failed to start: {reason}{}", tail(log_tail))]
    Start {
        /// The node's name.
        node: String,
        /// Why.
        reason: String,
        /// Its last log lines.
        log_tail: Vec<String>,
    },
    /// A container of that name is there.
    #[error(
        "node {node} failed to start: its container {container} is there already; start again (a new run has names of its own) and remove what is left of this one with `dora sweep`"
    )]
    Taken {
        /// The node's name.
        node: String,
        /// The container's name.
        container: String,
    },
    /// An image is not there, and it could not be built or is somebody else's.
    #[error("failed to build image {image}: {reason}{}\n  mend the cause named above, then `dora images --build`", tail(log_tail))]
    Build {
        /// The image's name in the catalogue.
        image: String,
        /// Why.
        reason: String,
        /// The builder's last lines.
        log_tail: Vec<String>,
    },
    /// The base image of all images is missing.
    #[error("the base image {base} is not on this engine and cannot be pulled; make it with `sh bootstrap.sh images`")]
    BaseMissing {
        /// The base image's reference.
        base: String,
    },
    /// No such image in the catalogue.
    #[error("there is no image called `{name}`; known are: {known}")]
    UnknownImage {
        /// The name that was given.
        name: String,
        /// All names.
        known: String,
    },
    /// The engine began an answer and stood still.
    #[error("the engine sent no {what} within {:.0} s; look at its load and its log, or set DORA_PATIENCE=2", after.as_secs_f64())]
    Silent {
        /// What did not come.
        what: String,
        /// How long it was waited for.
        after: std::time::Duration,
    },
    /// A command inside a container did not end well.
    #[error("`{command}` on node {node} ended with {code}: {output}")]
    Exec {
        /// The node's name.
        node: String,
        /// The command.
        command: String,
        /// Its exit code.
        code: i64,
        /// Its output, both streams.
        output: String,
    },
    /// A command inside a container did not end in time.
    #[error("`{command}` on node {node} did not end within {:.0} s", limit.as_secs_f64())]
    ExecDeadline {
        /// The node's name.
        node: String,
        /// The command.
        command: String,
        /// The deadline.
        limit: Duration,
    },
    /// All subnets are taken.
    #[error("no free subnet in 198.18.0.0/15 after {tried} tries; remove what dead runs left with `dora sweep`")]
    NoSubnet {
        /// How many were tried.
        tried: usize,
    },
    /// A network stays although no container is in it any more.
    #[error(
        "the engine failed to remove network {network} ({reason}): the engine counts an endpoint of a container that is gone; a restart of the engine forgets it, then `dora sweep`"
    )]
    EndpointOfGone {
        /// The network's id.
        network: String,
        /// The engine's own words.
        reason: String,
    },
    /// A run has started more nodes than its subnet has addresses.
    #[error("no free address in network {network}: each is given once in a run; run fewer scenarios or proofs at once (filters, `--part`)")]
    NoAddress {
        /// The network.
        network: String,
    },
    /// An archive could not be written or read.
    #[error("failed to pack or unpack files for node {node}: {source}")]
    Archive {
        /// The node's name.
        node: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The disk is full.
    #[error("the engine's disk is full (while asked to {what}); free some space, for example with `dora sweep` and `docker image prune`")]
    DiskFull {
        /// What was asked of it.
        what: String,
    },
    /// Something was waited for in vain.
    #[error(transparent)]
    Deadline(#[from] DeadlineError),
}

impl EngineError {
    /// Sorts a client's error into what a person has to do about it.
    pub(crate) fn request(what: impl Into<String>, source: bollard::errors::Error) -> Self {
        let what = what.into();
        let text = source.to_string();
        if text.contains("no space left on device") {
            return Self::DiskFull { what };
        }
        // Whose words may be about any connection: a build that cannot reach a mirror, for one.
        let answered = matches!(
            source,
            bollard::errors::Error::DockerResponseServerError { .. }
                | bollard::errors::Error::DockerStreamError { .. }
                | bollard::errors::Error::DockerContainerWaitError { .. }
        );
        if !answered && (text.contains("onnect") || text.contains("ipe") || text.contains("hyper") || text.contains("socket")) {
            return Self::Gone { what };
        }
        Self::Request { what, source: Box::new(source) }
    }

    /// As [`EngineError::request`], but what is neither a full disk nor an engine that went away becomes what `otherwise` makes of the
    /// client's words.
    pub(crate) fn sorted(what: impl Into<String>, source: bollard::errors::Error, otherwise: impl FnOnce(String) -> Self) -> Self {
        match Self::request(what, source) {
            Self::Request { source, .. } => otherwise(source.to_string()),
            sorted => sorted,
        }
    }

    /// Whether the engine answered that the name is taken.
    pub(crate) fn is_conflict(error: &bollard::errors::Error) -> bool {
        matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 409, .. })
    }

    /// Whether the engine answered that a network cannot be removed, because something is in it.
    pub(crate) fn is_active_endpoint(error: &bollard::errors::Error) -> bool {
        matches!(error, bollard::errors::Error::DockerResponseServerError { message, .. } if message.contains("has active endpoints"))
    }

    /// Whether the engine answered that what it was asked about is not there (any more).
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Request { source, .. } if Self::is_not_found(source))
    }

    /// Whether the engine answered that the object is not there.
    pub(crate) fn is_not_found(error: &bollard::errors::Error) -> bool {
        matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })
    }
}

fn tail(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("\n  last log lines:\n    {}", lines.join("\n    ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_with_active_endpoints_is_told_from_other_refusals() {
        let refusal = |message: &str| bollard::errors::Error::DockerResponseServerError { status_code: 403, message: message.to_owned() };
        // The words of Docker 20.10, and of later ones.
        for words in ["network dora-a id 0b1f has active endpoints", "network dora-a has active endpoints (name:\"b\" id:\"c0de\")"] {
            assert!(EngineError::is_active_endpoint(&refusal(&format!("error while removing network: {words}"))), "{words}");
        }
        assert!(!EngineError::is_active_endpoint(&refusal("bridge is a pre-defined network and cannot be removed")));
    }
}

//! Who listens where and who talks to whom, as data: one file for each database beside what configures it.

use dora_fixtures::assets;
use serde::Deserialize;

use super::{GroundError, Member, Node};
use crate::security::{Plaintext, StartTls};

/// From where a listener can be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// From other nodes.
    #[default]
    Network,
    /// From inside the node only.
    Loopback,
    /// Through a file of the node.
    Socket,
}

/// Whether a listener asks for a client certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// It does not.
    #[default]
    None,
    /// One that is shown has to be good.
    Optional,
    /// Nobody gets in without one.
    Demanded,
    /// Nobody gets in without one that the members of the cluster made for each other: none of the run's authority is good.
    Members,
}

/// A kind of node: all nodes of that image and role.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kind {
    #[serde(rename = "kind")]
    name: String,
    image: String,
    role: Option<String>,
}

/// What listens on every node of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listening {
    /// The kind of node.
    pub kind: String,
    /// The port; 0 for a socket.
    #[serde(default)]
    pub port: u16,
    /// The socket's file.
    #[serde(default)]
    pub path: String,
    /// Who uses it.
    pub purpose: String,
    /// From where.
    #[serde(default)]
    pub on: Reach,
    /// What comes before the handshake.
    #[serde(default)]
    pub start: StartTls,
    /// What a peer without TLS would say.
    #[serde(default)]
    pub protocol: Plaintext,
    /// Whether it asks for a client certificate.
    #[serde(default)]
    pub client_certificate: ClientCertificate,
    /// What a client of it names in the handshake as the protocols that it speaks (RFC 7301), separated by commas. A listener that several
    /// share may refuse one that names none before it looks at anything else.
    pub alpn: Option<String>,
    /// Whether a sidecar listens for the database.
    #[serde(default)]
    pub sidecar: bool,
    /// Why it has no TLS, where that is a named exception.
    pub plain: Option<String>,
}

/// At how many of the nodes that a link leads to it has to be seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ends {
    /// At one at least: at which one depends on roles, or on chance.
    #[default]
    One,
    /// At each of them.
    Each,
}

/// A connection that nodes of one kind hold to nodes of another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What travels.
    pub purpose: String,
    /// Who connects: a kind of node, or `client`.
    pub from: String,
    /// To whom.
    pub to: String,
    /// Where.
    pub port: u16,
    /// Over which interface.
    #[serde(default)]
    pub on: Reach,
    /// At how many of the nodes that it leads to it is there all the time.
    #[serde(default)]
    pub ends: Ends,
    /// On which occasion only, where it is not there all the time.
    pub when: Option<String>,
    /// Why it has no TLS, where that is a named exception.
    pub plain: Option<String>,
}

/// The name of clients in [`Link::from`].
pub const CLIENT: &str = "client";

/// All listeners and links of one database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wiring {
    node: Vec<Kind>,
    listener: Vec<Listening>,
    link: Vec<Link>,
}

impl Wiring {
    /// What `config/links/DATABASE.toml` says.
    ///
    /// # Errors
    /// [`GroundError`] when there is no such file, or it is malformed, or it names a kind of node that it does not describe.
    pub fn of(member: Member) -> Result<Self, GroundError> {
        let path = format!("config/links/{}.toml", member.name());
        let broken = |why: String| GroundError::database(member.name(), format!("{path}: {why}"));
        let wiring: Self = toml::from_str(assets::text(&path)?).map_err(|error| broken(error.to_string()))?;
        match wiring.first_mistake() {
            Some(mistake) => Err(broken(mistake)),
            None => Ok(wiring),
        }
    }

    fn first_mistake(&self) -> Option<String> {
        let known = |kind: &str| self.node.iter().any(|node| node.name == kind);
        for listener in &self.listener {
            if !known(&listener.kind) {
                return Some(format!("a listener is on an unknown kind of node, `{}`", listener.kind));
            }
            if (listener.on == Reach::Socket) == listener.path.is_empty() || (listener.on == Reach::Socket) != (listener.port == 0) {
                return Some(format!(
                    "the listener `{}` of {} needs a port, or a path when it is a socket",
                    listener.purpose, listener.kind
                ));
            }
        }
        for link in &self.link {
            if !known(&link.to) || (!known(&link.from) && link.from != CLIENT) {
                return Some(format!("the link `{}` has an unknown end", link.purpose));
            }
            if link.when.is_some() && link.ends == Ends::Each {
                return Some(format!(
                    "the link `{}` is there on an occasion only, so it cannot be demanded at each of its ends",
                    link.purpose
                ));
            }
            let ends = |listener: &&Listening| listener.kind == link.to && listener.port == link.port;
            if !self.listener.iter().any(|listener| ends(&listener)) {
                return Some(format!("the link `{}` ends at port {} of {}, where nobody listens", link.purpose, link.port, link.to));
            }
        }
        None
    }

    /// The kind that a node is of.
    pub fn kind(&self, node: &Node) -> Option<&str> {
        let fits = |kind: &&Kind| kind.image == node.image() && kind.role.as_deref().is_none_or(|role| role == node.role());
        self.node.iter().find(fits).map(|kind| kind.name.as_str())
    }

    /// What has to listen on a node, and nothing else.
    pub fn listeners(&self, node: &Node) -> Vec<&Listening> {
        let kind = self.kind(node);
        self.listener.iter().filter(|listener| Some(listener.kind.as_str()) == kind).collect()
    }

    /// All links.
    pub fn links(&self) -> &[Link] {
        &self.link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_described_without_mistakes() {
        for member in Member::ALL {
            let wiring = Wiring::of(member).unwrap();
            assert!(!wiring.listener.is_empty() && !wiring.link.is_empty(), "{member}");
        }
    }

    #[test]
    fn a_link_to_a_port_where_nobody_listens_is_a_mistake() {
        let text = "[[node]]\nkind = \"a\"\nimage = \"a\"\n[[listener]]\nkind = \"a\"\nport = 1\npurpose = \"p\"\n[[link]]\npurpose = \"l\"\nfrom = \"client\"\nto = \"a\"\nport = 2\n";
        let wiring: Wiring = toml::from_str(text).unwrap();
        assert_eq!(wiring.first_mistake().unwrap(), "the link `l` ends at port 2 of a, where nobody listens");
        let text = text.replace("port = 2", "port = 1\nends = \"each\"");
        let wiring: Wiring = toml::from_str(&text).unwrap();
        assert_eq!(wiring.first_mistake(), None);
        let wiring: Wiring = toml::from_str(&(text + "when = \"a start\"\n")).unwrap();
        assert!(wiring.first_mistake().unwrap().contains("an occasion only"));
    }
}

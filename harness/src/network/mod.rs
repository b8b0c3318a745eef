//! Zones: who may reach which port of which node, put in force in the nodes' own firewalls and probed from each zone.
//!
//! # How a node is in several zones
//! It is in one. All nodes stand in the *home* zone, the bridge that the run has anyway; each other zone is a bridge of its own with a
//! subnet of its own, and one router pod has a leg in each. A node has one route more for each zone and its ruleset tells zones by their
//! subnets, as a firewall on a host in a data centre does. The alternatives were tried on paper:
//!
//! - a second leg of a node in each zone that may reach it costs the engine a quarter of a second a leg (some eighty legs in the
//!   production profile), the node's certificates would have to name all of its addresses, and a port that a node does not bind to the new
//!   address would look closed by policy when it is closed by accident;
//! - rules on the engine's bridges are not in the nodes' namespaces, and are the engine's own to write.
//!
//! Bridges, router and seats are made when first asked for, on the running platform: its start pays nothing. One seat (a pod without a
//! database) stands in each zone; what it sees is what a machine in that zone would see.
//!
//! # What is in force, and who is exempt
//! A node's rules are one nftables table, `inet dora_zones`, replaced at one stroke. The faults use iptables, that is table `ip filter`:
//! neither reads or changes the other's, and a packet has to pass both. The rules admit one address beside the zones: the engine's end
//! of the home bridge, from which the harness's own clients come. It stands for no zone.

mod enforcement;
pub mod kubernetes;
mod policy;
mod read;
mod rules;
pub mod seat;
mod sockets;
mod zones;

pub use enforcement::{Enforced, Enforcement, NetworkError};
pub use policy::{Policy, Rule, Service, Zone};
pub use read::{PolicyError, PolicyFault, PolicyFileError};
pub use rules::{Allowance, NodeRules};
pub use sockets::{Listening, listeners};
pub use zones::{FIREWALL, Zones};

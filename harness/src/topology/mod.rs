//! What to start (the nodes of a profile are data: [`dora_fixtures::topology`]), and the ground it is started on.

mod boot;
mod equipment;
mod ground;
mod node;
mod profile;
mod starts;
mod wiring;

pub use boot::{BootLog, BootSpan};
pub use equipment::{CLOCK, DISK, Equipment, POWER, TOOLBOX};
pub use ground::{Exception, Ground, GroundError, GroundOptions, PodSpec, Seat};
pub use node::{Node, NodeHealth, NodeRecord};
pub use profile::{Member, Profile, UnknownName};
pub use wiring::{CLIENT, ClientCertificate, Ends, Link, Listening, Reach, Wiring};

//! What to start (the nodes of a profile are data: [`dora_fixtures::topology`]), and the ground it is started on.

mod boot;
mod equipment;
mod ground;
mod node;
mod pod;
mod profile;
mod start_order;
mod starts;
mod waiting;
mod wiring;

pub use boot::{BootLog, BootSpan};
pub use equipment::{CLOCK, DISK, Equipment, POWER, TOOLBOX};
pub use ground::{Exception, Ground, GroundError, GroundOptions};
pub use node::{Node, NodeHealth, NodeRecord};
pub use pod::{PodSpec, Seat};
pub use profile::{Member, Profile, UnknownName};
pub use wiring::{CLIENT, ClientCertificate, Ends, Link, Listening, Reach, Wiring};

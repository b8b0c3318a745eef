//! Faults with proof. The order prepare → inject → confirm → heal → confirm is kept by types: a report of a confirmed fault cannot be
//! had without a probe that saw it, and that probe does not use the injector.

pub mod firewall;
mod kill;
mod life;
mod node_loss;
mod partition;
mod pause;
pub mod probe;
mod process_kill;
mod restart;
mod signal;
mod slow_link;
mod stop;

pub use firewall::Firewall;
pub use kill::Kill;
pub use life::{Confirmed, Fault, FaultError, FaultRecord, Healed, Injected, Unconfirmed, inject};
pub use node_loss::NodeLoss;
pub use partition::Partition;
pub use pause::Pause;
pub use process_kill::ProcessKill;
pub use restart::Restart;
pub use signal::{Signal, UnknownSignal};
pub use slow_link::SlowLink;
pub use stop::Stop;

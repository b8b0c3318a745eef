//! Faults with proof. The order inject → confirm → heal → confirm is kept by types: a report of a confirmed fault cannot be
//! had without a probe that saw it, and that probe does not use the injector.

mod kill;
mod life;
mod slow_link;

pub use kill::Kill;
pub use life::{Confirmed, Fault, FaultError, FaultRecord, Healed, Injected, Unconfirmed, inject};
pub use slow_link::SlowLink;

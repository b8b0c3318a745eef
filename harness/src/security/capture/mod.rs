//! Packets of a node's network namespace, and what is searched for in them.

mod canary;
mod packet;
mod session;
mod stream;

pub use canary::Canary;
pub use packet::{Packet, read_packets};
pub use session::{Capture, CaptureError, Captured};
pub use stream::{Framing, Stream, TLS_1_3, streams};

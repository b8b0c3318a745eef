//! Networks are isolated: from every zone exactly the allowed ports answer, and a zone is cut off and let back in.

mod client;
mod defect;
mod driver;
mod judge;
mod look;
mod scenarios;
mod sever;
mod tries;

pub use scenarios::SCENARIOS;

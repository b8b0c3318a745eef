//! Certificates that the key manager's authority issues: rotated under load, the authority changed, bad ones refused.

mod driver;
mod load;
mod mongodb;
mod postgres;
mod redis;
mod target;

pub use self::mongodb::SCENARIO as MONGODB;
pub use self::postgres::SCENARIO as POSTGRES;
pub use self::redis::SCENARIO as REDIS;

//! Certificates that the key manager's authority issues: rotated under load, the authority changed, bad ones refused.

mod driver;
mod etcd;
mod https;
mod influxdb;
mod load;
mod mongodb;
mod neo4j;
mod openbao;
mod postgres;
mod redis;
mod repeat;
mod shown;
mod target;

pub use self::etcd::SCENARIO as ETCD;
pub use self::influxdb::SCENARIO as INFLUXDB;
pub use self::mongodb::SCENARIO as MONGODB;
pub use self::neo4j::SCENARIO as NEO4J;
pub use self::openbao::SCENARIO as OPENBAO;
pub use self::postgres::SCENARIO as POSTGRES;
pub use self::redis::SCENARIO as REDIS;
pub use self::target::install;

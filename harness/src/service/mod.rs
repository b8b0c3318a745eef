//! The services around the databases.

pub mod openbao;

//! The container engine: containers, networks, volumes, images, exec, files, logs, and what cleans them up.
//!
//! Containers are started by testcontainers; what it lacks (signals, static addresses, archives) goes through the
//! bollard client that it shares. Every object carries the label of its run.

mod client;
mod container;
mod declared;
mod error;
mod exec;
mod files;
mod image;
mod kept_logs;
mod labels;
mod network;
pub mod reaper;
mod run_id;
pub mod sweep;
mod volume_probe;

pub use client::{Engine, EngineInfo};
pub use container::{ContainerState, MemoryUse, Process};
pub(crate) use container::{HolderSpec, MemberSpec};
pub use declared::{DeclaredContainer, DeclaredImage, SearchedImage};
pub use error::EngineError;
pub use exec::ExecOutput;
pub(crate) use exec::ExecSpec;
pub(crate) use files::{pack, unpack};
pub use image::{BASE_OF_ALL, BuildProgress, ImageCatalog, ImageRef, ImageUse};
pub use labels::{LABEL_KIND, LABEL_NODE, LABEL_RUN, RunKind};
pub use network::RunNetwork;
pub(crate) use network::gateway_of;
pub use run_id::{RunId, RunIdError};
pub(crate) use volume_probe::VolumeProbe;

//! What a node is given at its start, so that faults can reach into it later.

use std::fmt;

use crate::engine::{Engine, EngineError, RunId, RunKind};

/// The image that holds the libraries; the harness copies them out of it, no node runs it.
pub const TOOLBOX: &str = "toolbox";
/// Where the faults' files are in a node.
pub const FAULT_DIR: &str = "/dora/fault";
/// The library that lies about the time, and the file that says by how much.
pub const CLOCK: (&str, &str) = ("clock.so", "/dora/fault/clock");
/// The library that slows the disk or lets it fail, and the file that says how.
pub const DISK: (&str, &str) = ("disk-fault.so", "/dora/fault/disk");
/// The library that notes what was not flushed, and the file that says whether the disk lies about flushes.
pub const POWER: (&str, &str) = ("power-cut.so", "/dora/fault/power");
/// The program that takes back what was not flushed; it runs before the database, and does nothing where the power was not lost.
const POWER_RESTORE: &str = "power-restore";

/// A node's equipment. Without any, a node is as a user would run it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Equipment {
    /// The data directory is a file system of this size in memory, so it can be full without the engine's own disk being full. Its memory
    /// counts as the node's, whose limit is raised by as much. It outlives a restart of the database.
    pub data_bytes_max: Option<u64>,
    /// The node's clock can be set apart from the machine's.
    pub clock: bool,
    /// The node's disk can be made slow, and its flushes can fail.
    pub disk_faults: bool,
    /// The node's disk has a cache that a loss of power empties: what was not flushed is gone then.
    pub power: bool,
}

impl Equipment {
    /// Whether libraries are needed.
    pub fn needs_toolbox(&self) -> bool {
        self.clock || self.disk_faults || self.power
    }

    /// Environment variables for the node's processes.
    pub fn environment(&self) -> Vec<(String, String)> {
        let libraries: Vec<String> = self.libraries().iter().map(|library| format!("{FAULT_DIR}/{library}")).collect();
        if libraries.is_empty() {
            return Vec::new();
        }
        let mut variables = vec![("DORA_PRELOAD".to_owned(), libraries.join(" "))];
        if self.clock {
            // Read anew once a second; the monotonic clock stays true, as it does on a machine whose clock is set.
            variables.extend(
                [
                    ("FAKETIME_TIMESTAMP_FILE", CLOCK.1),
                    ("FAKETIME_CACHE_DURATION", "1"),
                    ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
                    // Processes of two users would wait for each other's shared memory.
                    ("FAKETIME_DISABLE_SHM", "1"),
                ]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
            );
        }
        variables
    }

    fn libraries(&self) -> Vec<&'static str> {
        let all = [(self.clock, CLOCK.0), (self.disk_faults, DISK.0), (self.power, POWER.0)];
        all.into_iter().filter_map(|(is_wanted, name)| is_wanted.then_some(name)).collect()
    }

    /// The libraries as files for the node: path, content, mode. Builds the image that holds them where it is missing.
    ///
    /// # Errors
    /// Any [`EngineError`] of building it or of copying out of it.
    pub async fn files(&self, engine: &Engine, run: &RunId, kind: RunKind) -> Result<Vec<(String, Vec<u8>, u32)>, EngineError> {
        if !self.needs_toolbox() {
            return Ok(Vec::new());
        }
        let images = engine.ensure_images(&[TOOLBOX], &std::collections::BTreeMap::new(), std::sync::Arc::new(|_| {})).await?;
        let found = engine.files_of_image(run, kind, &images.get(TOOLBOX)?.reference, "/toolbox").await?;
        let mut files = Vec::new();
        for library in self.libraries().into_iter().chain(self.power.then_some(POWER_RESTORE)) {
            let content = found.iter().find(|(path, _)| path.ends_with(library)).map(|(_, content)| content.clone());
            let missing = || EngineError::UnknownImage { name: format!("{TOOLBOX} with {library}"), known: "an image without it".into() };
            files.push((format!("{FAULT_DIR}/{library}"), content.ok_or_else(missing)?, 0o755));
        }
        // All of them are read by the database's user.
        for (is_wanted, path, neutral) in [(self.clock, CLOCK.1, "+0\n"), (self.disk_faults, DISK.1, ""), (self.power, POWER.1, "")] {
            if is_wanted {
                files.push((path.to_owned(), neutral.as_bytes().to_vec(), 0o644));
            }
        }
        Ok(files)
    }
}

impl fmt::Display for Equipment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if let Some(bytes) = self.data_bytes_max {
            words.push(format!("data directory of {} MiB in memory", bytes >> 20));
        }
        if self.clock {
            words.push("clock that can be set".into());
        }
        if self.disk_faults {
            words.push("disk that can fail".into());
        }
        if self.power {
            words.push("disk whose cache a loss of power empties".into());
        }
        formatter.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use dora_fixtures::assets::{self, AssetError};

    use super::*;

    #[test]
    fn the_library_reads_the_file_that_is_written() -> Result<(), AssetError> {
        let source = assets::text("images/toolbox/disk-fault.c")?;
        assert!(source.contains(&format!("\"{}\"", DISK.1)));
        let shared = assets::text("images/toolbox/power-cut.h")?;
        assert!(shared.contains(&format!("\"{}\"", POWER.1)));
        assert!(shared.contains(&format!("\"{}\"", crate::fault::POWER_WAS_CUT)));
        Ok(())
    }

    #[test]
    fn a_node_without_equipment_is_untouched() {
        assert!(Equipment::default().environment().is_empty());
        let both = Equipment { clock: true, disk_faults: true, ..Equipment::default() };
        assert_eq!(both.environment()[0].1, "/dora/fault/clock.so /dora/fault/disk-fault.so");
    }
}

//! The faults that are injected into a platform, one file each in its state directory.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use dora_harness::{engine::RunId, fault::Order};

use super::{RUNS, error::CliError};

/// Those of one run. Several processes may use them at once: `inject`, its guardian, `heal`.
pub struct Orders {
    directory: PathBuf,
}

impl Orders {
    pub fn of(run: &RunId) -> Self {
        Self { directory: Path::new(RUNS).join(run.as_str()).join("faults") }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    /// Whoever reads it finds it whole or not at all.
    pub fn keep(&self, order: &Order) -> Result<(), CliError> {
        let path = self.path(&order.id);
        let failed = |source| CliError::File { what: "write", path: path.clone(), source };
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        let text = serde_json::to_vec_pretty(order).map_err(std::io::Error::from).map_err(failed)?;
        let unfinished = path.with_extension("part");
        std::fs::write(&unfinished, text).map_err(failed)?;
        std::fs::rename(&unfinished, &path).map_err(failed)
    }

    /// One that somebody else has healed and forgotten is fine.
    pub fn forget(&self, id: &str) -> Result<(), CliError> {
        let path = self.path(id);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(CliError::File { what: "remove", path, source }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Those of these names that are still there.
    pub fn among(&self, ids: &[String]) -> Result<Vec<Order>, CliError> {
        ids.iter().filter_map(|id| read(&self.path(id)).transpose()).collect()
    }

    /// All of them, by name.
    pub fn all(&self) -> Result<Vec<Order>, CliError> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Ok(Vec::new()) };
        let paths = entries.flatten().map(|entry| entry.path());
        let whole = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let mut orders = whole.filter_map(|path| read(&path).transpose()).collect::<Result<Vec<Order>, CliError>>()?;
        orders.sort_by(|left, right| left.id.cmp(&right.id));
        Ok(orders)
    }
}

/// The order in a file, unless it was forgotten meanwhile.
fn read(path: &Path) -> Result<Option<Order>, CliError> {
    let failed = |source| CliError::File { what: "read", path: path.to_owned(), source };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(std::io::Error::from).map_err(failed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order(id: &str) -> Order {
        let node = json!({
            "name": "rds1", "cluster": "redis", "role": "master or replica", "image": "redis", "reference": "redis:8", "address": "198.18.0.5",
            "holder": "h", "container": "c", "user": "redis", "memory_bytes": 1, "volumes": [],
        });
        let details = json!({
            "port": 6379, "signal": "KILL", "process": null, "grace_ms": 1, "delay_ms": 1, "jitter_ms": 0, "share": 0.5, "kbit_per_s": 8,
            "cpus": 0.1, "leave_bytes": 1, "skew_s": 1, "ways": "Both", "clients": false,
        });
        serde_json::from_value(json!({ "id": id, "kind": "pause", "node": node, "peers": [], "details": details })).unwrap()
    }

    #[test]
    fn what_another_process_has_begun_or_ended_meanwhile_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let orders = Orders { directory: folder.path().join("faults") };
        assert!(orders.all().unwrap().is_empty());
        for id in ["b", "a"] {
            orders.keep(&order(id)).unwrap();
        }
        std::fs::write(orders.path("c").with_extension("part"), "{").unwrap();
        assert_eq!(orders.all().unwrap(), [order("a"), order("b")]);
        for _ in 0..2 {
            orders.forget("a").unwrap();
        }
        assert_eq!(orders.among(&["a".into(), "b".into()]).unwrap(), [order("b")]);
    }
}

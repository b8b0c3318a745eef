//! The bundle: the directory that a run leaves behind.
//!
//! ```text
//! evidence.json        the evidence, see `evidence`
//! report.html          one self-contained page
//! junit.xml            for CI
//! histories/*.jsonl    one event a line
//! logs/*.log           logs of the nodes
//! ```
//!
//! It is written while the run goes on: after every scenario all three files are replaced atomically, so that a run
//! which is killed leaves a readable bundle of everything that had ended before.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::iter::successors;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use time::OffsetDateTime;

use crate::evidence::{Evidence, SCHEMA_VERSION, ScenarioEvidence};
use crate::{html, junit, text};

const EVIDENCE: &str = "evidence.json";
const REPORT: &str = "report.html";
const JUNIT: &str = "junit.xml";

/// Why a bundle could not be written or read. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The directory has no evidence.
    #[error(
        "{} is not a bundle: it holds no {EVIDENCE}. Give the directory that the run printed at its end",
        .dir.display()
    )]
    NotABundle {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no bundle below this directory.
    #[error("there is no bundle below {} yet. Make one with `dora conform`", .root.display())]
    NoBundle {
        /// The directory that was searched.
        root: PathBuf,
    },
    /// The evidence was written by a newer program.
    #[error(
        "{} has schema version {found}, and this program reads versions up to {SCHEMA_VERSION}. \
         Read it with the version of dora that wrote it, or a newer one",
        .path.display()
    )]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version that it names.
        found: u64,
    },
    /// The evidence is not what the schema says.
    #[error(
        "{} is not valid evidence ({source}). It was changed after the run, or copied incompletely: \
         copy the bundle again",
        .path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}. Check that it is there and that you may read it", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}. Check the free space and that you may write there", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A page could not be rendered: a defect of this crate.
    #[error("cannot render {page}: {message}. This is a defect of dora; the evidence itself is complete")]
    Render {
        /// Which page.
        page: &'static str,
        /// What the renderer says.
        message: String,
    },
}

/// Writes a bundle while the run goes on.
#[derive(Debug)]
pub struct BundleWriter {
    dir: PathBuf,
    evidence: Evidence,
}

impl BundleWriter {
    /// Makes the directory and writes the evidence as it is now.
    pub fn create(dir: impl Into<PathBuf>, evidence: Evidence) -> Result<Self, BundleError> {
        let dir = dir.into();
        for part in ["histories", "logs"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(|source| BundleError::Write { path, source })?;
        }
        let mut writer = Self { dir, evidence };
        writer.publish()?;
        Ok(writer)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The evidence so far.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Changes the evidence (the topology is ready, an image is known, a problem came up) and writes the files again.
    pub fn update(&mut self, change: impl FnOnce(&mut Evidence)) -> Result<(), BundleError> {
        change(&mut self.evidence);
        self.publish()
    }

    /// Takes the evidence of a scenario that ended, decides its clauses, and writes the files again.
    ///
    /// Evidence of the same scenario that is already there is replaced.
    pub fn record(&mut self, scenario: ScenarioEvidence) -> Result<(), BundleError> {
        let known = &mut self.evidence.scenarios;
        match known.iter_mut().find(|other| other.scenario == scenario.scenario) {
            Some(other) => *other = scenario,
            None => known.push(scenario),
        }
        self.publish()
    }

    /// Where the history of a scenario goes: the path to write to, and the one to put into
    /// [`ScenarioEvidence::history_file`].
    #[must_use]
    pub fn history_path(&self, scenario: &str) -> (PathBuf, String) {
        let relative = format!("histories/{}.jsonl", text::slug(scenario));
        (self.dir.join(&relative), relative)
    }

    /// Ends the run and writes all files for the last time.
    pub fn finish(mut self, finished_at: OffsetDateTime) -> Result<Bundle, BundleError> {
        self.evidence.run.finished_at = Some(finished_at);
        self.publish()?;
        Ok(Bundle { dir: self.dir, evidence: self.evidence })
    }

    fn publish(&mut self) -> Result<(), BundleError> {
        self.evidence.settle_clauses();
        write_all(&self.dir, &self.evidence)
    }
}

/// A bundle that is there: of a run that goes on, that ended, or that was killed.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    dir: PathBuf,
    evidence: Evidence,
}

impl Bundle {
    /// Reads a bundle.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, BundleError> {
        /// Read before the rest, for a later version may differ in everything else.
        #[derive(Deserialize)]
        struct Version {
            schema_version: u64,
        }
        let dir = dir.into();
        let path = dir.join(EVIDENCE);
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(BundleError::NotABundle { dir });
            }
            Err(source) => return Err(BundleError::Read { path, source }),
        };
        let found = match serde_json::from_slice::<Version>(&json) {
            Ok(version) => version.schema_version,
            Err(source) => return Err(BundleError::Malformed { path, source }),
        };
        if found == 0 || found > u64::from(SCHEMA_VERSION) {
            return Err(BundleError::UnknownVersion { path, found });
        }
        match serde_json::from_slice(&json) {
            Ok(evidence) => Ok(Self { dir, evidence }),
            Err(source) => Err(BundleError::Malformed { path, source }),
        }
    }

    /// The bundle below `root` whose run started last. Directories that are not bundles are passed over.
    pub fn latest(root: impl AsRef<Path>) -> Result<Self, BundleError> {
        let root = root.as_ref();
        let none = || BundleError::NoBundle { root: root.to_owned() };
        let entries = fs::read_dir(root).map_err(|_| none())?;
        let bundles = entries.filter_map(|entry| Self::open(entry.ok()?.path()).ok());
        bundles.max_by_key(|bundle| bundle.evidence.run.started_at).ok_or_else(none)
    }

    /// Writes report and `JUnit` file again from the evidence, with this program's templates.
    pub fn render(&self) -> Result<(), BundleError> {
        write_rendered(&self.dir, &self.evidence)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The evidence.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The page.
    #[must_use]
    pub fn report_path(&self) -> PathBuf {
        self.dir.join(REPORT)
    }

    /// The `JUnit` file.
    #[must_use]
    pub fn junit_path(&self) -> PathBuf {
        self.dir.join(JUNIT)
    }

    /// The evidence file.
    #[must_use]
    pub fn evidence_path(&self) -> PathBuf {
        self.dir.join(EVIDENCE)
    }
}

fn write_all(dir: &Path, evidence: &Evidence) -> Result<(), BundleError> {
    let path = dir.join(EVIDENCE);
    let mut json = match serde_json::to_vec_pretty(evidence) {
        Ok(json) => json,
        Err(source) => return Err(BundleError::Malformed { path, source }),
    };
    json.push(b'\n');
    replace(path, &json)?;
    write_rendered(dir, evidence)
}

fn write_rendered(dir: &Path, evidence: &Evidence) -> Result<(), BundleError> {
    let page = html::render(evidence).map_err(|error| render_error("the report", &error))?;
    replace(dir.join(REPORT), page.as_bytes())?;
    let report = junit::render(evidence).map_err(|error| render_error("the JUnit file", &error))?;
    replace(dir.join(JUNIT), report.as_bytes())
}

/// The error with its causes, for a template's error names only the place.
fn render_error(page: &'static str, error: &dyn Error) -> BundleError {
    let chain = successors(Some(error), |&error| error.source());
    let message = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    BundleError::Render { page, message }
}

/// Replaces a file so that a reader sees the old content or the new one, whenever this process is killed.
fn replace(path: PathBuf, content: &[u8]) -> Result<(), BundleError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        // Without it a full disk may show up only after the rename, when the old content is gone.
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(|source| {
        // What could not be written is of no use to anyone; that it cannot be removed either changes nothing.
        let _ = fs::remove_file(&temporary);
        BundleError::Write { path, source }
    })
}

//! The configuration file `dora.toml`.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use dora_fixtures::{assets::ImageSource, dataset::Size};
use dora_harness::{
    network::{FIREWALL, Policy},
    topology::{Profile, TOOLBOX},
};
use serde::Deserialize;

use super::{JOBS_MAX, PlatformArgs, SUSTAIN_S_MAX, error::CliError};

/// Read where no other file is named and this one exists.
const DEFAULT: &str = "dora.toml";

/// What a file may say; the command line has precedence.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `development`, `staging` or `production`.
    profile: Option<String>,
    /// Work at the same time.
    pub jobs: Option<u16>,
    /// Seconds of sustained operation on the survivors of a fault.
    pub sustain_s: Option<u64>,
    /// `small` or `medium`: how many domain data.
    pub size: Option<Size>,
    /// The user's own policy of the zones.
    policy: Option<PathBuf>,
    /// The user's own images, by name in the catalogue.
    #[serde(default)]
    images: BTreeMap<String, String>,
}

impl Config {
    /// Reads the named file, or `dora.toml` where there is one.
    pub fn read(path: Option<&Path>) -> Result<Self, CliError> {
        let (path, text) = match path {
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|error| CliError::Config { path: path.to_owned(), reason: error.to_string() })?;
                (path, text)
            }
            None => match std::fs::read_to_string(DEFAULT) {
                Ok(text) => (Path::new(DEFAULT), text),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
                Err(error) => return Err(CliError::Config { path: DEFAULT.into(), reason: error.to_string() }),
            },
        };
        let malformed = |reason: String| CliError::Config { path: path.to_owned(), reason };
        let config: Self = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if let Some(profile) = &config.profile {
            profile.parse::<Profile>().map_err(|error| malformed(error.to_string()))?;
        }
        if config.jobs.is_some_and(|jobs| !(1..=JOBS_MAX).contains(&jobs)) {
            return Err(malformed(format!("jobs must be from 1 to {JOBS_MAX}")));
        }
        if config.sustain_s.is_some_and(|seconds| !(1..=SUSTAIN_S_MAX).contains(&seconds)) {
            return Err(malformed(format!("sustain_s must be from 1 to {SUSTAIN_S_MAX}")));
        }
        Ok(config)
    }

    /// The profile: the command line's, the file's, or production.
    pub fn profile(&self, args: &PlatformArgs) -> Result<Profile, CliError> {
        match (args.profile, &self.profile) {
            (Some(profile), _) => Ok(profile),
            (None, Some(name)) => Ok(name.parse()?),
            (None, None) => Ok(Profile::Production),
        }
    }

    /// The policy of the zones: from the command line's file, the configuration's, or the one that is built in.
    pub fn policy(&self, file: Option<&Path>) -> Result<Policy, CliError> {
        Ok(match file.or(self.policy.as_deref()) {
            Some(file) => Policy::read(file)?,
            None => Policy::standard()?,
        })
    }

    /// The user's own images: the file's, overridden by the command line's. All of them are of nodes.
    pub fn replacements(&self, args: &PlatformArgs) -> Result<BTreeMap<String, String>, CliError> {
        let mut replacements = self.images.clone();
        replacements.extend(args.images.iter().cloned());
        let (tools, known): (Vec<String>, Vec<String>) =
            ImageSource::all().into_iter().map(|source| source.name).partition(|name| [FIREWALL, TOOLBOX].contains(&name.as_str()));
        for name in replacements.keys() {
            if tools.contains(name) {
                let why = "it holds the harness's own tools, and no node runs it";
                return Err(CliError::Usage(format!("the image `{name}` cannot be replaced: {why}; leave it out")));
            }
            if !known.contains(name) {
                return Err(CliError::Usage(format!("there is no image called `{name}` to be replaced; known are: {}", known.join(", "))));
            }
        }
        Ok(replacements)
    }
}

/// `NAME=REF` on the command line.
pub fn replacement(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, reference)) if !name.is_empty() && !reference.is_empty() => Ok((name.to_owned(), reference.to_owned())),
        _ => Err("write NAME=REF, such as mongodb=mongo:7.0; names are listed by `dora images`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, CliError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::read(Some(file.path()))
    }

    #[test]
    fn a_good_file_is_read() {
        let config = read("profile = \"staging\"\njobs = 3\nsize = \"medium\"\n[images]\nmongodb = \"mongo:7.0\"\n").unwrap();
        let args = PlatformArgs { profile: None, images: vec![("mongodb".into(), "mine:1".into())] };
        assert_eq!(config.profile(&args).unwrap(), Profile::Staging);
        assert_eq!(config.replacements(&args).unwrap()["mongodb"], "mine:1");
        assert_eq!(config.size, Some(Size::Medium));
    }

    #[test]
    fn a_bad_file_is_answered_with_what_is_wrong_and_exit_code_2() {
        for (text, words) in [
            ("profil = \"staging\"", "unknown field"),
            ("profile = \"prod\"", "known are"),
            ("jobs = 0", "from 1 to 64"),
            ("jobs = 65", "from 1 to 64"),
            ("sustain_s = 0", "from 1 to 86400"),
            ("sustain_s = 86401", "from 1 to 86400"),
            ("jobs = [", "TOML"),
            ("size = \"large\"", "`medium`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}

//! `dora policy`: who may reach what over the network.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Subcommand, ValueEnum};
use dora_harness::network::{NodeRules, Policy, kubernetes};
use serde::Serialize;

use super::{config::Config, error::CliError};

/// What is to be done with the policy.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Read a policy and say whether it is one
    Check {
        /// The policy (default: the configuration's, or the built-in one)
        file: Option<PathBuf>,
    },
    /// Put the policy in the words of another system
    Render {
        /// Whose words
        #[arg(long, value_enum)]
        format: Format,
        /// Write one file a service into this folder, instead of everything to standard output
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// The policy (default: the configuration's, or the built-in one)
        file: Option<PathBuf>,
    },
}

/// Whose words a policy is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// `NetworkPolicy` objects, as JSON for `kubectl apply -f`
    Kubernetes,
    /// Rulesets for `nft -f`; zones and the harness have stand-in addresses
    Nftables,
}

/// Checks or renders.
pub fn policy(command: &PolicyCommand, config: &Config) -> Result<ExitCode, CliError> {
    match command {
        PolicyCommand::Check { file } => {
            let policy = config.policy(file.as_deref())?;
            out!("{} zones, {} services, {} rules", policy.zones.len(), policy.services.len(), policy.rules.len());
        }
        PolicyCommand::Render { format, out, file } => {
            let policy = config.policy(file.as_deref())?;
            match out {
                None => out!("{}", whole(&policy, *format)?.trim_end()),
                Some(folder) => write(&policy, *format, folder)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn whole(policy: &Policy, format: Format) -> Result<String, CliError> {
    match format {
        Format::Kubernetes => json(&kubernetes::network_policies(policy)),
        Format::Nftables => Ok(rulesets(policy)?.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n")),
    }
}

fn write(policy: &Policy, format: Format, folder: &Path) -> Result<(), CliError> {
    let files: Vec<(String, String)> = match format {
        Format::Kubernetes => kubernetes::network_policies(policy)
            .items
            .iter()
            .map(|item| Ok((format!("{}.json", item.metadata.name), json(item)?)))
            .collect::<Result<_, CliError>>()?,
        Format::Nftables => rulesets(policy)?.into_iter().map(|(name, text)| (format!("{name}.nft"), text)).collect(),
    };
    let failed = |what: &'static str, path: PathBuf| move |source| CliError::File { what, path, source };
    std::fs::create_dir_all(folder).map_err(failed("make the folder", folder.to_owned()))?;
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(failed("write", path.clone()))?;
    }
    Ok(())
}

fn json(value: &impl Serialize) -> Result<String, CliError> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| CliError::Usage(format!("failed to put the policy in words: {error}")))?;
    Ok(text + "\n")
}

/// One ruleset a service. A run's subnets are not known before it: zones get the first ones of the range, in the order of the table.
fn rulesets(policy: &Policy) -> Result<Vec<(String, String)>, CliError> {
    let subnet = |index: usize| format!("198.18.{index}.0/24");
    let subnets: BTreeMap<String, String> =
        policy.zones.iter().enumerate().map(|(index, zone)| (zone.name.clone(), subnet(index))).collect();
    let home = policy.zones.iter().position(|zone| zone.name == policy.home).unwrap_or_default();
    let seat = Ipv4Addr::new(198, 18, u8::try_from(home).unwrap_or_default(), 1);
    let ruleset = |service: &dora_harness::network::Service| {
        let text = NodeRules::new(policy, service, "any node", seat, &subnets).text();
        let text = text.map_err(|error| CliError::Usage(format!("failed to {error}")))?;
        Ok::<_, CliError>((service.name.clone(), text))
    };
    policy.services.iter().map(ruleset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::default()
    }

    #[test]
    fn a_malformed_policy_is_wrong_usage_and_says_where() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "home = \"data\"\n[[zone]]\nname = \"data\"\npurpose = \"\"\n").unwrap();
        let error = policy(&PolicyCommand::Check { file: Some(file.path().to_owned()) }, &config()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().ends_with(":4: a zone's purpose must not be empty"), "{error}");
    }

    #[test]
    fn a_missing_policy_is_wrong_usage() {
        let error = policy(&PolicyCommand::Check { file: Some("/no/such/file".into()) }, &config()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn each_service_gets_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        for (format, ending, count) in [(Format::Kubernetes, "json", 16), (Format::Nftables, "nft", 15)] {
            let out = folder.path().join(ending);
            policy(&PolicyCommand::Render { format, out: Some(out.clone()), file: None }, &config()).unwrap();
            let names: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names.len(), count, "{names:?}");
        }
    }
}

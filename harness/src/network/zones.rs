//! The zones of a run: a bridge each, the router between them, a seat in each.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use dora_fixtures::assets;
use futures_util::future::try_join_all;
use serde_json::json;

use super::{
    NetworkError, NodeRules, Policy, Service,
    seat::{PROGRAM_NAME, Seat},
};
use crate::{
    engine::{EngineError, RunNetwork},
    patience::stretched,
    topology::{Ground, GroundError, Node},
    watchdog::THIS_PROGRAM,
};

/// The image whose files are nftables' command; the harness copies them out of it, no node runs it.
pub const FIREWALL: &str = "firewall";
/// Where they are in it.
const IMAGE_FOLDER: &str = "/firewall";
/// Where they go in a pod; the scripts of `config/network` know it, too.
const FOLDER: &str = "/usr/local/lib";
/// Below [`FOLDER`].
const OWN_FOLDER: &str = "dora-firewall";
/// Setting a route or a ruleset takes well under a second.
const EXEC_LIMIT: Duration = Duration::from_secs(6);
/// How often an order is given that nobody answers.
const ATTEMPTS: u32 = 4;

/// Networks, router and seats. They live until the run ends.
#[derive(Debug)]
pub struct Zones {
    home: String,
    subnets: BTreeMap<String, String>,
    router: Ipv4Addr,
    seats: Vec<Seat>,
    /// nftables' command with its libraries: path, content.
    tools: Vec<(String, Vec<u8>)>,
}

impl Zones {
    /// Makes the networks of all zones of the policy and starts a seat in each.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub async fn lay(ground: &Ground, policy: &Policy) -> Result<Self, NetworkError> {
        let (engine, run, kind) = (ground.engine(), ground.run(), ground.kind());
        let others: Vec<&str> = policy.zones.iter().map(|zone| zone.name.as_str()).filter(|name| *name != policy.home).collect();
        let networks: BTreeMap<&str, RunNetwork> = try_join_all(
            others.iter().map(|zone| async move { Ok::<_, GroundError>((*zone, engine.create_routed_network(run, kind, zone).await?)) }),
        )
        .await?
        .into_iter()
        .collect();
        let mut subnets: BTreeMap<String, String> = networks.iter().map(|(zone, network)| ((*zone).to_owned(), network.subnet())).collect();
        subnets.insert(policy.home.clone(), ground.network().subnet());
        let images = engine.ensure_images(&[FIREWALL], &BTreeMap::new(), Arc::new(|_| {})).await?;
        let tools = engine.files_of_image(run, kind, &images.get(FIREWALL)?.reference, IMAGE_FOLDER).await?;
        let volume = engine.create_volume(run, kind, "seats", "program", None).await?;
        let seat = |zone: &str| {
            let network = networks.get(zone).unwrap_or_else(|| ground.network());
            let (name, volumes) = (format!("seat-{zone}"), vec![(volume.clone(), "/seat".to_owned())]);
            let zone = zone.to_owned();
            async move { Ok::<_, GroundError>((zone, ground.pod_on(network, &name, volumes, false).await?)) }
        };
        let (router, pods) = tokio::try_join!(
            ground.pod_on(ground.network(), "router", Vec::new(), true),
            try_join_all(policy.zones.iter().map(|zone| seat(&zone.name)))
        )?;
        let mut zones = Self { home: policy.home.clone(), subnets, router: router.address(), seats: Vec::new(), tools };
        let legs: BTreeMap<&str, Ipv4Addr> = zones.connect(&router, &networks).await?;
        copy_program(&pods).await?;
        for (zone, pod) in pods {
            let (to, via): (Vec<&str>, Ipv4Addr) = match legs.get(zone.as_str()) {
                Some(leg) => (vec![&zones.subnets[&zones.home]], *leg),
                None => (zones.foreign_subnets(), zones.router),
            };
            for subnet in to {
                run_in(&pod, &["ip", "route", "replace", subnet, "via", &via.to_string()], &[]).await?;
            }
            zones.seats.push(Seat::new(&zone, pod));
        }
        Ok(zones)
    }

    /// Gives the router a leg in each network and its rules. Returns the legs' addresses.
    async fn connect<'a>(
        &self,
        router: &Node,
        networks: &BTreeMap<&'a str, RunNetwork>,
    ) -> Result<BTreeMap<&'a str, Ipv4Addr>, NetworkError> {
        let mut legs = BTreeMap::new();
        for (zone, network) in networks {
            let leg = network.next_address()?;
            router.join(network, leg).await?;
            legs.insert(*zone, leg);
        }
        let variables = json!({ "home": self.subnets[&self.home], "zones": self.foreign_subnets() });
        let rules = assets::render("config/network/router.nft.j2", variables)?;
        self.put_rules(router, &rules).await?;
        self.enforce(router, false).await?;
        Ok(legs)
    }

    /// The seats, one in each zone, in the order of the policy.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// The subnets of all zones by name.
    pub fn subnets(&self) -> &BTreeMap<String, String> {
        &self.subnets
    }

    /// The subnet of a zone.
    ///
    /// # Errors
    /// [`NetworkError::NoZone`].
    pub fn subnet(&self, zone: &str) -> Result<&str, NetworkError> {
        self.subnets.get(zone).map(String::as_str).ok_or_else(|| NetworkError::NoZone(zone.to_owned()))
    }

    /// The rules that the policy gives a node here.
    pub fn rules(&self, policy: &Policy, service: &Service, node: &Node) -> NodeRules {
        NodeRules::new(policy, service, node.name(), node.gateway(), &self.subnets)
    }

    /// The subnets of all zones but the nodes' own.
    pub(super) fn foreign_subnets(&self) -> Vec<&str> {
        self.subnets.iter().filter(|(zone, _)| **zone != self.home).map(|(_, subnet)| subnet.as_str()).collect()
    }

    /// Copies a ruleset into a pod, with what is needed to put it in force. An earlier one is replaced, not yet in force.
    pub(super) async fn put_rules(&self, pod: &Node, rules: &str) -> Result<(), NetworkError> {
        let script = |name: &str| assets::bytes(&format!("config/network/{name}"));
        let mut files = vec![
            (format!("{OWN_FOLDER}/rules.nft"), rules.as_bytes(), 0o644),
            (format!("{OWN_FOLDER}/nft.sh"), script("nft.sh")?, 0o755),
            (format!("{OWN_FOLDER}/enforce.sh"), script("enforce.sh")?, 0o755),
        ];
        for (path, content) in &self.tools {
            let name = path.rsplit('/').next().unwrap_or(path);
            files.push((format!("{OWN_FOLDER}/{name}"), content, 0o755));
        }
        let files: Vec<(&str, &[u8], u32)> = files.iter().map(|(path, content, mode)| (path.as_str(), *content, *mode)).collect();
        pod.put_files_in_pod(FOLDER, &files).await?;
        Ok(())
    }

    /// Replaces the ruleset alone: the rest is there.
    pub(super) async fn replace_rules(pod: &Node, rules: &str) -> Result<(), NetworkError> {
        pod.put_files_in_pod(FOLDER, &[(&format!("{OWN_FOLDER}/rules.nft"), rules.as_bytes(), 0o644)]).await?;
        Ok(())
    }

    /// Puts the copied ruleset in force; `routed` also leads to the other zones.
    pub(super) async fn enforce(&self, pod: &Node, routed: bool) -> Result<(), NetworkError> {
        let (script, gate) = (format!("{FOLDER}/{OWN_FOLDER}/enforce.sh"), self.router.to_string());
        let mut command = vec!["sh", &script];
        if routed {
            command.push(&gate);
            command.extend(self.foreign_subnets());
        }
        run_in(pod, &command, &[]).await
    }

    /// Runs nftables' command in a pod.
    pub(super) async fn nft(pod: &Node, arguments: &[&str]) -> Result<(), NetworkError> {
        let script = format!("{FOLDER}/{OWN_FOLDER}/nft.sh");
        let command: Vec<&str> = ["sh", &script].into_iter().chain(arguments.iter().copied()).collect();
        run_in(pod, &command, &[]).await
    }

    /// Takes rules and routes out of a pod.
    pub(super) async fn lift(&self, pod: &Node) -> Result<(), NetworkError> {
        let script = assets::bytes("config/network/lift.sh")?;
        let command: Vec<&str> = ["sh", "-s", "--"].into_iter().chain(self.foreign_subnets()).collect();
        run_in(pod, &command, script).await
    }
}

/// Runs a command in a pod; one that ends badly is an error. What a busy engine did not answer in time is ordered again.
async fn run_in(pod: &Node, command: &[&str], input: &[u8]) -> Result<(), NetworkError> {
    let mut attempt = 1;
    let output = loop {
        match pod.exec_in_pod(command, input, stretched(EXEC_LIMIT)).await {
            Err(EngineError::ExecDeadline { .. }) if attempt < ATTEMPTS => attempt += 1,
            output => break output?,
        }
    };
    // The order before may have been carried out all the same, and then there is nothing left to take away.
    let is_away = ["No such file or directory", "does not exist"].iter().any(|words| output.stderr.contains(words));
    if output.code == 0 || (attempt > 1 && is_away) {
        return Ok(());
    }
    Err(NetworkError::Rules { node: pod.name().to_owned(), why: output.stderr.trim().to_owned() })
}

/// This program's own file goes into the volume that all seats share.
async fn copy_program(pods: &[(String, Node)]) -> Result<(), NetworkError> {
    let failed = |error: std::io::Error| NetworkError::Program(error.to_string());
    let content = tokio::fs::read(THIS_PROGRAM).await.map_err(failed)?;
    if let Some((_, pod)) = pods.first() {
        pod.put_files_in_pod("/seat", &[(PROGRAM_NAME, &content, 0o755)]).await?;
    }
    Ok(())
}

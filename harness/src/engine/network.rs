//! A run's own bridge, with a subnet that collides with nobody's.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::atomic::{AtomicU16, Ordering},
};

use bollard::{
    models::{
        EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
        VolumeCreateRequest,
    },
    query_parameters::InspectNetworkOptions,
};
use rand::RngExt as _;

use super::{Engine, EngineError, RunId, RunKind, labels};

/// Where all subnets lie: 198.18.0.0/15 (RFC 2544: reserved for benchmarks, so nobody's private range).
const RANGE: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const RANGE_BITS: u32 = 15;
/// Length of a subnet's prefix. An address is given once in a run, so that nobody takes a new node for the old one that had it; a run that proves
/// every scenario starts some thousand nodes.
const SUBNET_BITS: u32 = 21;
const SUBNETS: u32 = 1 << (SUBNET_BITS - RANGE_BITS);
/// How many subnets are tried before giving up.
const SUBNET_TRIES: usize = 128;
/// The first host number that nodes get; below it is the engine's gateway.
const FIRST_HOST: u16 = 10;
/// Above it is the subnet's broadcast address.
const LAST_HOST: u16 = (1 << (32 - SUBNET_BITS)) - 2;

/// A bridge of the run: a subnet of 198.18.0.0/15 that is nobody else's.
#[derive(Debug)]
pub struct RunNetwork {
    /// The engine's name of it.
    pub name: String,
    /// Its subnet's address.
    base: Ipv4Addr,
    next: AtomicU16,
}

impl RunNetwork {
    fn of(name: String, number: u32) -> Self {
        Self { name, base: Ipv4Addr::from_bits(RANGE + (number << (32 - SUBNET_BITS))), next: AtomicU16::new(FIRST_HOST) }
    }

    /// The next free address.
    ///
    /// # Errors
    /// [`EngineError::NoAddress`] when all are taken.
    pub fn next_address(&self) -> Result<Ipv4Addr, EngineError> {
        let host = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |host| (host <= LAST_HOST).then(|| host + 1))
            .map_err(|_full| EngineError::NoAddress { network: self.name.clone() })?;
        Ok(Ipv4Addr::from_bits(self.base.to_bits() + u32::from(host)))
    }

    /// The subnet in CIDR form.
    pub fn subnet(&self) -> String {
        format!("{}/{SUBNET_BITS}", self.base)
    }
}

/// The engine's end of the bridge on which an address lies: the first host of its subnet.
pub(crate) fn gateway_of(address: Ipv4Addr) -> Ipv4Addr {
    let mask = u32::MAX << (32 - SUBNET_BITS);
    Ipv4Addr::from_bits((address.to_bits() & mask) + 1)
}

impl Engine {
    /// Makes a bridge for the run on a random free subnet; two runs side by side never share one.
    ///
    /// # Errors
    /// [`EngineError::NoSubnet`], or the engine's refusal.
    pub async fn create_network(&self, run: &RunId, kind: RunKind, zone: &str) -> Result<RunNetwork, EngineError> {
        self.create_bridge(run, kind, zone, HashMap::new()).await
    }

    /// As [`Engine::create_network`], for a network from which a router leads to others. The engine must not put its own address in place of
    /// a sender's there: whom a packet comes from is what the nodes' rules go by.
    ///
    /// # Errors
    /// As [`Engine::create_network`].
    pub(crate) async fn create_routed_network(&self, run: &RunId, kind: RunKind, zone: &str) -> Result<RunNetwork, EngineError> {
        let options = [("com.docker.network.bridge.enable_ip_masquerade".to_owned(), "false".to_owned())];
        self.create_bridge(run, kind, zone, options.into()).await
    }

    async fn create_bridge(
        &self,
        run: &RunId,
        kind: RunKind,
        zone: &str,
        options: HashMap<String, String>,
    ) -> Result<RunNetwork, EngineError> {
        for _ in 0..SUBNET_TRIES {
            let network = RunNetwork::of(format!("dora-{run}-{zone}"), rand::rng().random_range(0..SUBNETS));
            let request = NetworkCreateRequest {
                name: network.name.clone(),
                driver: Some("bridge".into()),
                labels: Some(labels::of(run, kind, zone)),
                options: Some(options.clone()),
                ipam: Some(Ipam {
                    config: Some(vec![IpamConfig { subnet: Some(network.subnet()), ..IpamConfig::default() }]),
                    ..Ipam::default()
                }),
                ..NetworkCreateRequest::default()
            };
            match self.docker.create_network(request).await {
                Ok(_) => return Ok(network),
                Err(error) if error.to_string().contains("overlap") => {}
                Err(error) => return Err(EngineError::request("make a network", error)),
            }
        }
        Err(EngineError::NoSubnet { tried: SUBNET_TRIES })
    }

    /// Gives a container a further leg, in another network.
    pub(crate) async fn join_network(&self, network: &RunNetwork, container: &str, address: Ipv4Addr) -> Result<(), EngineError> {
        let ipam_config = Some(EndpointIpamConfig { ipv4_address: Some(address.to_string()), ..EndpointIpamConfig::default() });
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(EndpointSettings { ipam_config, ..EndpointSettings::default() }),
        };
        let what = || format!("connect {container} to network {}", network.name);
        self.docker.connect_network(&network.name, request).await.map_err(|e| EngineError::request(what(), e))
    }

    /// Makes a volume of the run and returns its name. With `bytes_max` it is a file system of that size in memory, which lives as long as a
    /// container has it mounted.
    pub(crate) async fn create_volume(
        &self,
        run: &RunId,
        kind: RunKind,
        node: &str,
        purpose: &str,
        bytes_max: Option<u64>,
    ) -> Result<String, EngineError> {
        let name = format!("dora-{run}-{node}-{purpose}");
        let options = bytes_max.map(|bytes| {
            let pairs = [("type", "tmpfs".to_owned()), ("device", "tmpfs".to_owned()), ("o", format!("size={bytes}"))];
            pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
        });
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some(labels::of(run, kind, node)),
            driver_opts: options,
            ..VolumeCreateRequest::default()
        };
        self.docker.create_volume(request).await.map_err(|e| EngineError::request(format!("make volume {name}"), e))?;
        Ok(name)
    }

    /// Removes a network; one that is already gone is fine. Docker 20.10 was seen to count an endpoint whose container is gone: it is taken
    /// off by force.
    ///
    /// # Errors
    /// [`EngineError::EndpointOfGone`] where that does not help, or the engine's refusal.
    pub(super) async fn remove_network(&self, id: &str) -> Result<(), EngineError> {
        let what = || format!("remove network {id}");
        match self.docker.remove_network(id).await {
            Ok(()) => return Ok(()),
            Err(error) if EngineError::is_not_found(&error) => return Ok(()),
            Err(error) if EngineError::is_active_endpoint(&error) => {}
            Err(error) => return Err(EngineError::request(what(), error)),
        }
        let are_gone = self.disconnect_gone(id).await?;
        match self.docker.remove_network(id).await {
            Ok(()) => Ok(()),
            Err(error) if EngineError::is_not_found(&error) => Ok(()),
            Err(error) if are_gone && EngineError::is_active_endpoint(&error) => {
                Err(EngineError::EndpointOfGone { network: id.to_owned(), reason: error.to_string() })
            }
            Err(error) => Err(EngineError::request(what(), error)),
        }
    }

    /// Takes the endpoints of containers that are gone off a network. Whether the engine lists no endpoint of a container that is there.
    async fn disconnect_gone(&self, network: &str) -> Result<bool, EngineError> {
        let found = match self.docker.inspect_network(network, None::<InspectNetworkOptions>).await {
            Ok(found) => found,
            Err(error) if EngineError::is_not_found(&error) => return Ok(true),
            Err(error) => return Err(EngineError::request(format!("inspect network {network}"), error)),
        };
        let mut are_gone = true;
        for (key, endpoint) in found.containers.unwrap_or_default() {
            // An endpoint has its container's name, and where the container is gone the engine knows it by that name only.
            let container = endpoint.name.filter(|name| !name.is_empty()).unwrap_or(key);
            match self.state(&container).await {
                Ok(_there) => are_gone = false,
                Err(error) if error.is_gone() => {
                    let request = NetworkDisconnectRequest { container, force: Some(true) };
                    // Whether it helped says the second removal, in words of its own.
                    let _ = self.docker.disconnect_network(network, request).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(are_gone)
    }

    /// Removes a volume; one that is already gone is fine.
    pub(crate) async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        match self.docker.remove_volume(name, None::<bollard::query_parameters::RemoveVolumeOptions>).await {
            Ok(()) => Ok(()),
            Err(error) if EngineError::is_not_found(&error) => Ok(()),
            Err(error) => Err(EngineError::request(format!("remove volume {name}"), error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_lie_in_the_range_and_give_each_address_once() {
        let last = RunNetwork::of("last".into(), SUBNETS - 1);
        assert_eq!(last.subnet(), "198.19.248.0/21");
        let addresses: Vec<Ipv4Addr> = std::iter::from_fn(|| last.next_address().ok()).collect();
        assert_eq!(addresses.first(), Some(&Ipv4Addr::new(198, 19, 248, 10)));
        assert_eq!(addresses.last(), Some(&Ipv4Addr::new(198, 19, 255, 254)));
        assert_eq!(addresses.len(), 2037);
        // Also of those that differ from it in more than their last number.
        assert!(addresses.iter().all(|address| gateway_of(*address) == Ipv4Addr::new(198, 19, 248, 1)));
        assert!(matches!(last.next_address(), Err(EngineError::NoAddress { .. })));
    }
}

//! A node is a pod: a holder that owns address, names and firewall, and in its namespaces the container of the database.

use std::{net::Ipv4Addr, sync::PoisonError, time::Duration};

use dora_fixtures::assets;
use serde::Serialize;

use super::{Equipment, Exception, Ground, GroundError, Node, node::NodeRecord, start_order, starts::Progress};
use crate::{
    engine::{HolderSpec, MemberSpec, RunNetwork},
    security::TlsProber,
    volume::{CIPHER_DIR, DATA_DIR, VolumePlan},
};

/// A name and an address that a node will have: known before any node of a cluster starts, so that all know each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seat {
    /// The node's short name.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// What to start on a seat.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// Where.
    pub seat: Seat,
    /// The cluster's name.
    pub cluster: String,
    /// What the node is there for, such as `data node`.
    pub role: String,
    /// The image's name in the catalogue.
    pub image: String,
    /// The database's user inside the image.
    pub user: String,
    /// All seats that it must know by name (its own may be among them), and further `(name, address)` pairs such as loopback
    /// aliases.
    pub hosts: Vec<(String, Ipv4Addr)>,
    /// Files below `/dora/config` and elsewhere: absolute path, content, mode.
    pub files: Vec<(String, Vec<u8>, u32)>,
    /// Environment variables (never a secret).
    pub env: Vec<(String, String)>,
    /// Capabilities beyond what the start script needs.
    pub capabilities: Vec<String>,
    /// Further volumes: purpose and path. `/dora/data` is always one.
    pub volumes: Vec<(String, String)>,
    /// Memory limit in bytes.
    pub memory_bytes: i64,
    /// For how long it keeps a processor busy once it runs: it keeps its place among the starts meanwhile, because what is started beside
    /// it makes both slower. Zero for most.
    pub loads_for: Duration,
}

impl Ground {
    /// Starts a pod: holder, certificate, files, volumes, database. It is not ready yet when this returns.
    ///
    /// # Errors
    /// [`GroundError`], with the node's last log lines when its container does not start. Nothing of the node is there then: its name is free.
    pub async fn start(&self, spec: PodSpec) -> Result<Node, GroundError> {
        let name = spec.seat.name.clone();
        let before = self.starts.note(&name, Progress::Begun);
        match self.start_pod(spec).await {
            Ok(node) => {
                self.starts.note(&name, Progress::Node);
                self.inner.nodes.lock().unwrap_or_else(PoisonError::into_inner).push(node.clone());
                Ok(node)
            }
            Err(error) => Err(self.undone(&name, before, error).await),
        }
    }

    async fn start_pod(&self, spec: PodSpec) -> Result<Node, GroundError> {
        let shared = &self.inner;
        let name = spec.seat.name.clone();
        let image = shared.options.images.get(&spec.image)?;
        let (image, is_replaced) = (image.reference.clone(), image.replaced);
        let (run, kind, engine) = (&shared.options.run, shared.options.kind, &shared.engine);
        let equipment = self.equipment(&name);
        let opening = match self.in_the_clear(&spec, is_replaced, &equipment) {
            Some(_why) => None,
            None => shared.volumes.opening(&name, &spec.cluster, &spec.role).await?,
        };
        let rank = start_order::rank(&spec.image);
        let mount = if opening.is_some() { CIPHER_DIR } else { DATA_DIR };
        // Before anything is asked of the engine: whose volume is made first would otherwise be started first.
        let place = engine.start_place(rank).await;
        let data = (engine.create_volume(run, kind, &name, "data", equipment.data_bytes_max).await?, mount.to_owned());
        // A file system in memory would end with the database's container: the holder keeps it.
        let kept = if equipment.data_bytes_max.is_some() { vec![data.clone()] } else { Vec::new() };
        let holder = self.holder(&shared.network, &spec.seat, &spec.hosts, kept, false).await?;
        let mut volumes = vec![data];
        for (purpose, path) in &spec.volumes {
            volumes.push((engine.create_volume(run, kind, &name, purpose, None).await?, path.clone()));
        }
        drop(place);
        let mut files = spec.files;
        files.extend(equipment.files(engine, run, kind).await?);
        let mut env = spec.env;
        env.extend(equipment.environment());
        let mut memory_bytes = spec.memory_bytes + equipment.data_bytes_max.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or_default();
        let identity = shared.authority.issue_node(&name, spec.seat.address)?;
        files.push(("/dora/tls/ca.crt".into(), shared.authority.certificate().as_bytes().to_vec(), 0o644));
        files.push(("/dora/tls/node.crt".into(), identity.certificate.as_bytes().to_vec(), 0o644));
        files.push(("/dora/tls/node.key".into(), identity.key.as_bytes().to_vec(), 0o600));
        files.push(("/dora/tls/node.pem".into(), format!("{}{}", identity.certificate, identity.key).into_bytes(), 0o600));
        files.push(("/dora/bin/run.sh".into(), assets::text("config/common/run.sh")?.as_bytes().to_vec(), 0o755));
        let (mut capabilities, mut devices) = (spec.capabilities, Vec::new());
        if let Some(opening) = &opening {
            files.extend(opening.files()?);
            env.push(opening.environment());
            capabilities.extend(opening.capabilities());
            devices = opening.devices();
            memory_bytes += opening.memory_bytes();
        }
        let member = MemberSpec {
            run,
            kind,
            node: &name,
            image: &image,
            holder: &holder,
            user: &spec.user,
            files,
            env,
            volumes: volumes.clone(),
            capabilities,
            devices,
            memory_bytes,
            rank,
            loads_for: spec.loads_for,
        };
        let key = async {
            match &opening {
                Some(opening) => opening.hand_over(engine, &name, &holder).await,
                None => Ok(()),
            }
        };
        let (container, key) = tokio::join!(shared.boot.phase(&name, "start", None, engine.start_member(member)), key);
        let container = container?;
        key?;
        Ok(Node::attach(
            engine,
            NodeRecord {
                name,
                cluster: spec.cluster,
                role: spec.role,
                image: spec.image,
                reference: image,
                address: spec.seat.address,
                holder,
                container,
                user: spec.user,
                memory_bytes,
                volumes: volumes.into_iter().map(|(volume, _)| volume).collect(),
                protection: opening.map(|opening| opening.protection),
            },
        ))
    }

    /// Why a node that holds data has them in the clear; [`None`] where nothing stands against encryption, or where there are none.
    fn in_the_clear(&self, spec: &PodSpec, is_replaced: bool, equipment: &Equipment) -> Option<String> {
        let (volumes, node) = (self.volumes(), &spec.seat.name);
        if volumes.plan_of(node, &spec.cluster, &spec.role) == VolumePlan::Plain {
            return None;
        }
        let why = if equipment.data_bytes_max.is_some() {
            "it is equipped with a data directory in memory, which is on no disk".to_owned()
        } else if is_replaced {
            "it runs the user's own image, which brings nothing that opens an encrypted volume".to_owned()
        } else if volumes.choice().provider().is_none() {
            volumes.choice().sentence()
        } else {
            return None;
        };
        self.except(Exception {
            place: node.clone(),
            clause: "SEC-REST".into(),
            what: "a data directory in the clear".into(),
            why: why.clone(),
        });
        Some(why)
    }

    /// Starts a pod without a database, and a TLS prober in it.
    ///
    /// # Errors
    /// [`GroundError`].
    pub async fn prober(&self) -> Result<TlsProber, GroundError> {
        Ok(TlsProber::new(self.bare_pod("prober").await?))
    }

    /// Starts a pod without a database.
    ///
    /// # Errors
    /// [`GroundError`].
    pub async fn bare_pod(&self, name: &str) -> Result<Node, GroundError> {
        self.pod_on(&self.inner.network, name, Vec::new(), false).await
    }

    /// Starts a pod without a database on one of the run's networks, with volumes (name, path); one that `forwards` leads packets from one
    /// of its legs to another.
    ///
    /// # Errors
    /// [`GroundError`].
    pub(crate) async fn pod_on(
        &self,
        network: &RunNetwork,
        name: &str,
        volumes: Vec<(String, String)>,
        forwards: bool,
    ) -> Result<Node, GroundError> {
        let seat = Seat { name: name.to_owned(), address: network.next_address()? };
        let kept = volumes.iter().map(|(volume, _)| volume.clone()).collect();
        let before = self.starts.note(name, Progress::Begun);
        let started = {
            let _place = self.inner.engine.start_place(start_order::rank("base")).await;
            self.holder(network, &seat, &[], volumes, forwards).await
        };
        let holder = match started {
            Ok(holder) => holder,
            Err(error) => return Err(self.undone(name, before, error).await),
        };
        self.starts.note(name, Progress::Pod);
        let base = self.inner.options.images.get("base")?;
        let record = NodeRecord {
            name: seat.name,
            cluster: "harness".into(),
            role: name.to_owned(),
            image: base.name.clone(),
            reference: base.reference.clone(),
            address: seat.address,
            holder,
            container: String::new(),
            user: "root".into(),
            memory_bytes: 64 << 20,
            volumes: kept,
            protection: None,
        };
        Ok(Node::attach(&self.inner.engine, record))
    }

    async fn holder(
        &self,
        network: &RunNetwork,
        seat: &Seat,
        hosts: &[(String, Ipv4Addr)],
        volumes: Vec<(String, String)>,
        forwards: bool,
    ) -> Result<String, GroundError> {
        let shared = &self.inner;
        let image = &shared.options.images.get("base")?.reference;
        let spec = HolderSpec {
            run: &shared.options.run,
            kind: shared.options.kind,
            node: &seat.name,
            image,
            network: &network.name,
            address: seat.address,
            hosts: hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect(),
            volumes,
            forwards,
        };
        Ok(shared.boot.phase(&seat.name, "pod", None, shared.engine.start_holder(spec)).await?)
    }
}

//! A directory, and a Neo4j server that takes its accounts from it: started for one trial, beside the cluster, and removed after it.

use std::time::Duration;

use dora_fixtures::assets;
use dora_harness::{
    database::neo4j::cluster_users,
    patience::within,
    security::{Secret, generate_secret},
    topology::{Ground, Node, PodSpec, Seat},
};
use serde_json::json;

use super::endpoint::{Endpoint, Outcome, question};
use crate::ScenarioError;

/// LDAP over TLS, unprivileged.
pub const LDAPS: u16 = 1636;
const DIRECTORY_BYTES: i64 = 128 << 20;
const SERVER_BYTES: i64 = 900 << 20;
const DIRECTORY_LIMIT: Duration = Duration::from_secs(30);
const SERVER_LIMIT: Duration = Duration::from_secs(120);
const CHANGE_LIMIT: Duration = Duration::from_secs(15);

/// What is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// The directory takes binds without a password.
    AnonymousBind,
    /// The readers' group gives the role of administrators, and the other way round.
    SwappedGroups,
    /// The server remembers for ten minutes what a person may do.
    LongMemory,
    /// The server takes native accounts, too.
    NativeAccounts,
}

/// The passwords of the people in people.ldif.
#[derive(Debug, Clone)]
pub struct People {
    /// `rita`, of the group readers.
    pub reader: Secret,
    /// `ada`, of the group admins.
    pub admin: Secret,
    /// `otto`, of no group.
    pub outsider: Secret,
}

/// Both pods.
#[derive(Debug)]
pub struct Pods {
    /// The directory.
    pub directory: Node,
    /// The server.
    pub server: Node,
    /// Who is in the directory.
    pub people: People,
    /// The password of the native account in the server's own file, which it is not to read.
    pub native: Secret,
    authority: String,
}

impl Pods {
    /// Starts both and returns when a person of the directory can log in at the server.
    ///
    /// # Errors
    /// [`ScenarioError`]; what had been started is removed then.
    pub async fn start(ground: &Ground, defect: Option<Defect>) -> Result<Self, ScenarioError> {
        let seats = ground.seats(&["directory".to_owned(), "neo-directory".to_owned()])?;
        let secrets = [(); 2].map(|()| generate_secret());
        let [operator, lookup] = &secrets;
        let people = People { reader: generate_secret(), admin: generate_secret(), outsider: generate_secret() };
        let native = generate_secret();
        let directory = ground.start(directory(&seats, operator, lookup, &people, defect)?).await?;
        let server = match ground.start(server(&seats, lookup, &native, defect)?).await {
            Ok(server) => server,
            Err(error) => {
                // The start's own error is the one to tell.
                let _ = directory.destroy().await;
                return Err(error.into());
            }
        };
        let pods = Self { directory, server, people, native, authority: ground.authority().certificate().to_owned() };
        match pods.wait().await {
            Ok(()) => Ok(pods),
            Err(error) => {
                let _ = pods.destroy().await;
                Err(error)
            }
        }
    }

    async fn wait(&self) -> Result<(), ScenarioError> {
        self.directory_serves().await?;
        self.change("people.ldif").await?;
        let login = question("login")?;
        within("a login from the directory", SERVER_LIMIT, Duration::from_millis(500), || async {
            match self.endpoint(Some(("rita", &self.people.reader)))?.run(login).await {
                Outcome::Done(_) => Ok(()),
                Outcome::Refused { code, message } => Err(format!("{code}: {message}")),
                Outcome::Broken(words) => Err(words),
            }
        })
        .await?;
        Ok(())
    }

    /// Waits for the directory's port.
    ///
    /// # Errors
    /// [`ScenarioError::Deadline`].
    pub async fn directory_serves(&self) -> Result<(), ScenarioError> {
        within("the directory", DIRECTORY_LIMIT, Duration::from_millis(100), || async {
            if self.directory.accepts(LDAPS).await { Ok(()) } else { Err("the port refuses") }
        })
        .await?;
        Ok(())
    }

    /// Applies one of the directory's files of changes.
    ///
    /// # Errors
    /// [`ScenarioError::Engine`] with the tool's words.
    pub async fn change(&self, file: &str) -> Result<(), ScenarioError> {
        let path = format!("/dora/config/{file}");
        self.directory.exec_ok(&["sh", "/dora/config/change.sh", &path], &[], CHANGE_LIMIT).await?;
        Ok(())
    }

    /// A client of the server.
    ///
    /// # Errors
    /// In words.
    pub fn endpoint(&self, account: Option<(&str, &Secret)>) -> Result<Endpoint, String> {
        Endpoint::new(&self.server, &self.authority, account)
    }

    /// Removes both.
    ///
    /// # Errors
    /// [`ScenarioError::Engine`].
    pub async fn destroy(&self) -> Result<(), ScenarioError> {
        let (server, directory) = tokio::join!(self.server.destroy(), self.directory.destroy());
        server?;
        directory?;
        Ok(())
    }
}

fn pod(seat: &Seat, seats: &[Seat], image: &str, user: &str, memory_bytes: i64, files: Vec<(String, Vec<u8>, u32)>) -> PodSpec {
    PodSpec {
        seat: seat.clone(),
        cluster: "neo4j-directory".into(),
        role: seat.name.clone(),
        image: image.into(),
        user: user.into(),
        hosts: seats.iter().map(|seat| (seat.name.clone(), seat.address)).collect(),
        files,
        env: Vec::new(),
        capabilities: Vec::new(),
        volumes: Vec::new(),
        memory_bytes,
        loads_for: Duration::ZERO,
    }
}

fn directory(
    seats: &[Seat],
    operator: &Secret,
    lookup: &Secret,
    people: &People,
    defect: Option<Defect>,
) -> Result<PodSpec, ScenarioError> {
    let settings = json!({ "operator_password": operator, "anonymous": defect == Some(Defect::AnonymousBind) });
    let entries = json!({
        "lookup_password": lookup, "reader_password": people.reader, "admin_password": people.admin, "outsider_password": people.outsider,
    });
    let config = |name: &str, content: String| (format!("/dora/config/{name}"), content.into_bytes(), 0o600);
    let text = |name: &str| assets::text(&format!("config/openldap/{name}")).map(ToOwned::to_owned);
    let files = vec![
        config("slapd.conf", assets::render("config/openldap/slapd.conf.j2", settings)?),
        config("people.ldif", assets::render("config/openldap/people.ldif.j2", entries)?),
        config("operator", operator.reveal().to_owned()),
        config("change.sh", text("change.sh")?),
        config("join-admins.ldif", text("join-admins.ldif")?),
        config("leave-readers.ldif", text("leave-readers.ldif")?),
        ("/dora/bin/start.sh".into(), text("start.sh")?.into_bytes(), 0o755),
    ];
    Ok(pod(&seats[0], seats, "openldap", "openldap", DIRECTORY_BYTES, files))
}

fn server(seats: &[Seat], lookup: &Secret, native: &Secret, defect: Option<Defect>) -> Result<PodSpec, ScenarioError> {
    let (admins, readers) = if defect == Some(Defect::SwappedGroups) { ("readers", "admins") } else { ("admins", "readers") };
    let settings = json!({
        "address": seats[1].address, "heap": "128m", "page_cache": "16m", "directory": seats[0].address, "lookup_password": lookup,
        "admin_group": admins, "reader_group": readers, "memory": if defect == Some(Defect::LongMemory) { "10m" } else { "0" },
        "native": defect == Some(Defect::NativeAccounts),
    });
    let files = vec![
        ("/dora/config/neo4j.conf".into(), assets::render("config/neo4j-directory/neo4j.conf.j2", settings)?.into_bytes(), 0o600),
        ("/dora/config/auth.ini".into(), cluster_users(native)?.into_bytes(), 0o600),
        ("/dora/bin/start.sh".into(), assets::bytes("config/neo4j-directory/start.sh")?.to_vec(), 0o755),
    ];
    Ok(pod(&seats[1], seats, "neo4j-cluster", "neo4j", SERVER_BYTES, files))
}

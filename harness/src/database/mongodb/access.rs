//! How clients reach a replica set: TLS, login, no retries.

use std::{
    fs::OpenOptions,
    io::Write as _,
    net::SocketAddr,
    ops::Deref,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use mongodb::{
    Client,
    bson::Document,
    error::{Error, ErrorKind},
    event::{EventHandler, sdam::SdamEvent},
    options::{AuthMechanism, ClientOptions, Credential, ServerAddress, Tls, TlsOptions},
};

use tokio::sync::mpsc;

use super::error::limited;
use crate::security::{Identity, Secret, generate_secret, install_provider};

/// A connection attempt that takes longer failed; also how long a monitor waits for a silent server.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// How often a client of the whole set asks every member for its role: this finds the new primary.
const SET_HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// The same for a client of one member, which nothing depends on: a waiting request asks at once.
const MEMBER_HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// PEM for the driver, which takes paths only. The file has no name any more when it is filled: nothing is left behind, whatever
/// happens to the process, and nobody else can open a key.
#[derive(Debug)]
struct NamelessFile(std::fs::File);

impl NamelessFile {
    fn holding(content: &str) -> std::io::Result<Arc<Self>> {
        let path = std::env::temp_dir().join(format!("dora-{}", generate_secret().reveal()));
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        std::fs::remove_file(&path)?;
        file.write_all(content.as_bytes())?;
        Ok(Arc::new(Self(file)))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Whom a client trusts and who it is.
#[derive(Debug, Clone)]
pub struct Access {
    authority: Arc<NamelessFile>,
    identity: Option<Arc<NamelessFile>>,
    login: Option<(String, Secret)>,
}

/// Where a client connects to.
#[derive(Debug, Clone)]
pub enum Reach {
    /// One member, whatever its role.
    Member(SocketAddr),
    /// The set of that name, found through these members.
    Set(String, Vec<SocketAddr>),
}

impl Access {
    /// Trusts that authority and is nobody: enough to ask a member for its role.
    ///
    /// # Errors
    /// The operating system's, when the certificate cannot be put where the driver reads it.
    pub fn anonymous(authority: &str) -> Result<Self, Error> {
        install_provider();
        Ok(Self { authority: NamelessFile::holding(authority)?, identity: None, login: None })
    }

    /// The same, logging in with SCRAM-SHA-256.
    #[must_use]
    pub fn with_password(&self, user: &str, password: &Secret) -> Self {
        Self { login: Some((user.to_owned(), password.clone())), ..self.clone() }
    }

    /// The same, logging in with a certificate.
    ///
    /// # Errors
    /// As [`Access::anonymous`].
    pub fn with_identity(&self, identity: &Identity) -> Result<Self, Error> {
        let pem = format!("{}{}", identity.certificate, identity.key);
        Ok(Self { identity: Some(NamelessFile::holding(&pem)?), ..self.clone() })
    }

    fn credential(&self) -> Option<Credential> {
        if let Some((user, password)) = &self.login {
            let builder = Credential::builder().mechanism(AuthMechanism::ScramSha256).source("admin".to_owned());
            return Some(builder.username(user.clone()).password(password.reveal().to_owned()).build());
        }
        self.identity.as_ref().map(|_| Credential::builder().mechanism(AuthMechanism::MongoDbX509).build())
    }

    /// Asks one member one thing. Unlike a client in operation it takes the first refused connection for an answer and does not try
    /// again: that answer is what is wanted.
    ///
    /// # Errors
    /// The driver's words.
    pub async fn ask(&self, member: SocketAddr, command: Document, limit: Duration) -> Result<(), String> {
        let mut options = self.options(&Reach::Member(member), limit);
        ask(&mut options, command, limit).await
    }

    fn options(&self, reach: &Reach, selection: Duration) -> ClientOptions {
        let mut tls = TlsOptions::builder().ca_file_path(self.authority.path()).build();
        tls.cert_key_file_path = self.identity.as_ref().map(|file| file.path());
        let mut options = options(reach, selection);
        options.tls = Some(Tls::Enabled(tls));
        options.credential = self.credential();
        options
    }

    /// A client over TLS that verifies chain and address, and waits at most `selection` for a server that may take the request.
    ///
    /// # Errors
    /// The driver's, for unusable material. It connects when it is first used.
    pub fn open(&self, reach: &Reach, selection: Duration) -> Result<Connection, Error> {
        self.open_with(reach, selection, |_options| {})
    }

    /// As [`Access::open`], with further options of the driver.
    ///
    /// # Errors
    /// As [`Access::open`].
    pub fn open_with(&self, reach: &Reach, selection: Duration, tune: impl FnOnce(&mut ClientOptions)) -> Result<Connection, Error> {
        let mut options = self.options(reach, selection);
        tune(&mut options);
        Ok(Connection { client: Client::with_options(options)?, _access: self.clone() })
    }
}

/// As [`Access::ask`], without TLS and login, which every member must refuse.
///
/// # Errors
/// The driver's words.
pub async fn ask_in_plaintext(member: SocketAddr, command: Document, limit: Duration) -> Result<(), String> {
    let mut options = options(&Reach::Member(member), limit);
    options.tls = Some(Tls::Disabled);
    ask(&mut options, command, limit).await
}

async fn ask(options: &mut ClientOptions, command: Document, limit: Duration) -> Result<(), String> {
    let (refused, mut refusal) = mpsc::channel::<String>(1);
    options.sdam_event_handler = Some(EventHandler::callback(move |event| {
        // A slow machine's time-out is no refusal: the driver may try again until the limit.
        if let SdamEvent::ServerHeartbeatFailed(failed) = event
            && !matches!(&*failed.failure.kind, ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::TimedOut)
        {
            // A full channel holds an earlier refusal already.
            let _ = refused.try_send(failed.failure.to_string());
        }
    }));
    let client = Client::with_options(options.clone()).map_err(|error| error.to_string())?;
    let database = client.database("admin");
    tokio::select! {
        answer = limited("ask", limit, database.run_command(command)) => answer.map(|_document| ()).map_err(|error| error.to_string()),
        Some(refusal) = refusal.recv() => Err(refusal),
    }
}

fn options(reach: &Reach, selection: Duration) -> ClientOptions {
    let host = |address: &SocketAddr| ServerAddress::Tcp { host: address.ip().to_string(), port: Some(address.port()) };
    let (hosts, set, heartbeat_every) = match reach {
        Reach::Member(address) => (vec![host(address)], None, MEMBER_HEARTBEAT_EVERY),
        Reach::Set(name, addresses) => (addresses.iter().map(host).collect(), Some(name.clone()), SET_HEARTBEAT_EVERY),
    };
    // A retry behind the recorder's back would hide an outage, or write twice.
    let mut options = ClientOptions::builder().hosts(hosts).retry_reads(false).retry_writes(false).build();
    options.direct_connection = Some(set.is_none());
    options.repl_set_name = set;
    options.connect_timeout = Some(CONNECT_LIMIT);
    options.heartbeat_freq = Some(heartbeat_every);
    options.server_selection_timeout = Some(crate::patience::stretched(selection));
    options
}

/// A client together with the files that it may read again whenever it meets a new member.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Client,
    _access: Access,
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

//! Logins of people whom only the directory knows, and what the server makes of their groups.

use std::time::Duration;

use async_trait::async_trait;
use dora_harness::{
    database::neo4j::USER,
    security::{Handshake, Secret, StartTls, TlsProber, TlsVersion, generate_secret},
};

use super::{
    directory_pods::{Defect, LDAPS, Pods},
    endpoint::{Outcome, question},
};
use crate::{
    ScenarioError, Trial,
    security::identity::{Attempted, Check, Gate, Login, mechanism},
};

const SEARCH_LIMIT: Duration = Duration::from_secs(10);
/// Names of questions.
const LOGIN: &str = "login";
const READ: &str = "read";
const WRITE: &str = "write";
const PLACE: &str = "neo-directory";

/// Starts both pods, tries every way in, and removes them.
///
/// # Errors
/// [`ScenarioError`].
pub async fn directory(trial: &Trial) -> Result<(), ScenarioError> {
    let prober = trial.platform().prober(trial.ground()).await?;
    let defect = match trial.sabotage.map(|sabotage| sabotage.id) {
        Some("anonymous-bind") => Some(Defect::AnonymousBind),
        Some("groups-swapped") => Some(Defect::SwappedGroups),
        Some("groups-remembered") => Some(Defect::LongMemory),
        Some("native-accounts-too") => Some(Defect::NativeAccounts),
        _ => None,
    };
    let pods = Pods::start(trial.ground(), defect).await?;
    trial.note("phase", "the directory's people can log in");
    let gate = DirectoryGate { pods, prober, wrong: generate_secret() };
    let outcome = mechanism(trial, &gate).await;
    let removed = gate.pods.destroy().await;
    outcome.and(removed)
}

struct DirectoryGate {
    pods: Pods,
    prober: TlsProber,
    wrong: Secret,
}

fn check(way: &str, place: &str, expected: Login, observed: Login, finding: &'static str) -> Check {
    Check { way: way.to_owned(), place: place.to_owned(), expected, observed, finding }
}

impl DirectoryGate {
    async fn ask(&self, account: Option<(&str, &Secret)>, name: &str) -> Login {
        let outcome = match (question(name), self.pods.endpoint(account)) {
            (Ok(statement), Ok(endpoint)) => endpoint.run(statement).await,
            (Err(error), _) => Outcome::Broken(error.to_string()),
            (_, Err(reason)) => Outcome::Broken(reason),
        };
        match outcome {
            Outcome::Done(_) => Login::Accepted,
            Outcome::Refused { code, .. } if code.contains(".Security.") => Login::Refused,
            Outcome::Refused { code, message } => Login::Unclear(format!("{code}: {message}")),
            Outcome::Broken(words) => Login::Unclear(words),
        }
    }

    async fn logins(&self) -> Vec<Check> {
        let people = &self.pods.people;
        let empty = Secret::from(String::new());
        let tried = [
            ("right password", Some(("rita", &people.reader)), Login::Accepted, "right-password-refused"),
            ("wrong password", Some(("rita", &self.wrong)), Login::Refused, "wrong-password-accepted"),
            ("somebody else's password", Some(("rita", &people.admin)), Login::Refused, "wrong-password-accepted"),
            ("empty password", Some(("rita", &empty)), Login::Refused, "wrong-password-accepted"),
            ("unknown person", Some(("nobody", &self.wrong)), Login::Refused, "unknown-account-accepted"),
            ("native account", Some((USER, &self.pods.native)), Login::Refused, "native-account-accepted"),
            ("no login", None, Login::Refused, "login-not-needed"),
        ];
        let mut checks = Vec::new();
        for (way, account, expected, finding) in tried {
            checks.push(check(way, PLACE, expected, self.ask(account, LOGIN).await, finding));
        }
        checks
    }

    async fn roles(&self) -> Vec<Check> {
        let people = &self.pods.people;
        let tried = [
            ("reader reads", "rita", &people.reader, READ, Login::Accepted),
            ("reader writes", "rita", &people.reader, WRITE, Login::Refused),
            ("administrator writes", "ada", &people.admin, WRITE, Login::Accepted),
            ("person of no group reads", "otto", &people.outsider, READ, Login::Refused),
        ];
        let mut checks = Vec::new();
        for (way, name, password, asked, expected) in tried {
            checks.push(check(way, PLACE, expected, self.ask(Some((name, password)), asked).await, "wrong-role"));
        }
        checks
    }

    async fn group_changes(&self) -> Result<Vec<Check>, ScenarioError> {
        let rita = Some(("rita", &self.pods.people.reader));
        let mut checks = Vec::new();
        self.pods.change("join-admins.ldif").await?;
        checks.push(check(
            "reader who joined the administrators writes",
            PLACE,
            Login::Accepted,
            self.ask(rita, WRITE).await,
            "group-change-ignored",
        ));
        self.pods.change("leave-readers.ldif").await?;
        for (way, asked) in [("who left both groups writes", WRITE), ("who left both groups reads", READ)] {
            checks.push(check(way, PLACE, Login::Refused, self.ask(rita, asked).await, "group-change-ignored"));
        }
        Ok(checks)
    }

    async fn without_directory(&self) -> Result<Vec<Check>, ScenarioError> {
        let (ada, wrong) = (Some(("ada", &self.pods.people.admin)), Some(("ada", &self.wrong)));
        self.pods.directory.kill().await?;
        let mut checks = vec![
            check("directory down, right password", PLACE, Login::Refused, self.ask(ada, LOGIN).await, "login-without-directory"),
            check("directory down, wrong password", PLACE, Login::Refused, self.ask(wrong, LOGIN).await, "login-without-directory"),
        ];
        self.pods.directory.start().await?;
        self.pods.directory_serves().await?;
        checks.push(check("directory back, right password", PLACE, Login::Accepted, self.ask(ada, LOGIN).await, "right-password-refused"));
        Ok(checks)
    }

    /// The directory's own listener.
    async fn listener(&self) -> Result<Vec<Check>, ScenarioError> {
        let node = &self.pods.directory;
        let mut checks = Vec::new();
        for version in TlsVersion::ALL {
            let expected = if version == TlsVersion::V1_3 { Login::Accepted } else { Login::Refused };
            let observed = match self.prober.handshake(node.address(), LDAPS, StartTls::None, version).await? {
                Handshake::Accepted { .. } => Login::Accepted,
                Handshake::Refused { .. } => Login::Refused,
                Handshake::Unreachable { reason } => Login::Unclear(reason),
            };
            checks.push(check(&format!("LDAP over {}", version.name()), node.name(), expected, observed, "old-tls-accepted"));
        }
        let search =
            ["env", "LDAPTLS_CACERT=/dora/tls/ca.crt", "ldapsearch", "-H", "ldaps://127.0.0.1:1636", "-x", "-s", "base", "-b", "", "+"];
        let output = node.exec(&search, &[], SEARCH_LIMIT).await?;
        let observed = match output.code {
            0 => Login::Accepted,
            // inappropriateAuthentication (48), strongerAuthRequired (8).
            48 | 8 => Login::Refused,
            _ => Login::Unclear(output.stderr.trim().to_owned()),
        };
        checks.push(check("search without a name", node.name(), Login::Refused, observed, "anonymous-bind"));
        Ok(checks)
    }
}

#[async_trait]
impl Gate for DirectoryGate {
    async fn checks(&self) -> Result<Vec<Check>, ScenarioError> {
        let mut checks = self.logins().await;
        checks.extend(self.roles().await);
        checks.extend(self.listener().await?);
        checks.extend(self.group_changes().await?);
        checks.extend(self.without_directory().await?);
        Ok(checks)
    }

    async fn guess(&self, password: Attempted) -> Login {
        let secret = match password {
            Attempted::Wrong => &self.wrong,
            Attempted::Right => &self.pods.people.admin,
        };
        self.ask(Some(("ada", secret)), LOGIN).await
    }

    /// Both pods were started with the defect.
    async fn sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        Ok(())
    }

    /// It goes with the pods.
    async fn undo_sabotage(&self, _id: &str) -> Result<(), ScenarioError> {
        Ok(())
    }
}

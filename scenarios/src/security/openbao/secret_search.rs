//! Every secret of the run is searched for where none may be.

use std::{collections::BTreeMap, path::Path, time::Duration};

use dora_fixtures::assets;
use dora_harness::{
    security::{SecretSearch, known_secrets},
    topology::{Node, PodSpec},
};
use dora_reports::evidence::{Finding, NamedLimit, Register};

use super::parts::openbao;
use crate::{Database, Pillar, Sabotage, Scenario, ScenarioError, Trial};

const DECLARED: &str = "secret-in-declared-environment";
const ENVIRONMENT: &str = "secret-exported";
const ARGUMENT: &str = "secret-on-command-line";
const LOG: &str = "secret-in-log";
const IMAGE: &str = "secret-in-image-layer";
const BUNDLE: &str = "secret-in-bundle";

/// The scenario.
pub const SCENARIO: Scenario = Scenario {
    id: "security/openbao/secret-search",
    title: "No secret of the run stands in an environment, on a command line, in an image, a log or the bundle",
    pillar: Pillar::Security,
    database: Database::Openbao,
    clauses: &["SEC-KMS"],
    goal: "Every password, token, seal key and private key that this run generated is in none of the places that others than its owner can read.",
    method: &[
        "the harness notes each secret when it is generated or issued",
        "each is searched for in what the engine tells of every container of the run: environment, command, labels",
        "in the arguments of every process of every node, and in the environment of those that run as the database's user",
        "in configuration and history of every image of the run, and in the layers of each image that is younger than the oldest secret",
        "in everything that every container wrote to its output, and in every file of the bundle that is written so far",
    ],
    does_not_show: &[
        "arguments of processes that had ended when the search came by",
        "what is written into the bundle after this scenario",
        "configuration files inside the nodes, which hold what their owner needs and only the owner reads",
    ],
    needs_high_availability: false,
    deadline: Duration::from_secs(180),
    sabotages: &[
        Sabotage { id: DECLARED, what: "a container is started with a password among its variables", expects: "secret-in-declaration" },
        Sabotage { id: ENVIRONMENT, what: "a program exports a password to what it starts", expects: "secret-in-process-environment" },
        Sabotage { id: ARGUMENT, what: "a program is started with a password among its arguments", expects: "secret-in-process-arguments" },
        Sabotage { id: LOG, what: "a program writes a password into its log", expects: "secret-in-log" },
        Sabotage { id: IMAGE, what: "an image is made with a password in one of its layers", expects: "secret-in-image-layer" },
        Sabotage { id: BUNDLE, what: "a file of the bundle holds a password", expects: "secret-in-bundle" },
    ],
    run: |trial| Box::pin(run(trial)),
};

const LOOK_LIMIT: Duration = Duration::from_secs(20);
/// Lines of a log that are read; a container writes far less.
const LOG_LINES: usize = 1_000_000;
const LEAK: &str = "leak";

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    trial.promise_limits("no secret is found anywhere", vec![NamedLimit::at_most("secrets_found", 0.0, "places")]);
    // Without the key manager there would be neither token nor seal key to look for.
    openbao(trial).await?;
    let leak = plant(trial).await?;
    let outcome = search(trial).await;
    if let Some(leak) = leak {
        leak.destroy().await?;
        trial.ground().engine().remove_image(&format!("dora/{LEAK}:{}", trial.ground().run())).await?;
        let _ = std::fs::remove_file(leaked_file(trial));
    }
    outcome
}

fn leaked_file(trial: &Trial) -> std::path::PathBuf {
    trial.bundle().join("histories/leak.txt")
}

/// Starts a careless program, if this is a proof.
async fn plant(trial: &Trial) -> Result<Option<Node>, ScenarioError> {
    let Some(sabotage) = trial.sabotage else { return Ok(None) };
    let secret = known_secrets().into_iter().find(|known| known.kind == "a generated password");
    let secret = secret.ok_or_else(|| ScenarioError::Missing("this run has no generated password".into()))?.secret;
    let kind = match sabotage.id {
        ENVIRONMENT => "environment",
        ARGUMENT => "argument",
        LOG => "log",
        IMAGE => "image",
        _ => "none",
    };
    let env = if sabotage.id == DECLARED { vec![("PGPASSWORD".to_owned(), secret.reveal().to_owned())] } else { Vec::new() };
    let seat = trial.ground().seats(&[LEAK.to_owned()])?.remove(0);
    let spec = PodSpec {
        seat: seat.clone(),
        cluster: LEAK.into(),
        role: "careless program".into(),
        image: "base".into(),
        user: "nobody".into(),
        hosts: Vec::new(),
        files: vec![
            ("/dora/config/leak".into(), kind.as_bytes().to_vec(), 0o600),
            ("/dora/config/secret".into(), secret.reveal().as_bytes().to_vec(), 0o600),
            ("/dora/bin/start.sh".into(), assets::bytes("config/security/leak.sh")?.to_vec(), 0o755),
        ],
        env,
        capabilities: Vec::new(),
        volumes: Vec::new(),
        memory_bytes: 32 << 20,
    };
    let node = trial.ground().start(spec).await?;
    // Its first file is gone as soon as it is at work.
    dora_harness::patience::within("the careless program", LOOK_LIMIT, Duration::from_millis(200), || async {
        let gone = node.exec(&["test", "!", "-e", "/dora/config/secret"], &[], LOOK_LIMIT).await.map_err(|error| error.to_string())?;
        if gone.code == 0 { Ok(()) } else { Err("it has not begun".to_owned()) }
    })
    .await?;
    if sabotage.id == IMAGE {
        node.commit(&format!("dora/{LEAK}"), trial.ground().run().as_str()).await?;
    }
    if sabotage.id == BUNDLE {
        let written = std::fs::write(leaked_file(trial), secret.reveal());
        written.map_err(|error| ScenarioError::client("plant a file in the bundle", error))?;
    }
    Ok(Some(node))
}

/// What was looked at, and what was found there.
struct Search<'a> {
    trial: &'a Trial,
    secrets: SecretSearch,
    /// Places and bytes by kind of place.
    looked: BTreeMap<&'static str, (u64, u64)>,
    found: u64,
}

async fn search(trial: &Trial) -> Result<(), ScenarioError> {
    let mut search = Search { trial, secrets: SecretSearch::new(known_secrets()), looked: BTreeMap::new(), found: 0 };
    search.declarations().await?;
    search.processes().await?;
    search.logs().await?;
    search.files(trial.bundle())?;
    search.report();
    Ok(())
}

impl Search<'_> {
    fn look(&mut self, kind: &'static str, finding: &str, place: &str, text: &[u8]) {
        let looked = self.looked.entry(kind).or_default();
        *looked = (looked.0 + 1, looked.1 + text.len() as u64);
        for at in self.secrets.find(text) {
            self.tell(finding, place, at);
        }
    }

    /// What was found is told by its kind, never by itself.
    fn tell(&mut self, finding: &str, place: &str, at: usize) {
        self.found += 1;
        let kind = self.secrets.secrets()[at].kind;
        self.trial.find(Finding::violation(finding, format!("{kind} stands in {place}")));
    }

    async fn declarations(&mut self) -> Result<(), ScenarioError> {
        let (engine, run) = (self.trial.ground().engine().clone(), self.trial.ground().run().clone());
        let containers = engine.declared_containers(&run).await?;
        let mut images: Vec<String> = containers.iter().map(|container| container.image.clone()).collect();
        images.extend(engine.images_of_run(&run).await?);
        images.sort_unstable();
        images.dedup();
        for container in containers {
            let place = format!("what the engine tells of {}", container.name);
            self.look("container declarations", "secret-in-declaration", &place, container.declaration.as_bytes());
        }
        let oldest = self.secrets.secrets().iter().map(|known| known.since).min();
        for reference in images {
            let image = engine.declared_image(&reference).await?;
            self.look(
                "image configurations and histories",
                "secret-in-image",
                &format!("the history of {reference}"),
                image.declaration.as_bytes(),
            );
            // What was made before there was a secret cannot hold one.
            if image.created.zip(oldest).is_some_and(|(created, oldest)| created < oldest) {
                self.looked.entry("images older than every secret").or_default().0 += 1;
                continue;
            }
            self.looked.entry("images whose layers were read").or_default().0 += 1;
            for at in engine.search_image(&reference, &self.secrets).await? {
                self.tell("secret-in-image-layer", &format!("a layer of {reference}"), at);
            }
        }
        Ok(())
    }

    async fn processes(&mut self) -> Result<(), ScenarioError> {
        let script = assets::bytes("config/security/process-words.sh")?;
        for node in self.live().await? {
            let name = node.name().to_owned();
            // As the database's user: root without further capabilities may not read the environment of others.
            let words = node.exec(&["sh", "-s"], script, LOOK_LIMIT).await?;
            if !words.stdout.contains("== 1 cmdline") {
                self.trial.find(Finding::unconfirmed("processes-not-seen", format!("the processes of {name} could not be listed")));
            }
            for part in words.stdout.split("== ").skip(1) {
                let (head, text) = part.split_once('\n').unwrap_or((part, ""));
                let (pid, kind) = head.split_once(' ').unwrap_or((head, ""));
                let place = format!("process {pid} of {name}");
                if kind == "environ" {
                    self.look(
                        "process environments",
                        "secret-in-process-environment",
                        &format!("the environment of {place}"),
                        text.as_bytes(),
                    );
                } else {
                    self.look("process arguments", "secret-in-process-arguments", &format!("the arguments of {place}"), text.as_bytes());
                }
            }
        }
        Ok(())
    }

    async fn logs(&mut self) -> Result<(), ScenarioError> {
        for node in self.live().await? {
            let text = node.logs(LOG_LINES).await?.join("\n");
            self.look("container logs", "secret-in-log", &format!("the log of {}", node.name()), text.as_bytes());
        }
        Ok(())
    }

    /// Nodes with something in them that runs.
    async fn live(&self) -> Result<Vec<Node>, ScenarioError> {
        let mut live = Vec::new();
        for node in self.trial.ground().nodes() {
            // One that was destroyed is not there to be asked.
            if node.has_database() && node.state().await.is_ok_and(|state| state.running && !state.paused) {
                live.push(node);
            }
        }
        Ok(live)
    }

    fn files(&mut self, folder: &Path) -> Result<(), ScenarioError> {
        let failed = |error: std::io::Error| ScenarioError::client("read the bundle", error);
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                self.files(&path)?;
            } else {
                let content = std::fs::read(&path).map_err(failed)?;
                let name = path.strip_prefix(self.trial.bundle()).unwrap_or(&path).display().to_string();
                self.look("bundle files", "secret-in-bundle", &format!("{name} of the bundle"), &content);
            }
        }
        Ok(())
    }

    fn report(&self) {
        let trial = self.trial;
        trial.measure("secrets_found", Some(self.found as f64), "places");
        trial.measure("secrets_searched_for", Some(self.secrets.secrets().len() as f64), "secrets");
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for known in self.secrets.secrets() {
            *kinds.entry(known.kind).or_default() += 1;
        }
        let rows = |counts: Vec<(String, String, String)>| counts.into_iter().map(|(a, b, c)| vec![a, b, c]).collect();
        trial.register(Register {
            title: "What was searched for".into(),
            columns: vec!["Kind of secret".into(), "How many".into()],
            rows: kinds.into_iter().map(|(kind, count)| vec![kind.to_owned(), count.to_string()]).collect(),
        });
        trial.register(Register {
            title: "Where it was searched for".into(),
            columns: vec!["Kind of place".into(), "Places".into(), "Bytes".into()],
            rows: rows(
                self.looked.iter().map(|(kind, (places, bytes))| ((*kind).to_owned(), places.to_string(), bytes.to_string())).collect(),
            ),
        });
    }
}

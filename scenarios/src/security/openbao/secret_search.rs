//! Every secret of the run is searched for where none may be.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use dora_fixtures::assets;
use dora_harness::{
    engine::DeclaredContainer,
    patience::within,
    security::{SecretSearch, generate_secret, known_secrets},
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
        "in arguments and environment of every process of every node that runs; without any that could be read nothing is decided",
        "in configuration and history of every image of the run, and in the layers of each image that is younger than the oldest secret",
        "in everything that every container, stopped and frozen ones included, wrote to its output, and in every file of the bundle so far",
        "keys are searched for as bytes, in hexadecimal and in base 64",
    ],
    does_not_show: &[
        "arguments of processes that had ended when the search came by, or are frozen (how many nodes were left out is in the register)",
        "layers that the engine keeps compressed: where there are any, this scenario cannot be decided",
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
const LEAK: &str = "leak";
/// A kind of place that must not be empty.
const ENVIRONMENTS: &str = "process environments";

async fn run(trial: &Trial) -> Result<(), ScenarioError> {
    trial.promise_limits("no secret is found anywhere", vec![NamedLimit::at_most("secrets_found", 0.0, "places")]);
    // Without the key manager there would be neither token nor seal key to look for.
    openbao(trial).await?;
    let Some(sabotage) = trial.sabotage else { return search(trial).await };
    let file = LeakedFile(trial.bundle().join("histories/leak.txt"));
    let outcome = match plant(trial, sabotage, &file).await {
        Ok(()) => search(trial).await,
        Err(error) => Err(error),
    };
    outcome.and(clear(trial).await)
}

/// The file that a proof leaves in the bundle. However the proof ends, also at its deadline, the file goes with this.
struct LeakedFile(PathBuf);

impl Drop for LeakedFile {
    fn drop(&mut self) {
        // As a rule none was written. What is in it opens nothing.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Starts a careless program. What it leaks is a password made for it, which opens nothing.
async fn plant(trial: &Trial, sabotage: &Sabotage, file: &LeakedFile) -> Result<(), ScenarioError> {
    let secret = generate_secret();
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
        loads_for: Duration::ZERO,
    };
    let node = trial.ground().start(spec).await?;
    // Its first file is gone as soon as it is at work.
    within("the careless program", LOOK_LIMIT, Duration::from_millis(200), || async {
        let gone = node.exec(&["test", "!", "-e", "/dora/config/secret"], &[], LOOK_LIMIT).await.map_err(|error| error.to_string())?;
        if gone.code == 0 { Ok(()) } else { Err("it has not begun".to_owned()) }
    })
    .await?;
    if sabotage.id == IMAGE {
        node.commit(&format!("dora/{LEAK}"), trial.ground().run().as_str()).await?;
    }
    if sabotage.id == BUNDLE {
        let written = std::fs::write(&file.0, secret.reveal());
        written.map_err(|error| ScenarioError::client("plant a file in the bundle", error))?;
    }
    Ok(())
}

/// Removes the careless program, however far it came, and the image that was made of it.
async fn clear(trial: &Trial) -> Result<(), ScenarioError> {
    let ground = trial.ground();
    let mut outcomes: Vec<Result<(), ScenarioError>> = Vec::new();
    // Those of former proofs of the same run are gone, and stay so.
    for node in ground.nodes().iter().filter(|node| node.name() == LEAK) {
        outcomes.push(node.destroy().await.map_err(Into::into));
    }
    outcomes.push(ground.engine().remove_image(&format!("dora/{LEAK}:{}", ground.run())).await.map_err(Into::into));
    outcomes.into_iter().collect()
}

/// What the processes of a node were started with, by number and kind (`cmdline`, `environ`); [`None`] where the reader may not read it.
#[derive(Debug, PartialEq, Eq)]
struct Words(BTreeMap<(u32, String), Option<String>>);

impl Words {
    /// As `process-words.sh` prints them.
    fn of(printed: &str) -> Self {
        let mut words: BTreeMap<(u32, String), Option<String>> = BTreeMap::new();
        let mut current = None;
        for line in printed.lines() {
            if let Some((pid, kind, is_read)) = heading(line) {
                words.entry((pid, kind.to_owned())).or_insert_with(|| is_read.then(String::new));
                current = Some((pid, kind.to_owned()));
            } else if let Some(Some(text)) = current.as_ref().and_then(|process| words.get_mut(process)) {
                text.push_str(line);
                text.push('\n');
            }
        }
        Self(words)
    }

    /// Whether the first process is among them, without which there is no container.
    fn lists_processes(&self) -> bool {
        self.0.keys().any(|(pid, _kind)| *pid == 1)
    }

    fn unread(&self) -> Vec<&(u32, String)> {
        self.0.iter().filter(|(_process, text)| text.is_none()).map(|(process, _text)| process).collect()
    }

    fn read(&self) -> impl Iterator<Item = (&(u32, String), &str)> {
        self.0.iter().filter_map(|(process, text)| Some((process, text.as_deref()?)))
    }

    /// What could not be read is taken from another reader, who came later: a process that he does not list has ended. One who lists none
    /// knows nothing.
    fn or(self, other: &Self) -> Self {
        if !other.lists_processes() {
            return self;
        }
        let mut words = self.0;
        words.retain(|process, text| text.is_some() || other.0.contains_key(process));
        for (process, text) in &mut words {
            if text.is_none() {
                *text = other.0.get(process).cloned().flatten();
            }
        }
        Self(words)
    }
}

/// Number, kind and whether words follow, of a line `== NUMBER KIND` or `== NUMBER KIND unread`.
fn heading(line: &str) -> Option<(u32, &str, bool)> {
    let (pid, rest) = line.strip_prefix("== ")?.split_once(' ')?;
    let (kind, is_read) = rest.strip_suffix(" unread").map_or((rest, true), |kind| (kind, false));
    ["cmdline", "environ"].contains(&kind).then_some((pid.parse().ok()?, kind, is_read))
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
    let containers = trial.ground().engine().declared_containers(trial.ground().run()).await?;
    search.declarations(&containers).await?;
    search.processes().await?;
    search.logs(&containers).await;
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

    async fn declarations(&mut self, containers: &[DeclaredContainer]) -> Result<(), ScenarioError> {
        let (engine, run) = (self.trial.ground().engine().clone(), self.trial.ground().run().clone());
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
            let image = engine.search_image(&reference, &self.secrets).await?;
            for at in image.found {
                self.tell("secret-in-image-layer", &format!("a layer of {reference}"), at);
            }
            if let Some(first) = image.compressed.first() {
                let count = image.compressed.len();
                let message =
                    format!("{count} layers of {reference} are compressed, so that nothing can be found in them; the first is {first}");
                self.trial.find(Finding::unconfirmed("layers-compressed", message));
            }
        }
        Ok(())
    }

    async fn processes(&mut self) -> Result<(), ScenarioError> {
        let script = assets::bytes("config/security/process-words.sh")?;
        for node in self.live().await {
            let name = node.name().to_owned();
            // As the database's user: root without further capabilities may not read the environment of others.
            let mut words = Words::of(&node.exec(&["sh", "-s"], script, LOOK_LIMIT).await?.stdout);
            if words.lists_processes() && !words.unread().is_empty() {
                words = words.or(&Words::of(&node.exec_as_root(&["sh", "-s"], script, LOOK_LIMIT).await?.stdout));
            }
            if !words.lists_processes() {
                self.trial.find(Finding::unconfirmed("processes-not-seen", format!("the processes of {name} could not be listed")));
            }
            if let Some((pid, kind)) = words.unread().first() {
                let count = words.unread().len();
                let message = format!(
                    "{count} texts of processes of {name} could be read neither by its user nor by root; the first is {kind} of process {pid}"
                );
                self.trial.find(Finding::unconfirmed("process-unread", message));
            }
            for ((pid, kind), text) in words.read() {
                let place = format!("process {pid} of {name}");
                if kind == "environ" {
                    self.look(ENVIRONMENTS, "secret-in-process-environment", &format!("the environment of {place}"), text.as_bytes());
                } else {
                    self.look("process arguments", "secret-in-process-arguments", &format!("the arguments of {place}"), text.as_bytes());
                }
            }
        }
        Ok(())
    }

    /// The engine keeps a log as long as its container, whether that runs or not.
    async fn logs(&mut self, containers: &[DeclaredContainer]) {
        let engine = self.trial.ground().engine().clone();
        for container in containers {
            match engine.declared_log(container).await {
                Ok(Some(log)) => self.look("container logs", "secret-in-log", &format!("the log of {}", container.name), &log),
                // It was removed since it was listed.
                Ok(None) => {}
                Err(error) => {
                    let message = format!("the log of {} could not be read: {error}", container.name);
                    self.trial.find(Finding::unconfirmed("log-unread", message));
                }
            }
        }
    }

    /// Nodes with something in them that runs. Those that are stopped or frozen are counted: the register says how many were left out.
    async fn live(&mut self) -> Vec<Node> {
        let mut live = Vec::new();
        for node in self.trial.ground().nodes().into_iter().filter(Node::has_database) {
            match node.state().await {
                Ok(state) if state.running && !state.paused => live.push(node),
                Ok(_) => self.looked.entry("stopped or frozen nodes, their processes left out").or_default().0 += 1,
                // One that was destroyed is not there to be asked.
                Err(error) if error.is_gone() => {}
                Err(error) => {
                    let message = format!("the processes of {} could not be looked at: {error}", node.name());
                    self.trial.find(Finding::unconfirmed("processes-not-seen", message));
                }
            }
        }
        live
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
        if self.secrets.secrets().is_empty() {
            trial.find(Finding::unconfirmed("no-secrets", "this run knows of no secret, so nothing was searched for"));
        }
        if self.looked.get(ENVIRONMENTS).is_none_or(|(_places, bytes)| *bytes == 0) {
            trial.find(Finding::unconfirmed("no-environments", "not one byte of any process's environment was read"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str =
        "== 1 cmdline\nbao\nserver\n== 1 environ\nHOME=/dora/data\n== 1 of them is no heading\n== 40 cmdline\nsh\n== 40 environ unread\n";

    #[test]
    fn what_cannot_be_read_is_told_and_what_is_read_keeps_its_lines() {
        let words = Words::of(USERS);
        assert!(words.lists_processes());
        assert_eq!(words.unread(), [&(40_u32, "environ".to_owned())]);
        let read: Vec<&str> = words.read().map(|(_process, text)| text).collect();
        assert_eq!(read, ["bao\nserver\n", "HOME=/dora/data\n== 1 of them is no heading\n", "sh\n"]);
        assert!(!Words::of("").lists_processes());
    }

    #[test]
    fn the_second_reader_fills_gaps_and_knows_what_has_ended() {
        let read =
            Words::of(USERS).or(&Words::of("== 1 cmdline\nbao\n== 1 environ unread\n== 40 cmdline\nsh\n== 40 environ\nHOME=/root\n"));
        assert!(read.unread().is_empty());
        assert!(read.read().any(|(process, text)| process.0 == 40 && text == "HOME=/root\n"));
        let ended = Words::of(USERS).or(&Words::of("== 1 cmdline\nbao\n"));
        assert!(ended.unread().is_empty(), "process 40 has ended");
        let neither = Words::of(USERS).or(&Words::of("== 1 cmdline\nbao\n== 40 environ unread\n"));
        assert_eq!(neither.unread().len(), 1);
        assert_eq!(Words::of(USERS).or(&Words::of("")).unread().len(), 1, "a reader that sees nothing proves nothing");
    }
}

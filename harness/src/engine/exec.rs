//! Running a command inside a container.

use std::time::Duration;

use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, StartExecResults},
};
use futures_util::StreamExt as _;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::{Engine, EngineError};

/// A command that writes nothing for so long is asked for: a busy engine may forget to close the stream of one that has ended.
const SILENCE: Duration = Duration::from_secs(2);

/// How a command inside a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code.
    pub code: i64,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// One command, for whom and with what input.
pub(crate) struct ExecSpec<'a> {
    pub node: &'a str,
    pub container: &'a str,
    pub user: &'a str,
    pub command: &'a [&'a str],
    pub input: &'a [u8],
    pub limit: Duration,
}

impl Engine {
    pub(crate) async fn exec(&self, spec: ExecSpec<'_>) -> Result<ExecOutput, EngineError> {
        // The first words name it well enough; the rest may hold what must not be printed.
        let shown = spec.command.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        let late = |_elapsed| EngineError::ExecDeadline { node: spec.node.to_owned(), command: shown, limit: spec.limit };
        let (code, stdout, stderr) = timeout(spec.limit, self.exec_to_end(&spec)).await.map_err(late)??;
        Ok(ExecOutput { code, stdout: String::from_utf8_lossy(&stdout).into_owned(), stderr })
    }

    /// As [`Engine::exec`], for a command whose output is no text; one that does not end with 0 is an error.
    pub(crate) async fn exec_for_bytes(&self, spec: ExecSpec<'_>) -> Result<Vec<u8>, EngineError> {
        let command = spec.command.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        let late = |_elapsed| EngineError::ExecDeadline { node: spec.node.to_owned(), command: command.clone(), limit: spec.limit };
        let (code, stdout, stderr) = timeout(spec.limit, self.exec_to_end(&spec)).await.map_err(late)??;
        if code == 0 {
            return Ok(stdout);
        }
        Err(EngineError::Exec { node: spec.node.to_owned(), command, code, output: stderr.trim().to_owned() })
    }

    async fn exec_to_end(&self, spec: &ExecSpec<'_>) -> Result<(i64, Vec<u8>, String), EngineError> {
        let what = || format!("run a command on {}", spec.node);
        let options = CreateExecOptions {
            cmd: Some(spec.command.to_vec()),
            user: Some(spec.user),
            attach_stdin: Some(!spec.input.is_empty()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let created = self.docker.create_exec(spec.container, options).await.map_err(|e| EngineError::request(what(), e))?;
        let started = self.docker.start_exec(&created.id, None).await.map_err(|e| EngineError::request(what(), e))?;
        let (mut stdout, mut stderr) = (Vec::new(), String::new());
        if let StartExecResults::Attached { mut output, mut input } = started {
            if !spec.input.is_empty() {
                let archive = |source| EngineError::Archive { node: spec.node.to_owned(), source };
                input.write_all(spec.input).await.map_err(archive)?;
                input.shutdown().await.map_err(archive)?;
            }
            let mut has_ended = false;
            loop {
                let chunk = match timeout(SILENCE, output.next()).await {
                    Ok(Some(chunk)) => chunk.map_err(|e| EngineError::request(what(), e))?,
                    Ok(None) => break,
                    // What it wrote last was still under way when the engine already said that it had ended; now all has come.
                    Err(_silent) if has_ended => break,
                    Err(_silent) => {
                        has_ended = self.has_ended(&created.id).await;
                        continue;
                    }
                };
                match chunk {
                    LogOutput::StdErr { message } => stderr.push_str(&String::from_utf8_lossy(&message)),
                    LogOutput::StdOut { message } | LogOutput::Console { message } => stdout.extend_from_slice(&message),
                    LogOutput::StdIn { .. } => {}
                }
            }
        }
        let inspected = self.docker.inspect_exec(&created.id).await.map_err(|e| EngineError::request(what(), e))?;
        Ok((inspected.exit_code.unwrap_or(-1), stdout, stderr))
    }

    /// Whether a command is over. One that was not begun yet does not run, either, but has no exit code.
    async fn has_ended(&self, exec: &str) -> bool {
        let inspected = self.docker.inspect_exec(exec).await;
        inspected.is_ok_and(|inspected| inspected.running == Some(false) && inspected.exit_code.is_some())
    }
}

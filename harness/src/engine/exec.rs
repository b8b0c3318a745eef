//! Running a command inside a container.

use std::time::Duration;

use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, StartExecResults},
};
use futures_util::StreamExt as _;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::{Engine, EngineError};

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
        timeout(spec.limit, self.exec_to_end(&spec)).await.map_err(|_elapsed| EngineError::ExecDeadline {
            node: spec.node.to_owned(),
            command: shown,
            limit: spec.limit,
        })?
    }

    async fn exec_to_end(&self, spec: &ExecSpec<'_>) -> Result<ExecOutput, EngineError> {
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
        let mut result = ExecOutput { code: -1, stdout: String::new(), stderr: String::new() };
        if let StartExecResults::Attached { mut output, mut input } = started {
            if !spec.input.is_empty() {
                let archive = |source| EngineError::Archive { node: spec.node.to_owned(), source };
                input.write_all(spec.input).await.map_err(archive)?;
                input.shutdown().await.map_err(archive)?;
            }
            while let Some(chunk) = output.next().await {
                match chunk.map_err(|e| EngineError::request(what(), e))? {
                    LogOutput::StdErr { message } => result.stderr.push_str(&String::from_utf8_lossy(&message)),
                    LogOutput::StdOut { message } | LogOutput::Console { message } => {
                        result.stdout.push_str(&String::from_utf8_lossy(&message));
                    }
                    LogOutput::StdIn { .. } => {}
                }
            }
        }
        let inspected = self.docker.inspect_exec(&created.id).await.map_err(|e| EngineError::request(what(), e))?;
        result.code = inspected.exit_code.unwrap_or(-1);
        Ok(result)
    }
}

//! Tells of alerts on a thread of its own: as a line in the log or on standard error, and to a command.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::serve::record::Records;
use crate::{Error, Result};

/// Changes that wait to be told; more are told in /alerts alone.
const MAX_WAITING: usize = 64;

/// A command that takes longer is ended.
const COMMAND_TIME: Duration = Duration::from_secs(30);
const COMMAND_CHECK: Duration = Duration::from_millis(50);

/// Whom changes of alerts are told.
pub(super) struct AlertTeller(SyncSender<Value>);

impl AlertTeller {
    /// `command`: a program and its arguments, which gets a change as a line of JSON; empty for none.
    ///
    /// # Errors
    /// [`Error::Device`] where there is no thread.
    pub(super) fn new(command: Vec<String>, records: Arc<Records>) -> Result<Self> {
        let (sender, changes) = sync_channel(MAX_WAITING);
        std::thread::Builder::new()
            .name("votive-alert".to_owned())
            .spawn(move || tell_all(&changes, &command, &records))
            .map_err(|error| Error::device(format!("cannot start the thread of alerts: {error}")))?;
        Ok(Self(sender))
    }

    /// Has a change told.
    pub(super) fn tell(&self, change: Value) {
        // Where a command hangs for so long, there is nobody to hear of it.
        let _ = self.0.try_send(change);
    }
}

/// The thread, until its server is gone.
fn tell_all(changes: &Receiver<Value>, command: &[String], records: &Records) {
    while let Ok(change) = changes.recv() {
        say(records, &change);
        if let Some((program, arguments)) = command.split_first()
            && let Err(problem) = run(program, arguments, &format!("{change}\n"))
        {
            say(records, &serde_json::json!({"on_alert": program, "error": problem}));
        }
    }
}

fn say(records: &Records, line: &Value) {
    match &records.log {
        Some(log) => log.write_line(line),
        // Nobody may listen there.
        None => drop(writeln!(std::io::stderr(), "votive: {line}")),
    }
}

/// Runs a command with a text as its input. The error says what went wrong.
fn run(program: &str, arguments: &[String], input: &str) -> Result<(), String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut pipe) = child.stdin.take() {
        // A line fits into a pipe that nobody reads; a command need not look at it.
        let _ = pipe.write_all(input.as_bytes());
    }
    let status = wait(&mut child)?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

fn wait(child: &mut Child) -> Result<std::process::ExitStatus, String> {
    let end = Instant::now() + COMMAND_TIME;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(COMMAND_CHECK),
            Ok(None) => {
                // It may have ended in between.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("ended after {COMMAND_TIME:?}"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(unix), ignore = "a shell is needed")]
    fn commands_get_the_change_as_their_input() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("told");
        let script = format!("cat > {}", file.display());
        let shell = |script: &str| run("sh", &["-c".to_owned(), script.to_owned()], "{\"a\":1}\n");
        assert_eq!(shell(&script), Ok(()));
        assert_eq!(std::fs::read_to_string(file).expect("a file"), "{\"a\":1}\n");
        assert_eq!(shell("exit 3"), Err("exit status: 3".to_owned()));
        assert!(run("/no/such/program", &[], "").is_err());
    }
}

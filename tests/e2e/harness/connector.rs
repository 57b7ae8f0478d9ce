//! The connector's process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use mongo_observer::event::Position;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::{PATIENCE, eventually};

/// A folder with a configuration, in which the connector runs, again and again.
pub(crate) struct Installation {
    folder: TempDir,
    runs: std::cell::Cell<u32>,
    environment: Vec<(String, String)>,
}

impl Installation {
    pub(crate) fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let installation = Self { folder, runs: std::cell::Cell::default(), environment: Vec::new() };
        installation.configure(config);
        installation
    }

    /// The same, with an environment variable.
    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces the configuration, for the next run.
    pub(crate) fn configure(&self, config: &str) {
        std::fs::write(self.path("config.toml"), config).unwrap();
    }

    /// Where a file of that name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts `run`, with its output in files.
    pub(crate) fn start(&self) -> Connector {
        self.spawn(|stdout| Stdio::from(File::create(stdout).unwrap()))
    }

    /// Starts `run`, with its standard output in a pipe.
    pub(crate) fn start_piped(&self) -> Connector {
        self.spawn(|_| Stdio::piped())
    }

    /// Starts `run` and waits until every pipeline is running.
    pub(crate) async fn run(&self) -> Connector {
        let connector = self.start();
        connector.running().await;
        connector
    }

    fn spawn(&self, output: impl FnOnce(&Path) -> Stdio) -> Connector {
        self.runs.set(self.runs.get() + 1);
        let [stdout, stderr] =
            ["stdout", "stderr"].map(|name| self.path(&format!("{name}.{}", self.runs.get())));
        let mut command = self.command(&["run", "--http-listen", "127.0.0.1:0"]);
        command.stdout(output(&stdout)).stderr(File::create(&stderr).unwrap());
        Connector { child: command.spawn().unwrap(), stdout, stderr }
    }

    /// Runs a command until its end.
    pub(crate) async fn ended(&self, args: &[&str]) -> Ended {
        let output = self.command(args).output();
        Ended::of(
            timeout(PATIENCE, output).await.unwrap_or_else(|_| panic!("{args:?} does not end")).unwrap(),
        )
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mongo-observer"));
        command.args(args).args(["--config", "config.toml"]).current_dir(self.folder.path());
        command.envs(self.environment.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        let ended = Self { code: output.status.code(), stdout, stderr };
        assert_no_panic(&ended.stderr);
        ended
    }

    /// The one line that says why it failed.
    #[track_caller]
    pub(crate) fn failed_with(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        let mut lines = self.stderr.lines().filter(|line| line.starts_with("mongo-observer: "));
        let (Some(line), None) = (lines.next(), lines.next()) else { panic!("not one line: {self:?}") };
        assert_eq!(self.stderr.lines().last(), Some(line), "the reason comes last");
        line
    }

    /// What it printed, if all went well.
    #[track_caller]
    pub(crate) fn succeeded(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout.trim()
    }
}

/// A running connector; dropping it kills it.
pub(crate) struct Connector {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Connector {
    /// Waits until every pipeline is running.
    pub(crate) async fn running(&self) {
        self.until("every pipeline is running", |report| report["ready"] == true).await;
    }

    /// Waits until `/status` says what it should; gives it back.
    pub(crate) async fn until(&self, what: &str, reached: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        let look = async || {
            last = self.status().await.or(last.take());
            last.clone().filter(|report| reached(report))
        };
        if let Ok(report) = timeout(PATIENCE, Box::pin(eventually(what, look))).await {
            return report;
        }
        panic!("waited in vain until {what}: {last:?}\n{}", self.stderr());
    }

    /// Waits until the sink at that index of the configuration, in the order of the names, has acknowledged everything up to `at`.
    pub(crate) async fn done(&self, index: usize, at: Position) {
        let what = format!("sink {index} has acknowledged {at}");
        self.until(&what, |report| position(report, index, "position") >= Some(at)).await;
    }

    /// The value of one of our metrics; 0 if there is none of that name.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("mongo_observer_{name} ")));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until that sink has a checkpoint at or behind `at`.
    pub(crate) async fn checkpointed(&self, index: usize, at: Position) {
        let what = format!("sink {index} has a checkpoint at {at}");
        self.until(&what, |report| position(report, index, "checkpoint") >= Some(at)).await;
    }

    /// Waits until a crash can no longer make the next start begin elsewhere: the checkpoint is stored, or, where the sink's own
    /// records are the checkpoint, a first record is there.
    pub(crate) async fn anchored(&self) {
        self.until("where it began is stored", |report| {
            let pipelines = report["pipelines"].as_array().unwrap();
            let own = |one: &Value| one["type"] == "nats" || one["type"] == "file";
            pipelines
                .iter()
                .all(|one| one["checkpoint"].is_string() || own(one) && one["position"].is_string())
        })
        .await;
    }

    /// The same for one sink, whose own records are the checkpoint.
    pub(crate) async fn anchored_at(&self, index: usize) {
        let has_come = |report: &Value| position(report, index, "position").is_some();
        self.until("where it began is stored", has_come).await;
    }

    /// Waits until it has logged that.
    pub(crate) async fn said(&self, what: &str) {
        eventually(what, async || self.stderr().contains(what).then_some(())).await;
    }

    /// `/status`, once there is one.
    pub(crate) async fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.get("/status").await?).ok()
    }

    /// The body of an answer, once the listener is up.
    pub(crate) async fn get(&self, path: &str) -> Option<String> {
        let log = self.stderr();
        let line = log.lines().find(|line| line.contains("listening for HTTP"))?;
        let address = line.split("address=").nth(1)?.split_whitespace().next()?;
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        Some(String::from_utf8(answer).ok()?.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// Standard error so far.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    /// The lines of standard output so far, without one that is not complete.
    pub(crate) fn stdout_lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.stdout).unwrap();
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        text[..complete].lines().map(str::to_owned).collect()
    }

    /// The pipe, if it was started with one.
    pub(crate) fn take_pipe(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Memory in kilobytes: `VmRSS` now, `VmHWM` at its peak.
    pub(crate) fn memory_kb(&self, field: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        assert_no_panic(&self.stderr());
        self.child.kill().await.unwrap();
    }

    /// SIGTERM.
    pub(crate) fn signal_end(&self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
    }

    /// SIGSTOP: it stands still, and its connections stay open.
    pub(crate) fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// SIGTERM, and waits until it is gone; at most so long.
    pub(crate) async fn terminate_within(self, limit: Duration) -> Ended {
        self.signal_end();
        self.ended_within(limit).await
    }

    /// The same, with time for everything.
    pub(crate) async fn terminate(self) -> Ended {
        self.terminate_within(PATIENCE).await
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended_within(mut self, limit: Duration) -> Ended {
        let Ok(status) = timeout(limit, self.child.wait()).await else {
            panic!("still there after {limit:?}:\n{}", self.stderr())
        };
        let status: ExitStatus = status.unwrap();
        let stdout = std::fs::read_to_string(&self.stdout).unwrap_or_default();
        let ended = Ended { code: status.code(), stdout, stderr: self.stderr() };
        assert_no_panic(&ended.stderr);
        ended
    }

    fn pid(&self) -> Pid {
        let id = self.child.id().expect("it runs");
        Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
    }
}

fn position(report: &Value, index: usize, key: &str) -> Option<Position> {
    report["pipelines"][index][key].as_str()?.parse().ok()
}

#[track_caller]
fn assert_no_panic(stderr: &str) {
    for word in ["panicked", "stack backtrace", "RUST_BACKTRACE"] {
        assert!(!stderr.contains(word), "{stderr}");
    }
}

//! A server process that never outlives its parent.
//!
//! Each server runs under a guard, a small shell script that holds the read end of a pipe. The write end is in this
//! process alone: when this process dies, however it dies, the pipe closes, and the guard kills the server and
//! removes its folder. A guard leads a process group of its own, so that Ctrl-C in a terminal reaches this
//! process and not the servers, which have to stay until it has drained.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout};

use super::ServerError;

/// Arguments: the log file, the folder to remove when the parent has died, then the server's command line. Writes
/// the server's process id, and ends when the server ends, with its status.
const GUARD: &str = r#"
log=$1 folder=$2
shift 2
"$@" </dev/null >>"$log" 2>&1 &
server=$!
exec 3<&0
{
    cat
    trap '' TERM
    kill -9 $server
    rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }
} <&3 >/dev/null 2>&1 &
watcher=$!
echo $server
wait $server
status=$?
kill $watcher
exit $status
"#;

/// How often a condition that can't be awaited is looked at.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How long a server may take to become ready. Generous: machines that test are often busy.
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may take to end by itself before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How many lines of a server's log an error quotes.
const LOG_LINES: usize = 12;

/// How a server is started, each time in the same way.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// What messages call it, such as `mongod 127.0.0.1:27017`.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: BTreeMap<String, OsString>,
    /// Receives standard output and standard error.
    pub(super) log: PathBuf,
    /// Removed by the guard when this process has died.
    pub(super) folder: PathBuf,
}

/// One server that can be killed and started again.
#[derive(Debug)]
pub(super) struct Node {
    spec: Spec,
    process: Mutex<Option<Process>>,
}

impl Node {
    pub(super) fn new(spec: Spec) -> Self {
        Self { spec, process: Mutex::new(None) }
    }

    /// Starts the process and waits until it has logged each of `lines` (parts of lines). A process that ran is killed.
    pub(super) async fn start_until_logged(&self, lines: &[&str]) -> Result<(), ServerError> {
        self.kill().await;
        let seen = self.log_from(0).len();
        let process = Process::spawn(&self.spec).await.map_err(|source| ServerError::Io {
            what: format!("start {}", self.spec.program.display()),
            source,
        })?;
        self.lock().replace(process);
        for line in lines {
            let logged = async || String::from_utf8_lossy(&self.log_from(seen as u64)).contains(line);
            self.wait_until(&format!("to log '{line}'"), logged).await?;
        }
        Ok(())
    }

    /// Kills the process (SIGKILL) and waits until it is gone; nothing to do when it isn't running.
    pub(super) async fn kill(&self) {
        let process = self.lock().take();
        if let Some(mut process) = process {
            process.kill().await;
        }
    }

    /// Asks the process to end (SIGTERM) and waits until it has; kills it when it doesn't.
    pub(super) async fn terminate(&self) {
        let process = self.lock().take();
        if let Some(mut process) = process {
            process.terminate().await;
        }
    }

    /// Stops the process where it stands (SIGSTOP); its connections stay open.
    pub(super) fn pause(&self) -> Result<(), ServerError> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on (SIGCONT).
    pub(super) fn resume(&self) -> Result<(), ServerError> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        let mut process = self.lock();
        let server = process.as_mut().and_then(Process::running);
        let server = server.ok_or_else(|| ServerError::NotRunning { server: self.spec.name.clone() })?;
        kill_process(server, signal).map_err(|error| ServerError::Io {
            what: format!("signal {}", self.spec.name),
            source: error.into(),
        })
    }

    /// The server's process id, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        let server = self.lock().as_mut().and_then(Process::running)?;
        u32::try_from(server.as_raw_nonzero().get()).ok()
    }

    /// Waits until `ready` says so; fails when the process ends before, or takes too long.
    pub(super) async fn wait_until(
        &self,
        what: &str,
        mut ready: impl AsyncFnMut() -> bool,
    ) -> Result<(), ServerError> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let running = self.lock().as_mut().and_then(Process::running);
            if running.is_none() {
                return Err(ServerError::ended(&self.spec.name, &self.log()));
            }
            if ready().await {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let what = format!("{} {what}", self.spec.name);
                return Err(ServerError::Timeout { what, log: self.log_tail() });
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// The log so far.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log_from(0)).into_owned()
    }

    /// The log's last lines, for an error message.
    pub(super) fn log_tail(&self) -> String {
        last_lines(&self.log())
    }

    /// The log after its first `seen` bytes; nothing if there is no log.
    fn log_from(&self, seen: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.spec.log) {
            let _ = file.seek(SeekFrom::Start(seen)).and_then(|_| file.read_to_end(&mut bytes));
        }
        bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As much of a log as an error message quotes.
pub(super) fn last_lines(log: &str) -> String {
    // The frames of Java's stack traces push the message out of sight.
    let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("\tat ")).collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// A running server and its guard. Dropping it kills the server and waits until it is gone.
struct Process {
    guard: Child,
    server: Pid,
}

impl Process {
    async fn spawn(spec: &Spec) -> io::Result<Self> {
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard"])
            .args([&spec.log, &spec.folder, &spec.program])
            .args(&spec.args)
            .envs(&spec.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let mut line = String::new();
        BufReader::new(output(&guard)?).read_line(&mut line).await?;
        let server = line.trim().parse().ok().and_then(Pid::from_raw);
        let Some(server) = server else {
            drop(guard.stdin.take());
            guard.wait()?;
            return Err(io::Error::other("the shell that guards the server did not start it"));
        };
        Ok(Self { guard, server })
    }

    /// The server's process id, unless it has ended.
    fn running(&mut self) -> Option<Pid> {
        matches!(self.guard.try_wait(), Ok(None)).then_some(self.server)
    }

    async fn kill(&mut self) {
        self.send(Signal::KILL);
        self.ended().await;
    }

    async fn terminate(&mut self) {
        self.send(Signal::TERM);
        // A paused process hears SIGTERM only when it goes on.
        self.send(Signal::CONT);
        if timeout(STOP_TIMEOUT, self.ended()).await.is_err() {
            self.kill().await;
        }
    }

    /// Errors mean that the server has just ended.
    fn send(&mut self, signal: Signal) {
        if let Some(server) = self.running() {
            let _ = kill_process(server, signal);
        }
    }

    /// Waits until the guard, and so the server, has ended: the guard's output closes.
    async fn ended(&mut self) {
        if let Ok(mut output) = output(&self.guard) {
            let mut rest = Vec::new();
            let _ = output.read_to_end(&mut rest).await;
        }
        let _ = self.guard.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.send(Signal::KILL);
        let _ = self.guard.wait();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The guard's output for the runtime of the caller: a handle may be used from one runtime after another.
fn output(guard: &Child) -> io::Result<pipe::Receiver> {
    let stdout = guard.stdout.as_ref().ok_or_else(|| io::Error::other("the guard has no output"))?;
    pipe::Receiver::from_owned_fd(stdout.as_fd().try_clone_to_owned()?)
}

/// The ports that are given out. They lie below those that systems give to outgoing connections, so that no
/// client takes a server's port while the server is down.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// Ports of 127.0.0.1 that nobody listens on. No port is given twice until all have been.
pub(super) fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(random_u16()));
    std::iter::repeat_with(|| PORTS.start + next.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start))
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .take(count)
        .collect()
}

fn random_u16() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id()) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &std::path::Path) -> Node {
        Node::new(Spec {
            name: "a shell".to_owned(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::new(),
            log: folder.join("log"),
            folder: folder.to_owned(),
        })
    }

    #[tokio::test]
    async fn a_server_is_killed_and_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let node = shell("echo ready; exec sleep 1000", folder.path());
        assert!(node.pid().is_none());
        node.start_until_logged(&["ready"]).await.unwrap();
        let first = node.pid().unwrap();
        node.pause().unwrap();
        node.resume().unwrap();
        node.kill().await;
        assert!(matches!(node.pause(), Err(ServerError::NotRunning { .. })));
        node.start_until_logged(&["ready"]).await.unwrap();
        assert_ne!(node.pid(), Some(first));
        assert!(folder.path().exists());
    }

    #[tokio::test]
    async fn a_paused_server_can_be_ended() {
        let folder = tempfile::tempdir().unwrap();
        let node =
            shell("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done", folder.path());
        node.start_until_logged(&["ready"]).await.unwrap();
        node.pause().unwrap();
        node.terminate().await;
        assert!(node.log().ends_with("bye\n"));
    }

    #[tokio::test]
    async fn a_server_that_ends_while_it_starts_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let node = shell("echo 'bind: Address already in use'; exit 3", folder.path());
        let error = node.start_until_logged(&["listening"]).await.unwrap_err();
        assert!(matches!(&error, ServerError::Ended { port_taken: true, .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "a shell ended by itself; its last words:\nbind: Address already in use"
        );
    }

    /// What the guard does when this process dies is what it does when its input closes.
    #[tokio::test]
    async fn the_guard_ends_the_server_and_removes_its_folder_when_the_parent_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let node = shell("echo ready; exec sleep 1000", folder.path());
        node.start_until_logged(&["ready"]).await.unwrap();
        let mut process = node.lock().take().unwrap();
        drop(process.guard.stdin.take());
        process.ended().await;
        timeout(READY_TIMEOUT, async {
            while folder.path().exists() {
                sleep(POLL_INTERVAL).await;
            }
        })
        .await
        .unwrap();
    }

    #[test]
    fn ports_are_not_given_twice() {
        let mut ports = free_ports(200);
        ports.extend(free_ports(200));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 400);
    }
}

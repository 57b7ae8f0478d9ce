//! Private NATS servers with JetStream.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use futures::future::{join_all, try_join_all};
use tempfile::TempDir;

use super::process::{Node, Spec, free_ports};
use super::{ServerError, fetched, named_by, on_path, retry_port_clash, temporary_folder, write_file};

/// What a server logs when it takes connections.
const READY: &str = "Server is ready";

/// What every server of a cluster logs when JetStream can be used.
const READY_CLUSTER: &str = "metadata leader";

/// What kind of servers to start.
#[derive(Debug, Clone)]
#[must_use = "nothing starts before `start`"]
pub struct NatsBuilder {
    nodes: usize,
    max_payload: Option<u64>,
    monitoring: bool,
    config: String,
}

impl NatsBuilder {
    /// How many servers the cluster has: one by default, and then it is no cluster.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes.max(1);
        self
    }

    /// The largest message in bytes; the server's own limit is 1 MiB.
    pub fn max_payload(mut self, bytes: u64) -> Self {
        self.max_payload = Some(bytes);
        self
    }

    /// Serves HTTP monitoring: [`Nats::monitoring_url`].
    pub fn monitoring(mut self, monitoring: bool) -> Self {
        self.monitoring = monitoring;
        self
    }

    /// Text that is appended to each server's configuration, in the server's own language. `{folder}` stands for
    /// the folder of the servers.
    pub fn config(mut self, text: &str) -> Self {
        text.clone_into(&mut self.config);
        self
    }

    /// Starts the servers and waits until JetStream can be used.
    pub async fn start(self) -> Result<Nats, ServerError> {
        let program = locate()?;
        retry_port_clash(async || {
            let nats = self.prepare(&program)?;
            try_join_all((0..self.nodes).map(|index| nats.restart(index))).await?;
            Ok(nats)
        })
        .await
    }

    /// Everything but the processes: ports, folders, configuration files.
    fn prepare(&self, program: &Path) -> Result<Nats, ServerError> {
        let folder = temporary_folder("nats-")?;
        let mut ports = free_ports(self.nodes * 3).into_iter();
        let mut take = || ports.by_ref().take(self.nodes).collect::<Vec<u16>>();
        let (clients, monitors, cluster) = (take(), take(), take());
        let nodes = (0..self.nodes).map(|index| Node::new(spec(program, folder.path(), index))).collect();
        let bases = (0..self.nodes)
            .map(|index| self.base_config(index, folder.path(), clients[index], monitors[index], &cluster))
            .collect();
        let nats = Nats {
            nodes,
            urls: clients.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect(),
            monitoring: monitors.iter().map(|port| format!("http://127.0.0.1:{port}")).collect(),
            bases,
            folder,
        };
        for index in 0..self.nodes {
            nats.write_config(index, &self.config)?;
        }
        Ok(nats)
    }

    fn base_config(&self, index: usize, folder: &Path, client: u16, monitor: u16, cluster: &[u16]) -> String {
        let name = index + 1;
        let mut text = format!("server_name: node-{name}\nlisten: \"127.0.0.1:{client}\"\n");
        let _ = writeln!(text, "jetstream {{ store_dir: \"{}/node-{name}\" }}", folder.display());
        if let Some(bytes) = self.max_payload {
            let _ = writeln!(text, "max_payload: {bytes}");
        }
        if self.monitoring {
            let _ = writeln!(text, "http: \"127.0.0.1:{monitor}\"");
        }
        if self.nodes > 1 {
            let routes: Vec<String> = cluster.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
            let listen = format!("127.0.0.1:{}", cluster[index]);
            let _ = writeln!(text, "cluster {{ name: private, listen: {listen:?}, routes: {routes:?} }}");
        }
        text
    }
}

/// Running servers: one, or a cluster. They are counted from 0.
#[derive(Debug)]
pub struct Nats {
    // Dropped before the folder they write to.
    nodes: Vec<Node>,
    urls: Vec<String>,
    monitoring: Vec<String>,
    /// Each server's configuration without the text that the caller appends.
    bases: Vec<String>,
    folder: TempDir,
}

impl Nats {
    /// One server, if nothing else is asked for.
    pub fn builder() -> NatsBuilder {
        NatsBuilder { nodes: 1, max_payload: None, monitoring: false, config: String::new() }
    }

    /// The first server's URL.
    pub fn url(&self) -> &str {
        &self.urls[0]
    }

    /// The servers' URLs.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Where a server answers HTTP monitoring requests, if [`NatsBuilder::monitoring`] was asked for.
    pub fn monitoring_url(&self, index: usize) -> &str {
        &self.monitoring[index]
    }

    /// The folder with the servers' data, configuration and logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process id of a server, while it runs.
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.nodes[index].pid()
    }

    /// A server's log so far.
    pub fn log(&self, index: usize) -> String {
        self.nodes[index].log()
    }

    /// Kills a server (SIGKILL) and waits until it is gone.
    pub async fn kill(&self, index: usize) {
        self.nodes[index].kill().await;
    }

    /// Ends a server cleanly (SIGTERM) and waits until it is gone.
    pub async fn shut_down(&self, index: usize) {
        self.nodes[index].terminate().await;
    }

    /// Starts a server again, with its data and on its ports, and waits until JetStream can be used; a server that
    /// still runs is killed first. In a cluster that needs a majority of the servers.
    pub async fn restart(&self, index: usize) -> Result<(), ServerError> {
        let lines: &[&str] = if self.nodes.len() > 1 { &[READY, READY_CLUSTER] } else { &[READY] };
        self.nodes[index].start_until_logged(lines).await
    }

    /// Ends a server cleanly and starts it with another text in place of [`NatsBuilder::config`].
    pub async fn restart_with_config(&self, index: usize, text: &str) -> Result<(), ServerError> {
        self.shut_down(index).await;
        self.write_config(index, text)?;
        self.restart(index).await
    }

    /// Stops a server where it stands (SIGSTOP): its connections stay open, and nothing answers.
    pub fn pause(&self, index: usize) -> Result<(), ServerError> {
        self.nodes[index].pause()
    }

    /// Lets a paused server go on.
    pub fn resume(&self, index: usize) -> Result<(), ServerError> {
        self.nodes[index].resume()
    }

    /// Ends all servers cleanly and removes their data.
    pub async fn stop(self) {
        join_all(self.nodes.iter().map(Node::terminate)).await;
    }

    fn write_config(&self, index: usize, text: &str) -> Result<(), ServerError> {
        let text = text.replace("{folder}", &self.folder.path().display().to_string());
        write_file(&config_file(self.folder.path(), index), &format!("{}{text}\n", self.bases[index]))
    }
}

fn spec(program: &Path, folder: &Path, index: usize) -> Spec {
    Spec {
        name: format!("nats-server {}", index + 1),
        program: program.to_owned(),
        args: vec!["-c".into(), config_file(folder, index).into()],
        env: BTreeMap::new(),
        log: folder.join(format!("node-{}.log", index + 1)),
        folder: folder.to_owned(),
    }
}

fn config_file(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("node-{}.conf", index + 1))
}

fn locate() -> Result<PathBuf, ServerError> {
    let program = fetched("nats/nats-server").or_else(|| on_path("nats-server"));
    named_by("NATS_SERVER")?.or(program).ok_or(ServerError::NotFound {
        program: "nats-server",
        fetch: "make services",
        variable: "NATS_SERVER",
        example: "/path/to/nats-server",
    })
}

//! Private Apache Kafka brokers, in KRaft mode: each is a broker and a controller.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use futures::future::{join_all, try_join_all};
use tempfile::TempDir;

use super::process::{Node, Spec, free_ports};
use super::{
    ServerError, make_folder, named_by, newest_fetched, on_path, retry_port_clash, temporary_folder,
    write_file,
};

/// A cluster's id: 16 bytes in base64.
const CLUSTER_ID: &str = "bW9uZ28tb2JzZXJ2ZXIxMg";

/// What a broker logs when it takes requests.
const READY: &str = "Kafka Server started";

const LOGGING: &str = "\
rootLogger.level=info
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %m (%c)%n
";

/// Fits small tests: topics appear only when they are asked for, groups form at once, a dead broker is missed soon.
const DEFAULTS: &[(&str, &str)] = &[
    ("auto.create.topics.enable", "false"),
    ("num.partitions", "1"),
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.num.partitions", "4"),
    ("share.coordinator.state.topic.num.partitions", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("broker.session.timeout.ms", "3000"),
    ("broker.heartbeat.interval.ms", "500"),
];

/// How many replicas the brokers' own topics have.
const REPLICATED: [&str; 3] = [
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "share.coordinator.state.topic.replication.factor",
];

/// What kind of brokers to start.
#[derive(Debug, Clone)]
#[must_use = "nothing starts before `start`"]
pub struct KafkaBuilder {
    brokers: usize,
    heap_mb: u32,
    full_compiler: bool,
    properties: BTreeMap<String, String>,
    listeners: Vec<(String, String)>,
    format_args: Vec<String>,
}

impl KafkaBuilder {
    /// How many brokers the cluster has: one by default. With three, topics of the brokers themselves have three
    /// replicas.
    pub fn brokers(mut self, brokers: usize) -> Self {
        self.brokers = brokers.max(1);
        self
    }

    /// The Java heap of each broker in megabytes; 512 by default.
    pub fn heap_mb(mut self, megabytes: u32) -> Self {
        self.heap_mb = megabytes;
        self
    }

    /// Lets Java compile with all its optimisations and collect garbage in parallel: for benchmarks. By default a
    /// broker starts in half the time and has lower peak throughput.
    pub fn full_compiler(mut self, full: bool) -> Self {
        self.full_compiler = full;
        self
    }

    /// Sets a property of every broker, in place of a default. In the value, `{id}` stands for the broker's number,
    /// from 1, and `{folder}` for the folder of the cluster.
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds a listener on a free port of its own, with a name such as `SECURE` and a protocol: `PLAINTEXT`, `SSL`,
    /// `SASL_PLAINTEXT` or `SASL_SSL`. What else it needs is set by [`KafkaBuilder::property`]; clients find it by
    /// [`Kafka::bootstrap_of`].
    pub fn listener(mut self, name: &str, protocol: &str) -> Self {
        self.listeners.push((name.to_owned(), protocol.to_owned()));
        self
    }

    /// One more argument for the formatting of the brokers' storage, such as `--add-scram`.
    pub fn format_arg(mut self, arg: &str) -> Self {
        self.format_args.push(arg.to_owned());
        self
    }

    /// Starts the brokers and waits until all of them take requests.
    pub async fn start(self) -> Result<Kafka, ServerError> {
        let java = locate_java()?;
        let libraries = locate_libraries()?;
        retry_port_clash(async || {
            let kafka = self.prepare(&java, &libraries)?;
            kafka.format(&self, &java, &libraries).await?;
            try_join_all((0..self.brokers).map(|index| kafka.restart(index))).await?;
            Ok(kafka)
        })
        .await
    }

    /// Everything but the processes: ports, folders, configuration files.
    fn prepare(&self, java: &Path, libraries: &Path) -> Result<Kafka, ServerError> {
        let folder = temporary_folder("kafka-")?;
        write_file(&folder.path().join("log4j2.properties"), LOGGING)?;
        let mut ports = free_ports(self.brokers * (2 + self.listeners.len())).into_iter();
        let mut take = || ports.by_ref().take(self.brokers).collect::<Vec<u16>>();
        let controllers = take();
        let mut listeners = vec![Listener { name: "PLAINTEXT", protocol: "PLAINTEXT", ports: take() }];
        for (name, protocol) in &self.listeners {
            listeners.push(Listener { name, protocol, ports: take() });
        }
        let mut nodes = Vec::new();
        for index in 0..self.brokers {
            make_folder(&folder.path().join(format!("broker-{}", index + 1)))?;
            let properties = self.properties(index, &controllers, &listeners, folder.path());
            write_file(&properties_file(folder.path(), index), &properties)?;
            nodes.push(Node::new(self.spec(java, libraries, folder.path(), index)));
        }
        let bootstrap =
            listeners.iter().map(|listener| (listener.name.to_owned(), listener.bootstrap())).collect();
        Ok(Kafka { nodes, bootstrap, folder })
    }

    fn properties(
        &self,
        index: usize,
        controllers: &[u16],
        listeners: &[Listener<'_>],
        folder: &Path,
    ) -> String {
        let id = index + 1;
        let join = |parts: Vec<String>| parts.join(",");
        let voters = controllers.iter().zip(1..).map(|(port, id)| format!("{id}@127.0.0.1:{port}")).collect();
        let addresses = join(listeners.iter().map(|listener| listener.address(index)).collect());
        let protocols = join(
            listeners.iter().map(|listener| format!("{}:{}", listener.name, listener.protocol)).collect(),
        );
        let replicas = self.brokers.min(3).to_string();
        let in_sync = if self.brokers < 3 { "1" } else { "2" };
        let mut all: BTreeMap<&str, String> =
            DEFAULTS.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        all.extend([
            ("process.roles", "broker,controller".to_owned()),
            ("node.id", id.to_string()),
            ("controller.quorum.voters", join(voters)),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
            ("listeners", format!("{addresses},CONTROLLER://127.0.0.1:{}", controllers[index])),
            ("advertised.listeners", addresses),
            ("listener.security.protocol.map", format!("{protocols},CONTROLLER:PLAINTEXT")),
            ("log.dirs", folder.join(format!("broker-{id}")).display().to_string()),
        ]);
        for key in REPLICATED {
            all.insert(key, replicas.clone());
        }
        all.insert("transaction.state.log.min.isr", in_sync.to_owned());
        all.insert("share.coordinator.state.topic.min.isr", in_sync.to_owned());
        for (key, value) in &self.properties {
            let value =
                value.replace("{id}", &id.to_string()).replace("{folder}", &folder.display().to_string());
            all.insert(key, value);
        }
        all.iter().fold(String::new(), |mut text, (key, value)| {
            let _ = writeln!(text, "{key}={}", value.replace('\\', "\\\\"));
            text
        })
    }

    fn spec(&self, java: &Path, libraries: &Path, folder: &Path, index: usize) -> Spec {
        let mut args = vec![OsString::from(format!("-Xmx{}m", self.heap_mb))];
        let fast_start = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
        args.extend(fast_start.iter().filter(|_| !self.full_compiler).map(OsString::from));
        args.extend(java_args(libraries, folder));
        args.extend(["kafka.Kafka".into(), properties_file(folder, index).into()]);
        Spec {
            name: format!("Kafka broker {}", index + 1),
            program: java.to_owned(),
            args,
            env: BTreeMap::new(),
            log: folder.join(format!("broker-{}.log", index + 1)),
            folder: folder.to_owned(),
        }
    }
}

/// One listener of every broker.
struct Listener<'a> {
    name: &'a str,
    protocol: &'a str,
    ports: Vec<u16>,
}

impl Listener<'_> {
    fn address(&self, index: usize) -> String {
        format!("{}://127.0.0.1:{}", self.name, self.ports[index])
    }

    fn bootstrap(&self) -> String {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }
}

/// A running cluster. Brokers are counted from 0; their ids, from 1.
#[derive(Debug)]
pub struct Kafka {
    // Dropped before the folder they write to.
    nodes: Vec<Node>,
    bootstrap: BTreeMap<String, String>,
    folder: TempDir,
}

impl Kafka {
    /// One broker, if nothing else is asked for.
    pub fn builder() -> KafkaBuilder {
        KafkaBuilder {
            brokers: 1,
            heap_mb: 512,
            full_compiler: false,
            properties: BTreeMap::new(),
            listeners: Vec::new(),
            format_args: Vec::new(),
        }
    }

    /// The brokers' addresses, for `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        self.bootstrap_of("PLAINTEXT")
    }

    /// The brokers' addresses on a listener that was added by [`KafkaBuilder::listener`]; empty if there is none of
    /// this name.
    pub fn bootstrap_of(&self, listener: &str) -> &str {
        self.bootstrap.get(listener).map_or("", String::as_str)
    }

    /// The folder with the brokers' data, configuration and logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process id of a broker, while it runs.
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.nodes[index].pid()
    }

    /// A broker's log so far.
    pub fn log(&self, index: usize) -> String {
        self.nodes[index].log()
    }

    /// Kills a broker (SIGKILL) and waits until it is gone.
    pub async fn kill(&self, index: usize) {
        self.nodes[index].kill().await;
    }

    /// Ends a broker cleanly (SIGTERM) and waits until it is gone.
    pub async fn shut_down(&self, index: usize) {
        self.nodes[index].terminate().await;
    }

    /// Starts a broker again, with its data and on its ports, and waits until it takes requests; a broker that still
    /// runs is killed first.
    pub async fn restart(&self, index: usize) -> Result<(), ServerError> {
        self.nodes[index].start_until_logged(&[READY]).await
    }

    /// Stops a broker where it stands (SIGSTOP): its connections stay open, and nothing answers.
    pub fn pause(&self, index: usize) -> Result<(), ServerError> {
        self.nodes[index].pause()
    }

    /// Lets a paused broker go on.
    pub fn resume(&self, index: usize) -> Result<(), ServerError> {
        self.nodes[index].resume()
    }

    /// Runs one of the programs that come with Kafka, by the name of its Java class, until its end.
    pub async fn tool(&self, class: &str, args: &[&str]) -> Result<String, ServerError> {
        let java = locate_java()?;
        let output = tokio::process::Command::new(&java)
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(java_args(&locate_libraries()?, self.folder.path()))
            .arg(class)
            .args(args)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| ServerError::Io { what: format!("start {}", java.display()), source })?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(text) } else { Err(ServerError::ended(class, &text)) }
    }

    /// Ends all brokers cleanly and removes their data.
    pub async fn stop(self) {
        join_all(self.nodes.iter().map(Node::terminate)).await;
    }

    /// Writes the cluster's id and its first metadata into each broker's folder.
    async fn format(&self, builder: &KafkaBuilder, java: &Path, libraries: &Path) -> Result<(), ServerError> {
        let formats = (0..builder.brokers).map(async |index| {
            let output = tokio::process::Command::new(java)
                .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
                .args(java_args(libraries, self.folder.path()))
                .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
                .arg(properties_file(self.folder.path(), index))
                .args(&builder.format_args)
                .kill_on_drop(true)
                .output()
                .await
                .map_err(|source| ServerError::Io { what: format!("start {}", java.display()), source })?;
            if output.status.success() {
                return Ok(());
            }
            let text = [output.stdout, output.stderr].concat();
            let server = format!("the formatting of Kafka broker {}", index + 1);
            Err(ServerError::ended(&server, &String::from_utf8_lossy(&text)))
        });
        try_join_all(formats).await.map(|_| ())
    }
}

/// What every Java program of Kafka needs.
fn java_args(libraries: &Path, folder: &Path) -> Vec<OsString> {
    let mut logging = OsString::from("-Dlog4j2.configurationFile=");
    logging.push(folder.join("log4j2.properties"));
    vec!["-Xshare:auto".into(), logging, "-cp".into(), libraries.join("*").into()]
}

fn properties_file(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("broker-{}.properties", index + 1))
}

fn locate_java() -> Result<PathBuf, ServerError> {
    let home = named_by("JAVA_HOME")?.map(|home| home.join("bin/java")).filter(|java| java.is_file());
    home.or_else(|| on_path("java")).ok_or(ServerError::NotFound {
        program: "java (17 or newer, for Kafka)",
        fetch: "tests/services/system-packages java",
        variable: "JAVA_HOME",
        example: "/path/to/java",
    })
}

/// The folder with Kafka's jar files.
fn locate_libraries() -> Result<PathBuf, ServerError> {
    if let Some(home) = named_by("KAFKA_HOME")? {
        return Ok(home.join("libs"));
    }
    // An installed Kafka has its scripts in `bin`, next to `libs`.
    let installed = || {
        let script = on_path("kafka-server-start.sh")?.canonicalize().ok()?;
        Some(script.parent()?.parent()?.join("libs")).filter(|libraries| libraries.is_dir())
    };
    newest_fetched("kafka-").map(|home| home.join("libs")).or_else(installed).ok_or(ServerError::NotFound {
        program: "Kafka",
        fetch: "make services",
        variable: "KAFKA_HOME",
        example: "/path/to/kafka",
    })
}

//! Private MongoDB servers: a replica set of one or three members, or a standalone.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::{join_all, select_ok};
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, error};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::process::{Node, POLL_INTERVAL, READY_TIMEOUT, Spec, free_ports};
use super::{
    ServerError, fetched, make_folder, named_by, on_path, retry_port_clash, temporary_folder, write_file,
};

const USER: &str = "admin";
const PASSWORD: &str = "secret";

/// How long members are given to say whether they are the primary.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// A MongoDB server that `make services` (6.0.5) or `make services-all` (the others) brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MongoVersion {
    /// 4.4.2
    V4_4,
    /// 5.0.4
    V5_0,
    /// 6.0.5, or whatever `MONGOD` names or `PATH` holds.
    #[default]
    V6_0,
    /// 6.0.27
    V6_0_27,
}

impl MongoVersion {
    /// The version's number.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4_4 => "4.4.2",
            Self::V5_0 => "5.0.4",
            Self::V6_0 => "6.0.5",
            Self::V6_0_27 => "6.0.27",
        }
    }

    fn locate(self) -> Result<PathBuf, ServerError> {
        let program = fetched(&format!("mongodb-{}/mongod", self.as_str()));
        if self == Self::V6_0 {
            let missing = ServerError::NotFound {
                program: "mongod",
                fetch: "make services",
                variable: "MONGOD",
                example: "/path/to/mongod",
            };
            return named_by("MONGOD")?.or(program).or_else(|| on_path("mongod")).ok_or(missing);
        }
        program.ok_or(ServerError::NotFound {
            program: "this version of mongod",
            fetch: "make services-all",
            variable: "SERVICES_DIR",
            example: "/path/to/target/services",
        })
    }
}

/// Certificates for a server that takes TLS connections only. The server's certificate has to be valid for
/// 127.0.0.1.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate and key, one PEM file.
    pub server: PathBuf,
    /// The certificate of the authority that signed it, and the clients' certificates.
    pub authority: PathBuf,
    /// The clients' certificate and key, one PEM file. If it is given, the server refuses clients without one.
    pub client: Option<PathBuf>,
}

/// What kind of servers to start.
#[derive(Debug, Clone)]
#[must_use = "nothing starts before `start`"]
pub struct MongoBuilder {
    version: MongoVersion,
    members: usize,
    standalone: bool,
    set_name: String,
    oplog_mb: u32,
    cache_mb: u32,
    args: Vec<String>,
    auth: bool,
    tls: Option<TlsFiles>,
}

impl MongoBuilder {
    /// Which server; 6.0 by default.
    pub fn version(mut self, version: MongoVersion) -> Self {
        self.version = version;
        self
    }

    /// How many members the replica set has: one by default. Three elect a new primary within about two seconds.
    pub fn members(mut self, members: usize) -> Self {
        self.members = members.max(1);
        self
    }

    /// One server that is no replica set, and so has no oplog.
    pub fn standalone(mut self, standalone: bool) -> Self {
        self.standalone = standalone;
        self
    }

    /// The name of the replica set; `rs0` by default.
    pub fn set_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.set_name);
        self
    }

    /// The size of the oplog in megabytes; 256 by default.
    pub fn oplog_mb(mut self, megabytes: u32) -> Self {
        self.oplog_mb = megabytes;
        self
    }

    /// The size of WiredTiger's cache in megabytes; 256 by default, and at least.
    pub fn cache_mb(mut self, megabytes: u32) -> Self {
        self.cache_mb = megabytes.max(256);
        self
    }

    /// One more argument for `mongod`, such as `--noauth`.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// One more server parameter, `name=value`. Test commands are always on.
    pub fn param(self, param: &str) -> Self {
        self.arg("--setParameter").arg(param)
    }

    /// Members trust each other by a key file, and clients have to log in; [`Mongo::uri`] holds the credentials of
    /// a user who may do everything.
    pub fn keyfile_auth(mut self, auth: bool) -> Self {
        self.auth = auth;
        self
    }

    /// Takes TLS connections only; [`Mongo::uri`] asks for TLS and names the files.
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Starts the servers and waits until there is a primary that takes writes and has a majority-committed
    /// optime, and every other member follows it.
    pub async fn start(self) -> Result<Mongo, ServerError> {
        retry_port_clash(async || {
            let mongo = self.spawn().await?;
            if !self.standalone {
                mongo.initiate().await?;
            }
            if self.auth {
                mongo.create_user().await?;
            }
            if !self.standalone {
                mongo.wait_for_members().await?;
            }
            Ok(mongo)
        })
        .await
    }

    async fn spawn(&self) -> Result<Mongo, ServerError> {
        let program = self.version.locate()?;
        let folder = temporary_folder("mongo-")?;
        if self.auth {
            let path = folder.path().join("keyfile");
            write_file(&path, "a key that all members of the replica set know")?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
                .map_err(|source| ServerError::Io { what: format!("protect {}", path.display()), source })?;
        }
        let ports = free_ports(if self.standalone { 1 } else { self.members });
        let mut nodes = Vec::new();
        for port in &ports {
            nodes.push(Node::new(self.spec(&program, folder.path(), *port)?));
        }
        let mongo = Mongo {
            nodes,
            hosts: ports.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
            options: self.clone(),
            folder,
        };
        for node in &mongo.nodes {
            node.start().await?;
        }
        for index in 0..mongo.nodes.len() {
            mongo.wait_until_open(index).await?;
        }
        Ok(mongo)
    }

    fn spec(&self, program: &Path, folder: &Path, port: u16) -> Result<Spec, ServerError> {
        let data = folder.join(port.to_string());
        make_folder(&data)?;
        let mut args: Vec<OsString> = vec!["--dbpath".into(), data.clone().into()];
        let options = format!(
            "--port {port} --bind_ip 127.0.0.1 --nounixsocket --quiet --wiredTigerCacheSizeGB {} \
             --setParameter enableTestCommands=1 --setParameter diagnosticDataCollectionEnabled=false",
            f64::from(self.cache_mb) / 1024.0
        );
        args.extend(options.split_whitespace().map(OsString::from));
        if self.version != MongoVersion::V4_4 {
            // By default a member that is asked to end takes 15 seconds to say goodbye to its clients.
            let patience = "shutdownTimeoutMillisForSignaledShutdown=100";
            args.extend(["--setParameter", patience].map(OsString::from));
        }
        if !self.standalone {
            let oplog_mb = self.oplog_mb.to_string();
            args.extend(["--replSet", &self.set_name, "--oplogSize", &oplog_mb].map(OsString::from));
        }
        if self.auth && self.standalone {
            args.push("--auth".into());
        } else if self.auth {
            args.extend(["--keyFile".into(), folder.join("keyfile").into()]);
        }
        if let Some(tls) = &self.tls {
            args.extend(["--tlsMode", "requireTLS", "--tlsCertificateKeyFile"].map(OsString::from));
            args.extend([(&tls.server).into(), "--tlsCAFile".into(), (&tls.authority).into()]);
            if tls.client.is_none() {
                args.push("--tlsAllowConnectionsWithoutCertificates".into());
            }
        }
        args.extend(self.args.iter().map(OsString::from));
        Ok(Spec {
            name: format!("mongod 127.0.0.1:{port}"),
            program: program.to_owned(),
            args,
            env: openssl(program)
                .map(|path| ("LD_LIBRARY_PATH".to_owned(), path.into()))
                .into_iter()
                .collect(),
            log: folder.join(format!("{port}.log")),
            folder: folder.to_owned(),
        })
    }
}

/// The folder of OpenSSL 1.1 next to a server that was fetched. Servers that use OpenSSL 3 don't look at it.
fn openssl(program: &Path) -> Option<PathBuf> {
    let folder = program.parent()?.parent()?.join("openssl-1.1");
    folder.is_dir().then_some(folder)
}

/// A running replica set, or a standalone server. Members are counted from 0.
#[derive(Debug)]
pub struct Mongo {
    // Dropped before the folder they write to.
    nodes: Vec<Node>,
    hosts: Vec<String>,
    options: MongoBuilder,
    folder: TempDir,
}

impl Mongo {
    /// One member of version 6.0, if nothing else is asked for.
    pub fn builder() -> MongoBuilder {
        MongoBuilder {
            version: MongoVersion::default(),
            members: 1,
            standalone: false,
            set_name: "rs0".to_owned(),
            oplog_mb: 256,
            cache_mb: 256,
            args: Vec::new(),
            auth: false,
            tls: None,
        }
    }

    /// The connection string of the whole replica set, with credentials and TLS files if there are any.
    pub fn uri(&self) -> String {
        let target = if self.options.standalone {
            "directConnection=true"
        } else {
            &format!("replicaSet={}", self.set_name())
        };
        self.uri_of(&self.hosts.join(","), target, self.options.auth)
    }

    /// The connection string of one member (`directConnection=true`).
    pub fn member_uri(&self, index: usize) -> String {
        self.uri_of(self.host(index), "directConnection=true", self.options.auth)
    }

    /// The members' addresses, `127.0.0.1:port`.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The name of the replica set.
    pub fn set_name(&self) -> &str {
        &self.options.set_name
    }

    /// The folder with the servers' data and logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process id of a member, while it runs.
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.node(index).pid()
    }

    /// A member's log so far.
    pub fn log(&self, index: usize) -> String {
        self.node(index).log()
    }

    /// A client of the whole replica set.
    pub async fn client(&self) -> Result<Client, ServerError> {
        connect(&self.uri()).await
    }

    /// A client of one member.
    pub async fn member_client(&self, index: usize) -> Result<Client, ServerError> {
        connect(&self.member_uri(index)).await
    }

    /// Kills a member (SIGKILL) and waits until it is gone.
    pub async fn kill(&self, index: usize) {
        self.node(index).kill().await;
    }

    /// Ends a member cleanly (SIGTERM) and waits until it is gone.
    pub async fn shut_down(&self, index: usize) {
        self.node(index).terminate().await;
    }

    /// Starts a member again, with its data and on its port, and waits until it answers; a member that still runs
    /// is killed first. Whether there is a primary then is another question: [`Mongo::primary`].
    pub async fn restart(&self, index: usize) -> Result<(), ServerError> {
        self.node(index).start().await?;
        self.wait_until_open(index).await
    }

    /// Stops a member where it stands (SIGSTOP): its connections stay open, and nothing answers.
    pub fn pause(&self, index: usize) -> Result<(), ServerError> {
        self.node(index).pause()
    }

    /// Lets a paused member go on.
    pub fn resume(&self, index: usize) -> Result<(), ServerError> {
        self.node(index).resume()
    }

    /// Waits until a member is a primary that takes writes and has committed something by majority; says which.
    pub async fn primary(&self) -> Result<usize, ServerError> {
        let mut clients = Vec::new();
        for host in &self.hosts {
            clients.push(connect(&self.uri_of(host, "directConnection=true", false)).await?);
        }
        let deadline = Instant::now() + READY_TIMEOUT;
        while Instant::now() < deadline {
            // Whoever says first that it is; a paused member never answers.
            let questions = clients.iter().enumerate().map(|(index, client)| {
                Box::pin(async move { if is_ready_primary(client).await { Ok(index) } else { Err(()) } })
            });
            let answer = timeout(ANSWER_TIMEOUT, select_ok(questions)).await;
            if let Ok(Ok((index, _))) = answer {
                return Ok(index);
            }
            sleep(POLL_INTERVAL).await;
        }
        Err(ServerError::Timeout { what: "a primary".to_owned(), log: self.nodes[0].log_tail() })
    }

    /// Makes the primary step down for three seconds and waits for the next one; says which it is. Needs three
    /// members.
    pub async fn step_down(&self) -> Result<usize, ServerError> {
        let primary = self.primary().await?;
        let client = self.member_client(primary).await?;
        let command = doc! { "replSetStepDown": 3, "secondaryCatchUpPeriodSecs": 2 };
        client.database("admin").run_command(command).await.map_err(failed("step down"))?;
        self.primary().await
    }

    /// Ends all members cleanly and removes their data.
    pub async fn stop(self) {
        join_all(self.nodes.iter().map(Node::terminate)).await;
    }

    async fn initiate(&self) -> Result<(), ServerError> {
        let members: Vec<Document> =
            (0..).zip(&self.hosts).map(|(id, host): (i32, _)| doc! { "_id": id, "host": host }).collect();
        let settings =
            doc! { "electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 200, "heartbeatTimeoutSecs": 2 };
        let config = doc! { "_id": self.set_name(), "members": members, "settings": settings };
        let client = self.local_client(0).await?;
        let command = doc! { "replSetInitiate": config };
        client.database("admin").run_command(command).await.map_err(failed("initiate the replica set"))?;
        self.primary().await.map(|_| ())
    }

    /// The first user may be created by a client on the same machine without credentials.
    async fn create_user(&self) -> Result<(), ServerError> {
        let primary = if self.options.standalone { 0 } else { self.primary().await? };
        let client = self.local_client(primary).await?;
        let command = doc! { "createUser": USER, "pwd": PASSWORD, "roles": ["root"] };
        client.database("admin").run_command(command).await.map_err(failed("create the user"))?;
        Ok(())
    }

    /// Waits until every member is a primary or a secondary.
    async fn wait_for_members(&self) -> Result<(), ServerError> {
        for index in 0..self.nodes.len() {
            let client = self.local_client(index).await?;
            let admin = client.database("admin");
            let ready = async || {
                let state = admin.run_command(doc! { "isMaster": 1 }).await.unwrap_or_default();
                state.get_bool("ismaster").unwrap_or(false) || state.get_bool("secondary").unwrap_or(false)
            };
            self.node(index).wait_until("to become a secondary", ready).await?;
        }
        Ok(())
    }

    async fn wait_until_open(&self, index: usize) -> Result<(), ServerError> {
        let host = self.host(index);
        self.node(index)
            .wait_until("to accept connections", async || TcpStream::connect(host).await.is_ok())
            .await
    }

    /// A client of one member that doesn't log in.
    async fn local_client(&self, index: usize) -> Result<Client, ServerError> {
        connect(&self.uri_of(self.host(index), "directConnection=true", false)).await
    }

    fn uri_of(&self, hosts: &str, target: &str, log_in: bool) -> String {
        let user = if log_in { format!("{USER}:{PASSWORD}@") } else { String::new() };
        let mut uri = format!("mongodb://{user}{hosts}/?{target}");
        if let Some(tls) = &self.options.tls {
            let _ = write!(uri, "&tls=true&tlsCAFile={}", percent_encoded(&tls.authority));
            if let Some(client) = &tls.client {
                let _ = write!(uri, "&tlsCertificateKeyFile={}", percent_encoded(client));
            }
        }
        uri
    }

    fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    fn host(&self, index: usize) -> &str {
        &self.hosts[index]
    }
}

async fn is_ready_primary(client: &Client) -> bool {
    let state = client.database("admin").run_command(doc! { "isMaster": 1 }).await.unwrap_or_default();
    let committed = state.get_document("lastWrite").and_then(|write| write.get_document("majorityOpTime"));
    state.get_bool("ismaster").unwrap_or(false)
        && committed.and_then(|optime| optime.get_i64("t")).is_ok_and(|term| term > 0)
}

async fn connect(uri: &str) -> Result<Client, ServerError> {
    let what = "connect";
    let mut options = ClientOptions::parse(uri).await.map_err(failed(what))?;
    options.server_selection_timeout = Some(READY_TIMEOUT);
    Client::with_options(options).map_err(failed(what))
}

fn failed(what: &'static str) -> impl Fn(error::Error) -> ServerError {
    move |source| ServerError::Mongo { what, source: Box::new(source) }
}

/// A path as a value of a connection string.
fn percent_encoded(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    bytes
        .map(|&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

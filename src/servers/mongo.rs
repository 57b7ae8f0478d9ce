//! Private MongoDB servers: a replica set of one or three members, or a standalone.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::{join_all, select_ok, try_join_all};
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, error};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::mongo_builder::{KEY_FILE, MongoBuilder};
use super::process::{Node, POLL_INTERVAL, READY_TIMEOUT, free_ports};
use super::{ServerError, temporary_folder, write_file};

/// What a server logs when it takes connections.
const READY: &str = "Waiting for connections";

const USER: &str = "admin";
const PASSWORD: &str = "secret";

/// How long members are given to say whether they are the primary.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

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
        MongoBuilder::default()
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

    /// The folder with a member's data.
    pub fn data(&self, index: usize) -> PathBuf {
        let port = self.host(index).rsplit(':').next().unwrap_or_default();
        self.folder.path().join(port)
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

    /// Starts a member again, with its data and on its port, and waits until it takes connections; a
    /// member that still runs
    /// is killed first. Whether there is a primary then is another question: [`Mongo::primary`].
    pub async fn restart(&self, index: usize) -> Result<(), ServerError> {
        self.node(index).start_until_logged(&[READY]).await
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

    pub(super) async fn start(options: &MongoBuilder) -> Result<Self, ServerError> {
        let folder = temporary_folder("mongo-")?;
        if options.auth {
            write_key_file(&folder.path().join(KEY_FILE))?;
        }
        let ports = free_ports(if options.standalone { 1 } else { options.members });
        let specs = ports.iter().map(|port| options.spec(folder.path(), *port));
        let mongo = Self {
            nodes: specs.map(|spec| spec.map(Node::new)).collect::<Result<_, _>>()?,
            hosts: ports.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
            options: options.clone(),
            folder,
        };
        try_join_all((0..mongo.nodes.len()).map(|index| mongo.restart(index))).await?;
        if !options.standalone {
            mongo.initiate().await?;
        }
        if options.auth {
            mongo.create_user().await?;
        }
        if !options.standalone {
            mongo.wait_for_members().await?;
        }
        Ok(mongo)
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

fn write_key_file(path: &Path) -> Result<(), ServerError> {
    write_file(path, "a key that all members of the replica set know")?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(|source| ServerError::Io { what: format!("protect {}", path.display()), source })
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

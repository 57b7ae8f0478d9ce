//! The connection to MongoDB: what deployment it is, and what its errors mean.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::error::{Error as DriverError, ErrorKind as DriverKind};
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;
use mongodb::options::{ClientOptions, ReadConcern, SelectionCriteria, ServerAddress};
use mongodb::{Client, Database};

use crate::bson::{RawDoc, RawValue};
use crate::error::{Error, ErrorKind};
use crate::event::{Mark, Position};

/// How long to look for a usable member, unless the URI says `serverSelectionTimeoutMS`.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a single member may take when it is only asked what it is.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(2);

/// A replica set that answers.
#[derive(Clone, Debug)]
pub struct Deployment {
    client: Client,
    /// How its members are reached one by one; unknown of a client that somebody else has made.
    options: Option<ClientOptions>,
    /// The set's name, and its id where the privileges allow to read it: `rs0/65f0…`.
    pub source: String,
    /// The server's version, such as `6.0.5`.
    pub version: String,
    /// The members that the set names.
    pub hosts: Vec<String>,
    /// Whether it is a shard of a sharded cluster, as far as it tells.
    pub is_shard: bool,
}

impl Deployment {
    /// Connects, and makes sure that it is a replica set. Fails within seconds.
    pub async fn connect(uri: &str) -> Result<Self, Error> {
        let mut options = ClientOptions::parse(uri).await.map_err(|error| unusable(&error))?;
        options.server_selection_timeout.get_or_insert(SELECTION_TIMEOUT);
        options.connect_timeout.get_or_insert(SELECTION_TIMEOUT);
        options.app_name.get_or_insert_with(|| "mongo-observer".to_owned());
        let client = client(&options)?;
        let hello = match hello(&client).await {
            Ok(hello) => hello,
            Err(error) => return Err(diagnose(&options, error).await),
        };
        if let Some(error) = unsupported(&hello, &addresses(&options.hosts)) {
            return Err(error);
        }
        Ok(Self::described(client, Some(options), &hello).await)
    }

    /// The replica set that a client is connected to already; fails where it is none. Its members are not asked one by one for a position
    /// that the preferred one has lost.
    pub async fn of(client: Client) -> Result<Self, Error> {
        let hello = hello(&client).await.map_err(|error| fault(&error, "asking what deployment it is"))?;
        match unsupported(&hello, hello.get_str("me").unwrap_or("the server")) {
            Some(error) => Err(error),
            None => Ok(Self::described(client, None, &hello).await),
        }
    }

    async fn described(client: Client, options: Option<ClientOptions>, hello: &Document) -> Self {
        let source = source(&client, hello.get_str("setName").unwrap_or_default()).await;
        let version = server_version(&client).await.unwrap_or_default();
        let hosts = ["hosts", "passives"]
            .iter()
            .filter_map(|list| hello.get_array(list).ok())
            .flatten()
            .filter_map(|host| host.as_str().map(str::to_owned))
            .collect();
        let is_shard = is_shard(hello);
        Self { client, options, source, version, hosts, is_shard }
    }

    /// The driver's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether this server is newer than those that the reading was tested with.
    pub fn is_untested(&self) -> bool {
        self.release().is_some_and(|(major, _)| major > 6)
    }

    /// The first two numbers of the server's version.
    pub fn release(&self) -> Option<(u32, u32)> {
        let mut numbers = self.version.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    }

    /// A client that speaks with one member only, whatever its state.
    pub(super) fn member(&self, host: &str) -> Option<Result<Client, Error>> {
        self.options.as_ref().map(|options| direct(options, host, SELECTION_TIMEOUT))
    }

    /// Ends all connections. To be called after all cursors are dropped: the driver ends them in the background, and would complain on
    /// standard error if the runtime went down first.
    pub async fn shutdown(self) {
        self.client.shutdown().await;
    }
}

/// A connection string that can't be used. A name that can't be looked up may be known a moment later.
fn unusable(error: &DriverError) -> Error {
    let kind = match error.kind.as_ref() {
        DriverKind::DnsResolve { .. } => ErrorKind::SourceUnavailable,
        _ => ErrorKind::Config,
    };
    Error::mongodb(kind, "mongodb.uri can't be used", error)
}

fn client(options: &ClientOptions) -> Result<Client, Error> {
    Client::with_options(options.clone())
        .map_err(|error| Error::mongodb(ErrorKind::Config, "mongodb.uri can't be used", &error))
}

fn direct(options: &ClientOptions, host: &str, timeout: Duration) -> Result<Client, Error> {
    let address = ServerAddress::parse(host).map_err(|error| {
        Error::mongodb(ErrorKind::Internal, format!("the member name `{host}` can't be used"), &error)
    })?;
    client(&direct_options(options, address, timeout))
}

fn direct_options(options: &ClientOptions, address: ServerAddress, timeout: Duration) -> ClientOptions {
    let mut member = ClientOptions::default();
    member.hosts = vec![address];
    member.direct_connection = Some(true);
    member.server_selection_timeout = Some(timeout);
    member.connect_timeout = Some(timeout);
    member.app_name.clone_from(&options.app_name);
    member.credential.clone_from(&options.credential);
    member.tls.clone_from(&options.tls);
    member
}

/// The read preference of the URI, which the driver does not apply to commands by itself.
pub(crate) fn selection(client: &Client) -> Option<SelectionCriteria> {
    client.selection_criteria().cloned()
}

async fn hello(client: &Client) -> Result<Document, DriverError> {
    let admin = client.database("admin");
    let command = admin.run_command(doc! { "hello": 1 });
    match selection(client) {
        Some(criteria) => command.selection_criteria(criteria).await,
        None => command.await,
    }
}

/// Why a server that answers can't be tailed.
fn unsupported(hello: &Document, at: &str) -> Option<Error> {
    let refuse = |what: String| Some(Error::new(ErrorKind::Unsupported, what));
    if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        return refuse(format!(
            "{at} is a mongos, which has no oplog: sharded clusters are not supported yet"
        ));
    }
    if hello.contains_key("setName") {
        return None;
    }
    if hello.get_bool("isreplicaset").unwrap_or(false) {
        return refuse(format!(
            "{at} was started with --replSet, but the set was not initiated: run rs.initiate()"
        ));
    }
    refuse(format!(
        "{at} is a standalone mongod, which has no oplog: start it with --replSet and run rs.initiate()"
    ))
}

/// Members of a sharded cluster add the cluster's commit point to every answer; those of the config servers' set say that they are such.
fn is_shard(hello: &Document) -> bool {
    hello.contains_key("lastCommittedOpTime") && !hello.contains_key("configsvr")
}

/// The driver only says that it found no member: asks each host directly what it is.
async fn diagnose(options: &ClientOptions, error: DriverError) -> Error {
    let general = fault(&error, "finding a usable member of the replica set");
    if general.kind() != ErrorKind::SourceUnavailable {
        return general;
    }
    let mut silent = None;
    for host in &options.hosts {
        let hello = match ask(options, host).await {
            Ok(hello) => hello,
            Err(error) if matches!(*error.kind, DriverKind::Authentication { .. }) => {
                return fault(&error, "login");
            }
            Err(error) => {
                silent.get_or_insert(error);
                continue;
            }
        };
        if let Some(error) = unsupported(&hello, &host.to_string()) {
            return error;
        }
        if let (Some(wanted), Ok(found)) = (&options.repl_set_name, hello.get_str("setName"))
            && wanted != found
        {
            return Error::new(
                ErrorKind::Config,
                format!("{host} belongs to the replica set `{found}`, mongodb.uri asks for `{wanted}`"),
            );
        }
        return general;
    }
    let what = format!("no MongoDB server answers at {}", addresses(&options.hosts));
    silent.map_or(general, |error| Error::mongodb(ErrorKind::SourceUnavailable, what, &error))
}

/// Asks one host what it is. The error is what went wrong with the connection: the driver's own only says that the time is up.
async fn ask(options: &ClientOptions, host: &ServerAddress) -> Result<Document, DriverError> {
    let failure = Arc::new(Mutex::new(None));
    let note = Arc::clone(&failure);
    let mut options = direct_options(options, host.clone(), DIAGNOSIS_TIMEOUT);
    options.sdam_event_handler = Some(EventHandler::callback(move |event| {
        if let SdamEvent::ServerHeartbeatFailed(event) = event {
            // The first one: a later one may only say that the client is being closed.
            note.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(event.failure);
        }
    }));
    let client = Client::with_options(options)?;
    let answer = hello(&client).await;
    client.shutdown().await;
    let failure = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    answer.map_err(|error| match *error.kind {
        DriverKind::ServerSelection { .. } => failure.unwrap_or(error),
        _ => error,
    })
}

fn addresses(hosts: &[ServerAddress]) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The set's identity. Its id needs a privilege beyond the tail's own (`clusterMonitor`, or `find` on `local.system.replset`); without
/// it the name has to do.
async fn source(client: &Client, set: &str) -> String {
    let config = match client.database("admin").run_command(doc! { "replSetGetConfig": 1 }).await {
        Ok(mut reply) => reply.get_document_mut("config").ok().map(std::mem::take),
        Err(_) => client
            .database("local")
            .collection::<Document>("system.replset")
            .find_one(doc! {})
            .await
            .ok()
            .flatten(),
    };
    let id = config
        .as_ref()
        .and_then(|config| config.get_document("settings").ok()?.get_object_id("replicaSetId").ok());
    match id {
        Some(id) => format!("{set}/{}", id.to_hex()),
        None => set.to_owned(),
    }
}

/// Whether two sources are the same set, as far as both can tell.
pub fn same_source(one: &str, other: &str) -> bool {
    let split = |source: &str| {
        let (name, id) = source.rsplit_once('/').map_or((source, None), |(name, id)| (name, Some(id)));
        (name.to_owned(), id.map(str::to_owned))
    };
    match (split(one), split(other)) {
        ((_, Some(one)), (_, Some(other))) | ((one, _), (other, _)) => one == other,
    }
}

async fn server_version(client: &Client) -> Option<String> {
    let info = client.database("admin").run_command(doc! { "buildInfo": 1 }).await.ok()?;
    info.get_str("version").ok().map(str::to_owned)
}

/// What is majority-committed now, on the member that answers. Not the newest entry: there may still be holes before it.
pub(crate) async fn majority_point(client: &Client) -> Result<Mark, Error> {
    let hello = hello(client).await.map_err(|error| fault(&error, "reading the majority point"))?;
    let optime = hello.get_document("lastWrite").and_then(|last| last.get_document("majorityOpTime"));
    let found =
        optime.ok().and_then(|optime| Some((optime.get_timestamp("ts").ok()?, optime.get_i64("t").ok())));
    match found {
        Some((ts, term)) if ts.time > 0 => {
            Ok(Mark::Tail { at: Position::behind_entry(ts.time, ts.increment), term })
        }
        _ => Err(Error::new(
            ErrorKind::SourceUnavailable,
            "the replica set has no majority-committed write yet",
        )),
    }
}

/// The database with the oplog, read at majority.
pub(super) fn local(client: &Client) -> Database {
    client.database("local")
}

/// The oplog's entry that a filter finds first, in natural order.
pub(super) async fn first_entry(
    client: &Client,
    filter: Document,
) -> Result<Option<(Position, Option<i64>)>, Error> {
    find_entry(client, filter, 1).await
}

/// The one that it finds last.
pub(super) async fn newest_entry(
    client: &Client,
    filter: Document,
) -> Result<Option<(Position, Option<i64>)>, Error> {
    find_entry(client, filter, -1).await
}

async fn find_entry(
    client: &Client,
    filter: Document,
    direction: i32,
) -> Result<Option<(Position, Option<i64>)>, Error> {
    let entries = local(client).collection::<mongodb::bson::RawDocumentBuf>("oplog.rs");
    let find = entries
        .find_one(filter)
        .hint(mongodb::options::Hint::Keys(doc! { "$natural": direction }))
        .projection(doc! { "ts": 1, "t": 1 })
        .read_concern(ReadConcern::majority());
    let found = match selection(client) {
        Some(criteria) => find.selection_criteria(criteria).await,
        None => find.await,
    };
    let found = found.map_err(|error| fault(&error, "reading the oplog"))?;
    Ok(found.and_then(|entry| {
        let entry = RawDoc::new(entry.as_bytes()).ok()?;
        let (t, i) = entry.get("ts")?.as_timestamp()?;
        Some((Position::of_entry(t, i), entry.get("t").and_then(RawValue::as_i64)))
    }))
}

/// The oldest entry that the oplog still has.
pub async fn oldest_entry(client: &Client) -> Result<Option<Position>, Error> {
    Ok(first_entry(client, doc! {}).await?.map(|(at, _)| at))
}

/// How far an oplog reaches.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its oldest entry.
    pub oldest: Position,
    /// What is majority-committed.
    pub newest: Position,
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.newest.t.saturating_sub(self.oldest.t);
        write!(f, "readable, reaches back {}.{} h, to {}", seconds / 3600, seconds % 3600 / 360, self.oldest)
    }
}

/// Reads how far the oplog reaches, which needs the privilege that the tail needs.
pub async fn window(deployment: &Deployment) -> Result<Window, Error> {
    let newest = majority_point(deployment.client()).await?.position();
    let oldest = oldest_entry(deployment.client()).await?;
    let oldest = oldest.ok_or_else(|| Error::new(ErrorKind::SourceUnavailable, "the oplog is empty"))?;
    Ok(Window { oldest, newest })
}

/// What an error of the driver means for us. `doing` says what failed.
pub(crate) fn fault(error: &DriverError, doing: &str) -> Error {
    let kind = match error.kind.as_ref() {
        DriverKind::Authentication { .. } => {
            return Error::mongodb(ErrorKind::Unauthorized, "MongoDB: login failed", error);
        }
        DriverKind::Command(command) => match command.code {
            13 if command.message.contains("oplog") || doing.contains("oplog") => {
                return Error::mongodb(
                    ErrorKind::Unauthorized,
                    "the MongoDB user may not read local.oplog.rs: grant it `find` on that collection",
                    error,
                );
            }
            13 | 18 | 8000 => ErrorKind::Unauthorized,
            _ => ErrorKind::SourceUnavailable,
        },
        DriverKind::InvalidTlsConfig { .. } | DriverKind::InvalidArgument { .. } => ErrorKind::Config,
        _ => ErrorKind::SourceUnavailable,
    };
    Error::mongodb(kind, format!("MongoDB: {doing} failed"), error)
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::{is_shard, same_source, unsupported};

    #[test]
    fn what_has_no_oplog_is_refused_with_what_it_is() {
        for (hello, reason) in [
            (doc! { "msg": "isdbgrid" }, "db:1 is a mongos"),
            (doc! { "isreplicaset": true }, "run rs.initiate()"),
            (doc! { "isWritablePrimary": true }, "db:1 is a standalone mongod"),
        ] {
            let error = unsupported(&hello, "db:1").expect("refused").to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(unsupported(&doc! { "setName": "rs0" }, "db:1").is_none());
    }

    #[test]
    fn a_shard_is_told_by_its_answer() {
        let time = mongodb::bson::Timestamp { time: 1, increment: 1 };
        assert!(is_shard(&doc! { "setName": "a", "lastCommittedOpTime": time }));
        assert!(!is_shard(&doc! { "setName": "a" }));
        assert!(!is_shard(&doc! { "setName": "cfg", "configsvr": 2, "lastCommittedOpTime": time }));
    }

    #[test]
    fn sources_are_the_same_by_id_where_both_have_one_else_by_name() {
        assert!(same_source("rs0/a1", "rs0/a1") && same_source("rs0/a1", "rs0") && same_source("rs0", "rs0"));
        assert!(
            !same_source("rs0/a1", "rs0/b2") && !same_source("rs0/a1", "rs1") && !same_source("rs0", "rs1")
        );
    }
}

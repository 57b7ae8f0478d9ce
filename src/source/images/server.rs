//! Images from MongoDB.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::error::{Error as DriverError, ErrorKind as DriverKind};
use mongodb::options::{ReadPreference, SelectionCriteria};
use mongodb::raw_batch_cursor::RawBatchCursor;
use mongodb::{Client, Database};

use super::{ImageStore, Request, Sought};
use crate::bson::{DocWriter, RawValue};
use crate::error::{Error, ErrorKind};
use crate::event::Namespace;
use crate::source::Namespaces;
use crate::source::client::{self, Deployment};
use crate::source::oplog::reply::Reply;

/// Half of the time that the server may take for an answer. A member that lags behind what was read from the oplog of another one catches
/// up first.
const PATIENCE: Duration = Duration::from_secs(10);
/// Since that version pre-images have a collection of their own.
const KEEPS_RECORDS: (u32, u32) = (6, 0);

const UUID: u8 = 4;
const UNAUTHORIZED: i32 = 13;
const NAMESPACE_NOT_FOUND: i32 = 26;

/// The documents of a replica set.
#[derive(Clone, Debug)]
pub struct ServerImages {
    client: Client,
    keeps_records: bool,
}

impl ServerImages {
    /// Those of `deployment`.
    pub fn new(deployment: &Deployment) -> Self {
        let keeps_records = deployment.release().is_none_or(|release| release >= KEEPS_RECORDS);
        Self { client: deployment.client().clone(), keeps_records }
    }

    async fn open(&self, request: &Request<'_>) -> Result<Option<RawBatchCursor>, Error> {
        let command = command(request);
        let database = self.client.database(request.sought.database());
        let criteria = client::selection(&self.client);
        let opened = match find(&database, &command, request.at_once, criteria.clone()).await? {
            // A member that lags may not know yet of a collection that is new: the primary knows.
            Err(error) if code(&error) == Some(NAMESPACE_NOT_FOUND) && criteria.is_some() => {
                let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
                find(&database, &command, request.at_once, Some(primary)).await?
            }
            opened => opened,
        };
        match opened {
            Ok(cursor) => Ok(Some(cursor)),
            Err(error) if code(&error) == Some(NAMESPACE_NOT_FOUND) => Ok(None),
            Err(error) => Err(fault(&error, request)),
        }
    }

    async fn next(cursor: &mut RawBatchCursor, request: &Request<'_>) -> Result<Option<Vec<Bytes>>, Error> {
        let Some(batch) = patiently(cursor.try_next()).await?.map_err(|error| fault(&error, request))? else {
            return Ok(None);
        };
        let reply = Reply::of(batch);
        let documents = reply.entries()?.into_iter().map(|range| reply.bytes.slice(range));
        Ok(Some(documents.collect()))
    }
}

impl ImageStore for ServerImages {
    fn read<'a>(&'a self, request: &'a Request<'a>) -> BoxStream<'a, Result<Vec<Bytes>, Error>> {
        let replies = futures::stream::try_unfold(None, move |cursor| async move {
            let mut cursor = match cursor {
                Some(cursor) => cursor,
                None => match self.open(request).await? {
                    Some(cursor) => cursor,
                    None => return Ok(None),
                },
            };
            let reply = Self::next(&mut cursor, request).await?;
            Ok(reply.map(|reply| (reply, Some(cursor))))
        });
        replies.boxed()
    }

    fn keeps_records(&self) -> bool {
        self.keeps_records
    }
}

type Opened = Result<RawBatchCursor, DriverError>;

async fn find(
    database: &Database,
    command: &[u8],
    at_once: u32,
    criteria: Option<SelectionCriteria>,
) -> Result<Opened, Error> {
    let command = RawDocumentBuf::from_bytes(command.to_vec())
        .map_err(|error| Error::caused(ErrorKind::Internal, "the find command", error))?;
    let find = database.run_raw_cursor_command(command).batch_size(at_once);
    let find = match criteria {
        Some(criteria) => find.selection_criteria(criteria),
        None => find,
    };
    patiently(async { find.batch().await }).await
}

impl Sought<'_> {
    fn database(&self) -> &str {
        match self {
            Self::Current { db, .. } => db,
            Self::Records { .. } => "config",
            Self::NoOps { .. } => "local",
        }
    }

    /// The privileges without which it is refused.
    fn privileges(&self) -> &'static str {
        match self {
            Self::Current { .. } => "`find` on the captured collections, and `useUUID` on the cluster",
            Self::Records { .. } => "`find` on config.system.preimages",
            Self::NoOps { .. } => "`find` on local.oplog.rs",
        }
    }
}

/// The command, as BSON.
fn command(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut find = DocWriter::new(&mut bytes);
    match &request.sought {
        // By its UUID: no other collection will be taken for it, and a renamed one is found. It has no collation, that is the
        // collection's own, which is that of the index on `_id`.
        Sought::Current { collection, ids, .. } => {
            find.append_binary(b"find", UUID, collection);
            let mut filter = find.document(b"filter");
            within(&mut filter, ids);
            filter.finish();
        }
        // One range of the collection's order, which is that of its one index. Documents of transactions that are still open are in it,
        // too; `$in` would be a scan.
        Sought::Records { collection, first, last, .. } => {
            find.append_str(b"find", b"system.preimages");
            let mut filter = find.document(b"filter");
            let mut range = filter.document(b"_id");
            for (operator, at) in [("$gte", first), ("$lte", last)] {
                let mut id = range.document(operator.as_bytes());
                id.append_binary(b"nsUUID", UUID, collection);
                id.append_timestamp(b"ts", at.t, at.i);
                id.append_i64(b"applyOpsIndex", at.ordinal.into());
                id.finish();
            }
            range.finish();
            filter.finish();
        }
        // Conditions on `ts` make it a range of the oplog.
        Sought::NoOps { first, last, .. } => {
            find.append_str(b"find", b"oplog.rs");
            let mut filter = find.document(b"filter");
            let mut range = filter.document(b"ts");
            range.append_timestamp(b"$gte", first.t, first.i);
            range.append_timestamp(b"$lte", last.t, last.i);
            range.finish();
            filter.append_str(b"op", b"n");
            filter.finish();
            let mut fields = find.document(b"projection");
            fields.append_i32(b"ts", 1);
            fields.append_i32(b"o", 1);
            fields.finish();
        }
    }
    find.append_i64(b"batchSize", request.at_once.into());
    let not_before = request.not_before;
    let mut concern = find.document(b"readConcern");
    concern.append_str(b"level", b"majority");
    concern.append_timestamp(b"afterClusterTime", not_before.t, not_before.i);
    concern.finish();
    find.finish();
    bytes
}

fn within(filter: &mut DocWriter<'_>, ids: &[RawValue<'_>]) {
    let mut condition = filter.document(b"_id");
    let mut array = condition.array(b"$in");
    let mut digits = itoa::Buffer::new();
    for (index, id) in ids.iter().enumerate() {
        array.append(digits.format(index).as_bytes(), *id);
    }
    array.finish();
    condition.finish();
}

fn code(error: &DriverError) -> Option<i32> {
    match error.kind.as_ref() {
        DriverKind::Command(command) => Some(command.code),
        _ => None,
    }
}

fn fault(error: &DriverError, request: &Request<'_>) -> Error {
    if code(error) == Some(UNAUTHORIZED) {
        let what = format!("the MongoDB user may not read images: grant it {}", request.sought.privileges());
        return Error::mongodb(ErrorKind::Unauthorized, what, error);
    }
    client::fault(error, "reading images")
}

/// Waits for an answer. Where the sink holds everything up, nobody looks whether one has come, and the time is over when somebody does:
/// so it has to be over twice.
async fn patiently<T>(answer: impl Future<Output = T>) -> Result<T, Error> {
    let mut answer = std::pin::pin!(answer);
    for _ in 0..2 {
        if let Ok(answer) = tokio::time::timeout(PATIENCE, answer.as_mut()).await {
            return Ok(answer);
        }
    }
    let seconds = 2 * PATIENCE.as_secs();
    Err(Error::new(
        ErrorKind::SourceUnavailable,
        format!("MongoDB gave no answer about images for {seconds} s"),
    ))
}

/// The captured collections for which the server does not record what was there before a change. Needs the privilege to list databases
/// and collections.
pub async fn not_recording(deployment: &Deployment, namespaces: &Namespaces) -> Result<Vec<String>, Error> {
    let client = deployment.client();
    let fault = |error| client::fault(&error, "listing the collections");
    let mut found = Vec::new();
    for db in client.list_database_names().await.map_err(fault)? {
        if !namespaces.captures_database(&db) {
            continue;
        }
        let list = doc! { "listCollections": 1, "filter": { "type": "collection" } };
        let cursor = client.database(&db).run_cursor_command(list).await.map_err(fault)?;
        let collections: Vec<Document> = cursor.try_collect().await.map_err(fault)?;
        for collection in collections {
            let name = collection.get_str("name").unwrap_or_default();
            let ns = Namespace { db: &db, coll: name };
            if namespaces.captures(ns) && !records(&collection) {
                found.push(ns.to_string());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn records(collection: &Document) -> bool {
    let Ok(options) = collection.get_document("options") else { return false };
    let since_6 = options.get_document("changeStreamPreAndPostImages");
    since_6.is_ok_and(|images| images.get_bool("enabled").unwrap_or(false))
        || options.get_bool("recordPreImages").unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures::poll;
    use tokio::sync::oneshot;

    use super::patiently;
    use crate::error::ErrorKind;

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_looks_for_an_answer_does_not_count() {
        let (answer, answered) = oneshot::channel();
        let mut waiting = pin!(patiently(answered));
        assert!(poll!(waiting.as_mut()).is_pending());
        tokio::time::advance(Duration::from_secs(3600)).await;
        // It is there only a little later than somebody looks.
        assert!(poll!(waiting.as_mut()).is_pending());
        answer.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));

        let (_answer, never) = oneshot::channel::<()>();
        let error = patiently(never).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceUnavailable);
    }
}

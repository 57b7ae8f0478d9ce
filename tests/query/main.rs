//! Filters and sort orders, compared with what real servers of three versions find for the same documents.
#![allow(clippy::unwrap_used, missing_docs)]

mod dice;
mod expressions;
mod filters;
mod server;
mod values;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use mongo_observer::bson::RawDoc;
use mongo_observer::bson::extjson::{Mode, write_doc};
use mongo_observer::query::{Filter, FilterErrorKind, SortSpec};
use mongo_observer::servers::MongoVersion;
use mongodb::bson::{Document, RawDocumentBuf};

use dice::Dice;
use server::Server;

fn text(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    write_doc(&mut out, RawDoc::new(bytes).unwrap(), Mode::Canonical).unwrap();
    String::from_utf8(out).unwrap()
}

enum Answer {
    Refused(String),
    Unsupported,
    Failed(String),
    Found(BTreeSet<usize>),
}

fn ours(filter: &[u8], documents: &[RawDocumentBuf]) -> Answer {
    let filter = match Filter::parse(RawDoc::new(filter).unwrap()) {
        Ok(filter) => filter,
        Err(error) if error.kind == FilterErrorKind::Unsupported => return Answer::Unsupported,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    let mut found = BTreeSet::new();
    for (id, document) in documents.iter().enumerate() {
        match filter.matches(RawDoc::new(document.as_bytes()).unwrap()) {
            Ok(true) => drop(found.insert(id)),
            Ok(false) => {}
            Err(error) => return Answer::Failed(error.to_string()),
        }
    }
    Answer::Found(found)
}

/// How one filter's answers differ; nothing if they don't.
fn difference(
    ours: &Answer,
    theirs: &Result<BTreeSet<usize>, String>,
    documents: &[RawDocumentBuf],
) -> Option<String> {
    match (ours, theirs) {
        (Answer::Unsupported, _) | (Answer::Refused(_) | Answer::Failed(_), Err(_)) => None,
        (Answer::Refused(why) | Answer::Failed(why), Ok(_)) => Some(format!("only ours refuses: {why}")),
        (Answer::Found(_), Err(why)) => Some(format!("only the server refuses: {why}")),
        (Answer::Found(ours), Ok(theirs)) if ours == theirs => None,
        (Answer::Found(ours), Ok(theirs)) => {
            let mut report = String::new();
            for (whose, id) in ours
                .difference(theirs)
                .map(|id| ("ours", id))
                .chain(theirs.difference(ours).map(|id| ("theirs", id)))
                .take(2)
            {
                let _ = write!(report, "\n    only {whose}: {}", text(documents[*id].as_bytes()));
            }
            Some(report)
        }
    }
}

/// How the documents are ordered here; `_id` decides at last.
fn order(sort: &[u8], documents: &[RawDocumentBuf]) -> Result<Vec<usize>, String> {
    let sort = SortSpec::parse(RawDoc::new(sort).unwrap()).map_err(|error| error.to_string())?;
    let key = |id: usize| sort.key(RawDoc::new(documents[id].as_bytes()).unwrap());
    let keys: Result<Vec<_>, _> = (0..documents.len()).map(key).collect();
    let keys = keys.map_err(|error| error.to_string())?;
    let mut ids: Vec<usize> = (0..documents.len()).collect();
    ids.sort_by(|a, b| keys[*a].cmp(&keys[*b]));
    Ok(ids)
}

/// How two orders differ.
fn difference_in_order(
    ours: &Result<Vec<usize>, String>,
    theirs: &Result<Vec<usize>, String>,
    documents: &[RawDocumentBuf],
) -> Option<String> {
    match (ours, theirs) {
        (Err(_), Err(_)) => None,
        (Err(why), Ok(_)) => Some(format!("only ours refuses: {why}")),
        (Ok(_), Err(why)) => Some(format!("only the server refuses: {why}")),
        (Ok(ours), Ok(theirs)) => {
            let (ours, theirs) = ours.iter().zip(theirs).find(|(ours, theirs)| ours != theirs)?;
            let text = |id: &usize| text(documents[*id].as_bytes());
            Some(format!("\n    ours:   {}\n    theirs: {}", text(ours), text(theirs)))
        }
    }
}

async fn run(version: MongoVersion) {
    let seed: u64 = std::env::var("QUERY_SEED").ok().map_or(1, |seed| seed.parse().unwrap());
    let rounds: u64 = std::env::var("QUERY_ROUNDS").ok().map_or(6, |rounds| rounds.parse().unwrap());
    let server = Server::start(version).await;
    let began = Instant::now();
    let (mut filters, mut pairs, mut refused, mut unsupported, mut orders, mut orders_refused) =
        (0, 0, 0, 0, 0, 0);
    let mut differences = Vec::new();
    for round in 0..rounds {
        let mut dice = Dice::new(seed + round);
        let documents: Vec<Document> = (0..150).map(|_| values::document(&mut dice, 3)).collect();
        let documents = server.fill(&documents).await;
        for _ in 0..60 {
            let (filter, sort) = filters::sort(&mut dice);
            let sort_bytes = RawDocumentBuf::try_from(&sort).unwrap();
            let among = match ours(RawDocumentBuf::try_from(&filter).unwrap().as_bytes(), &documents) {
                Answer::Found(found) => found,
                _ => continue,
            };
            let chosen: Vec<RawDocumentBuf> = among.iter().map(|id| documents[*id].clone()).collect();
            let back: Vec<usize> = among.into_iter().collect();
            let ours =
                order(sort_bytes.as_bytes(), &chosen).map(|ids| ids.into_iter().map(|id| back[id]).collect());
            let theirs = server.sorted(&filter, &sort).await;
            orders += 1;
            orders_refused += u64::from(ours.is_err());
            if let Some(difference) = difference_in_order(&ours, &theirs, &documents) {
                differences.push(format!("sort {} of {}: {difference}", text(sort_bytes.as_bytes()), filter));
            }
        }
        for _ in 0..400 {
            let filter =
                if dice.once_in(6) { filters::wild(&mut dice) } else { filters::filter(&mut dice, 2) };
            let bytes = RawDocumentBuf::try_from(&filter).unwrap();
            let (ours, theirs) = (ours(bytes.as_bytes(), &documents), server.find(&filter).await);
            filters += 1;
            match ours {
                Answer::Refused(_) | Answer::Failed(_) => refused += 1,
                Answer::Unsupported => unsupported += 1,
                Answer::Found(_) => pairs += documents.len(),
            }
            if let Some(difference) = difference(&ours, &theirs, &documents) {
                differences.push(format!("{}: {difference}", text(bytes.as_bytes())));
            }
        }
    }
    let summary = format!(
        "{version:?}, seed {seed}: {filters} filters, {pairs} answers, {refused} filters refused, {unsupported} not supported, {orders} orders, {orders_refused} refused, {} differ; {:.1} s\n",
        differences.len(),
        began.elapsed().as_secs_f64()
    );
    let _ = std::io::stderr().write_all(summary.as_bytes());
    differences.sort_by_key(String::len);
    differences.truncate(30);
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[tokio::test]
async fn filters_on_4_4() {
    run(MongoVersion::V4_4).await;
}

#[tokio::test]
async fn filters_on_5_0() {
    run(MongoVersion::V5_0).await;
}

#[tokio::test]
async fn filters_on_6_0() {
    run(MongoVersion::V6_0_27).await;
}

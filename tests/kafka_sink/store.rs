//! The checkpoint store.

use mongo_observer::error::ErrorKind;
use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn checkpoints_are_kept_cleared_and_shown() {
    let servers = broker().await;
    let mut first = store(settings(servers, "store"));
    assert_eq!(first.peek().await.unwrap(), None, "no topic yet");
    assert_eq!(first.take().await.unwrap(), None);
    for t in 1..=50 {
        first.save(&checkpoint(t)).await.unwrap();
    }
    assert_eq!(store(settings(servers, "store")).peek().await.unwrap(), Some(checkpoint(50)));
    first.save(&checkpoint(51)).await.unwrap();

    let mut second = store(settings(servers, "store"));
    assert_eq!(second.take().await.unwrap(), Some(checkpoint(51)));
    second.save(&Stored::Cleared).await.unwrap();
    assert_eq!(second.take().await.unwrap(), Some(Stored::Cleared), "one may claim again");
    second.save(&checkpoint(60)).await.unwrap();
    let values = read(servers, "store._checkpoints").await;
    let last_of =
        |key: &str| values.iter().rev().find(|seen| seen.key == key).map(|seen| seen.value.is_some());
    assert_eq!(last_of("events/0"), Some(false), "replaced epochs are removed: {values:?}");
    assert_eq!(first.peek().await.unwrap(), Some(checkpoint(60)));
}

#[tokio::test]
async fn an_older_claimant_can_not_move_the_checkpoint() {
    let servers = broker().await;
    let (mut old, mut new) = (store(settings(servers, "fence")), store(settings(servers, "fence")));
    old.take().await.unwrap();
    old.save(&checkpoint(1)).await.unwrap();
    assert_eq!(new.take().await.unwrap(), Some(checkpoint(1)));
    // Until it hears of the new claim an old one may still write, which then counts for nothing once the new one has.
    new.save(&checkpoint(2)).await.unwrap();
    let fenced = timeout(PATIENCE, async {
        loop {
            if let Err(error) = old.save(&checkpoint(9)).await {
                return error;
            }
        }
    });
    let error = fenced.await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert_eq!(old.save(&checkpoint(9)).await.unwrap_err().kind(), ErrorKind::Fenced, "for good");
    assert_eq!(new.peek().await.unwrap(), Some(checkpoint(2)));
    new.save(&checkpoint(3)).await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_that_can_not_be_read_is_named_and_can_be_replaced() {
    let servers = broker().await;
    let mut first = store(settings(servers, "damaged"));
    first.take().await.unwrap();
    first.save(&checkpoint(1)).await.unwrap();
    produce(servers, "damaged._checkpoints", 0, "events/0", r#"{"version":2}"#).await;

    let mut second = store(settings(servers, "damaged"));
    for error in [second.peek().await.unwrap_err(), second.take().await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::CheckpointUnreadable, "{error}");
        for part in ["offset 2", "damaged._checkpoints", "version 2", "checkpoint set"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    second.save(&checkpoint(5)).await.unwrap();
    assert_eq!(second.peek().await.unwrap(), Some(checkpoint(5)));
}

#[tokio::test]
async fn a_topic_that_forgets_is_no_checkpoint_store() {
    let servers = broker().await;
    let opened = open(Settings { partitions: 1, ..settings(servers, "forgets") }).await;
    // A topic for events, as brokers make them: records are deleted after a week.
    let template = Settings { topic: "forgets2.{coll}".to_owned(), partitions: 1, ..settings(servers, "x") };
    open(template).await.router.route(ns("a._checkpoints")).await.unwrap();
    drop(opened);
    let error = store(settings(servers, "forgets2")).take().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("cleanup.policy"), "{error}");
}

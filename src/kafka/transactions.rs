//! The calls of a transactional producer. They block, so they are made away from the runtime's own threads.
//!
//! What may be called again is, until the time is up. Whatever else fails ends the attempt: the next producer of the same id settles
//! what this one has left, and nothing is sent twice under one epoch, so that a request that comes late finds itself refused.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use tokio::time::Instant;

use super::{Poller, blocking, kafka_error};
use crate::error::Error;

/// How long one call blocks: nobody may wait for its result any more.
const SLICE: Duration = Duration::from_secs(1);

/// The pause before another call, where the first one did not wait by itself.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the first call may take: a cluster makes its topic of transactions when it is first asked, and the transaction of a
/// predecessor has to end.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long brokers are asked to forget a transaction. They do so by themselves in the end.
const ABORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes over from all earlier producers of the same id: what they had committed is, what they had not is aborted, and they are refused
/// from now on.
pub(crate) async fn init<C: ProducerContext + 'static>(producer: &Poller<C>) -> Result<(), Error> {
    let result = call(producer, INIT_TIMEOUT, BaseProducer::init_transactions).await?;
    result.map_err(|error| kafka_error("can't take over the transactional.id", &error))
}

/// Begins a transaction: what is sent from now on belongs to it. Asks nobody, so it does not block.
pub(crate) fn begin<C: ProducerContext + 'static>(producer: &Poller<C>) -> KafkaResult<()> {
    producer.begin_transaction()
}

/// Why an open transaction can only be aborted, if that is so: it is asked for another one, which it refuses with the reason.
pub(crate) fn trouble<C: ProducerContext + 'static>(producer: &Poller<C>) -> Option<KafkaError> {
    let error = producer.begin_transaction().err()?;
    let KafkaError::Transaction(reason) = &error else { return None };
    (reason.txn_requires_abort() || reason.is_fatal()).then_some(error)
}

/// Commits all that was sent, which has to be reported on before. After an error it is open whether it is committed.
pub(crate) async fn commit<C: ProducerContext + 'static>(
    producer: &Poller<C>,
    limit: Duration,
) -> Result<KafkaResult<()>, Error> {
    call(producer, limit, BaseProducer::commit_transaction).await
}

/// Lets consumers pass what was sent. Does not matter if it fails: the brokers end what takes too long.
pub(crate) async fn abort<C: ProducerContext + 'static>(producer: &Poller<C>) {
    let result = call(producer, ABORT_TIMEOUT, BaseProducer::abort_transaction).await;
    if let Ok(Err(error)) = result {
        tracing::debug!(target: "kafka", %error, "a transaction was not aborted");
    }
}

async fn call<C: ProducerContext + 'static>(
    producer: &Poller<C>,
    limit: Duration,
    call: fn(&BaseProducer<C>, Duration) -> KafkaResult<()>,
) -> Result<KafkaResult<()>, Error> {
    let deadline = Instant::now() + limit;
    loop {
        let asked = Arc::clone(producer);
        let result = blocking(move || Ok(call(&asked, SLICE))).await?;
        let again = match &result {
            Err(KafkaError::Transaction(error)) => error.is_retriable(),
            Err(KafkaError::Flush(code)) => *code == RDKafkaErrorCode::OperationTimedOut,
            _ => false,
        };
        if !again || Instant::now() >= deadline {
            return Ok(result);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

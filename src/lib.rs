//! mongo-observer streams every change of a MongoDB replica set into Kafka, NATS JetStream, files or standard output, at least once and
//! in order per document. This crate is the program and the library beneath it. This page is the map.
//!
//! # The shape
//!
//! ```text
//!   replica set ──oplog──▶ source ──chunks──▶ pipeline ──batches──▶ sink ──▶ Kafka topic / NATS stream / lines
//!                                                ▲                    │
//!                             checkpoint ◀───────┴── acknowledged ◀───┘
//! ```
//!
//! Data flows one way, and the acknowledgement is all that comes back. Imports follow the data; `tests/tidy.rs` has them as a table.
//!
//! | module | holds | knows nothing of |
//! |---|---|---|
//! | [`bson`] | views of raw bytes, Extended JSON | oplogs |
//! | [`query`] | query filters and the sort order, evaluated as the server does | oplogs, I/O |
//! | [`event`] | the change event, positions, update deltas | how it is read or written |
//! | [`mod@format`] | encoders, names of topics and subjects, records | I/O |
//! | `source` | the oplog: tail, verified resume, cutting, translation; images | sinks |
//! | `observer` | the oplog's operations, handed to a user's methods | collections, sinks |
//! | `reactive` | live collections: full and filtered replicas in memory | where changes come from, but for `reactive/feed` |
//! | `pipeline` | the traits of its neighbours, the run loop, supervision | which sinks there are |
//! | `sink`, `checkpoint` | the adapters | each other, and the source |
//! | `connector` | the composition root: one pipeline for each configured sink | |
//! | `config`, `metrics`, `status`, `http`, `cli` | what stands around it | |
//! | `servers` | private MongoDB, Kafka and NATS for demo, tests, benchmarks | |
//!
//! # One change, from file to file
//!
//! 1. `source/oplog/tail.rs`: a reply of the raw cursor, kept as it came; `verify.rs` has seen before that the saved position is there.
//! 2. `source/oplog/cut.rs`: the reply becomes chunks of operations, with positions, ordinals and transactions; `chain.rs` puts together a
//!    transaction of several entries at the last of them.
//!    Where events shall have images, `source/images/ahead.rs` fetches them for several chunks at once, and keeps the chunks' order.
//! 3. `pipeline/run.rs`, `read`: each chunk takes its bytes from the budget and gets a task of its own; the tasks' handles are queued.
//! 4. `pipeline/stage.rs`: in that task, `source/oplog/translate` makes a [`event::ChangeEvent`] of each operation, a view of the reply's
//!    bytes; the router knows its topic; an encoder of [`mod@format`] writes key, value and header into the batch's one buffer.
//! 5. `pipeline/run.rs`, the loop: handles are joined in order, the batch goes to the sink.
//! 6. `sink/kafka/deliver.rs`, `sink/nats/chain.rs`, `sink/lines/writer.rs`: out, and the acknowledgement back.
//! 7. `pipeline/in_flight.rs`: deliveries are awaited in order, so what is done is contiguous; `keeper.rs` stores it as the checkpoint.
//!
//! # One change, in a live collection
//!
//! 1. `reactive/feed/mongodb`: a copy of the collection as it was at one point, then chunks of the oplog from that point on.
//! 2. `reactive/writer.rs`: the one task that writes. For a filtered collection `evidence.rs` finds what the changes don't decide, and the
//!    feed reads those documents as they were then.
//! 3. `reactive/replica`: each event makes a new document of the old one (`event::apply`, on bytes), and the state another one.
//! 4. `reactive/publish.rs`: the state is put where readers find it, then the batches go to the subscribers.
//!
//! # What always holds
//!
//! - **A position is stored only after every event up to it is durable in the sink.** `pipeline/sim`: 100,000 seeded schedules with crashes at
//!   every await, lost answers, failing stores.
//! - **First occurrences arrive in the oplog's order per document; repeats come only after a failure, as a suffix, in the same order.** The
//!   same, and with real servers `tests/e2e`.
//! - **Everything that is published goes through the one ordered path.** There is no second producer: watermarks and
//!   manifests are records in batches.
//! - **A position that can't be resumed halts; nothing is ever skipped silently.** `source/oplog/verify.rs`, `pipeline/resume.rs`.
//! - **Nothing buffers without a limit.** `pipeline/budget.rs`; for images `source/images/ahead.rs`; a stalled sink in `tests/e2e`.
//! - **Translating and encoding never panic, whatever the bytes.** Property tests beside the code.
//! - **Nothing is published that is not majority-committed.** The tail reads at read concern majority, and "now" is the majority point.
//! - **Contents of documents are never logged, and never become labels.** `Debug` of [`bson::RawDoc`] shows a size.
//!
//! # Errors
//!
//! There is one [`error::Error`]; its kind decides in one `match` whether the supervisor retries or halts, and what the operator is told.
//! An error ends the attempt: sink and source are opened again, the sink reads its own end, and the oplog is the replay buffer.
//!
//! # Features
//!
//! `connector` (the program), `kafka`, `nats` and `servers` are on by default. With `default-features = false` what remains is the
//! library: [`bson`], [`query`], [`event`] and [`mod@format`], without I/O; `reactive` adds live collections, and `mongodb` observers and
//! the collections' feed from MongoDB.
#![forbid(unsafe_code)]

pub mod bson;
pub mod error;
pub mod event;
pub mod format;
pub mod query;

#[cfg(feature = "mongodb")]
pub mod observer;
#[cfg(feature = "reactive")]
pub mod reactive;
#[cfg(feature = "tokio")]
pub mod retry;

#[cfg(feature = "connector")]
#[doc(hidden)]
pub mod checkpoint;
#[cfg(feature = "connector")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "connector")]
#[doc(hidden)]
pub mod config;
#[cfg(feature = "connector")]
#[doc(hidden)]
pub mod connector;
#[cfg(feature = "mongodb")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "connector")]
#[doc(hidden)]
pub mod http;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "connector")]
#[doc(hidden)]
pub mod metrics;
#[cfg(feature = "connector")]
#[doc(hidden)]
pub mod monitor;
#[cfg(feature = "connector")]
#[doc(hidden)]
pub mod pipeline;
#[cfg(feature = "connector")]
#[doc(hidden)]
pub mod secret;
#[cfg(feature = "servers")]
#[doc(hidden)]
pub mod servers;
#[cfg(feature = "connector")]
#[doc(hidden)]
pub mod sink;
#[cfg(feature = "mongodb")]
#[doc(hidden)]
pub mod source;
#[cfg(feature = "connector")]
#[doc(hidden)]
pub mod status;

/// The README's example compiles.
#[cfg(all(doctest, feature = "mongodb"))]
#[doc = include_str!("../README.md")]
struct Readme;

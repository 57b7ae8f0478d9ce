//! The connector as a process of its own, between real servers: what it delivers, and what it survives.
//!
//! Every test compares two things that know nothing of each other: MongoDB's oplog, read by the driver, and the sink, read by an
//! ordinary consumer. What must hold between them stands in `check`, which the simulation of the pipeline uses, too.

#[path = "../../src/pipeline/sim/check.rs"]
mod check;
mod harness;

mod bad_input;
mod broker;
mod change_streams;
mod crash;
mod cursor;
mod delivery;
mod demo;
mod exactly_once;
mod failover;
mod fresh;
mod images;
mod kafka_faults;
mod keys;
mod limits;
mod manifest;
mod names;
mod namespaces;
mod nats_faults;
mod no_room;
mod policies;
mod quiet;
mod resume;
mod rollback;
mod security;
mod several;
mod shutdown;
mod statistics;
mod table;
mod token;
mod transactions;
pub(crate) mod updates;
mod versions;

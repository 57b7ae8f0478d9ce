//! From namespaces to the names of topics and subjects.

use crate::bson::RawValue;

/// A topic or subject template.
#[derive(Debug, Clone)]
pub struct Template {}

/// A template that can't be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

/// The hash that Kafka's Java client takes of a key.
pub fn murmur2(_key: &[u8]) -> u32 {
    0
}

/// The subject token of a document's `_id`.
pub(super) fn write_id_token(_out: &mut Vec<u8>, _id: RawValue<'_>) {}

//! From namespaces to the names of topics and subjects.

use crate::bson::RawValue;

/// A topic or subject template.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
}

impl Template {
    /// Stand-in.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() { Err(TemplateError("empty".to_owned())) } else { Ok(Self { text: text.to_owned() }) }
    }

    /// Stand-in.
    pub fn subject(&self, prefix: &str, ns: crate::event::Namespace<'_>) -> Vec<super::SubjectPart> {
        let text = self.text.replace("{prefix}", prefix).replace("{db}", ns.db).replace("{coll}", &ns.coll.replace('.', "=2E"));
        match text.split_once("{id}") {
            Some((before, _)) => vec![super::SubjectPart::Literal(before.to_owned()), super::SubjectPart::Id],
            None => vec![super::SubjectPart::Literal(text)],
        }
    }
}

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

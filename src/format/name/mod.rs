//! From namespaces to the names of topics and subjects.
//!
//! The mapping is defined for every namespace that MongoDB can hold, and is the same in every run. On NATS different namespaces always
//! have different tokens. On Kafka, which allows too few bytes for that, a name that had to change ends in a hash of the namespace.
//! What a template itself brings together (`{prefix}.{coll}`, or separators that occur in collection names) a router finds when it
//! meets the second namespace.
//!
//! The connector's own records, those without a collection, go to `{prefix}._commands`, `{prefix}._watermark`,
//! `{prefix}._dead_letters` and `{prefix}._namespaces`.

mod kafka;
mod nats;

use std::str::FromStr;

use super::SubjectPart;
use crate::event::Namespace;

pub use kafka::{collision_key, murmur2};
pub(super) use nats::write_id_token;

/// How topics or subjects are named: text with the variables `{prefix}`, `{db}`, `{coll}` and, for subjects only, `{id}` and `{op}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Prefix,
    Db,
    Coll,
    Id,
    Op,
}

/// A template that can't be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let refuse = |why: &str| TemplateError(format!("template `{text}`: {why}"));
        if text.is_empty() {
            return Err(TemplateError("the template is empty".into()));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            let (literal, variable) = rest.split_at(brace);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let variable = variable.strip_prefix('{').ok_or_else(|| refuse("a `}` without its `{`"))?;
            let (name, behind) = variable.split_once('}').ok_or_else(|| refuse("a `{` without its `}`"))?;
            parts.push(Part::variable(name).ok_or_else(|| {
                refuse(&format!(
                    "unknown variable `{{{name}}}`: use {{prefix}}, {{db}}, {{coll}}, {{id}} or {{op}}"
                ))
            })?);
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }
}

impl Part {
    fn variable(name: &str) -> Option<Self> {
        Some(match name {
            "prefix" => Self::Prefix,
            "db" => Self::Db,
            "coll" => Self::Coll,
            "id" => Self::Id,
            "op" => Self::Op,
            _ => return None,
        })
    }
}

impl Template {
    /// The topic or subject of commands that concern no single collection.
    pub fn commands(prefix: &str) -> String {
        format!("{prefix}._commands")
    }

    /// The subject of watermarks. (On Kafka they go to the topics that they speak for.)
    pub fn watermark(prefix: &str) -> String {
        format!("{prefix}._watermark")
    }

    /// The topic or subject of what can't become an event.
    pub fn dead_letters(prefix: &str) -> String {
        format!("{prefix}._dead_letters")
    }

    /// The topic of manifests; on NATS what their subjects begin with.
    pub fn manifests(prefix: &str) -> String {
        format!("{prefix}._namespaces")
    }

    /// The subject of a namespace's manifest, which no other namespace has, and no event.
    pub fn manifest_subject(prefix: &str, ns: Namespace<'_>) -> String {
        let [db, coll] = [ns.db, ns.coll].map(|name| nats::token(name, false));
        format!("{}.{db}.{coll}", Self::manifests(prefix))
    }

    /// The text before the first variable that differs between events: what all names made with this prefix begin with.
    pub fn literal_prefix(&self, prefix: &str) -> String {
        self.parts.iter().map_while(|part| part.constant(prefix)).collect()
    }

    /// Whether it names both database and collection. If not, namespaces share topics or subjects because the user said so.
    pub fn tells_namespaces_apart(&self) -> bool {
        [Part::Db, Part::Coll].iter().all(|part| self.parts.contains(part))
    }

    /// Whether it can name Kafka topics: to be asked once, when the configuration is read.
    pub fn check_topic(&self, prefix: &str) -> Result<(), TemplateError> {
        if let Some(variable) = self.of_one_event() {
            return Err(TemplateError(format!(
                "`{variable}` can't be part of a topic: a topic holds all events of its namespaces"
            )));
        }
        let constants: String = self.parts.iter().filter_map(|part| part.constant(prefix)).collect();
        match constants.bytes().chain(prefix.bytes()).find(|byte| !kafka::is_legal(*byte)) {
            _ if prefix.is_empty() => Err(TemplateError("the prefix is empty".into())),
            Some(byte) => Err(TemplateError(format!(
                "`{}` can't be part of a topic: use A-Z, a-z, 0-9, `.`, `_` and `-`",
                char::from(byte).escape_default()
            ))),
            None if constants.len().max(prefix.len()) > kafka::TOPIC_BYTES_MAX / 2 => {
                Err(TemplateError("prefix and template leave no room for the namespace".into()))
            }
            None => Ok(()),
        }
    }

    /// Whether it can name NATS subjects: to be asked once, when the configuration is read.
    pub fn check_subject(&self, prefix: &str) -> Result<(), TemplateError> {
        let example: String = self.parts.iter().map(|part| part.constant(prefix).unwrap_or("x")).collect();
        if example.len() > nats::FIXED_BYTES_MAX {
            return Err(TemplateError("prefix and template leave no room for the namespace".into()));
        }
        nats::check_subject(prefix).and_then(|()| nats::check_subject(&example)).map_err(TemplateError)
    }

    /// The Kafka topic of a namespace; for an empty collection that of [`Template::commands`]. A legal name of at most 249 bytes, for
    /// every namespace: fails only for a template that [`Template::check_topic`] refuses.
    pub fn topic(&self, prefix: &str, ns: Namespace<'_>) -> Result<String, TemplateError> {
        if let Some(variable) = self.of_one_event() {
            return Err(TemplateError(format!("`{variable}` can't be part of a topic")));
        }
        if ns.coll.is_empty() {
            return Ok(kafka::topic(Self::commands(prefix), ""));
        }
        let name = self.parts.iter().map(|part| match part {
            Part::Db => ns.db,
            Part::Coll => ns.coll,
            other => other.constant(prefix).unwrap_or_default(),
        });
        Ok(kafka::topic(name.collect(), &ns.to_string()))
    }

    /// The Kafka topic of a database, where those of its collections have it in their names: the template without `{coll}` and the text
    /// before it. A legal name, as [`Template::topic`] gives.
    pub fn database_topic(&self, prefix: &str, db: &str) -> Result<String, TemplateError> {
        if let Some(variable) = self.of_one_event() {
            return Err(TemplateError(format!("`{variable}` can't be part of a topic")));
        }
        let mut name = String::new();
        for (number, part) in self.parts.iter().enumerate() {
            let before_collection = self.parts.get(number + 1) == Some(&Part::Coll);
            match part {
                Part::Db => name += db,
                Part::Literal(_) if before_collection => {}
                other => name += other.constant(prefix).unwrap_or_default(),
            }
        }
        Ok(kafka::topic(name, db))
    }

    /// The NATS subject of a namespace's events, literals merged; for an empty collection that of [`Template::commands`]. Each variable
    /// is exactly one token, whatever it holds. A name with a leading `_` in the place of the connector's own tokens has it encoded.
    pub fn subject(&self, prefix: &str, ns: Namespace<'_>) -> Vec<SubjectPart> {
        if ns.coll.is_empty() {
            return vec![SubjectPart::Literal(Self::commands(prefix))];
        }
        let own = format!("{prefix}.");
        let mut parts = Vec::new();
        let mut literal = String::new();
        for part in &self.parts {
            let variable = match part {
                Part::Db | Part::Coll => {
                    let name = if *part == Part::Db { ns.db } else { ns.coll };
                    literal += &nats::token(name, parts.is_empty() && literal == own);
                    continue;
                }
                Part::Id => SubjectPart::Id,
                Part::Op => SubjectPart::Op,
                Part::Literal(_) | Part::Prefix => {
                    literal += part.constant(prefix).unwrap_or_default();
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(SubjectPart::Literal(std::mem::take(&mut literal)));
            }
            parts.push(variable);
        }
        if !literal.is_empty() {
            parts.push(SubjectPart::Literal(literal));
        }
        parts
    }

    /// The first variable whose value differs between the events of a namespace.
    fn of_one_event(&self) -> Option<&'static str> {
        self.parts.iter().find_map(|part| match part {
            Part::Id => Some("{id}"),
            Part::Op => Some("{op}"),
            _ => None,
        })
    }
}

impl Part {
    /// Its text, if that is the same for all events.
    fn constant<'a>(&'a self, prefix: &'a str) -> Option<&'a str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Prefix => Some(prefix),
            Self::Db | Self::Coll | Self::Id | Self::Op => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        text.parse().expect(text)
    }

    fn ns<'a>(db: &'a str, coll: &'a str) -> Namespace<'a> {
        Namespace { db, coll }
    }

    fn literal(text: &str) -> SubjectPart {
        SubjectPart::Literal(text.into())
    }

    #[test]
    fn a_bad_template_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "empty"),
            ("{prefix}.{table}", "unknown variable `{table}`"),
            ("{prefix}.{}", "unknown variable `{}`"),
            ("{prefix}.{db", "a `{` without its `}`"),
            ("{prefix}.db}", "a `}` without its `{`"),
            ("{pre{fix}}", "unknown variable `{pre{fix}`"),
        ] {
            let refused = text.parse::<Template>().expect_err(text).to_string();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn names_that_kafka_allows_pass_unchanged() {
        let topics = template("{prefix}.{db}.{coll}");
        assert_eq!(topics.topic("mongo", ns("shop", "orders")).unwrap(), "mongo.shop.orders");
        assert_eq!(topics.topic("mongo", ns("shop", "fs.files-2_x")).unwrap(), "mongo.shop.fs.files-2_x");
        assert_eq!(topics.topic("mongo", ns("shop", "")).unwrap(), "mongo._commands");
        assert_eq!(template("cdc").topic("mongo", ns("shop", "orders")).unwrap(), "cdc");
    }

    #[test]
    fn a_database_has_the_topic_of_its_collections_without_theirs() {
        for (text, topic) in [
            ("{prefix}.{db}.{coll}", "mongo.a_b-e63f991904833892"),
            ("{prefix}.{db}", "mongo.a_b-e63f991904833892"),
            ("cdc", "cdc"),
            ("{coll}", "-e63f991904833892"),
        ] {
            assert_eq!(template(text).database_topic("mongo", "a b").unwrap(), topic);
        }
        assert_eq!(template("{prefix}.{db}.{coll}").database_topic("mongo", "shop").unwrap(), "mongo.shop");
        assert_eq!(template("x-{coll}-{db}").database_topic("mongo", "shop").unwrap(), "-shop");
        assert!(template("{op}").database_topic("mongo", "shop").is_err());
    }

    #[test]
    fn topics_take_no_variable_of_a_single_event_and_no_illegal_byte() {
        for (text, prefix, reason) in [
            ("{prefix}.{id}", "mongo", "`{id}` can't be part of a topic"),
            ("{op}", "mongo", "`{op}` can't be part of a topic"),
            ("{prefix}/{db}", "mongo", "`/` can't"),
            ("{prefix}.{db}", "my prefix", "` ` can't"),
            ("{db}", "my\nprefix", "`\\n` can't"),
            ("{db}", "", "the prefix is empty"),
            ("{prefix}", &"x".repeat(200), "no room"),
        ] {
            let refused = template(text).check_topic(prefix).expect_err(text).to_string();
            assert!(refused.contains(reason), "{refused}");
        }
        assert!(template("{op}").topic("mongo", ns("a", "b")).is_err());
        assert_eq!(template("{prefix}.{db}.{coll}").check_topic("mongo"), Ok(()));
    }

    #[test]
    fn subjects_take_no_empty_token_no_wildcard_and_no_reserved_beginning() {
        for (text, prefix) in [
            ("{prefix}..{db}", "mongo"),
            ("{prefix}.{db}.", "mongo"),
            ("{prefix}.*.{db}", "mongo"),
            ("{prefix}.>", "mongo"),
            ("{prefix} {db}", "mongo"),
            ("{db}", ""),
            ("{prefix}.{db}", ".mongo"),
            ("{prefix}.{db}", "$JS"),
            ("{prefix}.{db}", &"x".repeat(250)),
        ] {
            assert!(template(text).check_subject(prefix).is_err(), "{text}");
        }
        assert_eq!(template("{prefix}.{db}.{coll}.{id}.{op}").check_subject("eu.mongo"), Ok(()));
    }

    #[test]
    fn subjects_merge_what_all_events_of_a_namespace_share() {
        let subjects = template("{prefix}.{db}.{coll}.{id}.{op}");
        assert_eq!(
            subjects.subject("mongo", ns("shop", "fs.files")),
            [literal("mongo.shop.fs=2Efiles."), SubjectPart::Id, literal("."), SubjectPart::Op]
        );
        assert_eq!(template("{id}-{db}").subject("mongo", ns("a", "b")), [SubjectPart::Id, literal("-a")]);
        assert_eq!(subjects.subject("mongo", ns("shop", "")), [literal("mongo._commands")]);
    }

    #[test]
    fn no_namespace_has_the_subject_of_the_connectors_own_records() {
        let subject = |text: &str, db, coll| template(text).subject("mongo", ns(db, coll));
        assert_eq!(subject("{prefix}.{db}.{coll}", "_commands", "_x"), [literal("mongo.=5Fcommands._x")]);
        assert_eq!(subject("{prefix}.{coll}", "shop", "_watermark"), [literal("mongo.=5Fwatermark")]);
        assert_eq!(subject("{prefix}.{db}.{coll}", "_namespaces", "a"), [literal("mongo.=5Fnamespaces.a")]);
        let manifest = |db, coll| Template::manifest_subject("mongo", ns(db, coll));
        assert_eq!(manifest("shop", "a b.c"), "mongo._namespaces.shop.a=20b=2Ec");
        assert_eq!(manifest("_x", ""), "mongo._namespaces._x.=");
        assert_eq!(subject("{prefix}.{coll}", "shop", "=5Fwatermark"), [literal("mongo.=3D5Fwatermark")]);
    }

    #[test]
    fn the_constant_beginning_ends_at_the_first_variable_of_a_namespace() {
        assert_eq!(template("{prefix}.x-{db}.{coll}").literal_prefix("mongo"), "mongo.x-");
        assert_eq!(template("{db}.{prefix}").literal_prefix("mongo"), "");
        assert_eq!(template("{prefix}.all").literal_prefix("mongo"), "mongo.all");
        assert!(template("{db}{coll}").tells_namespaces_apart());
        assert!(!template("{prefix}.{coll}").tells_namespaces_apart());
    }
}

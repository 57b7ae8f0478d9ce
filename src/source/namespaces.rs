//! Which namespaces are captured: include and exclude lists, and what of them the server can filter.

use mongodb::bson::{Bson, Document, doc};
use regex::Regex;

use crate::error::{Error, ErrorKind};
use crate::event::Namespace;

/// The captured namespaces.
///
/// `admin`, `config`, `local` and collections whose names begin with `system.` are never captured: the oplog carries credentials
/// and keys in them. An empty include list captures all others; exclude wins over include.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

#[derive(Clone, Debug)]
enum Pattern {
    Exact { db: String, coll: String },
    Database(String),
    Regex(Regex),
}

impl Namespaces {
    /// Reads the patterns: `db.collection`, `db.*`, or `/regex/` over the full namespace (unanchored, Rust syntax).
    pub fn parse(include: &[String], exclude: &[String]) -> Result<Self, Error> {
        let list = |key: &str, patterns: &[String]| {
            patterns
                .iter()
                .map(|pattern| {
                    Pattern::parse(pattern)
                        .map_err(|what| Error::new(ErrorKind::Config, format!("{key}: {what}")))
                })
                .collect::<Result<Vec<_>, Error>>()
        };
        Ok(Self { include: list("source.include", include)?, exclude: list("source.exclude", exclude)? })
    }

    /// Leaves out one more namespace, such as the one in which checkpoints are stored.
    #[must_use]
    pub fn without(mut self, ns: Namespace<'_>) -> Self {
        self.exclude.push(Pattern::Exact { db: ns.db.to_owned(), coll: ns.coll.to_owned() });
        self
    }

    /// Whether the documents of a collection are captured.
    pub fn captures(&self, ns: Namespace<'_>) -> bool {
        if is_internal_db(ns.db) || ns.coll.is_empty() || ns.coll.starts_with("system.") {
            return false;
        }
        (self.include.is_empty() || self.include.iter().any(|pattern| pattern.matches(ns)))
            && !self.exclude.iter().any(|pattern| pattern.matches(ns))
    }

    /// Whether commands on a whole database concern us: whether any of its collections may be captured.
    pub fn captures_database(&self, db: &str) -> bool {
        let all_excluded =
            self.exclude.iter().any(|pattern| matches!(pattern, Pattern::Database(name) if name == db));
        let may_match = |pattern: &Pattern| match pattern {
            Pattern::Exact { db: name, .. } | Pattern::Database(name) => name == db,
            // A regular expression can't be asked about a prefix.
            Pattern::Regex(_) => true,
        };
        !is_internal_db(db)
            && !all_excluded
            && (self.include.is_empty() || self.include.iter().any(may_match))
    }

    /// What the server can filter, beside a condition on `ts`; none where it would have to see everything anyway. It lets through more
    /// than is captured (all commands and no-ops), never less.
    pub fn server_filter(&self) -> Option<Document> {
        if self.include.is_empty() {
            return None;
        }
        let mut exact = Vec::new();
        let mut alternatives = vec![Bson::Document(doc! { "op": { "$in": ["c", "n"] } })];
        for pattern in &self.include {
            match pattern {
                Pattern::Exact { db, coll } => exact.push(Bson::String(format!("{db}.{coll}"))),
                // A range, which needs no regular expression on the server: `/` is the character behind `.`.
                Pattern::Database(db) => {
                    alternatives.push(Bson::Document(
                        doc! { "ns": { "$gte": format!("{db}."), "$lt": format!("{db}/") } },
                    ));
                }
                // The server's dialect is another one.
                Pattern::Regex(_) => return None,
            }
        }
        if !exact.is_empty() {
            alternatives.push(Bson::Document(doc! { "ns": { "$in": exact } }));
        }
        Some(doc! { "$or": alternatives })
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(expression) = text.strip_prefix('/') {
            let expression = expression.strip_suffix('/').ok_or(format!("`{text}` lacks the closing `/`"))?;
            return Regex::new(expression).map(Self::Regex).map_err(|error| {
                format!("`{text}` is not a regular expression: {}", one_line(&error.to_string()))
            });
        }
        let (db, coll) = text.split_once('.').filter(|(db, coll)| !db.is_empty() && !coll.is_empty()).ok_or(
            format!("`{text}` is not a namespace: write `database.collection`, `database.*` or `/regex/`"),
        )?;
        if db.contains('*') || (coll != "*" && coll.contains('*')) {
            return Err(format!(
                "`{text}`: `*` can only stand for all collections of one database, as in `shop.*`; for more use `/regex/`"
            ));
        }
        if is_internal_db(db) {
            return Err(format!(
                "`{text}`: the database `{db}` is never captured, it holds credentials and the cluster's keys"
            ));
        }
        Ok(if coll == "*" {
            Self::Database(db.to_owned())
        } else {
            Self::Exact { db: db.to_owned(), coll: coll.to_owned() }
        })
    }

    fn matches(&self, ns: Namespace<'_>) -> bool {
        match self {
            Self::Exact { db, coll } => db == ns.db && coll == ns.coll,
            Self::Database(db) => db == ns.db,
            Self::Regex(regex) => regex.is_match(&ns.to_string()),
        }
    }
}

fn is_internal_db(db: &str) -> bool {
    matches!(db, "admin" | "config" | "local")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(include: &[&str], exclude: &[&str]) -> Namespaces {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        Namespaces::parse(&owned(include), &owned(exclude)).expect("valid patterns")
    }

    fn captures(namespaces: &Namespaces, ns: &str) -> bool {
        namespaces.captures(Namespace::split(ns))
    }

    #[test]
    fn without_lists_all_but_internal_namespaces_are_captured() {
        let all = namespaces(&[], &[]);
        for ns in ["shop.orders", "shop.a.b", "fs.fs.chunks", "systems.a", "shop.my.system.x"] {
            assert!(captures(&all, ns), "{ns}");
        }
        for ns in [
            "admin.system.users",
            "config.transactions",
            "local.oplog.rs",
            "shop.system.views",
            "shop.$cmd.",
            "shop",
        ] {
            assert_eq!(captures(&all, ns), ns == "shop.$cmd.", "{ns}");
        }
        assert!(all.server_filter().is_none());
    }

    #[test]
    fn exclude_wins_and_names_are_split_at_the_first_dot() {
        let some = namespaces(&["shop.*", "crm.a.b", "/^logs_[0-9]+\\.x$/"], &["shop.secret"]);
        for (ns, expected) in [
            ("shop.orders", true),
            ("shop.secret", false),
            ("shop.secret.x", true),
            ("shopping.x", false),
            ("crm.a.b", true),
            ("crm.a", false),
            ("logs_12.x", true),
            ("logs_.x", false),
        ] {
            assert_eq!(captures(&some, ns), expected, "{ns}");
        }
        assert!(some.captures_database("crm") && !namespaces(&["shop.*"], &[]).captures_database("crm"));
        assert!(!namespaces(&[], &["shop.*"]).captures_database("shop"));
    }

    #[test]
    fn the_server_filters_where_no_regular_expression_is_needed() {
        let filter =
            namespaces(&["shop.*", "crm.a"], &["shop.x"]).server_filter().expect("can be pushed").to_string();
        assert!(
            filter.contains(r#""$gte": "shop.""#)
                && filter.contains(r#""crm.a""#)
                && filter.contains(r#""n""#),
            "{filter}"
        );
        assert!(namespaces(&["shop.*", "/x/"], &[]).server_filter().is_none());
    }

    #[test]
    fn a_bad_pattern_says_what_to_write() {
        for (pattern, advice) in [
            ("orders", "database.collection"),
            ("shop.", "database.collection"),
            ("*.orders", "/regex/"),
            ("shop.o*", "/regex/"),
            ("/a(/", "not a regular expression"),
            ("/a", "closing"),
            ("admin.*", "never captured"),
        ] {
            let error = Namespaces::parse(&[pattern.to_owned()], &[]).expect_err(pattern).to_string();
            assert!(error.contains(advice) && error.contains("source.include"), "{error}");
        }
    }
}

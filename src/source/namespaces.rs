//! Which namespaces are captured: include and exclude lists, and what of them the server can filter.

use mongodb::bson::{Bson, Document, doc};
use regex::Regex;

use crate::error::{Error, ErrorKind};
use crate::event::Namespace;

/// The captured namespaces.
///
/// `admin`, `config` and `local` are never captured: the oplog carries credentials and keys in them. The server's own collections are
/// captured only where the include list names them exactly: those whose names begin with `system.` or `enxcol_.`, and the temporary ones
/// that it fills before it puts them in another's place. An empty include list captures all others; exclude wins over include.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    on_shard: bool,
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
        Ok(Self {
            include: list("source.include", include)?,
            exclude: list("source.exclude", exclude)?,
            on_shard: false,
        })
    }

    /// The same, in the oplog of a sharded cluster's shard, or not.
    #[must_use]
    pub fn on_shard(self, on_shard: bool) -> Self {
        Self { on_shard, ..self }
    }

    /// Leaves out one more namespace, such as the one in which checkpoints are stored.
    #[must_use]
    pub fn without(mut self, ns: Namespace<'_>) -> Self {
        self.exclude.push(Pattern::Exact { db: ns.db.to_owned(), coll: ns.coll.to_owned() });
        self
    }

    /// Whether the documents of a collection are captured, or what happens to a view.
    pub fn captures(&self, ns: Namespace<'_>) -> bool {
        if is_internal_db(ns.db) || ns.coll.is_empty() {
            return false;
        }
        let is_included = if is_internal(ns.coll) {
            self.include.iter().any(|pattern| pattern.names(ns))
        } else {
            self.include.is_empty() || self.include.iter().any(|pattern| pattern.matches(ns))
        };
        is_included && !self.exclude.iter().any(|pattern| pattern.matches(ns))
    }

    /// Whether writes are left out that only move data from shard to shard: what was moved is in the oplog of the shard where it was written.
    pub fn leave_out_migrations(&self) -> bool {
        self.on_shard
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
    /// than is captured (whatever is no write of a document, and all views of a database), never less: a kind of operation that a later
    /// version of the server brings must be met, to be refused.
    pub fn server_filter(&self) -> Option<Document> {
        if self.include.is_empty() {
            return None;
        }
        let mut exact = Vec::new();
        let mut alternatives = vec![Bson::Document(doc! { "op": { "$nin": ["i", "u", "d"] } })];
        for pattern in &self.include {
            match pattern {
                Pattern::Exact { db, coll } => {
                    // It may be a view.
                    exact.extend([format!("{db}.{coll}"), format!("{db}.system.views")].map(Bson::String));
                }
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
        if coll == "system.views" {
            return Err(format!("`{text}`: views have their own names, as in `{db}.my_view`"));
        }
        Ok(if coll == "*" {
            Self::Database(db.to_owned())
        } else {
            Self::Exact { db: db.to_owned(), coll: coll.to_owned() }
        })
    }

    /// Whether it is this very name.
    fn names(&self, ns: Namespace<'_>) -> bool {
        matches!(self, Self::Exact { .. }) && self.matches(ns)
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

/// Whether a collection is the server's own.
fn is_internal(coll: &str) -> bool {
    coll.starts_with("system.")
        || coll.starts_with("enxcol_.")
        || (coll.starts_with("tmp") && is_temporary(coll))
}

/// Whether a collection's name is one that servers from 4.4 on give to what they fill before they rename it: `$out` and `mapReduce`
/// (`tmp.agg_out.…`, `tmp.mr.…`), a rename to another database (`tmpA1b2C.renameCollection`), `convertToCapped`
/// (`tmpA1b2C.convertToCapped.…`).
fn is_temporary(coll: &str) -> bool {
    if coll.starts_with("tmp.agg_out.") || coll.starts_with("tmp.mr.") {
        return true;
    }
    let Some((letters, rest)) = coll["tmp".len()..].split_at_checked(5) else { return false };
    letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && (rest == ".renameCollection" || rest.starts_with(".convertToCapped."))
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
    fn without_lists_all_but_the_servers_own_namespaces_are_captured() {
        let all = namespaces(&[], &[]);
        for ns in ["shop.orders", "shop.a.b", "fs.fs.chunks", "systems.a", "shop.my.system.x", "shop.$cmd."] {
            assert!(captures(&all, ns), "{ns}");
        }
        for ns in [
            "admin.system.users",
            "config.transactions",
            "local.oplog.rs",
            "shop.system.views",
            "shop.system.buckets.weather",
            "shop.system.resharding.x",
            "shop.enxcol_.people.esc",
            "shop",
        ] {
            assert!(!captures(&all, ns), "{ns}");
        }
        assert!(all.server_filter().is_none());
    }

    #[test]
    fn temporary_collections_are_known_by_their_names() {
        for coll in [
            "tmp.agg_out.1a2b3c4d-0000-4000-8000-0123456789ab",
            "tmp.mr.orders_0",
            "tmpA1b2C.renameCollection",
            "tmp00zZz.convertToCapped.orders",
            "tmp00zZz.convertToCapped.a.b",
        ] {
            assert!(is_internal(coll), "{coll}");
        }
        for coll in [
            "tmp",
            "tmp.",
            "tmp.orders",
            "tmporary",
            "tmpA1b2.renameCollection",
            "tmpA1b2C3.renameCollection",
            "tmpA1b2C.renameCollections",
            "tmpA-b2C.renameCollection",
            "tmpA1b2\u{e9}.renameCollection",
            "tmpA1b2C.convertToCapped",
            "my.tmp.agg_out.x",
            "Tmp.agg_out.x",
        ] {
            assert!(!is_internal(coll), "{coll}");
        }
    }

    #[test]
    fn the_servers_own_collections_are_captured_only_by_their_very_names() {
        let by_pattern = namespaces(&["shop.*", "/./"], &[]);
        let by_name = namespaces(
            &["shop.system.buckets.weather", "shop.tmp.agg_out.x", "shop.system.js"],
            &["shop.system.js"],
        );
        for (ns, expected) in [
            ("shop.system.buckets.weather", true),
            ("shop.tmp.agg_out.x", true),
            ("shop.system.buckets.other", false),
            ("shop.system.js", false),
        ] {
            assert!(!captures(&by_pattern, ns), "{ns}");
            assert_eq!(captures(&by_name, ns), expected, "{ns}");
        }
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
        let filter = namespaces(&["shop.*", "crm.a"], &["shop.x"]).server_filter().expect("can be pushed");
        let expected = doc! { "$or": [
            // Commands, transactions and batches, no-ops, and what nobody knows yet.
            { "op": { "$nin": ["i", "u", "d"] } },
            { "ns": { "$gte": "shop.", "$lt": "shop/" } },
            { "ns": { "$in": ["crm.a", "crm.system.views"] } },
        ] };
        assert_eq!(filter, expected);
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
            ("shop.system.views", "`shop.my_view`"),
        ] {
            let error = Namespaces::parse(&[pattern.to_owned()], &[]).expect_err(pattern).to_string();
            assert!(error.contains(advice) && error.contains("source.include"), "{error}");
        }
    }
}

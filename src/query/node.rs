//! The compiled filter: a tree of conditions on paths.

use super::condition::Condition;
use super::error::MatchError;
use super::expr::Expr;
use super::fields::{Fields, Names};
use super::path::Path;
use crate::bson::RawDoc;

/// A filter of one level of documents: the collection's, or those of an array (`$elemMatch`).
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) names: Names,
    pub(super) root: Node,
}

/// A filter, or a part of one.
#[derive(Debug)]
pub(super) enum Node {
    Always(bool),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Field(Path, Condition),
    Expr(Box<Expr>),
}

impl Scope {
    pub(super) fn matches(&self, doc: RawDoc<'_>) -> Result<bool, MatchError> {
        self.root.matches(&mut Fields::new(doc, &self.names))
    }
}

impl Node {
    fn matches(&self, fields: &mut Fields<'_, '_>) -> Result<bool, MatchError> {
        match self {
            Self::Always(answer) => Ok(*answer),
            Self::And(nodes) => {
                for node in nodes {
                    if !node.matches(fields)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(nodes) => {
                for node in nodes {
                    if node.matches(fields)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(node) => Ok(!node.matches(fields)?),
            Self::Expr(expr) => expr.matches(fields.doc()),
            Self::Field(path, condition) => {
                condition.holds(&mut |test| path.any(fields, test.leaf(), |value| test.matches(value)))
            }
        }
    }
}

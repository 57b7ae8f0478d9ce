//! From a filter document to a tree of conditions: the operators that stand where a field's name could.

mod field;
mod list;

pub(super) use field::is_true;

use super::error::FilterError;
use super::expr;
use super::fields::Names;
use super::node::{Node, Scope};
use super::path::Path;
use crate::bson::{Number, RawDoc, RawValue};

/// How deep the server lets filters nest.
const NESTING_MAX: usize = 100;

/// The operators that stand in a field's place.
const OPERATORS: [&[u8]; 11] = [
    b"and",
    b"or",
    b"nor",
    b"comment",
    b"alwaysTrue",
    b"alwaysFalse",
    b"expr",
    b"where",
    b"text",
    b"jsonSchema",
    b"sampleRate",
];

/// Compiles a filter of whole documents.
pub(super) fn filter(filter: RawDoc<'_>) -> Result<Scope, FilterError> {
    Parser { names: Names::default(), is_outermost: true }.scope(filter, 0)
}

/// Compiles one scope, whose paths begin at the same documents.
struct Parser {
    names: Names,
    /// Whether these are the collection's documents.
    is_outermost: bool,
}

impl Parser {
    fn scope(mut self, filter: RawDoc<'_>, depth: usize) -> Result<Scope, FilterError> {
        let root = self.all_of(filter, depth)?;
        Ok(Scope { names: self.names, root })
    }

    /// What must hold all together.
    fn all_of(&mut self, filter: RawDoc<'_>, depth: usize) -> Result<Node, FilterError> {
        if depth > NESTING_MAX {
            return Err(FilterError::refused(format!("filters nest at most {NESTING_MAX} levels deep")));
        }
        let mut nodes = Vec::new();
        for element in filter {
            let element = element?;
            let (name, value) = (element.name, element.value);
            let node = match name {
                [b'$', operator @ ..] => self.operator(operator, value, depth),
                _ => self.field(name, value, depth).map(Some),
            };
            nodes.extend(node.map_err(|error| error.within(name))?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::And(nodes) })
    }

    /// An operator in a field's place.
    fn operator(
        &mut self,
        operator: &[u8],
        operand: RawValue<'_>,
        depth: usize,
    ) -> Result<Option<Node>, FilterError> {
        Ok(Some(match operator {
            b"and" => Node::And(self.filters(operand, depth)?),
            b"or" => Node::Or(self.filters(operand, depth)?),
            b"nor" => Node::Not(Box::new(Node::Or(self.filters(operand, depth)?))),
            b"comment" => return Ok(None),
            b"alwaysTrue" => constant(operand, true)?,
            b"alwaysFalse" => constant(operand, false)?,
            b"expr" | b"where" | b"text" | b"sampleRate" if !self.is_outermost => {
                return Err(outermost_only());
            }
            b"expr" => Node::Expr(Box::new(expr::expression(operand)?)),
            // The parts of a reference to another document are fields.
            b"ref" | b"id" | b"db" => self.field(&[b"$", operator].concat(), operand, depth)?,
            b"where" => return Err(FilterError::unsupported("JavaScript is not run here; use $expr")),
            b"text" => return Err(FilterError::unsupported("there is no text index here; use $regex")),
            b"jsonSchema" => {
                return Err(FilterError::unsupported(
                    "schemas are not evaluated here; use $type and $exists",
                ));
            }
            b"sampleRate" => {
                return Err(FilterError::unsupported("a sample is not the same twice; use $mod on a number"));
            }
            _ if operator.starts_with(b"_internal") => {
                return Err(FilterError::unsupported("this is for the server's own use"));
            }
            _ => {
                return Err(FilterError::refused(
                    "there is no such operator in a field's place; a field whose name begins with `$` can't be asked for",
                ));
            }
        }))
    }

    fn filters(&mut self, operand: RawValue<'_>, depth: usize) -> Result<Vec<Node>, FilterError> {
        let list = operand.as_array().filter(|list| !list.is_empty());
        let list =
            list.ok_or_else(|| FilterError::refused("takes a list of filters with at least one of them"))?;
        let mut nodes = Vec::new();
        for element in list {
            let element = element?;
            let filter = element.value.as_doc().ok_or_else(|| FilterError::refused("a filter is a document"));
            let node = filter.and_then(|filter| self.all_of(filter, depth + 1));
            nodes.push(node.map_err(|error| error.within(element.name))?);
        }
        Ok(nodes)
    }

    fn field(&mut self, name: &[u8], value: RawValue<'_>, depth: usize) -> Result<Node, FilterError> {
        let path = Path::new(name, &mut self.names);
        Ok(Node::Field(path, field::condition(value, depth)?))
    }
}

fn constant(operand: RawValue<'_>, answer: bool) -> Result<Node, FilterError> {
    match Number::of(operand).and_then(Number::as_whole_i64) {
        Some(1) => Ok(Node::Always(answer)),
        _ => Err(FilterError::refused("takes the number 1 and nothing else")),
    }
}

fn outermost_only() -> FilterError {
    FilterError::refused("is for whole documents, not for elements of an array; move it out of $elemMatch")
}

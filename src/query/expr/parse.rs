//! From BSON to an expression: field paths, variables, literals, functions by name.

use super::functions::{self, Function, UNSUPPORTED};
use super::{Constant, Expr, special};
use crate::bson::{Kind, RawDoc, RawValue};
use crate::query::error::{FilterError, MatchError};
use crate::query::parse::is_true;
use crate::query::path::Name;

/// How deep the server lets expressions nest.
const NESTING_MAX: usize = 150;

/// Compiles the operand of `$expr`.
pub(in crate::query) fn expression(operand: RawValue<'_>) -> Result<Expr, FilterError> {
    Parser::default().value(operand)
}

/// Knows the names that are bound where it stands.
#[derive(Default)]
pub(super) struct Parser {
    /// Innermost last; each has its number by its place.
    variables: Vec<Vec<u8>>,
    depth: usize,
}

impl Parser {
    /// Any value as an expression.
    pub(super) fn value(&mut self, value: RawValue<'_>) -> Result<Expr, FilterError> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err(FilterError::refused(format!("expressions nest at most {NESTING_MAX} levels deep")));
        }
        let expr = match value.kind() {
            Kind::String => self.string(value),
            Kind::Document => self.document(value.as_doc_or_array()),
            Kind::Array => {
                self.list(value.as_doc_or_array()).and_then(|elements| folded(Expr::Array(elements)))
            }
            _ => Ok(constant(value)),
        };
        self.depth -= 1;
        expr
    }

    /// A document without operators, or one operator.
    fn document(&mut self, doc: RawDoc<'_>) -> Result<Expr, FilterError> {
        let mut fields = Vec::new();
        for (at, element) in doc.iter().enumerate() {
            let element = element?;
            if let Some(operator) = element.name.strip_prefix(b"$").filter(|_| at == 0) {
                if doc.iter().count() > 1 {
                    return Err(
                        FilterError::refused("an operator stands alone in its document").within(element.name)
                    );
                }
                let operator = String::from_utf8_lossy(operator);
                return self.operator(&operator, element.value).map_err(|error| error.within(element.name));
            }
            check_name(element.name).map_err(|error| error.within(element.name))?;
            let value = self.value(element.value).map_err(|error| error.within(element.name))?;
            fields.push((element.name.into(), value));
        }
        folded(Expr::Document(fields))
    }

    fn operator(&mut self, operator: &str, operand: RawValue<'_>) -> Result<Expr, FilterError> {
        if let Some(expr) = special::operator(self, operator, operand)? {
            return Ok(expr);
        }
        if let Some((least, most, call)) = functions::find(operator) {
            let mut operands = self.operands(operand)?;
            check_count(operands.len(), least, most)?;
            match operator {
                "add" | "multiply" | "setUnion" | "setIntersection" => {
                    operands = constants_last(call, operands)?;
                }
                "concat" | "concatArrays" => operands = neighbours_joined(call, operands)?,
                _ => {}
            }
            return folded(Expr::Call(call, operands));
        }
        if UNSUPPORTED.contains(&operator)
            || operator.starts_with("_internal")
            || operator.starts_with("_test")
        {
            return Err(FilterError::unsupported("this operator is not computed here"));
        }
        Err(FilterError::refused("there is no such operator in expressions"))
    }

    /// The operands of a function: those in a list, or one that is no list.
    pub(super) fn operands(&mut self, operand: RawValue<'_>) -> Result<Vec<Expr>, FilterError> {
        match operand.as_array() {
            Some(list) => self.list(list),
            None => Ok(vec![self.value(operand)?]),
        }
    }

    pub(super) fn list(&mut self, list: RawDoc<'_>) -> Result<Vec<Expr>, FilterError> {
        let mut exprs = Vec::new();
        for element in list {
            let element = element?;
            exprs.push(self.value(element.value).map_err(|error| error.within(element.name))?);
        }
        Ok(exprs)
    }

    /// A body that may use more variables.
    pub(super) fn body(&mut self, names: Vec<Vec<u8>>, body: RawValue<'_>) -> Result<Expr, FilterError> {
        let before = self.variables.len();
        self.variables.extend(names);
        let body = self.value(body);
        self.variables.truncate(before);
        body
    }

    /// A path, a variable, or a plain string.
    fn string(&mut self, value: RawValue<'_>) -> Result<Expr, FilterError> {
        let text = value.as_str_bytes().unwrap_or_default();
        if let Some(variable) = text.strip_prefix(b"$$") {
            return self.variable(variable);
        }
        match text.strip_prefix(b"$") {
            Some(path) => {
                let current = self.bound(b"CURRENT").unwrap_or(Expr::Root);
                Ok(Expr::Path(Box::new(current), names(path)?))
            }
            None => Ok(constant(value)),
        }
    }

    fn bound(&self, name: &[u8]) -> Option<Expr> {
        self.variables.iter().rposition(|bound| bound == name).map(Expr::Variable)
    }

    fn variable(&mut self, text: &[u8]) -> Result<Expr, FilterError> {
        let dot = text.iter().position(|byte| *byte == b'.');
        let (name, path) = dot.map_or((text, None), |dot| (&text[..dot], Some(&text[dot + 1..])));
        let base = match self.bound(name) {
            Some(variable) => variable,
            None => match name {
                b"ROOT" | b"CURRENT" => Expr::Root,
                b"REMOVE" => Expr::Constant(None),
                b"NOW" | b"CLUSTER_TIME" => {
                    return Err(FilterError::unsupported(
                        "what depends on the time is not decided here; put in a date",
                    ));
                }
                b"JS_SCOPE" | b"IS_MR" | b"SEARCH_META" | b"USER_ROLES" => {
                    return Err(FilterError::unsupported("this variable is not known here"));
                }
                _ => {
                    let name = String::from_utf8_lossy(name);
                    return Err(FilterError::refused(format!("the variable `{name}` is not defined")));
                }
            },
        };
        Ok(match path {
            Some(path) => Expr::Path(Box::new(base), names(path)?),
            None => base,
        })
    }
}

/// `$and` and `$or`: one constant may decide it, wherever it stands; the others are left out.
pub(super) fn logical(operands: Vec<Expr>, decisive: bool) -> Expr {
    let truth =
        |constant: &Option<Constant>| constant.as_ref().is_some_and(|constant| is_true(constant.view()));
    let decides = |operand: &Expr| matches!(operand, Expr::Constant(constant) if truth(constant) == decisive);
    if operands.iter().any(decides) {
        return boolean(decisive);
    }
    let operands: Vec<Expr> =
        operands.into_iter().filter(|operand| !matches!(operand, Expr::Constant(_))).collect();
    match (operands.is_empty(), decisive) {
        (true, _) => boolean(!decisive),
        (false, true) => Expr::Or(operands),
        (false, false) => Expr::And(operands),
    }
}

fn boolean(truth: bool) -> Expr {
    Expr::Constant(Some(Constant { kind: Kind::Bool, bytes: [u8::from(truth)].into() }))
}

/// The names of a path of an expression, none of which is empty.
fn names(path: &[u8]) -> Result<Box<[Name]>, FilterError> {
    path.split(|byte| *byte == b'.')
        .map(|name| {
            if name.is_empty() {
                return Err(FilterError::refused("a path of an expression has no empty names"));
            }
            check_name(name).map(|()| Name::new(name))
        })
        .collect()
}

fn check_name(name: &[u8]) -> Result<(), FilterError> {
    let is_reserved = name.starts_with(b"$") && ![&b"$ref"[..], b"$id", b"$db"].contains(&name);
    if name.is_empty() || is_reserved || name.contains(&b'.') || name.contains(&0) {
        return Err(FilterError::refused(
            "a field's name in an expression is not empty, does not begin with `$` and has no dots",
        ));
    }
    Ok(())
}

/// A variable's name: it begins with a small letter, except for CURRENT, which may be bound anew.
pub(super) fn check_variable(name: &[u8]) -> Result<(), FilterError> {
    let begins = name.first().is_some_and(|first| first.is_ascii_lowercase() || !first.is_ascii());
    let goes_on = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii());
    if name == b"CURRENT" || (begins && goes_on) {
        return Ok(());
    }
    Err(FilterError::refused("a variable's name begins with a small letter and has letters, digits and `_`"))
}

pub(super) fn check_count(count: usize, least: usize, most: usize) -> Result<(), FilterError> {
    if (least..=most).contains(&count) {
        return Ok(());
    }
    let wanted = match (least, most) {
        (least, usize::MAX) => format!("at least {least}"),
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    Err(FilterError::refused(format!("takes {wanted} operands, not {count}")))
}

pub(super) fn constant(value: RawValue<'_>) -> Expr {
    Expr::Constant(Some(Constant::of(value)))
}

/// As the server does it where the order does not matter: constants are put together, behind the others. It decides what fails.
fn constants_last(call: Function, operands: Vec<Expr>) -> Result<Vec<Expr>, FilterError> {
    let (constants, mut others): (Vec<_>, Vec<_>) =
        operands.into_iter().partition(|operand| matches!(operand, Expr::Constant(_)));
    if others.is_empty() || constants.len() < 2 {
        others.extend(constants);
    } else {
        others.push(folded(Expr::Call(call, constants))?);
    }
    Ok(others)
}

/// As the server does it where the order matters: constants that are neighbours are put together.
fn neighbours_joined(call: Function, operands: Vec<Expr>) -> Result<Vec<Expr>, FilterError> {
    let mut joined: Vec<Expr> = Vec::new();
    for operand in operands {
        let are_constants = matches!((joined.last(), &operand), (Some(Expr::Constant(_)), Expr::Constant(_)));
        match joined.pop_if(|_| are_constants) {
            Some(last) => joined.push(folded(Expr::Call(call, vec![last, operand]))?),
            None => joined.push(operand),
        }
    }
    Ok(joined)
}

/// What refers to nothing is computed once; what fails then fails always, and the server refuses it.
pub(super) fn folded(expr: Expr) -> Result<Expr, FilterError> {
    let operands: Vec<&Expr> = match &expr {
        Expr::Call(_, operands) | Expr::Array(operands) => operands.iter().collect(),
        Expr::Document(fields) => fields.iter().map(|(_, field)| field).collect(),
        _ => return Ok(expr),
    };
    if !operands.iter().all(|operand| matches!(operand, Expr::Constant(_))) {
        return Ok(expr);
    }
    match expr.alone() {
        Ok(constant) => Ok(Expr::Constant(constant)),
        Err(MatchError::Unsupported(what)) => {
            Err(FilterError::unsupported(format!("{what} is not computed here")))
        }
        Err(error) => Err(FilterError::refused(error.to_string())),
    }
}

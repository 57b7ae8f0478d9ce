//! `$expr`: the aggregation's expressions. They have rules of their own: nothing is bracketed by type, an index is no part of a path, and
//! null is not missing.

mod arithmetic;
mod arrays;
mod dates;
mod decimal;
mod functions;
mod parse;
mod special;
mod strings;
mod value;

use super::Constant;
use super::error::MatchError;
use super::path::Name;
use crate::bson::{Kind, RawDoc, RawValue};
use functions::Function;
pub(super) use parse::expression;
use value::{Maybe, Outcome, Value, fail, is_nullish, is_true};

/// A compiled expression.
#[derive(Debug)]
pub(super) enum Expr {
    Constant(Option<Constant>),
    /// The document.
    Root,
    /// What `$let` and its like have bound, counted from the outermost.
    Variable(usize),
    Path(Box<Expr>, Box<[Name]>),
    Document(Vec<(Box<[u8]>, Expr)>),
    Array(Vec<Expr>),
    Call(Function, Vec<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Cond(Box<[Expr; 3]>),
    IfNull(Vec<Expr>),
    Switch {
        branches: Vec<(Expr, Expr)>,
        default: Option<Box<Expr>>,
    },
    Let(Vec<Expr>, Box<Expr>),
    /// Of each element: what the body makes of it, or the element itself where that is true.
    Each {
        input: Box<Expr>,
        body: Box<Expr>,
        keeps: bool,
    },
    Reduce {
        input: Box<Expr>,
        initial: Box<Expr>,
        body: Box<Expr>,
    },
}

/// What an expression can refer to.
struct Scope<'v> {
    root: RawDoc<'v>,
    variables: Vec<Maybe<'v>>,
}

impl Expr {
    /// Whether it is true for the document.
    pub(super) fn matches(&self, root: RawDoc<'_>) -> Result<bool, MatchError> {
        Ok(is_true(&self.value(&mut Scope { root, variables: Vec::new() })?))
    }

    /// Calls `each` for the expressions that it is made of.
    pub(super) fn operands(&self, each: &mut dyn FnMut(&Expr)) {
        match self {
            Self::Constant(_) | Self::Root | Self::Variable(_) => {}
            Self::Path(base, _) => each(base),
            Self::Document(fields) => fields.iter().for_each(|(_, field)| each(field)),
            Self::Array(exprs)
            | Self::Call(_, exprs)
            | Self::And(exprs)
            | Self::Or(exprs)
            | Self::IfNull(exprs) => {
                exprs.iter().for_each(each);
            }
            Self::Cond(parts) => parts.iter().for_each(each),
            Self::Switch { branches, default } => {
                let parts = branches.iter().flat_map(|(case, then)| [case, then]);
                parts.chain(default.as_deref()).for_each(each);
            }
            Self::Let(bindings, body) => bindings.iter().chain([&**body]).for_each(each),
            Self::Each { input, body, .. } => [&**input, body].into_iter().for_each(each),
            Self::Reduce { input, initial, body } => {
                [&**input, initial, body].into_iter().for_each(each);
            }
        }
    }

    /// The value of an expression that refers to nothing.
    fn alone(&self) -> Result<Option<Constant>, MatchError> {
        let value = self.value(&mut Scope { root: RawDoc::EMPTY, variables: Vec::new() })?;
        Ok(value.map(|value| Constant::of(value.view())))
    }

    fn value<'v>(&'v self, scope: &mut Scope<'v>) -> Outcome<'v> {
        Ok(match self {
            Self::Constant(constant) => constant.as_ref().map(|constant| Value::new(constant.view())),
            Self::Root => Some(Value::new(RawValue { kind: Kind::Document, bytes: scope.root.as_bytes() })),
            Self::Variable(number) => scope.variables.get(*number).cloned().flatten(),
            Self::Path(base, names) => {
                let base = base.value(scope)?;
                base.map_or(Ok(None), |base| below(base, names))?
            }
            Self::Document(fields) => {
                let mut values = Vec::new();
                for (name, field) in fields {
                    values.extend(field.value(scope)?.map(|value| (&**name, value)));
                }
                Some(Value::document(values))
            }
            Self::Array(elements) => {
                let values = values(elements, scope)?;
                Some(Value::array(values.into_iter().map(|value| value.unwrap_or_else(Value::null))))
            }
            Self::Call(function, operands) => return call(*function, operands, scope),
            Self::And(operands) => Some(Value::bool(!any(operands, scope, false)?)),
            Self::Or(operands) => Some(Value::bool(any(operands, scope, true)?)),
            Self::Cond(parts) => {
                let [condition, then, otherwise] = &**parts;
                if is_true(&condition.value(scope)?) { then.value(scope)? } else { otherwise.value(scope)? }
            }
            Self::IfNull(operands) => first_there(operands, scope)?,
            Self::Switch { branches, default } => return switch(branches, default.as_deref(), scope),
            Self::Let(bindings, body) => {
                let values = values(bindings, scope)?;
                with(scope, values, body)?
            }
            Self::Each { input, body, keeps } => return each(input, body, *keeps, scope),
            Self::Reduce { input, initial, body } => return reduce(input, initial, body, scope),
        })
    }
}

fn values<'v>(operands: &'v [Expr], scope: &mut Scope<'v>) -> Result<Vec<Maybe<'v>>, MatchError> {
    operands.iter().map(|operand| operand.value(scope)).collect()
}

fn call<'v>(function: Function, operands: &'v [Expr], scope: &mut Scope<'v>) -> Outcome<'v> {
    let mut values = Vec::with_capacity(operands.len());
    for (at, operand) in operands.iter().enumerate() {
        let value = operand.value(scope)?;
        if at < function.nulls && is_nullish(&value) {
            // What was before it may still be of a wrong type.
            values.push(value);
            break;
        }
        values.push(value);
    }
    (function.call)(&values)
}

/// Whether one of them has that truth; what stands behind it is not looked at.
fn any<'v>(operands: &'v [Expr], scope: &mut Scope<'v>, truth: bool) -> Result<bool, MatchError> {
    for operand in operands {
        if is_true(&operand.value(scope)?) == truth {
            return Ok(true);
        }
    }
    Ok(false)
}

fn first_there<'v>(operands: &'v [Expr], scope: &mut Scope<'v>) -> Outcome<'v> {
    let mut last = None;
    for operand in operands {
        last = operand.value(scope)?;
        if !is_nullish(&last) {
            break;
        }
    }
    Ok(last)
}

fn switch<'v>(branches: &'v [(Expr, Expr)], default: Option<&'v Expr>, scope: &mut Scope<'v>) -> Outcome<'v> {
    for (case, then) in branches {
        if is_true(&case.value(scope)?) {
            return then.value(scope);
        }
    }
    match default {
        Some(default) => default.value(scope),
        None => fail("$switch has no branch for it, and no default"),
    }
}

/// The body's value, with more variables.
fn with<'v>(scope: &mut Scope<'v>, variables: Vec<Maybe<'v>>, body: &'v Expr) -> Outcome<'v> {
    let before = scope.variables.len();
    scope.variables.extend(variables);
    let value = body.value(scope);
    scope.variables.truncate(before);
    value
}

fn each<'v>(input: &'v Expr, body: &'v Expr, keeps: bool, scope: &mut Scope<'v>) -> Outcome<'v> {
    let Some(elements) = elements(input, scope)? else { return Ok(Some(Value::null())) };
    let mut results = Vec::new();
    for element in elements {
        let value = with(scope, vec![Some(element.clone())], body)?;
        if !keeps {
            results.push(value.unwrap_or_else(Value::null));
        } else if is_true(&value) {
            results.push(element);
        }
    }
    Ok(Some(Value::array(results)))
}

fn reduce<'v>(input: &'v Expr, initial: &'v Expr, body: &'v Expr, scope: &mut Scope<'v>) -> Outcome<'v> {
    let Some(elements) = elements(input, scope)? else { return Ok(Some(Value::null())) };
    let mut value = initial.value(scope)?;
    for element in elements {
        value = with(scope, vec![Some(element), value], body)?;
    }
    Ok(value)
}

/// The elements of an array; none if it is null.
fn elements<'v>(input: &'v Expr, scope: &mut Scope<'v>) -> Result<Option<Vec<Value<'v>>>, MatchError> {
    let input = input.value(scope)?;
    match &input {
        Some(array) if array.kind() == Kind::Array => Ok(Some(array.elements()?)),
        input if is_nullish(input) => Ok(None),
        input => fail(format!("expected an array to go through, not {}", value::type_name(input))),
    }
}

/// Follows names into documents, and into the documents that are elements of arrays.
fn below<'v>(base: Value<'v>, names: &[Name]) -> Outcome<'v> {
    let Some((name, rest)) = names.split_first() else { return Ok(Some(base)) };
    match base.kind() {
        Kind::Document => base.get(name.bytes())?.map_or(Ok(None), |value| below(value, rest)),
        Kind::Array => {
            let mut found = Vec::new();
            for element in base.elements()? {
                if element.kind() == Kind::Document {
                    found.extend(below(element, names)?);
                }
            }
            Ok(Some(Value::array(found)))
        }
        _ => Ok(None),
    }
}

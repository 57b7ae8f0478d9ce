//! Whether a change of a document can change a filter's answer, told from the changed path alone.

use std::collections::BTreeSet;

use super::Filter;
use super::condition::{Condition, Test};
use super::expr::Expr;
use super::node::Node;
use super::path::Name;

/// One step on the way to what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Into a field of a document.
    Name(&'a [u8]),
    /// Into an element of an array.
    Index(usize),
    /// Into the one or the other: digits in a dotted path don't say.
    Either(&'a [u8]),
}

/// A path that a filter reads; the empty one is the whole document.
pub(super) type Read = Vec<Vec<u8>>;

impl Filter {
    /// Whether a change of what `path` leads to can change the answer: a new value there, a value that is gone, an array that was cut.
    ///
    /// `false` is certain. `true` means that the filter reads that value, something within it or something around it; not that the
    /// answer is another one.
    pub fn is_affected(&self, path: &[Step<'_>]) -> bool {
        self.reads.iter().any(|read| meets(read, path))
    }
}

/// Whether one of the two ways leads to the other's end. What is read goes through arrays without saying so.
fn meets(read: &[Vec<u8>], path: &[Step<'_>]) -> bool {
    let ([name, read_below @ ..], [step, path_below @ ..]) = (read, path) else { return true };
    match *step {
        Step::Name(step) => name == step && meets(read_below, path_below),
        // Behind an array's end, the places before the new one are filled.
        Step::Index(index) => {
            let is_end = path_below.is_empty();
            let here = number(name).is_some_and(|wanted| wanted == index || (is_end && wanted < index));
            meets(read, path_below) || (here && meets(read_below, path_below))
        }
        Step::Either(digits) => {
            let here = match (number(name), number(digits)) {
                (Some(wanted), Some(index)) => wanted <= index,
                _ => name == digits,
            };
            meets(read, path_below) || (here && meets(read_below, path_below))
        }
    }
}

fn number(name: &[u8]) -> Option<usize> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

/// All paths that a filter reads.
pub(super) fn reads(node: &Node) -> Vec<Read> {
    let mut reads = BTreeSet::new();
    of_node(node, &Vec::new(), &mut reads);
    reads.into_iter().collect()
}

fn of_node(node: &Node, above: &Read, reads: &mut BTreeSet<Read>) {
    match node {
        Node::Always(_) => {}
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|node| of_node(node, above, reads)),
        Node::Not(node) => of_node(node, above, reads),
        Node::Field(path, condition) => of_condition(condition, &joined(above, path.names()), reads),
        Node::Expr(expr) => of_expr(expr, reads),
    }
}

fn joined(above: &Read, names: &[Name]) -> Read {
    above.iter().cloned().chain(names.iter().map(|name| name.bytes().to_vec())).collect()
}

fn of_condition(condition: &Condition, path: &Read, reads: &mut BTreeSet<Read>) {
    match condition {
        Condition::Never => {}
        Condition::All(conditions) => {
            for condition in conditions {
                of_condition(condition, path, reads);
            }
        }
        Condition::Not(condition) | Condition::Test(Test::ElementValue(condition)) => {
            of_condition(condition, path, reads);
        }
        Condition::Test(Test::ElementDoc(scope)) => {
            let mut below = BTreeSet::new();
            of_node(&scope.root, path, &mut below);
            if below.is_empty() {
                // It asks whether there is a document at all.
                below.insert(path.clone());
            }
            reads.append(&mut below);
        }
        Condition::Test(_) => drop(reads.insert(path.clone())),
    }
}

fn of_expr(expr: &Expr, reads: &mut BTreeSet<Read>) {
    match expr {
        Expr::Root => drop(reads.insert(Vec::new())),
        Expr::Path(base, names) if matches!(**base, Expr::Root) => {
            reads.insert(joined(&Vec::new(), names));
        }
        _ => expr.operands(&mut |operand| of_expr(operand, reads)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Filter, Step};

    /// Names, indexes in brackets, and digits that may be either.
    fn steps(path: &str) -> Vec<Step<'_>> {
        path.split('.')
            .map(|part| match part.strip_prefix('[') {
                Some(index) => Step::Index(index.trim_end_matches(']').parse().unwrap()),
                None if part.bytes().all(|byte| byte.is_ascii_digit()) => Step::Either(part.as_bytes()),
                None => Step::Name(part.as_bytes()),
            })
            .collect()
    }

    #[test]
    fn a_change_counts_where_the_filter_reads() {
        for (filter, affected, not) in [
            (
                r#"{"a.b":1}"#,
                &["a", "a.b", "a.b.c", "a.[0]", "a.[0].b", "a.[0].b.[1]", "a.0.b"][..],
                &["b", "a.c", "a.[0].c", "a.0.c", "ab", "x.a.b"][..],
            ),
            (
                r#"{"a.1":1}"#,
                &["a.[1]", "a.[0]", "a.[3]", "a.1", "a.3", "a.3.x", "a.[0].[1]"],
                &["a.[0].x", "a.x", "a.[2].x"],
            ),
            (r#"{"a.1.b":1}"#, &["a.[1].b", "a.[5]", "a.[1]", "a.3"], &["a.[2].x", "a.[1].c", "a.2.x"]),
            (
                r#"{"a":{"$elemMatch":{"b":1,"c.d":2}}}"#,
                &["a", "a.[2]", "a.[2].b", "a.[1].c", "a.[1].c.d.e"],
                &["a.[2].x", "a.[0].c.x", "b"],
            ),
            (r#"{"a":{"$elemMatch":{}}}"#, &["a.[0].b"], &["b"]),
            (r#"{"a":{"$elemMatch":{"$elemMatch":{"b":1}}}}"#, &["a.[0].[1].b"], &["a.[0].[1].c"]),
            (r#"{"$or":[{"a":1},{"$nor":[{"b":{"$exists":false}}]}]}"#, &["a", "b"], &["c"]),
            (
                r#"{"$expr":{"$gt":["$a.b",{"$let":{"vars":{"v":"$c"},"in":"$$v.d"}}]}}"#,
                &["a.b", "a", "a.[0].b", "c.x"],
                &["a.c", "d", "v"],
            ),
            (r#"{"$expr":{"$eq":["$$ROOT","x"]}}"#, &["a", "b.c"], &[]),
            (r#"{"$comment":"x","$alwaysTrue":1}"#, &[], &["a"]),
        ] {
            let compiled = Filter::parse_json(filter).unwrap();
            for path in affected {
                assert!(compiled.is_affected(&steps(path)), "{filter} is affected by {path}");
            }
            for path in not {
                assert!(!compiled.is_affected(&steps(path)), "{filter} is not affected by {path}");
            }
        }
    }
}

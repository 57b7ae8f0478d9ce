//! `$v: 1`: `$set` and `$unset` with dotted paths. Whether `0` is an index or a name depends on what is there.

use std::cmp::Ordering;
use std::ops::Range;

use super::array::{Elements, index};
use super::fields::Fields;
use super::{Applied, MISSING, OTHER_TYPE, Rules};
use crate::bson::{DocWriter, Kind, Malformed, RawDoc, RawValue};
use crate::event::diff::{check_depth, malformed};

pub(super) fn apply(
    rules: Rules,
    before: RawDoc<'_>,
    set: Option<RawDoc<'_>>,
    unset: Option<RawDoc<'_>>,
    out: &mut DocWriter<'_>,
) -> Applied {
    let paths = paths(set, unset)?;
    let all = Branch { paths: 0..paths.len(), skip: 0 };
    Applier { rules, paths, fields: Fields::new() }.document(before, &all, 0, out)
}

/// A path, and its new value; none if it is unset.
#[derive(Clone, Copy, Debug)]
struct Path<'d> {
    text: &'d [u8],
    set: Option<RawValue<'d>>,
    /// Its place among all: new fields are appended in this order.
    order: usize,
}

/// All paths, so that those that begin with the same names stand together.
fn paths<'d>(set: Option<RawDoc<'d>>, unset: Option<RawDoc<'d>>) -> Result<Vec<Path<'d>>, Malformed> {
    let mut paths = Vec::new();
    for element in set.into_iter().flatten() {
        let element = element?;
        paths.push(Path { text: element.name, set: Some(element.value), order: 0 });
    }
    // The log has them in the order in which they were done: up to 4.4 by name, from 5.0 on by number. What a client wrote by itself may
    // have any order, and then the server sorts it.
    if !paths.is_sorted_by(|one, other| by_name(one.text, other.text).is_lt()) {
        paths.sort_by(|one, other| by_number_or_name(one.text, other.text));
    }
    for element in unset.into_iter().flatten() {
        paths.push(Path { text: element?.name, set: None, order: 0 });
    }
    for (order, path) in paths.iter_mut().enumerate() {
        path.order = order;
    }
    paths.sort_unstable_by(|one, other| by_name(one.text, other.text));
    Ok(paths)
}

/// Name by name, which is as if the dot were less than any other sign.
fn by_name(one: &[u8], other: &[u8]) -> Ordering {
    let sign = |byte: &u8| if *byte == b'.' { 0 } else { *byte };
    one.iter().map(sign).cmp(other.iter().map(sign))
}

/// The same, with numbers as numbers: the order since MongoDB 5.0. (There `1x` stands between `1` and `2`, here behind both.)
fn by_number_or_name(one: &[u8], other: &[u8]) -> Ordering {
    fn names(path: &[u8]) -> impl Iterator<Item = (&[u8], Option<usize>)> {
        path.split(|sign| *sign == b'.').map(|name| match index(name) {
            Some(number) => (&b"0"[..], Some(number)),
            None => (name, None),
        })
    }
    names(one).cmp(names(other))
}

/// Paths that begin alike, and how many bytes of them that is.
#[derive(Clone, Debug)]
struct Branch {
    paths: Range<usize>,
    skip: usize,
}

/// What becomes of a field.
#[derive(Clone, Debug)]
enum Step<'d> {
    Set(RawValue<'d>),
    Unset,
    Below(Branch),
}

/// The same, and its place among its neighbours.
#[derive(Clone, Debug)]
struct Change<'d> {
    order: usize,
    step: Step<'d>,
}

struct Applier<'d> {
    rules: Rules,
    paths: Vec<Path<'d>>,
    fields: Fields<'d, Change<'d>>,
}

impl<'d> Applier<'d> {
    fn document(
        &mut self,
        before: RawDoc<'_>,
        branch: &Branch,
        depth: usize,
        out: &mut DocWriter<'_>,
    ) -> Applied {
        check_depth(depth)?;
        let level = self.collect(branch)?;
        for element in before {
            let element = element?;
            // Of two fields of one name only the first is changed.
            let changed = self.fields.find(&level, element.name).filter(|at| !self.fields.get(*at).met);
            match changed.map(|at| self.fields.meet(at).step) {
                None => out.append(element.name, element.value),
                Some(Step::Unset) => {}
                Some(Step::Set(value)) => self.rules.append(out, element.name, value)?,
                Some(Step::Below(branch)) => self.below(element.name, element.value, &branch, depth, out)?,
            }
        }
        for at in level.clone() {
            let field = self.fields.get(at);
            if !field.met {
                let (name, step) = (field.name, field.change.step.clone());
                self.create(name, step, depth, out)?;
            }
        }
        self.fields.leave(&level);
        Ok(())
    }

    fn array(
        &mut self,
        before: RawDoc<'_>,
        branch: &Branch,
        depth: usize,
        out: &mut DocWriter<'_>,
    ) -> Applied {
        check_depth(depth)?;
        let level = self.collect(branch)?;
        // Nothing is looked up in this level, so its order is free.
        self.fields.of(&level).sort_unstable_by_key(|field| (index(field.name), field.name));
        let last = self.find_padded(&level);
        let mut array = Elements::new(before);
        for at in level.clone() {
            let field = self.fields.get(at);
            let (name, step, padded) = (field.name, field.change.step.clone(), field.met);
            let Some(index) = index(name) else {
                self.rules.mismatch(name, "is a name, but in an array")?;
                continue;
            };
            if self.is_overwritten(at, &level) {
                continue;
            }
            if index < array.next() {
                return Err(malformed("update: an element is changed twice").into());
            }
            array.copy_to(index, out)?;
            if array.is_at_end() && last < Some(at) {
                self.rules.mismatch(name, MISSING)?;
                continue;
            }
            array.pad_to(index, &mut self.rules, out)?;
            match (step, array.take()?) {
                (step, (name, None)) if padded && !matches!(step, Step::Set(_)) || !self.creates(&step) => {
                    self.rules.mismatch(name, MISSING)?;
                    self.rules.append_null(out, name)?;
                }
                (Step::Unset, (name, _)) => self.rules.append_null(out, name)?,
                (Step::Set(value), (name, _)) => self.rules.append(out, name, value)?,
                (Step::Below(branch), (name, Some(value))) => self.below(name, value, &branch, depth, out)?,
                (step @ Step::Below(_), (name, None)) => self.create(name, step, depth, out)?,
            }
        }
        array.copy_to(usize::MAX, out)?;
        self.fields.leave(&level);
        Ok(())
    }

    /// Says which change makes the array's last element, if any does. All elements before that are there afterwards; they are there for a
    /// change already, as null, if one before it has made an element behind them.
    fn find_padded(&mut self, level: &Range<usize>) -> Option<usize> {
        let (mut last, mut earliest) = (None, usize::MAX);
        for at in level.clone().rev() {
            let Change { order, step } = self.fields.get(at).change.clone();
            if earliest < order {
                self.fields.meet(at);
            }
            if self.creates(&step) {
                last = last.or(Some(at));
                earliest = earliest.min(order);
            }
        }
        last
    }

    /// Whether the next change is one of the same element as a whole: `01` is the same as `1`, to the server as well.
    fn is_overwritten(&self, at: usize, level: &Range<usize>) -> bool {
        level.contains(&(at + 1)) && {
            let (field, next) = (self.fields.get(at), self.fields.get(at + 1));
            index(field.name) == index(next.name) && !matches!(next.change.step, Step::Below(_))
        }
    }

    /// A field or element that is there and has to change within.
    fn below(
        &mut self,
        name: &[u8],
        before: RawValue<'_>,
        branch: &Branch,
        depth: usize,
        out: &mut DocWriter<'_>,
    ) -> Applied {
        let applied = if let Some(document) = before.as_doc() {
            let mut below = out.document(name);
            self.document(document, branch, depth + 1, &mut below).map(|()| below.finish())
        } else if let Some(array) = before.as_array() {
            let mut below = out.array(name);
            self.array(array, branch, depth + 1, &mut below).map(|()| below.finish())
        } else {
            out.append(name, before);
            return self.rules.mismatch(name, OTHER_TYPE);
        };
        applied.map_err(|error| error.below(name))
    }

    /// A field or element that is not there. What is missing above a path that is set is made as documents.
    fn create(&mut self, name: &[u8], step: Step<'d>, depth: usize, out: &mut DocWriter<'_>) -> Applied {
        if !self.creates(&step) {
            return self.rules.mismatch(name, MISSING);
        }
        match step {
            Step::Set(value) => self.rules.append(out, name, value),
            Step::Below(branch) => {
                let nothing = RawValue { kind: Kind::Document, bytes: RawDoc::EMPTY.as_bytes() };
                self.below(name, nothing, &branch, depth, out)
            }
            Step::Unset => Ok(()),
        }
    }

    fn creates(&self, step: &Step<'_>) -> bool {
        match step {
            Step::Set(_) => true,
            Step::Unset => false,
            Step::Below(branch) => self.paths[branch.paths.clone()].iter().any(|path| path.set.is_some()),
        }
    }

    /// The fields that stand next in these paths, in the order of the log.
    fn collect(&mut self, branch: &Branch) -> Result<Range<usize>, Malformed> {
        let Self { paths, fields, .. } = self;
        let mut at = branch.paths.start;
        while at < branch.paths.end {
            let Path { text: path, set, .. } = paths[at];
            let rest = &path[branch.skip..];
            let name = rest.split(|sign| *sign == b'.').next().unwrap_or_default();
            let begins_alike = |path: &Path<'_>| {
                path.text[branch.skip..]
                    .strip_prefix(name)
                    .is_some_and(|more| matches!(more, [] | [b'.', ..]))
            };
            let alike = paths[at..branch.paths.end].iter().take_while(|path| begins_alike(path));
            let (count, order) =
                alike.fold((0, usize::MAX), |(count, order), path| (count + 1, order.min(path.order)));
            let end = at + count;
            let step = match set {
                // The path that ends here is the first one of its group.
                _ if name.len() < rest.len() => {
                    Step::Below(Branch { paths: at..end, skip: branch.skip + name.len() + 1 })
                }
                _ if count > 1 => return Err(malformed("update: a path and another one within it")),
                Some(value) => Step::Set(value),
                None => Step::Unset,
            };
            fields.push(name, Change { order, step });
            at = end;
        }
        fields.collected().sort_unstable_by_key(|field| field.change.order);
        fields.level()
    }
}

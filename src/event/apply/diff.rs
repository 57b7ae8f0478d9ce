//! `$v: 2`: a structured diff.

use super::array::{Elements, index};
use super::fields::Fields;
use super::{Applied, MISSING, OTHER_TYPE, Rules};
use crate::bson::{DocWriter, Element, RawDoc, RawValue};
use crate::event::diff::{
    ArrayPart, Section, check_depth, check_sections, is_of_array, malformed, section_doc,
};

pub(super) fn apply(rules: Rules, before: RawDoc<'_>, diff: RawDoc<'_>, out: &mut DocWriter<'_>) -> Applied {
    let is_of_bucket = diff.get("scontrol").is_some() && diff.get("sdata").is_some();
    Applier { rules, fields: Fields::new(), is_of_bucket }.document(before, diff, 0, out)
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug)]
enum Change<'d> {
    Delete,
    /// Keeps its place.
    Update(RawValue<'d>),
    /// Goes to the end, also if it is there already.
    Insert(RawValue<'d>),
    /// Binary data, new from some byte on.
    Splice(RawDoc<'d>),
    Nested(RawDoc<'d>),
}

struct Applier<'d> {
    rules: Rules,
    fields: Fields<'d, Change<'d>>,
    /// Whether it looks like a measurement on its way into a time series' bucket. There MongoDB 5.0 logs also fields as updated that are
    /// new; with other documents that shows that something has been missed.
    is_of_bucket: bool,
}

impl<'d> Applier<'d> {
    fn document(
        &mut self,
        before: RawDoc<'_>,
        diff: RawDoc<'d>,
        depth: usize,
        out: &mut DocWriter<'_>,
    ) -> Applied {
        check_depth(depth)?;
        self.collect(diff)?;
        let level = self.fields.level()?;
        for element in before {
            let element = element?;
            match self.fields.find(&level, element.name) {
                None => out.append(element.name, element.value),
                Some(at) => {
                    if self.fields.get(at).met {
                        // A primary changes the first one, a server that replays the oplog all of them.
                        self.rules.mismatch(element.name, "is there twice")?;
                    }
                    let change = self.fields.meet(at);
                    self.field(element, change, depth, out)?;
                }
            }
        }
        for at in level.clone() {
            let field = self.fields.get(at);
            let (name, met) = (field.name, field.met);
            match field.change {
                Change::Insert(value) => self.rules.append(out, name, value)?,
                _ if met => {}
                Change::Update(value) => {
                    if !self.is_of_bucket {
                        self.rules.mismatch(name, MISSING)?;
                    }
                    self.rules.append(out, name, value)?;
                }
                Change::Delete | Change::Splice(_) | Change::Nested(_) => {
                    self.rules.mismatch(name, MISSING)?;
                }
            }
        }
        self.fields.leave(&level);
        Ok(())
    }

    fn collect(&mut self, diff: RawDoc<'d>) -> Applied {
        check_sections(diff)?;
        for section in diff {
            let section = section?;
            let content = section_doc(section.value)?;
            let kind = Section::of(section.name);
            if kind == Some(Section::Nested) {
                self.fields.push(&section.name[1..], Change::Nested(content));
                continue;
            }
            for field in content {
                let field = field?;
                let change = match kind {
                    Some(Section::Updated) => Change::Update(field.value),
                    Some(Section::Inserted) => Change::Insert(field.value),
                    Some(Section::Binary) => Change::Splice(section_doc(field.value)?),
                    _ => Change::Delete,
                };
                self.fields.push(field.name, change);
            }
        }
        Ok(())
    }

    /// A field that the document has.
    fn field(
        &mut self,
        Element { name, value }: Element<'_>,
        change: Change<'d>,
        depth: usize,
        out: &mut DocWriter<'_>,
    ) -> Applied {
        match change {
            // So a pipeline is logged that ends with a document without identifier; the server keeps it all the same.
            Change::Delete if depth == 0 && name == b"_id" => {
                out.append(name, value);
                Ok(())
            }
            Change::Delete | Change::Insert(_) => Ok(()),
            Change::Update(new) => self.rules.append(out, name, new),
            Change::Splice(patch) => self.splice(name, value, patch, out),
            Change::Nested(diff) => self.nested(name, value, diff, depth, out),
        }
    }

    fn nested(
        &mut self,
        name: &[u8],
        before: RawValue<'_>,
        diff: RawDoc<'d>,
        depth: usize,
        out: &mut DocWriter<'_>,
    ) -> Applied {
        let is_of_array = is_of_array(diff)?;
        if let Some(array) = before.as_array().filter(|_| is_of_array) {
            let mut below = out.array(name);
            self.array(array, diff, depth + 1, &mut below).map_err(|error| error.below(name))?;
            below.finish();
        } else if let Some(document) = before.as_doc().filter(|_| !is_of_array) {
            let mut below = out.document(name);
            self.document(document, diff, depth + 1, &mut below).map_err(|error| error.below(name))?;
            below.finish();
        } else {
            self.rules.mismatch(name, OTHER_TYPE)?;
            self.rules.append_null(out, name)?;
        }
        Ok(())
    }

    fn array(
        &mut self,
        before: RawDoc<'_>,
        diff: RawDoc<'d>,
        depth: usize,
        out: &mut DocWriter<'_>,
    ) -> Applied {
        check_depth(depth)?;
        let mut length = None;
        let mut array = Elements::new(before);
        for (number, part) in diff.iter().enumerate().skip(1) {
            let part = ArrayPart::of(number, part?)?;
            let digits = match part {
                ArrayPart::Updated(digits, _) | ArrayPart::Nested(digits, _) => digits,
                ArrayPart::Length(new) => {
                    length =
                        Some(usize::try_from(new).map_err(|_| malformed("update diff: `l` is negative"))?);
                    continue;
                }
            };
            let index = index(digits)
                .filter(|index| *index >= array.next() && length.is_none_or(|length| *index < length))
                .ok_or(malformed("update diff: an index out of order or range"))?;
            array.copy_to(index, out)?;
            array.pad_to(index, &mut self.rules, out)?;
            let (name, element) = array.take()?;
            match (part, element) {
                (ArrayPart::Nested(_, diff), Some(value)) => self.nested(name, value, diff, depth, out)?,
                (ArrayPart::Nested(..), None) => {
                    self.rules.mismatch(name, MISSING)?;
                    self.rules.append_null(out, name)?;
                }
                (ArrayPart::Updated(_, value), _) => self.rules.append(out, name, value)?,
                (ArrayPart::Length(_), _) => {}
            }
        }
        array.copy_to(length.unwrap_or(usize::MAX), out)?;
        if let Some(length) = length.filter(|length| *length > array.next()) {
            // A pipeline that makes an array longer is logged with the elements that it adds.
            self.rules.mismatch(array.name(), MISSING)?;
            array.pad_to(length, &mut self.rules, out)?;
        }
        Ok(())
    }

    /// Everything from some byte on is new; it may become longer or shorter. Only buckets of time series have such patches.
    fn splice(
        &mut self,
        name: &[u8],
        before: RawValue<'_>,
        patch: RawDoc<'_>,
        out: &mut DocWriter<'_>,
    ) -> Applied {
        let offset =
            patch.get("o").and_then(RawValue::as_i64).and_then(|offset| usize::try_from(offset).ok());
        let data = patch.get("d").and_then(RawValue::as_binary);
        let (Some(offset), Some((_, data))) = (offset, data) else {
            return Err(malformed("update diff: a patch without offset and data").into());
        };
        let Some((subtype, kept)) =
            before.as_binary().and_then(|(subtype, bytes)| Some((subtype, bytes.get(..offset)?)))
        else {
            self.rules.mismatch(name, OTHER_TYPE)?;
            return self.rules.append_null(out, name);
        };
        self.rules.grow(name.len() + data.len())?;
        out.append_binary_of_two(name, subtype, kept, data);
        Ok(())
    }
}

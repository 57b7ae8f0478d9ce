//! What an update changed: both encodings of the oplog, and one visitor that reads them as a change stream would.
//!
//! `$v: 1` has `$set` and `$unset` with dotted paths. `$v: 2` has a structured diff, whose grammar is: a document diff holds, in
//! this order, `d` (deleted fields), `u` (updated), `i` (inserted), `b` (patched binary data) and any number of `s<field>` (nested
//! diffs); an array diff starts with `a: true`, then `l` (new length), `u<index>` and `s<index>`.

use crate::bson::{DEPTH_MAX, Element, Iter, Malformed, RawDoc, RawValue};

/// What an update changed.
#[derive(Clone, Copy, Debug)]
pub enum Delta<'a> {
    /// `$v: 1`, and entries without `$v`: dotted paths.
    Modifiers {
        /// `$set`: paths and their new values.
        set: Option<RawDoc<'a>>,
        /// `$unset`: paths that are gone.
        unset: Option<RawDoc<'a>>,
    },
    /// `$v: 2`: a structured diff.
    Diff(RawDoc<'a>),
}

/// Receives what a delta says, in the order in which MongoDB's change streams list it. Paths are joined with dots.
pub trait DeltaVisitor {
    /// Whether [`DeltaVisitor::ambiguous`] is called.
    const AMBIGUOUS: bool = false;

    /// A field has a new value.
    fn updated(&mut self, path: &[u8], value: RawValue<'_>) -> Result<(), Malformed>;
    /// A field is gone.
    fn removed(&mut self, path: &[u8]);
    /// An array was cut to that many elements.
    fn truncated(&mut self, path: &[u8], new_size: i32);
    /// What was told since the last call, or since the beginning, is the content of that section of the diff, at the root.
    fn root_section(&mut self, section: Section) {
        let _ = section;
    }
    /// What was told last is on a path that does not say by itself where its names end, or which of its numbers are indexes.
    fn ambiguous(&mut self, path: &[u8], components: Components<'_>) {
        let _ = (path, components);
    }
}

/// One part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component<'a> {
    /// A field's name.
    Name(&'a [u8]),
    /// The index of an array's element, in decimal digits.
    Index(&'a [u8]),
}

/// The parts of a path.
#[derive(Clone, Copy, Debug)]
pub struct Components<'a> {
    last: Component<'a>,
    above: Option<&'a Components<'a>>,
    /// Whether the path this far can be read in several ways. Looked at only for visitors that want to know.
    ambiguous: bool,
}

impl Components<'_> {
    /// Calls `each` for every part, from the first to the last.
    pub fn for_each(&self, each: &mut dyn FnMut(Component<'_>)) {
        if let Some(above) = self.above {
            above.for_each(each);
        }
        each(self.last);
    }
}

impl Component<'_> {
    /// As MongoDB has it: a dot in a name could be the end of it, and a number could be an index, except at the beginning.
    fn is_ambiguous(self, is_first: bool) -> bool {
        let Self::Name(name) = self else { return false };
        let is_number = is_index(name) && (name[0] != b'0' || name.len() == 1);
        (is_number && !is_first) || name.contains(&b'.')
    }
}

impl Delta<'_> {
    /// Reads the delta from front to back. `path` is working space; its capacity is kept for the next call.
    pub fn visit(&self, path: &mut Vec<u8>, visitor: &mut impl DeltaVisitor) -> Result<(), Malformed> {
        path.clear();
        match self {
            Self::Modifiers { set, unset } => {
                for element in set.iter().flat_map(|set| set.iter()) {
                    let element = element?;
                    visitor.updated(element.name, element.value)?;
                }
                for element in unset.iter().flat_map(|unset| unset.iter()) {
                    visitor.removed(element?.name);
                }
                Ok(())
            }
            Self::Diff(diff) => Walk { path, visitor }.document(*diff, None, 0),
        }
    }
}

/// The sections of a document diff, in the order the grammar demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// `d`: fields that are gone.
    Deleted,
    /// `u`: new values in the old places.
    Updated,
    /// `i`: new fields behind the others.
    Inserted,
    /// `b`: patches of binary data.
    Binary,
    /// `s` and a field's name: the diff of what is in that field.
    Nested,
}

impl Section {
    /// What a section of that name is.
    pub fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"d" => Some(Self::Deleted),
            b"u" => Some(Self::Updated),
            b"i" => Some(Self::Inserted),
            b"b" => Some(Self::Binary),
            [b's', ..] => Some(Self::Nested),
            _ => None,
        }
    }
}

/// A document diff, section by section.
struct Sections<'a> {
    /// `d`, `u`, `i`, `b`.
    fields: [Option<RawDoc<'a>>; 4],
    /// The first nested diff and what is behind it.
    nested: Option<Iter<'a>>,
}

impl<'a> Sections<'a> {
    /// Sections must be known, in order and, but for nested ones, single; a diff has at least one.
    fn of(diff: RawDoc<'a>) -> Result<Self, Malformed> {
        let mut sections = Self { fields: [None; 4], nested: None };
        let mut last = None;
        let mut elements = diff.iter();
        loop {
            let here = elements.clone();
            let Some(element) = elements.next().transpose()? else { break };
            let section = Section::of(element.name).ok_or(malformed("update diff: unknown section"))?;
            if last > Some(section) || (last == Some(section) && section != Section::Nested) {
                return Err(malformed("update diff: section out of order or repeated"));
            }
            last = Some(section);
            let content = section_doc(element.value)?;
            match section {
                Section::Nested => sections.nested = sections.nested.or(Some(here)),
                fields => sections.fields[fields as usize] = Some(content),
            }
        }
        if last.is_some() { Ok(sections) } else { Err(malformed("update diff: empty")) }
    }
}

struct Walk<'v, V> {
    path: &'v mut Vec<u8>,
    visitor: &'v mut V,
}

/// Where a diff applies: nothing is the document itself.
type Place<'p> = Option<&'p Components<'p>>;

impl<V: DeltaVisitor> Walk<'_, V> {
    fn document(&mut self, diff: RawDoc<'_>, place: Place<'_>, depth: usize) -> Result<(), Malformed> {
        check_depth(depth)?;
        let sections = Sections::of(diff)?;
        // The change stream's order: what was set, then what was removed, then the nested diffs.
        for section in [Section::Updated, Section::Inserted, Section::Binary, Section::Deleted] {
            if let Some(fields) = sections.fields[section as usize] {
                self.fields(section, fields, place)?;
                if place.is_none() {
                    self.visitor.root_section(section);
                }
            }
        }
        for element in sections.nested.into_iter().flatten() {
            let element = element?;
            let nested = section_doc(element.value)?;
            let name = Component::Name(&element.name[1..]);
            self.below(place, name, |walk, here| walk.nested(nested, here, depth + 1))?;
        }
        Ok(())
    }

    fn fields(&mut self, section: Section, fields: RawDoc<'_>, place: Place<'_>) -> Result<(), Malformed> {
        for field in fields {
            let field = field?;
            self.below(place, Component::Name(field.name), |walk, here| {
                if section == Section::Deleted {
                    walk.visitor.removed(walk.path);
                } else {
                    walk.visitor.updated(walk.path, field.value)?;
                }
                walk.told(here);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn nested(&mut self, diff: RawDoc<'_>, here: &Components<'_>, depth: usize) -> Result<(), Malformed> {
        if is_of_array(diff)? {
            self.array(diff, here, depth)
        } else {
            self.document(diff, Some(here), depth)
        }
    }

    fn array(&mut self, diff: RawDoc<'_>, here: &Components<'_>, depth: usize) -> Result<(), Malformed> {
        check_depth(depth)?;
        for (number, element) in diff.iter().enumerate().skip(1) {
            match ArrayPart::of(number, element?)? {
                ArrayPart::Length(size) => {
                    self.visitor.truncated(self.path, size);
                    self.told(here);
                }
                ArrayPart::Updated(index, value) => {
                    self.below(Some(here), Component::Index(index), |walk, here| {
                        walk.visitor.updated(walk.path, value)?;
                        walk.told(here);
                        Ok(())
                    })?;
                }
                ArrayPart::Nested(index, nested) => {
                    self.below(Some(here), Component::Index(index), |walk, here| {
                        walk.nested(nested, here, depth + 1)
                    })?;
                }
            }
        }
        Ok(())
    }

    fn told(&mut self, here: &Components<'_>) {
        if here.ambiguous {
            self.visitor.ambiguous(self.path, *here);
        }
    }

    /// Runs `step` one part further down the path. Empty names count: `x.` is the field named "" of `x`.
    fn below(
        &mut self,
        place: Place<'_>,
        last: Component<'_>,
        step: impl FnOnce(&mut Self, &Components<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let length = self.path.len();
        if place.is_some() {
            self.path.push(b'.');
        }
        let (Component::Name(text) | Component::Index(text)) = last;
        self.path.extend_from_slice(text);
        let ambiguous = V::AMBIGUOUS
            && (place.is_some_and(|above| above.ambiguous) || last.is_ambiguous(place.is_none()));
        let result = step(self, &Components { last, above: place, ambiguous });
        self.path.truncate(length);
        result
    }
}

/// One part of an array diff, behind its `a: true`.
pub(super) enum ArrayPart<'a> {
    /// The array's new length; only the first part may be one.
    Length(i32),
    /// An index, in digits, and its new value.
    Updated(&'a [u8], RawValue<'a>),
    /// An index, in digits, and the diff of what is there.
    Nested(&'a [u8], RawDoc<'a>),
}

impl<'a> ArrayPart<'a> {
    /// The part in that place of the array diff.
    pub(super) fn of(number: usize, element: Element<'a>) -> Result<Self, Malformed> {
        match element.name {
            b"l" if number == 1 => {
                element.value.as_i32().map(Self::Length).ok_or(malformed("update diff: `l` is not an int32"))
            }
            [b'u', index @ ..] if is_index(index) => Ok(Self::Updated(index, element.value)),
            [b's', index @ ..] if is_index(index) => Ok(Self::Nested(index, section_doc(element.value)?)),
            _ => Err(malformed("update diff: unknown part of an array")),
        }
    }
}

/// A nested diff is one of an array if its first name is `a`: a document diff has no such section.
pub(super) fn is_of_array(diff: RawDoc<'_>) -> Result<bool, Malformed> {
    match diff.iter().next() {
        Some(Ok(first)) if first.name == b"a" => match first.value.as_bool() {
            Some(true) => Ok(true),
            _ => Err(malformed("update diff: `a` is not true")),
        },
        _ => Ok(false),
    }
}

/// Sections must be known, in order and, but for nested ones, single; a diff has at least one.
pub(super) fn check_sections(diff: RawDoc<'_>) -> Result<(), Malformed> {
    Sections::of(diff).map(|_| ())
}

pub(super) fn section_doc(value: RawValue<'_>) -> Result<RawDoc<'_>, Malformed> {
    value.as_doc().ok_or(malformed("update diff: a section is not a document"))
}

pub(super) fn check_depth(depth: usize) -> Result<(), Malformed> {
    if depth > DEPTH_MAX { Err(malformed("update diff: nested too deeply")) } else { Ok(()) }
}

pub(super) fn is_index(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_digit)
}

pub(super) fn malformed(what: &'static str) -> Malformed {
    Malformed { what, offset: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bson::extjson::{Mode, parse, write_value};

    /// Everything that a delta says, one phrase each.
    #[derive(Default)]
    struct Phrases(Vec<String>);

    impl DeltaVisitor for Phrases {
        const AMBIGUOUS: bool = true;

        fn updated(&mut self, path: &[u8], value: RawValue<'_>) -> Result<(), Malformed> {
            let mut text = [path, b" = "].concat();
            write_value(&mut text, value, Mode::Relaxed)?;
            self.0.push(String::from_utf8(text).unwrap());
            Ok(())
        }

        fn removed(&mut self, path: &[u8]) {
            self.0.push(format!("no {}", std::str::from_utf8(path).unwrap()));
        }

        fn truncated(&mut self, path: &[u8], new_size: i32) {
            self.0.push(format!("{} cut to {new_size}", std::str::from_utf8(path).unwrap()));
        }

        fn ambiguous(&mut self, path: &[u8], components: Components<'_>) {
            let mut parts = Vec::new();
            components.for_each(&mut |part| match part {
                Component::Name(name) => parts.push(format!("{:?}", std::str::from_utf8(name).unwrap())),
                Component::Index(digits) => parts.push(String::from_utf8(digits.to_vec()).unwrap()),
            });
            self.0.push(format!("{}: [{}]", std::str::from_utf8(path).unwrap(), parts.join(",")));
        }
    }

    fn phrases(delta: &Delta<'_>) -> Result<Vec<String>, Malformed> {
        let mut phrases = Phrases::default();
        let mut path = b"rest of the call before".to_vec();
        delta.visit(&mut path, &mut phrases)?;
        assert!(path.is_empty());
        Ok(phrases.0)
    }

    fn of_diff(json: &str) -> Result<Vec<String>, Malformed> {
        let diff = parse(json).expect(json);
        phrases(&Delta::Diff(RawDoc::new(&diff).unwrap()))
    }

    #[test]
    fn a_diff_reads_as_mongodbs_change_stream_lists_it() {
        let cases: &[(&str, &[&str])] = &[
            (
                r#"{"so":{"u":{"1":2},"i":{"2":3},"s0":{"u":{"x":2}}}}"#,
                &[
                    "o.1 = 2",
                    r#"o.1: ["o","1"]"#,
                    "o.2 = 3",
                    r#"o.2: ["o","2"]"#,
                    "o.0.x = 2",
                    r#"o.0.x: ["o","0","x"]"#,
                ],
            ),
            (r#"{"so":{"u":{"0":2}},"sr":{"a":true,"u0":2}}"#, &["o.0 = 2", r#"o.0: ["o","0"]"#, "r.0 = 2"]),
            (r#"{"u":{"0":2},"s1":{"u":{"x":2}}}"#, &["0 = 2", "1.x = 2"]),
            (
                r#"{"u":{"p.q":2},"sa":{"u":{"b.c":2}}}"#,
                &["p.q = 2", r#"p.q: ["p.q"]"#, "a.b.c = 2", r#"a.b.c: ["a","b.c"]"#],
            ),
            (r#"{"sa":{"sb.c":{"a":true,"l":2}}}"#, &["a.b.c cut to 2", r#"a.b.c: ["a","b.c"]"#]),
            (r#"{"sa":{"a":true,"s0":{"u":{"3":1}}}}"#, &["a.0.3 = 1", r#"a.0.3: ["a",0,"3"]"#]),
            (r#"{"sa":{"a":true,"l":10,"s0":{"u":{"x":2}}}}"#, &["a cut to 10", "a.0.x = 2"]),
            (r#"{"sx":{"d":{"01":false,"7":false}}}"#, &["no x.01", "no x.7", r#"x.7: ["x","7"]"#]),
            (r#"{"i":{"$price":2},"sa":{"i":{"$q":2}}}"#, &["$price = 2", "a.$q = 2"]),
            (r#"{"s.":{"a":true,"u0":1}}"#, &["..0 = 1", r#"..0: [".",0]"#]),
            (r#"{"s":{"u":{"0":1,"1x":2}}}"#, &[".0 = 1", r#".0: ["","0"]"#, ".1x = 2"]),
        ];
        for (diff, expected) in cases {
            assert_eq!(of_diff(diff).unwrap(), *expected, "{diff}");
        }
    }

    #[test]
    fn what_is_set_comes_first_then_what_is_gone_then_what_is_below() {
        assert_eq!(
            of_diff(r#"{"d":{"a":false},"u":{"b":1},"i":{"c":2},"b":{"e":{"o":0,"d":3}},"sf":{"d":{"g":false},"u":{"h":4}}}"#)
                .unwrap(),
            ["b = 1", "c = 2", r#"e = {"o":0,"d":3}"#, "no a", "f.h = 4", "no f.g"]
        );
    }

    #[test]
    fn empty_names_and_names_like_sections_are_ordinary_names() {
        assert_eq!(
            of_diff(r#"{"s":{"u":{"n":1,"":2}},"sx":{"i":{"":3}}}"#).unwrap(),
            [".n = 1", ". = 2", "x. = 3"]
        );
        assert_eq!(
            of_diff(r#"{"u":{"a":1,"l":2,"d":3},"sdiff":{"u":{"u0":4}},"ss0":{"sd":{"d":{"s":false}}},"sa":{"u":{"a":true}}}"#)
                .unwrap(),
            ["a = 1", "l = 2", "d = 3", "diff.u0 = 4", "no s0.d.s", "a.a = true"]
        );
    }

    #[test]
    fn arrays_within_arrays_keep_the_order_of_their_indexes() {
        assert_eq!(
            of_diff(r#"{"sa":{"a":true,"u2":null,"s10":{"a":true,"l":0,"u0":[1]},"u11":{}}}"#).unwrap(),
            ["a.2 = null", "a.10 cut to 0", "a.10.0 = [1]", "a.11 = {}"]
        );
    }

    #[test]
    fn version_1_lists_its_paths_as_they_are() {
        let (set, unset) = (parse(r#"{"a.10":1,"a.2":null}"#).unwrap(), parse(r#"{"b.c":true}"#).unwrap());
        let (set, unset) = (RawDoc::new(&set).unwrap(), RawDoc::new(&unset).unwrap());
        let both = Delta::Modifiers { set: Some(set), unset: Some(unset) };
        assert_eq!(phrases(&both).unwrap(), ["a.10 = 1", "a.2 = null", "no b.c"]);
        assert_eq!(phrases(&Delta::Modifiers { set: None, unset: None }).unwrap(), [""; 0]);
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_refused() {
        for diff in [
            "{}",
            r#"{"x":{}}"#,
            r#"{"":{}}"#,
            r#"{"dd":{}}"#,
            r#"{"u":1}"#,
            r#"{"u":[1]}"#,
            r#"{"u":{"a":1},"u":{"b":1}}"#,
            r#"{"i":{"a":1},"u":{"b":1}}"#,
            r#"{"sa":{"u":{"a":1}},"u":{"b":1}}"#,
            r#"{"sa":{}}"#,
            r#"{"sa":1}"#,
            r#"{"a":true,"u0":1}"#,
            r#"{"sa":{"a":false,"u0":1}}"#,
            r#"{"sa":{"a":1,"u0":1}}"#,
            r#"{"sa":{"a":true,"l":1.0}}"#,
            r#"{"sa":{"a":true,"l":{"$numberLong":"1"}}}"#,
            r#"{"sa":{"a":true,"u0":1,"l":1}}"#,
            r#"{"sa":{"a":true,"ux":1}}"#,
            r#"{"sa":{"a":true,"u":1}}"#,
            r#"{"sa":{"a":true,"s0":1}}"#,
            r#"{"sa":{"a":true,"d0":1}}"#,
            r#"{"sa":{"a":true,"a":true}}"#,
        ] {
            assert!(of_diff(diff).is_err(), "{diff}");
        }
    }

    #[test]
    fn a_diff_is_followed_to_the_depth_that_a_reader_follows() {
        let nested =
            |depth: usize| format!(r#"{}{{"u":{{"x":1}}}}{}"#, r#"{"sa":"#.repeat(depth), "}".repeat(depth));
        std::thread::Builder::new()
            .stack_size(2 << 20)
            .spawn(move || assert_eq!(of_diff(&nested(DEPTH_MAX - 1)).map(|phrases| phrases.len()), Ok(1)))
            .unwrap()
            .join()
            .unwrap();
    }
}

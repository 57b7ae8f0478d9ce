//! What holds for any documents and any deltas.

use bson::{Bson, Document, doc};
use proptest::prelude::*;

use super::*;
use Strictness::{Lenient, Strict};

/// A diff by which a server could lead from one document to the other; none if they are the same.
fn diff(before: &Document, after: &Document) -> Option<Document> {
    // What stays in its place is a beginning of the new document, in the order of the old one; the rest goes to the end.
    let mut old = before.keys();
    let kept = after.keys().take_while(|name| old.any(|other| other == *name)).count();
    let inserted: Document =
        after.iter().skip(kept).map(|(name, value)| (name.clone(), value.clone())).collect();
    let deleted: Document = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .map(|name| (name.clone(), Bson::Boolean(false)))
        .collect();
    let (mut updated, mut nested) = (doc! {}, doc! {});
    for (name, new) in after.iter().take(kept) {
        match below(&before[name], new) {
            Some(Below::Diff(diff)) => drop(nested.insert(format!("s{name}"), diff)),
            Some(Below::Value) => drop(updated.insert(name, new.clone())),
            None => {}
        }
    }
    let mut diff = Document::new();
    for (section, fields) in [("d", deleted), ("u", updated), ("i", inserted)] {
        if !fields.is_empty() {
            diff.insert(section, fields);
        }
    }
    diff.extend(nested);
    Some(diff).filter(|diff| !diff.is_empty())
}

enum Below {
    Diff(Document),
    Value,
}

/// How a value becomes another one.
fn below(before: &Bson, after: &Bson) -> Option<Below> {
    match (before, after) {
        (Bson::Document(before), Bson::Document(after)) => diff(before, after).map(Below::Diff),
        (Bson::Array(before), Bson::Array(after)) => array_diff(before, after).map(Below::Diff),
        _ => (before != after).then_some(Below::Value),
    }
}

fn array_diff(before: &[Bson], after: &[Bson]) -> Option<Document> {
    let mut diff = doc! { "a": true };
    if after.len() < before.len() {
        diff.insert("l", i32::try_from(after.len()).unwrap());
    }
    for (index, new) in after.iter().enumerate() {
        match before.get(index).map_or(Some(Below::Value), |old| below(old, new)) {
            Some(Below::Diff(nested)) => drop(diff.insert(format!("s{index}"), nested)),
            Some(Below::Value) => drop(diff.insert(format!("u{index}"), new.clone())),
            None => {}
        }
    }
    Some(diff).filter(|diff| diff.len() > 1)
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "u", "s", "", "0", "p.q"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Bson> {
    let leaf =
        prop_oneof![(0..3).prop_map(Bson::Int32), Just(Bson::Null), "[ab]{0,2}".prop_map(Bson::String)];
    leaf.prop_recursive(4, 40, 5, |below| {
        prop_oneof![
            prop::collection::vec(below.clone(), 0..5).prop_map(Bson::Array),
            prop::collection::vec((name(), below), 0..5)
                .prop_map(|fields| Bson::Document(fields.into_iter().collect())),
        ]
    })
}

fn document() -> impl Strategy<Value = Document> {
    prop::collection::vec((name(), value()), 0..7).prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_diff_of_two_documents_leads_from_one_to_the_other(before in document(), after in document(), other in document()) {
        let Some(diff) = diff(&before, &after) else { return Ok(()) };
        let [before, after, other, diff] = [before, after, other, diff].map(|document| document.to_vec().unwrap());
        let delta = Delta::Diff(RawDoc::new(&diff).unwrap());
        let applied = |to: &[u8], mode| {
            let mut out = Vec::new();
            apply(RawDoc::new(to).unwrap(), &delta, mode, &mut out).map(|()| out)
        };
        prop_assert_eq!(applied(&before, Strict), Ok(after.clone()));
        prop_assert_eq!(applied(&after, Lenient), Ok(after));
        // AND on any document strict is lenient, or an error; and lenient does nothing the second time
        let once = applied(&other, Lenient).unwrap();
        prop_assert_eq!(applied(&once, Lenient).unwrap(), once.clone());
        prop_assert!(applied(&other, Strict).is_ok_and(|strict| strict == once) || applied(&other, Strict).is_err());
    }

    #[test]
    fn modifiers_of_whole_fields_lead_from_one_document_to_another(before in document(), set in document(), gone in document()) {
        let names = |document: Document| document.into_iter().filter(|(name, _)| !name.contains('.'));
        let set: Document = names(set).collect();
        let unset: Document = names(gone).filter(|(name, _)| !set.contains_key(name)).map(|(name, _)| (name, Bson::Boolean(true))).collect();
        let kept = before.clone().into_iter().filter(|(name, _)| !unset.contains_key(name));
        let mut after: Document = kept.collect();
        let mut new: Vec<_> = set.clone().into_iter().collect();
        new.sort_by(|one, other| one.0.cmp(&other.0));
        after.extend(new);
        let [before, after, set, unset] = [before, after, set, unset].map(|document| document.to_vec().unwrap());
        let part = |bytes| Some(RawDoc::new(bytes).unwrap());
        let delta = Delta::Modifiers { set: part(&set), unset: part(&unset) };
        let mut out = Vec::new();
        apply(RawDoc::new(&before).unwrap(), &delta, Lenient, &mut out).unwrap();
        prop_assert_eq!(out, after);
    }

    #[test]
    fn damaged_bytes_never_panic(
        before in document(),
        after in document(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        damages_delta: bool,
    ) {
        let delta = diff(&before, &after).unwrap_or_default();
        let mut bytes = [before, delta].map(|document| document.to_vec().unwrap());
        for (place, byte) in damage {
            let bytes = &mut bytes[usize::from(damages_delta)];
            // Past the length, so that the walk begins.
            let place = 4 + place.index(bytes.len() - 4);
            bytes[place] = byte;
        }
        let [Ok(before), Ok(doc)] = [&bytes[0], &bytes[1]].map(|bytes| RawDoc::new(bytes)) else { return Ok(()) };
        let modifiers = Delta::Modifiers { set: doc.get("u").and_then(RawValue::as_doc), unset: doc.get("d").and_then(RawValue::as_doc) };
        for (delta, mode) in [(Delta::Diff(doc), Strict), (Delta::Diff(doc), Lenient), (modifiers, Strict), (modifiers, Lenient)] {
            let _ = apply(before, &delta, mode, &mut Vec::new());
        }
    }
}

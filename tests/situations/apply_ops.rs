//! The command `applyOps` of users.

use mongodb::bson::{Document, doc};

use crate::ddl::two;
use crate::place::Place;
use crate::table::{ALL, NEW, Situation};

/// What change streams don't show, and why.
const SILENT: &str = "change streams show nothing of a user's applyOps";

/// The elements, whose namespaces lack the database's name.
fn apply<const N: usize>(name: &'static str, elements: [Document; N], options: Document) -> Situation {
    Situation::new(name, move |at: Place| {
        let mut elements = elements.clone();
        for element in &mut elements {
            let ns = format!("{}.{}", at.name, element.get_str("ns").unwrap());
            element.insert("ns", ns);
        }
        let mut command = doc! { "applyOps": elements.to_vec() };
        command.extend(options.clone());
        async move { at.admin(command).await.map(drop) }
    })
    .given(two)
}

fn insert(id: i32) -> Document {
    doc! { "op": "i", "ns": "a", "o": { "_id": id, "x": 0 } }
}

fn update(change: Document) -> Document {
    doc! { "op": "u", "ns": "a", "o2": { "_id": 1 }, "o": change }
}

pub(crate) fn table() -> Vec<Situation> {
    let delete = || doc! { "op": "d", "ns": "a", "o": { "_id": 1 } };
    vec![
        apply("applyOps of inserts and a delete", [insert(3), insert(4), delete()], doc! {})
            .events(["insert a*2", "delete a"])
            .unseen(ALL, "insert a", SILENT)
            .unseen(ALL, "delete a", SILENT)
            .logged(ALL, "o.applyOps.op.d"),
        apply("applyOps, not atomic", [insert(3), delete()], doc! { "allowAtomic": false })
            .events(["insert a", "delete a"]),
        apply(
            "applyOps with the creation of a collection",
            [
                doc! { "op": "c", "ns": "$cmd", "o": { "create": "b" } },
                doc! { "op": "i", "ns": "b", "o": { "_id": 1 } },
            ],
            doc! {},
        )
        .events(["create b", "insert b"]),
        apply(
            "applyOps with an update by modifiers",
            [update(doc! { "$v": 1, "$set": { "x": 5 } })],
            doc! {},
        )
        .events(["update a"])
        .unseen(ALL, "update a", SILENT)
        .logged(ALL, "o.applyOps.o.$set"),
        apply(
            "applyOps with an update by a diff",
            [update(doc! { "$v": 2, "diff": { "u": { "x": 5 } } })],
            doc! {},
        )
        .only(NEW, "4.4 does not know diffs")
        .events(["update a"])
        .unseen(NEW, "update a", SILENT)
        .logged(NEW, "o.applyOps.o.diff"),
        apply(
            "applyOps with an upsert",
            [doc! { "op": "u", "ns": "a", "b": true, "o2": { "_id": 9 }, "o": { "_id": 9, "x": 1 } }],
            doc! {},
        )
        .events(["replace a"])
        .unseen(ALL, "replace a", SILENT)
        .logged(ALL, "o.applyOps.b"),
        apply("applyOps that fails", [update(doc! { "$v": 9 })], doc! {}).fails().events([]),
        apply("applyOps of nothing", [], doc! {}).events([]),
    ]
}

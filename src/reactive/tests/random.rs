//! Random histories: at every batch a part holds what matches in the whole, and every subscriber holds the same.

use bson::{Document, doc};

use super::*;

/// A small generator, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn number(&mut self, end: u64) -> i32 {
        i32::try_from(self.below(end)).unwrap()
    }

    fn document(&mut self) -> Document {
        let mut document = doc! { "_id": self.number(12), "a": self.number(4) };
        if self.below(2) == 0 {
            document.insert("b", doc! { "c": self.number(3), "l": [self.number(3), self.number(3)] });
        }
        document
    }

    fn step(&mut self, writes: &mut Writes<'_>) {
        let id = self.number(12);
        match self.below(9) {
            0..2 => _ = writes.insert(&self.document()),
            2 => _ = writes.delete(id),
            3 => _ = writes.insert_together(&[self.document(), self.document(), self.document()]),
            4 => _ = writes.set(id, &doc! { "b.l.1": self.number(3) }),
            5 => _ = writes.set(id, &doc! { "x": self.number(3) }),
            _ => _ = writes.set(id, &doc! { "a": self.number(4), "b.c": self.number(3) }),
        }
    }
}

/// What a subscriber holds, and since when.
struct Follower {
    applied: Applied,
    at: (u32, u32),
}

async fn part_is_what_matches(seed: u64, filter: Document) {
    let source = MemorySource::new("test.random");
    let mut dice = Dice(seed * 2 + 1);
    source.write(|writes| (0..10).for_each(|_| dice.step(writes)));
    let whole = ReactiveCollection::<Document>::of_memory(&source).start().await.unwrap();
    let part = ReactivePartialCollection::<Document>::of_memory(&source).filter(filter.clone());
    let part = part.index_path("by_a", "a").start().await.unwrap();
    whole.ready().await.unwrap();
    part.ready().await.unwrap();
    let ((all, mut whole_changes), (some, mut part_changes)) = (whole.subscribe(), part.subscribe());
    let mut some = Follower { applied: Applied::of(&some), at: some.position().timestamp() };
    let mut all = Follower { applied: Applied::of(&all), at: all.position().timestamp() };
    let matching = Filter::parse(RawDoc::new(&filter.to_vec().unwrap()).unwrap()).unwrap();
    let mut behind = None;
    for _ in 0..12 {
        let writes = dice.below(9) + 1;
        source.write(|to| (0..writes).for_each(|_| dice.step(to)));
        let end = source.insert(&dice.document());
        whole.reached(end).await.unwrap();
        part.reached(end).await.unwrap();
        // The batches of both, in the order of their positions: the part has one only where something changed in it.
        while all.at < end.timestamp() {
            let Some(next_of_all) = whole_changes.try_next() else { break };
            let Next::Batch(batch) = &next_of_all else { panic!("a reset") };
            all.applied.take(&next_of_all);
            all.at = batch.position().timestamp();
            loop {
                let Some(of_part) = behind.take().or_else(|| part_changes.try_next()) else { break };
                let Next::Batch(batch) = &of_part else { panic!("a reset") };
                if batch.position().timestamp() > all.at {
                    behind = Some(of_part);
                    break;
                }
                some.applied.take(&of_part);
            }
            let expected =
                all.applied.0.iter().filter(|(_, doc)| matching.matches(RawDoc::new(doc).unwrap()).unwrap());
            let expected: BTreeMap<_, _> = expected.map(|(key, doc)| (key.clone(), doc.clone())).collect();
            assert_eq!(some.applied.0, expected, "seed {seed}, {filter}, at {:?}", all.at);
        }
    }
    assert_eq!(Applied::of(&part.snapshot()).0, some.applied.0);
    let by_a = part.snapshot();
    let values = |value: i32| by_a.by("by_a").unwrap().eq(value).count();
    assert_eq!((0..4).map(values).sum::<usize>(), by_a.len());
}

#[tokio::test]
async fn at_every_batch_a_part_holds_what_matches_in_the_whole() {
    for seed in 1..40 {
        for filter in [
            doc! { "a": 1 },
            doc! { "a": { "$ne": 2 }, "b.c": { "$gte": 1 } },
            doc! { "b.l": 2 },
            doc! { "$or": [{ "x": 1 }, { "b": { "$exists": false } }] },
        ] {
            part_is_what_matches(seed, filter).await;
        }
    }
}

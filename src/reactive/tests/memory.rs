//! What a collection takes in memory: at most one and a half times the documents' bytes, and 150 bytes for each.

use allocation_counter::measure;
use bson::oid::ObjectId;

use super::*;

const DOCUMENTS: u32 = 5_000;
/// What an allocator may add to each piece of memory: a header, and room up to the next multiple of 16 bytes.
const OVERHEAD: u64 = 8 + 15;

fn document(number: u32, length: usize) -> Document {
    let mut id = [7; 12];
    id[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
    doc! { "_id": ObjectId::from_bytes(id), "text": "x".repeat(length) }
}

/// Bytes by document: what was asked of the allocator and not given back, with what it adds. The source's own copy is none of it.
fn held(source: &MemorySource) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut kept = None;
    let counted = measure(|| {
        kept = Some(runtime.block_on(async {
            let collection = ReactiveCollection::<Document>::of_memory(source).start().await.unwrap();
            collection.ready().await.unwrap();
            collection
        }));
    });
    assert_eq!(kept.unwrap().snapshot().len(), DOCUMENTS as usize);
    let pieces = u64::try_from(counted.count_current).unwrap();
    (u64::try_from(counted.bytes_current).unwrap() + pieces * OVERHEAD) / u64::from(DOCUMENTS)
}

#[test]
fn a_document_takes_half_as_much_again_as_its_bytes_and_150_bytes_at_most() {
    // Counted like this, a document takes some 208 bytes beside its own: below some 120 bytes that is more.
    for length in [100, 900, 10_000] {
        let source = MemorySource::new("shop.orders");
        source.write(|writes| (0..DOCUMENTS).for_each(|number| _ = writes.insert(&document(number, length))));
        let bytes = document(0, length).to_vec().unwrap().len() as u64;
        let (held, promised) = (held(&source), bytes * 3 / 2 + 150);
        println!("{held} bytes a document of {bytes} bytes, {promised} are promised");
        assert!(
            (bytes..=promised).contains(&held),
            "{held} bytes a document of {bytes} bytes, {promised} are promised"
        );
    }
}

//! What Kafka says about names and keys.

/// The longest name of a topic.
pub(super) const TOPIC_BYTES_MAX: usize = 249;
/// A hyphen and 16 digits.
const HASH_BYTES: usize = 17;

/// Whether Kafka allows that byte in the name of a topic.
pub(super) fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// `name` if it is legal, else `name` with `_` in place of illegal bytes, cut to fit, and the hash of `namespace`, which tells apart
/// what would now be the same.
pub(super) fn topic(name: String, namespace: &str) -> String {
    let fits = (1..=TOPIC_BYTES_MAX).contains(&name.len()) && name != "." && name != "..";
    if fits && name.bytes().all(is_legal) {
        return name;
    }
    let legal = name.bytes().map(|byte| if is_legal(byte) { char::from(byte) } else { '_' });
    let cut: String = legal.take(TOPIC_BYTES_MAX - HASH_BYTES).collect();
    format!("{cut}-{:016x}", fnv1a(namespace.as_bytes()))
}

/// What a Kafka broker compares before it makes a topic: it refuses one whose name differs from another's only in `.` and `_`, as those
/// of the collections `a.b` and `a_b` do. A router that meets the second of two such names can say so before the broker does.
pub fn collision_key(topic: &str) -> String {
    topic.replace('.', "_")
}

/// The 64-bit FNV-1a hash. Part of the names of topics: never to be changed.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The hash that Kafka's Java client takes of a key to choose its partition.
pub fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const FACTOR: u32 = 0x5bd1_e995;
    let (words, rest) = key.as_chunks();
    // The Java client's length is an int too.
    let mut hash = SEED ^ key.len() as u32;
    for word in words {
        let word = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        hash = hash.wrapping_mul(FACTOR) ^ (word ^ (word >> 24)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(FACTOR);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(FACTOR);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_gives_what_the_java_client_gives() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn names_that_had_to_change_are_told_apart_by_a_hash_that_stays_the_same() {
        assert_eq!(topic("m.shop.a b".into(), "shop.a b"), "m.shop.a_b-ccb99642a8dd4532");
        assert_ne!(topic("m.shop.a$b".into(), "shop.a$b"), topic("m.shop.a b".into(), "shop.a b"));
        assert_eq!(topic("m.shop.a_b".into(), "shop.a_b"), "m.shop.a_b");
    }

    #[test]
    fn every_name_becomes_a_legal_one_of_at_most_249_bytes() {
        let long = "x".repeat(300);
        let longest = "x".repeat(249);
        for name in ["", ".", "..", "é", "\0", "a/b", &long, &"é".repeat(200)] {
            let topic = topic(name.into(), name);
            assert!(topic.len() <= 249 && topic.bytes().all(is_legal), "{topic}");
            assert_ne!(topic, name);
        }
        assert_eq!(topic(long.clone(), "a").len(), 249);
        assert_ne!(topic(long.clone(), "a"), topic(long, "b"));
        assert_eq!(topic(longest.clone(), "a"), longest);
    }

    #[test]
    fn fnv1a_gives_its_published_values() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}

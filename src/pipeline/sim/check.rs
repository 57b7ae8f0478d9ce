//! What must hold of a sink, whatever happened on the way. Used by the simulation and, with real processes, by the integration tests.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

/// Compares what the source's history holds with what a sink holds. `history` is every operation that must arrive, in order, by its
/// position and its document; a lane (a partition, a stream) is what the sink holds, in its order.
///
/// - every operation is there at least once;
/// - nothing else is there;
/// - of each document the first occurrences are in the history's order;
/// - a consumer that drops repeats, keeping the highest position of each lane, loses nothing.
pub(crate) fn check<P: Ord + Copy + Hash + Debug, K: Eq + Hash + Clone + Debug>(
    history: &[(P, K)],
    lanes: &[Vec<(P, K)>],
) -> Result<(), String> {
    let expected: HashMap<P, &K> = history.iter().map(|(at, key)| (*at, key)).collect();
    let mut seen = HashSet::new();
    let mut kept = HashSet::new();
    let mut newest: HashMap<&K, P> = HashMap::new();
    for (lane, records) in lanes.iter().enumerate() {
        let mut highest = None;
        for (at, key) in records {
            if expected.get(at) != Some(&key) {
                return Err(format!("lane {lane} holds {at:?} of {key:?}, which never happened"));
            }
            if seen.insert(*at) {
                let before = newest.insert(key, *at);
                if before.is_some_and(|before| before > *at) {
                    return Err(format!("lane {lane}: {at:?} of {key:?} came first behind {before:?}"));
                }
            }
            if highest < Some(*at) {
                highest = Some(*at);
                kept.insert(*at);
            }
        }
    }
    for (at, key) in history {
        if !seen.contains(at) {
            return Err(format!("{at:?} of {key:?} is missing"));
        }
        if !kept.contains(at) {
            return Err(format!("a consumer that drops repeats loses {at:?} of {key:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    const HISTORY: [(u32, char); 4] = [(1, 'a'), (2, 'b'), (3, 'a'), (4, 'b')];

    fn verdict(lanes: &[&[(u32, char)]]) -> String {
        check(&HISTORY, &lanes.iter().map(|lane| lane.to_vec()).collect::<Vec<_>>()).err().unwrap_or_default()
    }

    #[test]
    fn repeats_are_allowed() {
        assert_eq!(verdict(&[&[(1, 'a'), (2, 'b'), (1, 'a'), (2, 'b'), (3, 'a'), (4, 'b')]]), "");
        assert_eq!(verdict(&[&[(1, 'a'), (3, 'a'), (3, 'a')], &[(2, 'b'), (4, 'b')]]), "");
    }

    #[test]
    fn losses_inventions_and_reorderings_are_found() {
        assert!(verdict(&[&[(1, 'a'), (2, 'b'), (4, 'b')]]).contains("missing"));
        assert!(verdict(&[&[(1, 'a'), (2, 'b'), (3, 'a'), (4, 'b'), (5, 'a')]]).contains("never happened"));
        assert!(verdict(&[&[(1, 'a'), (2, 'b'), (3, 'b'), (4, 'b')]]).contains("never happened"));
        assert!(verdict(&[&[(3, 'a'), (1, 'a')], &[(2, 'b'), (4, 'b')]]).contains("came first behind"));
        assert!(verdict(&[&[(1, 'a'), (3, 'a'), (2, 'b'), (4, 'b')]]).contains("drops repeats"));
    }
}

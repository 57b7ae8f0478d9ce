//! The fuzz targets over their corpus: real entries of every version, as they are and damaged in a thousand ways.

use std::path::{Path, PathBuf};

use mongo_observer::fuzzing;

/// Damaged copies of each file; the seeds are the same in every run.
const COPIES: u64 = 1000;

fn files(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

/// Runs a target over its corpus and over damaged copies: bytes changed, pieces cut out, doubled, or taken from another file.
fn run(target: &str, one: fn(&[u8])) {
    let corpus: Vec<Vec<u8>> = files(target).iter().map(|file| std::fs::read(file).unwrap()).collect();
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for whole in &corpus {
        one(whole);
        for _ in 0..COPIES {
            let mut bytes = whole.clone();
            for _ in 0..=dice.below(3) {
                damage(&mut bytes, &corpus, &mut dice);
            }
            one(&bytes);
        }
    }
}

fn damage(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], dice: &mut Dice) {
    if bytes.is_empty() {
        return bytes.push(0);
    }
    let at = dice.below(bytes.len());
    let end = at + dice.below((bytes.len() - at).min(64));
    match dice.below(6) {
        0 | 1 => bytes[at] = dice.below(256) as u8,
        2 => bytes[at] ^= 1 << dice.below(8),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let piece = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, piece));
        }
        _ => {
            let other = &corpus[dice.below(corpus.len())];
            let from = dice.below(other.len().max(1));
            let piece = other[from..(from + 64).min(other.len())].to_vec();
            drop(bytes.splice(at..end, piece));
        }
    }
}

/// A small seeded generator (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }
}

#[test]
fn the_walker_returns_whatever_the_bytes() {
    run("walker", fuzzing::walker);
}

#[test]
fn entries_are_cut_translated_and_encoded_whatever_the_bytes() {
    run("entries", fuzzing::entries);
}

#[test]
fn deltas_are_read_whatever_the_bytes() {
    run("delta", fuzzing::delta);
}

#[test]
fn deltas_are_applied_whatever_the_bytes() {
    run("apply", fuzzing::apply);
}

#[test]
fn filters_and_sorts_return_whatever_the_bytes() {
    run("filter", fuzzing::filter);
}

//! Filters and sort orders, compared with what real servers of three versions find for the same documents.
//!
//! Documents, filters and sorts are thrown with a seed, which is printed. `QUERY_SEED` sets it, `QUERY_ROUNDS` how long it goes on: a round
//! takes about half a second.
#![allow(clippy::unwrap_used, clippy::cast_possible_wrap, missing_docs)]

mod compare;
mod dice;
mod expressions;
mod filters;
mod server;
mod values;
mod versions;

use std::io::Write as _;
use std::time::Instant;

use mongo_observer::bson::extjson::parse;
use mongo_observer::servers::MongoVersion;
use mongodb::bson::{Document, RawDocumentBuf, doc};

use compare::{Answer, find, order};
use dice::Dice;
use server::Server;

const DOCUMENTS: usize = 150;
const FILTERS: usize = 400;
const SORTS: usize = 60;
/// Differences that are shown, the shortest first.
const SHOWN: usize = 20;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What was compared, and what came out.
#[derive(Default)]
struct Tally {
    filters: usize,
    answers: usize,
    refused: usize,
    unsupported: usize,
    sorts: usize,
    explained: usize,
    differences: Vec<String>,
}

impl Tally {
    fn count(&mut self, ours: &Answer, documents: usize) {
        self.filters += 1;
        match ours {
            Answer::Refused(_) | Answer::Failed(_) => self.refused += 1,
            Answer::Unsupported => self.unsupported += 1,
            Answer::Found(_) => self.answers += documents,
        }
    }
}

async fn run(version: MongoVersion) {
    let (seed, rounds) = (setting("QUERY_SEED", 1), setting("QUERY_ROUNDS", 12));
    let server = Server::start(version).await;
    let began = Instant::now();
    let mut tally = Tally::default();
    for round in 0..rounds {
        let mut dice = Dice::new(seed + round);
        let documents: Vec<Document> = (0..DOCUMENTS).map(|_| values::document(&mut dice, 3)).collect();
        let documents = server.fill(&documents).await;
        for _ in 0..FILTERS {
            compare_filter(version, &server, &documents, &mut dice, &mut tally).await;
        }
        for _ in 0..SORTS {
            compare_order(&server, &documents, &mut dice, &mut tally).await;
        }
    }
    let Tally { filters, answers, refused, unsupported, sorts, explained, mut differences } = tally;
    let summary = format!(
        "{version:?}, seed {seed}: {filters} filters, {refused} of them refused and {unsupported} not supported, {answers} answers, {sorts} sorts; \
         {explained} differences of the version, {} others; {:.1} s\n",
        differences.len(),
        began.elapsed().as_secs_f64()
    );
    // Not through the test's output, which is shown only when it fails.
    let _ = std::io::stderr().write_all(summary.as_bytes());
    differences.sort_by_key(String::len);
    differences.truncate(SHOWN);
    assert!(differences.is_empty(), "{summary}{}", differences.join("\n"));
}

async fn compare_filter(
    version: MongoVersion,
    server: &Server,
    documents: &[RawDocumentBuf],
    dice: &mut Dice,
    tally: &mut Tally,
) {
    let filter = if dice.once_in(6) { filters::wild(dice) } else { filters::filter(dice, 2) };
    let bytes = RawDocumentBuf::try_from(&filter).unwrap();
    let ours = find(bytes.as_bytes(), documents);
    tally.count(&ours, documents.len());
    let Some(difference) = ours.difference(&server.find(&filter).await, documents) else { return };
    let text = compare::text(bytes.as_bytes());
    if versions::may_differ(version, &text) {
        tally.explained += 1;
    } else {
        tally.differences.push(format!("{text}: {difference}"));
    }
}

async fn compare_order(server: &Server, documents: &[RawDocumentBuf], dice: &mut Dice, tally: &mut Tally) {
    let (range, sort) = filters::sort(dice, documents.len());
    let bytes = RawDocumentBuf::try_from(&sort).unwrap();
    let ours = order(bytes.as_bytes(), range.clone(), documents);
    let theirs = server.sorted(&range, &sort).await;
    tally.sorts += 1;
    if let Some(difference) = compare::difference_in_order(&ours, &theirs, documents) {
        tally
            .differences
            .push(format!("sort {} of {range:?}: {difference}", compare::text(bytes.as_bytes())));
    }
}

#[tokio::test]
async fn filters_and_sorts_on_4_4() {
    run(MongoVersion::V4_4).await;
}

#[tokio::test]
async fn filters_and_sorts_on_5_0() {
    run(MongoVersion::V5_0).await;
}

#[tokio::test]
async fn filters_and_sorts_on_6_0() {
    run(MongoVersion::V6_0_27).await;
}

/// What the table says of older versions is so, and 6.0 answers as we do.
#[tokio::test]
async fn differences_of_versions_are_as_the_table_says() {
    for version in [MongoVersion::V4_4, MongoVersion::V5_0, MongoVersion::V6_0_27] {
        let server = Server::start(version).await;
        for row in versions::DIFFERENCES {
            let [filter, document] = [row.filter, row.document].map(|text| parse(text).unwrap());
            let [filter, document] = [filter, document]
                .map(|bytes| Document::try_from(RawDocumentBuf::from_bytes(bytes).unwrap()).unwrap());
            let documents = server.fill(&[document]).await;
            let theirs = server.find(&filter).await;
            let ours = find(RawDocumentBuf::try_from(&filter).unwrap().as_bytes(), &documents);
            let difference = ours.difference(&theirs, &documents);
            if row.versions.contains(&version) {
                assert_eq!(
                    theirs.ok().map(|found| !found.is_empty()),
                    row.theirs,
                    "{version:?}: {}",
                    row.why
                );
                assert!(difference.is_some(), "{version:?} answers as 6.0 does: {}", row.why);
            } else {
                assert_eq!(difference, None, "{version:?}: {}", row.why);
            }
        }
    }
}

const PATTERNS: &[&str] = &[
    "a{,2}$",
    "a{ 1 }",
    "a{1,}",
    "^a{2}$",
    "{",
    "a{",
    "a{x}",
    r"\x{61}{2}",
    r"\p{Lu}",
    r"\P{L}",
    r"[{,}]",
    r"[]{]",
    r"[^]{]a",
    r"\Q{,3}\E",
    r"\{,2}",
    "(*UTF8)é",
    "(*UCP)^\\w$",
    "(*UCP)(*UTF8)^\\w$",
    r"\N{2}",
    r"\N{U+61}",
    r"^\X$",
    r"\bé",
    r"(?<n>a)\k<n>",
    r"(?<n>a)\k{n}",
    r"(a)\g{1}",
    r"(a)\g1",
    r"(?i)É",
    "(?x) a  b # {,3}",
    r"^\d+$",
    r"\s",
    r"\h",
    r"\R",
    r"^(?:(a)|b)(?(1)b|c)$",
    r"(?=a)a",
    "(?!a)",
    "(?<=é)a",
    "(?<!a)a",
    "a++a",
    "a*?b",
    "(?>a*)ab",
    r"\Ka",
    r"[[:alpha:]]",
    r"[[:<:]]a",
    r"[[:digit:]{]",
    r"\A",
    r"a\z",
    r"\Ga",
    "(a",
    "a)",
    "[a",
    "*",
    "a**",
    r"\",
    "(?P<n>a)(?P=n)",
    "(?|(a)|(b))\\1",
    r"\o{141}",
    r"\e",
    r"\cA",
    r"\u0061",
    r"\U",
    r"\L",
    r"(?#{,3})a",
    "a|",
    "^$",
    ".",
    r"(?s).",
    r"\C",
    r"(?R)",
    "(?1)(a)",
    r"a{65536}",
    r"a{3,2}",
    r"\1(a)",
    r"(?:a{,2}){2}",
    "\u{1F600}",
    r"[\d-z]",
    r"[z-a]",
    r"[a-\d]",
    r"[\w-\]a]",
    r"[[:digit:]-z]",
    r"[\d-]",
    "(?x)a#x\n",
    "a#",
];
const TEXTS: &[&str] = &[
    "",
    "a",
    "aa",
    "ab",
    "aab",
    "b",
    "bc",
    "É",
    "é",
    "éa",
    "a{,2}",
    "a{ 1 }",
    "{",
    "{,3}",
    "a{",
    "a{x}",
    "]",
    "{a",
    "1",
    "12",
    " ",
    "\n",
    "a b",
    "a\nb",
    "A",
    "\u{1F600}",
    "n",
    "N",
    "U+61",
    "\u{1}",
    "e\u{301}",
    "u0061",
    "-",
    "d",
];

/// Patterns that the older and the newer library could read otherwise.
#[tokio::test]
async fn regular_expressions_find_what_they_find_on_the_servers() {
    for version in [MongoVersion::V4_4, MongoVersion::V5_0, MongoVersion::V6_0_27] {
        let server = Server::start(version).await;
        let documents: Vec<Document> = TEXTS.iter().map(|text| doc! { "a": *text }).collect();
        let documents = server.fill(&documents).await;
        let mut differences = Vec::new();
        for pattern in PATTERNS {
            let filter = doc! { "a": { "$regex": *pattern } };
            let ours = find(RawDocumentBuf::try_from(&filter).unwrap().as_bytes(), &documents);
            let difference = ours.difference(&server.find(&filter).await, &documents);
            differences.extend(difference.map(|difference| format!("{pattern}: {difference}")));
        }
        assert!(differences.is_empty(), "{version:?}:\n{}", differences.join("\n"));
    }
}

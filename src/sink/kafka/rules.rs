//! Settings of librdkafka that are ours to make, each with the reason.

enum Rule {
    /// One of these values.
    Only(&'static [&'static str], &'static str),
    /// At most this number.
    AtMost(i64, &'static str),
    /// At least this number, or 0 for no limit.
    AtLeastOrNone(i64, &'static str),
    /// Above what the pipeline's budget lets through, in KiB.
    AboveBudget,
    /// Not at all.
    Never(&'static str),
}

const TRUE: &[&str] = &["true", "t", "1"];
const FALSE: &[&str] = &["false", "f", "0"];

const ACKS: Rule = Rule::Only(&["all", "-1"], "what one broker alone has confirmed is lost with it");
const IN_FLIGHT: Rule = Rule::AtMost(
    1,
    "a new partition takes a second request whose first one failed, and the first one is lost",
);
const NEVER_GIVE_UP: Rule = Rule::Only(&["0"], "a record that was given up would leave a hole in the stream");
const ALWAYS_RETRY: Rule =
    Rule::Only(&["2147483647"], "a record that was given up would leave a hole in the stream");
const SERVERS: Rule = Rule::Never("set bootstrap_servers instead");

const RULES: &[(&str, Rule)] = &[
    ("acks", ACKS),
    ("request.required.acks", ACKS),
    ("enable.idempotence", Rule::Only(TRUE, "retries would repeat and reorder records")),
    (
        "enable.gapless.guarantee",
        Rule::Only(
            TRUE,
            "records behind a refused one would be stored, and the refused one lost to consumers",
        ),
    ),
    ("max.in.flight", IN_FLIGHT),
    ("max.in.flight.requests.per.connection", IN_FLIGHT),
    ("message.timeout.ms", NEVER_GIVE_UP),
    ("delivery.timeout.ms", NEVER_GIVE_UP),
    ("message.send.max.retries", ALWAYS_RETRY),
    ("retries", ALWAYS_RETRY),
    ("queuing.strategy", Rule::Only(&["fifo"], "records would lose their order")),
    ("delivery.report.only.error", Rule::Only(FALSE, "nothing would tell what has been stored")),
    (
        "queue.buffering.max.messages",
        Rule::AtLeastOrNone(
            1_000_000,
            "the pipeline's budget bounds the queue; a smaller one would overflow",
        ),
    ),
    ("queue.buffering.max.kbytes", Rule::AboveBudget),
    (
        "transactional.id",
        Rule::Never("it is made of the prefix and the sink's name, for delivery = \"exactly_once\""),
    ),
    ("allow.auto.create.topics", Rule::Never("set create_topics instead")),
    ("bootstrap.servers", SERVERS),
    ("metadata.broker.list", SERVERS),
];

/// Refuses what would break a promise. The error is the reason.
pub(super) fn check(key: &str, value: &str, queue_kbytes: usize) -> Result<(), String> {
    let Some((_, rule)) = RULES.iter().find(|(name, _)| *name == key) else { return Ok(()) };
    let value = value.trim().to_lowercase();
    let number = || value.parse::<i64>().map_err(|_| format!("`{value}` is not a whole number"));
    match rule {
        Rule::Only(allowed, _) if allowed.contains(&value.as_str()) => Ok(()),
        Rule::Only(allowed, why) => {
            Err(format!("`{value}` is refused: {why}; it has to be `{}`", allowed[0]))
        }
        Rule::AtMost(limit, _) if number()? <= *limit => Ok(()),
        Rule::AtMost(limit, why) => Err(format!("`{value}` is refused: {why}; at most {limit}")),
        Rule::AtLeastOrNone(limit, _) if number()? == 0 || number()? >= *limit => Ok(()),
        Rule::AtLeastOrNone(limit, why) => Err(format!("`{value}` is refused: {why}; at least {limit}")),
        Rule::AboveBudget if usize::try_from(number()?).is_ok_and(|given| given >= queue_kbytes) => Ok(()),
        Rule::AboveBudget => Err(format!(
            "`{value}` is refused: the pipeline's budget bounds the queue; a smaller one would overflow; at least {queue_kbytes}"
        )),
        Rule::Never(why) => Err(format!("refused: {why}")),
    }
}

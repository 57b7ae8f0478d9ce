//! The server's answer to a published message, read by hand: there is one for every record.

use async_nats::jetstream;
use async_nats::jetstream::response::Response;
use async_nats::{Message, StatusCode};
use serde::de::IgnoredAny;

/// What the server answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// The message stands in the stream, with that sequence number.
    Stored(u64),
    /// The stream refused the message.
    Refused(jetstream::Error),
    /// No stream takes the subject, or the stream has no leader.
    Nobody,
    /// Something else.
    Strange(String),
}

impl Answer {
    pub(super) fn of(message: &Message) -> Self {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return Self::Nobody;
        }
        // A refusal says `"seq":0`.
        match sequence(&message.payload) {
            Some(sequence) if sequence > 0 => Self::Stored(sequence),
            _ => Self::refusal(&message.payload),
        }
    }

    fn refusal(payload: &[u8]) -> Self {
        match serde_json::from_slice::<Response<IgnoredAny>>(payload) {
            Ok(Response::Err { error }) => Self::Refused(error),
            _ => Self::Strange(String::from_utf8_lossy(payload).into_owned()),
        }
    }
}

/// The number behind `"seq":`. The only text before it is the stream's name, in which a quote would be escaped.
fn sequence(payload: &[u8]) -> Option<u64> {
    const KEY: &[u8] = br#""seq":"#;
    let start = payload.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let digits = payload[start..].iter().take_while(|byte| byte.is_ascii_digit());
    let number = |number: u64, digit: &u8| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    digits.copied().try_fold(0, |sum, digit| number(sum, &digit))
}

#[cfg(test)]
mod tests {
    use super::{Answer, sequence};

    #[test]
    fn the_sequence_is_found_wherever_it_stands() {
        assert_eq!(sequence(br#"{"stream":"MONGO","seq":123}"#), Some(123));
        assert_eq!(sequence(br#"{"stream":"M\"seq\":9","domain":"hub","seq":7,"duplicate":true}"#), Some(7));
        assert_eq!(sequence(br#"{"seq":99999999999999999999}"#), None);
        assert_eq!(sequence(b"{}"), None);
    }

    #[test]
    fn a_refusal_is_read_with_its_code() {
        let refusal = br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 4"},"stream":"MONGO","seq":0}"#;
        let Answer::Refused(error) = Answer::refusal(refusal) else { panic!("not a refusal") };
        assert_eq!(error.error_code().0, 10071);
        assert!(matches!(Answer::refusal(b"{}"), Answer::Strange(_)));
    }
}

//! Credentials that are given beside a connection string, put into it.

use std::fmt::Write as _;

/// The connection string with that user and that password in place of its own.
pub(super) fn with_credentials(
    uri: &str,
    username: Option<&str>,
    password: Option<&str>,
) -> Result<String, &'static str> {
    let (scheme, rest) =
        uri.split_once("://").ok_or("`mongodb.uri` must begin with mongodb:// or mongodb+srv://")?;
    let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |end| rest.split_at(end));
    let (own, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (own_username, own_password) =
        own.split_once(':').map_or((own, None), |(user, word)| (user, Some(word)));
    let username = username.map_or_else(|| own_username.to_owned(), escaped);
    if username.is_empty() {
        return Err("`mongodb.password` needs a user: set `mongodb.username`");
    }
    let password = password.map(escaped).or_else(|| own_password.map(str::to_owned));
    let colon = if password.is_some() { ":" } else { "" };
    Ok(format!("{scheme}://{username}{colon}{}@{hosts}{path}", password.unwrap_or_default()))
}

/// Percent-encodes everything that could mean something in a connection string.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes any text");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::with_credentials;

    #[test]
    fn what_is_given_replaces_what_is_there() {
        for (uri, username, password, expected) in [
            (
                "mongodb://a:1,b:2/x?y=z",
                Some("me"),
                Some("p@ss:/?%"),
                "mongodb://me:p%40ss%3A%2F%3F%25@a:1,b:2/x?y=z",
            ),
            ("mongodb+srv://you:old@a/", None, Some("new"), "mongodb+srv://you:new@a/"),
            ("mongodb://you:old@a?x=1@2", Some("me"), None, "mongodb://me:old@a?x=1@2"),
            ("mongodb://a", Some("CN=me"), None, "mongodb://CN%3Dme@a"),
        ] {
            assert_eq!(with_credentials(uri, username, password).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_password_without_a_user_is_refused() {
        assert!(with_credentials("mongodb://a", None, Some("x")).unwrap_err().contains("mongodb.username"));
        assert!(with_credentials("a:27017", Some("me"), None).unwrap_err().contains("mongodb://"));
    }
}

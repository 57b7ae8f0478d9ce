//! NATS with certificates on both sides.

use async_nats::ConnectOptions;
use mongo_observer::servers::Nats;

use super::{all_of_a_load_arrives, assert_holds, assert_refused};
use crate::authority::{Authority, CLIENT};
use crate::e2e::harness::{Installation, client, mongo, read_nats_with, source};

fn pem(authority: &Authority, name: &str) -> String {
    authority.path(name).display().to_string()
}

/// The table of a sink; `tls` is what its TLS table holds beside the authority.
fn sink(nats: &Nats, authority: &Authority, tls: &str) -> String {
    format!(
        "[sinks.nats]\ntype = \"nats\"\nservers = {:?}\nprefix = \"mutual\"\nstream = \"mutual\"\n\
         tls = {{ ca_file = {:?}, {tls} }}\n",
        nats.url(),
        pem(authority, "ca.pem")
    )
}

fn certificate(authority: &Authority) -> String {
    format!("cert_file = {:?}, key_file = {:?}", pem(authority, "client.crt"), pem(authority, "client.key"))
}

/// A server that takes only clients whose certificates name a user it knows.
async fn server(authority: &Authority, more: &str) -> Nats {
    let config = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify_and_map: true, {more} }}\n\
         authorization {{ users: [ {{ user: \"{CLIENT}\" }} ] }}",
        pem(authority, "server.crt"),
        pem(authority, "server.key"),
        pem(authority, "ca.pem")
    );
    Nats::builder().config(&config).start().await.unwrap()
}

#[tokio::test]
async fn a_client_certificate_is_enough_for_nats() {
    let (authority, mongo) = (Authority::new(), mongo().await);
    let nats = server(&authority, "handshake_first: false").await;
    // WHEN the connector has the certificate THEN everything arrives
    let config = |tls: &str| source(mongo, "nats_mutual") + &sink(&nats, &authority, tls);
    let installation = Installation::new(&config(&certificate(&authority)));
    let connector = installation.run().await;
    let history = all_of_a_load_arrives(&connector, &client(mongo).await, "nats_mutual").await;
    let reader = ConnectOptions::new()
        .add_root_certificates(authority.ca())
        .add_client_certificate(authority.path("client.crt"), authority.path("client.key"));
    assert_holds(&read_nats_with(reader.connect(nats.url()).await.unwrap(), "mutual").await, &history);
    // and WHEN it has none THEN it ends within seconds and says why
    assert_refused(config("required = true"), ["NATS", "CertificateRequired"]).await;
}

#[tokio::test]
async fn nats_may_ask_for_the_handshake_first() {
    let (authority, mongo) = (Authority::new(), mongo().await);
    let nats = server(&authority, "handshake_first: true").await;
    let config = |tls: &str| source(mongo, "nats_first") + &sink(&nats, &authority, tls);
    let with = certificate(&authority) + ", handshake_first = true";
    let checked = Installation::new(&config(&with)).ended(&["check"]).await;
    assert!(
        checked.succeeded().contains("the stream mutual does not exist and will be created"),
        "{checked:?}"
    );
    assert_refused(config(&certificate(&authority)), ["NATS", "check that the sink runs"]).await;
}

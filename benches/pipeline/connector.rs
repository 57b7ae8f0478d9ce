//! The connector as a process.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::table::Measure;
use super::{Place, Variant};

const POLL: Duration = Duration::from_millis(5);

/// A connector that runs.
pub(crate) struct Connector {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Connector {
    /// Starts it, from that position to that sink.
    fn spawn(place: &Place, start: &str, sink: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = folder.path().join("bench.toml");
        std::fs::write(&config, settings(place, start, sink, port)).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_mongo-observer"))
            .args(["run", "--log-level", "warn", "--config"])
            .arg(&config)
            .stdout(Stdio::from(File::create("/dev/null").unwrap()))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { process, port, _folder: folder }
    }

    /// Its pipeline's status, once there is one. It must not have ended.
    async fn status(&mut self) -> Option<serde_json::Value> {
        if let Some(status) = self.process.try_wait().unwrap() {
            panic!("the connector ended: {status}");
        }
        status(self.port).await
    }

    pub(crate) async fn stop(mut self) {
        self.process.kill().await.unwrap();
    }
}

/// A connector that is running.
pub(crate) async fn start(place: &Place, start: &str, sink: &str) -> Connector {
    let mut connector = Connector::spawn(place, start, sink);
    while connector.status().await.is_none_or(|pipeline| pipeline["state"] != "running") {
        tokio::time::sleep(POLL).await;
    }
    connector
}

/// Lets it work from a position to a position.
pub(crate) async fn measure(place: &Place, variant: Variant, round: u64) -> Measure {
    let mut connector = Connector::spawn(place, &place.start, &sink(place, variant, round));
    let end: Vec<u64> = place.end.split('-').map(|part| part.parse().unwrap()).collect();
    let mut began = None;
    loop {
        if let Some(pipeline) = connector.status().await {
            if pipeline["state"] == "running" {
                began.get_or_insert_with(Instant::now);
            }
            let at = pipeline["position"].as_str().unwrap_or("0-0");
            let at: Vec<u64> = at.split('-').map(|part| part.parse().unwrap()).collect();
            if at[..2] >= end[..2] {
                break;
            }
        }
        tokio::time::sleep(POLL).await;
    }
    let seconds = began.expect("it was running").elapsed().as_secs_f64();
    let measure = Measure::of(connector.process.id().unwrap(), seconds);
    connector.stop().await;
    measure
}

fn sink(place: &Place, variant: Variant, round: u64) -> String {
    match variant {
        Variant::ToKafka | Variant::ToKafka12 => to_kafka(place, variant, round, "at_least_once"),
        Variant::OnceToKafka | Variant::OnceToKafka12 => to_kafka(place, variant, round, "exactly_once"),
        Variant::ToNats => format!(
            "type = \"nats\"\nservers = \"{}\"\nprefix = \"bench{round}\"\nstream = \"BENCH{round}\"",
            place.nats
        ),
        _ => "type = \"stdout\"".to_owned(),
    }
}

fn settings(place: &Place, start: &str, sink: &str, port: u16) -> String {
    format!(
        "[mongodb]\nuri = \"{}\"\n[source]\nstart = \"{start}\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n[sinks.bench]\n{sink}\n",
        place.mongo
    )
}

fn to_kafka(place: &Place, variant: Variant, round: u64, delivery: &str) -> String {
    format!(
        "type = \"kafka\"\nbootstrap_servers = \"{}\"\nprefix = \"bench-{variant:?}-{round}\"\npartitions = {}\n\
         replication_factor = 1\ndelivery = \"{delivery}\"",
        place.kafka,
        variant.partitions()
    )
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The pipeline's entry of `/status`, once there is one.
async fn status(port: u16) -> Option<serde_json::Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(b"GET /status HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let status: serde_json::Value = serde_json::from_slice(&answer[body..]).ok()?;
    status["pipelines"].get(0).cloned()
}

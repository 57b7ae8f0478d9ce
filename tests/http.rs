//! The HTTP listener, asked over real connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongo_observer::error::{Error, ErrorKind};
use mongo_observer::event::Position;
use mongo_observer::http::Listener;
use mongo_observer::metrics::Metrics;
use mongo_observer::status::{Board, StatusHandle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A listener on a free port, with one pipeline.
struct Running {
    address: String,
    metrics: Arc<Metrics>,
    status: StatusHandle,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Running {
    async fn start() -> Self {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.address().unwrap().to_string();
        let mut board = Board::new();
        let status = board.add("events", "kafka");
        let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
        let server = tokio::spawn(listener.serve(Arc::clone(&metrics), Arc::new(board), stop.clone()));
        Self { address, metrics, status, stop, server }
    }

    /// Status code, headers and body of a request.
    async fn get(&self, path: &str) -> (u16, String, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = self.exchange(request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, head.to_lowercase(), body.to_owned())
    }

    /// Sends that, and gives everything that comes until the other side closes.
    async fn exchange(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is a close, too.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }
}

#[tokio::test]
async fn readiness_follows_the_pipelines_and_says_why_not() {
    let running = Running::start().await;
    let (code, head, body) = running.get("/readyz").await;
    assert_eq!(code, 503);
    assert!(head.contains("application/json"), "{head}");
    assert_eq!(body, r#"{"ready":false,"reasons":[{"error":null,"sink":"events","state":"starting"}]}"#);

    running.status.running("rs0");
    assert_eq!(running.get("/readyz").await.2, r#"{"ready":true}"#);

    running.status.retrying(&Error::new(ErrorKind::SinkUnavailable, "no broker answers"));
    let (code, _, body) = running.get("/readyz").await;
    assert_eq!(code, 503);
    assert!(body.contains("retrying") && body.contains("no broker answers"), "{body}");

    // Liveness is about this process alone.
    assert_eq!(running.get("/livez").await.0, 200);
}

#[tokio::test]
async fn status_tells_everything_about_a_pipeline() {
    let running = Running::start().await;
    running.status.running("rs0/65f0");
    running.status.update(|status| {
        status.position = Some(Position::of_entry(7, 8));
        status.lag_seconds = Some(0.25);
    });
    let (code, _, body) = running.get("/status").await;
    assert_eq!(code, 200);
    let report: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert!(report["uptime_seconds"].as_f64().unwrap() >= 0.0);
    let pipeline = &report["pipelines"][0];
    assert_eq!(pipeline["sink"], "events");
    assert_eq!(pipeline["type"], "kafka");
    assert_eq!(pipeline["state"], "running");
    assert_eq!(pipeline["source"], "rs0/65f0");
    assert_eq!(pipeline["position"], "0000000007-0000000008-0000000000");
    assert_eq!(pipeline["lag_seconds"], 0.25);
    for key in ["checkpoint", "in_flight_events", "in_flight_bytes", "restarts", "last_error"] {
        assert!(pipeline.get(key).is_some(), "{key}: {body}");
    }
}

#[tokio::test]
async fn metrics_are_in_the_text_format_of_prometheus() {
    let running = Running::start().await;
    let pipeline = running.metrics.pipeline("events", 8 << 20);
    pipeline.up(true);
    pipeline.read(3, 300);
    pipeline.checkpoint_stored(Position::of_entry(7, 8), Instant::now());
    pipeline.failed(ErrorKind::SinkUnavailable);

    let (code, head, text) = running.get("/metrics").await;
    assert_eq!(code, 200);
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    for line in [
        r#"source_entries_read_total{sink="events"} 3"#,
        r#"in_flight_limit_bytes{sink="events"} 8388608"#,
        r#"checkpoint_writes_total{sink="events"} 1"#,
        r#"errors_total{kind="sink_unavailable",sink="events"} 1"#,
        r#"pipeline_up{sink="events"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == format!("mongo_observer_{line}")), "{line}\n{text}");
    }
    assert!(text.contains("mongo_observer_build_info{"), "{text}");
    #[cfg(target_os = "linux")]
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
}

#[tokio::test]
async fn the_page_may_run_nothing_but_itself() {
    let running = Running::start().await;
    let (code, head, body) = running.get("/").await;
    assert_eq!(code, 200);
    assert!(head.contains("text/html") && head.contains("default-src 'none'"), "{head}");
    assert!(body.contains("/status") && !body.contains("://"), "it loads nothing from elsewhere");
    assert_eq!(running.get("/nothing").await.0, 404);
}

#[tokio::test]
async fn an_oversized_head_is_refused() {
    let running = Running::start().await;
    let answer = running.exchange(format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(64 * 1024)).as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(running.get("/livez").await.0, 200);
}

#[tokio::test]
async fn a_port_in_use_names_address_and_key() {
    let running = Running::start().await;
    let error = Listener::bind(&running.address).await.expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::Local);
    let line = error.to_string();
    assert!(line.contains("`http.listen`") && line.contains(&running.address), "{line}");
}

#[tokio::test]
async fn it_ends_when_asked_even_with_an_idle_connection() {
    let running = Running::start().await;
    let idle = TcpStream::connect(&running.address).await.unwrap();
    assert_eq!(running.get("/livez").await.0, 200, "the idle one was accepted before");
    running.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), running.server).await.expect("ended").unwrap();
    drop(idle);
}

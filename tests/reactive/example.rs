//! `examples/cache.rs`, as somebody who reads it would try it.

use std::process::Stdio;

use mongo_observer::servers::Mongo;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use super::PATIENCE;

struct Cache {
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
    _child: Child,
}

impl Cache {
    async fn start(uri: &str) -> Self {
        let tests = std::env::current_exe().unwrap();
        let program = tests.parent().unwrap().with_file_name("examples").join("cache");
        assert!(program.exists(), "the example is not built: cargo build --example cache");
        let mut child = Command::new(program)
            .args([uri, "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut cache = Self { lines, address: String::new(), _child: child };
        let line = cache.line("listening on http://").await;
        line.rsplit('/').next().unwrap().clone_into(&mut cache.address);
        cache
    }

    /// The next line that holds this.
    async fn line(&mut self, what: &str) -> String {
        let found = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("it goes on");
                if line.contains(what) {
                    return line;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("it never says `{what}`"))
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn the_cache_answers_from_memory_and_tells_what_moves() {
    let mongo = Mongo::builder().start().await.unwrap();
    let client = Client::with_uri_str(mongo.uri()).await.unwrap();
    let orders = client.database("shop").collection::<Document>("orders");
    let order = |id: i32, total: f64| doc! { "_id": id, "customer": "Ada", "state": "new", "total": total };
    orders.insert_many([order(7, 12.5), order(8, 1.0)]).await.unwrap();

    let mut cache = Cache::start(&mongo.uri()).await;
    let seven = cache.get("/orders/7").await;
    assert!(
        seven.ends_with("{\"_id\":7,\"customer\":\"Ada\",\"state\":\"new\",\"total\":12.5}\n"),
        "{seven}"
    );
    assert!(cache.get("/orders/9").await.starts_with("HTTP/1.1 404"));
    assert!(cache.get("/customers/Ada").await.contains("sum: 13.5, as of "));
    assert!(cache.get("/status").await.contains("Live"));

    orders.insert_one(order(9, 2.0)).await.unwrap();
    assert!(cache.line("in (").await.contains("total: 2.0"));
    orders.update_one(doc! { "_id": 8 }, doc! { "$set": { "state": "archived" } }).await.unwrap();
    assert!(cache.line("out (").await.contains("MoveOut"));
    assert!(cache.get("/customers/Ada").await.contains("sum: 14.5, as of "));
    orders.drop().await.unwrap();
    cache.line("out (").await;
    assert!(cache.get("/orders/7").await.starts_with("HTTP/1.1 404"));
}

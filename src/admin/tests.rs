use super::*;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

async fn start(metrics: Arc<Metrics>, readiness: Readiness) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, metrics, readiness, async move {
        let _ = stopped.await;
    }));
    Running { address, stop, task }
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    )
    .await
}

#[tokio::test]
async fn metrics_and_health_are_served() {
    let metrics = Arc::new(Metrics::new());
    metrics.connections_total.inc_by(3);
    let running = start(metrics, Readiness::new()).await;
    let page = get(running.address, "/metrics").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(
        page.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{page}"
    );
    assert!(page.contains("\npgward_connections_total 3\n"), "{page}");
    assert!(get(running.address, "/healthz").await.ends_with("\r\n\r\nok\n"));
    assert!(get(running.address, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(running.address, "/").await.starts_with("HTTP/1.1 404"));
    let post = ask(
        running.address,
        "POST /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
}

#[tokio::test]
async fn readiness_follows_its_conditions() {
    let journal = Arc::new(AtomicBool::new(false));
    let metrics = Arc::new(Metrics::new());
    let readiness = {
        let (journal, metrics) = (journal.clone(), metrics.clone());
        Readiness::new()
            .when("journal", move || {
                if journal.load(Ordering::Relaxed) {
                    Ok(())
                } else {
                    Err("can't be written".into())
                }
            })
            .when("catalog", move || catalog_is_fresh(&metrics, Duration::from_secs(60)))
    };
    let running = start(metrics.clone(), readiness).await;
    let body = |answer: String| {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].to_owned(), body.to_owned())
    };
    let answer = body(get(running.address, "/readyz").await);
    assert_eq!(
        answer,
        (
            "503".into(),
            "journal: can't be written\ncatalog: not loaded yet\nnot ready\n".into()
        )
    );
    journal.store(true, Ordering::Relaxed);
    metrics.catalog_seen(&Arc::from("shop"));
    let answer = body(get(running.address, "/readyz").await);
    assert_eq!(answer, ("200".into(), "journal: ok\ncatalog: ok\nready\n".into()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(catalog_is_fresh(&metrics, Duration::from_millis(10)).is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_silent_peer() {
    let running = start(Arc::new(Metrics::new()), Readiness::new()).await;
    // Half a request: under way for ever.
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    silent.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
    assert!(get(running.address, "/healthz").await.starts_with("HTTP/1.1 200"));
    running.stop.send(()).unwrap();
    let ended = tokio::time::timeout(STOP_GRACE + Duration::from_secs(3), running.task).await;
    ended.expect("must end by itself").unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

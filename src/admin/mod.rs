//! The admin port: `/metrics`, `/healthz`, `/readyz` over plain HTTP/1.
//!
//! Nothing secret passes here and nothing can be changed through it; it has no authentication and belongs on an address that only
//! the monitoring reaches. Deliberately absent: access records (the control database and `pgward audit` have them, with rights).

use crate::metrics::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

#[cfg(test)]
mod tests;

/// How long answers under way get on a graceful stop. A peer that reads nothing must not keep the process.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The content type of Prometheus' text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Says what is missing for one condition. The text is shown to whoever asks: no value, no key, no name that a client made up.
type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The conditions under which a load balancer should send clients here. Filled in by `pgward serve`; asked anew for each `/readyz`.
#[derive(Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
}

impl Readiness {
    /// Without conditions: always ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition. `check` must be quick: it looks at a flag or an age, it doesn't go and see.
    #[must_use]
    pub fn when(mut self, name: &'static str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.checks.push((name, Box::new(check)));
        self
    }

    /// Whether all hold, and one line a condition.
    pub fn report(&self) -> (bool, String) {
        let mut ready = true;
        let mut lines = String::new();
        for (name, check) in &self.checks {
            // Writing to a String can't fail.
            let _ = match check() {
                Ok(()) => writeln!(lines, "{name}: ok"),
                Err(what) => {
                    ready = false;
                    writeln!(lines, "{name}: {what}")
                }
            };
        }
        let _ = writeln!(lines, "{}", if ready { "ready" } else { "not ready" });
        (ready, lines)
    }
}

/// The condition that metrics know of: every catalog was seen within `longest`.
pub fn catalog_is_fresh(metrics: &Metrics, longest: Duration) -> Result<(), String> {
    match metrics.oldest_catalog() {
        None => Err("not loaded yet".into()),
        Some(age) if age > longest => Err(format!("last seen {} s ago", age.as_secs())),
        Some(_) => Ok(()),
    }
}

struct Shared {
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

/// Answers until `stop` is ready (or the listener fails), then lets answers under way end for at most two seconds.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let shared = Arc::new(Shared { metrics, readiness });
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(show_readiness))
        .with_state(shared);
    let (stopping, mut stopped) = watch::channel(());
    let graceful = axum::serve(listener, router).with_graceful_shutdown(async move {
        stop.await;
        drop(stopping);
    });
    let cut_off = async {
        // Nothing is ever sent: this ends when the sender is dropped.
        while stopped.changed().await.is_ok() {}
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        result = graceful.into_future() => result,
        () = cut_off => Ok(()),
    }
}

async fn show_metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, EXPOSITION)], shared.metrics.render())
}

async fn show_readiness(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let (ready, lines) = shared.readiness.report();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, lines)
}

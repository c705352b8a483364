//! A fake provider: it speaks as Mailgun, SendGrid, SES and Postmark do, takes any job on every other path, writes down what it got
//! *before* it answers, and can be told to misbehave while it runs.
//!
//! `cargo run --example fake_provider -- 127.0.0.1:9101`, then
//!
//! ```sh
//! curl -X PUT '127.0.0.1:9101/fake?do=fail&share=0.5'    # well, fail, refuse, deny, throttle, hang, slow, lie; for this share
//! curl 127.0.0.1:9101/fake                               # what it got: one line for each
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value as Json, json};

/// What it does, to which share of what comes, and what came.
#[derive(Default)]
struct Fake {
    does: String,
    share: f64,
    got: Vec<String>,
}

type Shared = Arc<Mutex<Fake>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:9101".to_owned());
    let fake = Router::new()
        .route("/fake", get(tell).put(order))
        .fallback(take)
        .with_state(Shared::default());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    axum::serve(listener, fake).await?;
    Ok(())
}

async fn order(State(fake): State<Shared>, Query(said): Query<BTreeMap<String, String>>) -> String {
    let mut fake = fake.lock().unwrap_or_else(PoisonError::into_inner);
    fake.does = said.get("do").cloned().unwrap_or_default();
    let share = said.get("share").and_then(|share| share.parse().ok());
    fake.share = share.unwrap_or(1.0);
    format!("{} of {:.0} %\n", fake.does, fake.share * 100.0)
}

async fn tell(State(fake): State<Shared>) -> String {
    let fake = fake.lock().unwrap_or_else(PoisonError::into_inner);
    fake.got.iter().map(|line| format!("{line}\n")).collect()
}

async fn take(
    State(fake): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let Ok(body) = axum::body::to_bytes(request.into_body(), 64 << 20).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let does = write_down(&fake, uri.path(), &headers, &body);
    match does.as_str() {
        "fail" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "refuse" => (
            StatusCode::BAD_REQUEST,
            axum::Json(json!({"message": "no such recipient"})),
        )
            .into_response(),
        "deny" => StatusCode::UNAUTHORIZED.into_response(),
        "throttle" => {
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "10")]).into_response()
        }
        "hang" => std::future::pending().await,
        "slow" => {
            tokio::time::sleep(Duration::from_secs(3)).await;
            as_taken(uri.path())
        }
        // It says that all is well, as something that stands in its place might.
        "lie" => "<html>welcome</html>".into_response(),
        _ => as_taken(uri.path()),
    }
}

/// Writes down what came, and says what to do with it.
fn write_down(fake: &Shared, path: &str, headers: &HeaderMap, body: &[u8]) -> String {
    let mut fake = fake.lock().unwrap_or_else(PoisonError::into_inner);
    let id = headers
        .get("ce-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or("-");
    let number = fake.got.len();
    let every = (number as f64 * fake.share).fract() + fake.share >= 1.0;
    let does = if every {
        fake.does.clone()
    } else {
        String::new()
    };
    let does = if does.is_empty() {
        "well".to_owned()
    } else {
        does
    };
    fake.got
        .push(format!("{number} {path} {id} {} bytes: {does}", body.len()));
    does
}

/// What the service of this path says when it takes a mail.
fn as_taken(path: &str) -> Response {
    let json = |body: Json| axum::Json(body).into_response();
    match path {
        "/v3/mail/send" => (StatusCode::ACCEPTED, [("x-message-id", "fake")]).into_response(),
        "/v2/email/outbound-emails" => json(json!({"MessageId": "fake"})),
        "/email" => json(json!({"ErrorCode": 0, "Message": "OK", "MessageID": "fake"})),
        _ => json(json!({"id": "<fake>", "message": "Queued. Thank you."})),
    }
}

//! Follows a flag of the daemon over HTTP: how a program in any language lets itself be turned while it runs.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Asks for the flag each second, and gives every answer to `turned`. Without a daemon, or without the flag, nothing is turned.
pub(crate) async fn follow(daemon: &str, flag: &str, turned: impl Fn(&Value)) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let address = format!("{daemon}/api/v1/flags/{flag}");
    loop {
        if let Some(view) = get(&client, &address).await {
            turned(&view["now"]);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn get<C>(client: &Client<C, Empty<Bytes>>, address: &str) -> Option<Value>
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let response = client.get(address.parse().ok()?).await.ok()?;
    let found = response.status().is_success();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok().filter(|_| found)
}

//! A fake provider: it speaks as Mailgun, SendGrid, SES and Postmark do, takes any job on every other path, writes down what it got
//! *before* it answers, and can be told to misbehave while it runs.
//!
//! `cargo run --example fake_provider -- 127.0.0.1:9101 [LEDGER-FILE]`, then
//!
//! ```sh
//! curl -X PUT '127.0.0.1:9101/fake?do=fail&share=0.5'    # well, fail, refuse, deny, throttle, slow, hang, cut, lie; for this share
//! curl 127.0.0.1:9101/fake                               # what it got: one line for each
//! ```

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use sluicegate::fake::Fake;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next();
    let address = address.unwrap_or_else(|| "127.0.0.1:9101".to_owned());
    let append = |path| File::options().create(true).append(true).open(path);
    let ledger = arguments.next().map(append).transpose()?;
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let fake = Arc::new(Fake::new(Duration::from_millis(20), ledger));
    fake.serve(listener, std::future::pending()).await;
    Ok(())
}

//! A write without a body: its query says why.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Doors;
use super::body::Asked;
use super::error::Problem;
use super::write::{Sender, Words};

/// A deletion: why, and who sent it under which conditions.
pub(super) struct Deletion {
    pub(super) words: Words,
    /// Also what is still in use.
    pub(super) force: bool,
    pub(super) sender: Sender,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeletionQuery {
    /// Why; never empty.
    #[serde(default)]
    #[param(required = true, min_length = 1, max_length = 1024)]
    reason: String,
    /// `true`: checks the change and shows what it would lead to; nothing is changed.
    #[serde(default)]
    dry_run: bool,
    /// `true`: also a flag that was evaluated within the last hour.
    #[serde(default)]
    force: bool,
}

impl FromRequestParts<Arc<Doors>> for Deletion {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, doors: &Arc<Doors>) -> Result<Self, Problem> {
        let Asked(query) = Asked::<DeletionQuery>::from_request_parts(parts, doors).await?;
        Ok(Self {
            words: Words::because(&query.reason),
            force: query.force,
            sender: Sender::of(parts, &Bytes::new(), query.dry_run)?,
        })
    }
}

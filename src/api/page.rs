//! Lists come page by page, by cursor; the next page is named in the body and in a Link header.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{MALFORMED_REQUEST, Problem};
use crate::rules::names::segment;

const USUAL_LIMIT: usize = 100;
const MOST: usize = 500;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// How many at most, from 1 to 500; usually 100.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// Where to go on: `next` of the page before.
    pub(super) cursor: Option<String>,
}

impl Paging {
    /// The page of at most `limit` entries after `cursor`.
    pub(super) fn at(limit: Option<usize>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// How many entries a page has at most.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(USUAL_LIMIT);
        if (1..=MOST).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::new(
            MALFORMED_REQUEST,
            format!("`limit` lies between 1 and {MOST}, got {limit}"),
        ))
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// The entries.
    items: Vec<T>,
    /// The `cursor` of the next page; `null`: this is the last one.
    next: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    link: Option<String>,
}

impl<T> Page<T> {
    /// The first entries of `rest`, which begins after the cursor; `path` may end with a query. `place` names an entry for the
    /// cursor.
    pub(super) fn of(
        path: &str,
        paging: &Paging,
        mut rest: impl Iterator<Item = T>,
        place: impl Fn(&T) -> String,
    ) -> Result<Self, Problem> {
        let limit = paging.limit()?;
        let items: Vec<T> = rest.by_ref().take(limit).collect();
        let next = rest.next().and(items.last()).map(place);
        let link = next.as_ref().map(|next| {
            let and = if path.contains('?') { '&' } else { '?' };
            format!(
                "<{path}{and}limit={limit}&cursor={}>; rel=\"next\"",
                segment(next)
            )
        });
        Ok(Self { items, next, link })
    }
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let link = self
            .link
            .as_ref()
            .and_then(|link| HeaderValue::try_from(link).ok());
        let mut response = Json(self).into_response();
        if let Some(link) = link {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

//! The table of who may what: every route with the role that it takes, and where the scope of a caller is looked at.
//!
//! The guard obeys it, the OpenAPI document and the tests of who may are drawn from it. A route that does not stand here fails a
//! test, and until then is for admins alone.

use axum::http::Method;

use crate::rules::access::Need;

/// What a caller's scope is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// Nothing: what is told belongs to no queue and no flag.
    Nothing,
    /// The queue that this part of the path names.
    Queue(&'static str),
    /// The flag that this part of the path names.
    Flag(&'static str),
    /// The opening that this part of the path names: it lies on flags.
    Opening(&'static str),
    /// The segment that this part of the path names: flags name it.
    Segment(&'static str),
    /// The flags or queues that the request names: the handler looks, before anything is changed, since they stand in the body or the
    /// answer has a form of its own.
    Body,
    /// Each entry of a list: the handler leaves out what lies outside.
    Entries,
    /// Everything: only who has no limits to their scope may ask.
    Everything,
}

/// One route: what it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) need: Need,
    pub(super) within: Within,
}

const fn route(method: &'static str, path: &'static str, need: Need, within: Within) -> Route {
    Route {
        method,
        path,
        need,
        within,
    }
}

/// Every route.
#[rustfmt::skip] // a table, one line for each
pub(super) const TABLE: &[Route] = {
    use Need::{Administer, Evaluate, Name, Nothing, Operate, Report, View};
    use Within::{Body, Entries, Everything, Flag, Opening, Queue, Segment};
    &[
        route("GET", "/livez", Nothing, Within::Nothing),
        route("GET", "/readyz", Nothing, Within::Nothing),
        route("GET", "/metrics", View, Everything),
        route("GET", "/", View, Entries),
        route("GET", "/status", View, Entries),
        route("GET", "/api/v1/flags", View, Entries),
        route("GET", "/api/v1/flags/{key}", View, Flag("key")),
        route("PUT", "/api/v1/flags/{key}", Operate, Flag("key")),
        route("PATCH", "/api/v1/flags/{key}", Operate, Flag("key")),
        route("DELETE", "/api/v1/flags/{key}", Administer, Flag("key")),
        route("POST", "/api/v1/flags/{key}/preview", View, Flag("key")),
        route("POST", "/api/v1/flags/{key}/undo", Operate, Flag("key")),
        route("GET", "/api/v1/flags/{key}/history", View, Flag("key")),
        route("POST", "/api/v1/flags/apply", Operate, Body),
        route("GET", "/api/v1/segments", View, Entries),
        route("GET", "/api/v1/segments/{name}", View, Segment("name")),
        route("PUT", "/api/v1/segments/{name}", Operate, Segment("name")),
        route("DELETE", "/api/v1/segments/{name}", Administer, Segment("name")),
        route("POST", "/api/v1/segments/{name}/members", Operate, Segment("name")),
        route("GET", "/api/v1/explain", View, Entries),
        route("GET", "/api/v1/openings", View, Entries),
        route("POST", "/api/v1/openings", Operate, Body),
        route("POST", "/api/v1/openings/{id}/close", Operate, Opening("id")),
        route("POST", "/api/v1/openings/{id}/extend", Operate, Opening("id")),
        route("GET", "/api/v1/changes", View, Entries),
        route("POST", "/api/v1/changes", Operate, Body),
        route("GET", "/api/v1/changes/verify", View, Everything),
        route("GET", "/api/v1/queues", View, Entries),
        route("GET", "/api/v1/queues/{name}", View, Queue("name")),
        route("GET", "/api/v1/queues/{name}/lanes", View, Queue("name")),
        route("GET", "/api/v1/queues/{name}/scale", View, Queue("name")),
        route("POST", "/api/v1/queues/{name}/release", Operate, Queue("name")),
        route("POST", "/api/v1/queues/{name}/relieve", Operate, Queue("name")),
        route("GET", "/api/v1/providers", View, Entries),
        route("GET", "/api/v1/pools", View, Entries),
        route("GET", "/api/v1/providers/unknown", View, Entries),
        route("POST", "/api/v1/providers/unknown/resolve", Operate, Body),
        route("POST", "/api/v1/outcomes", Report, Body),
        route("GET", "/api/v1/events", View, Entries),
        route("GET", "/api/v1/authz/{flag}", Evaluate, Body),
        route("POST", "/ofrep/v1/evaluate/flags", Evaluate, Entries),
        route("POST", "/ofrep/v1/evaluate/flags/{key}", Evaluate, Body),
        route("GET", "/ofrep/v1/events", Evaluate, Within::Nothing),
        route("GET", "/api/v1/openapi.json", Name, Within::Nothing),
    ]
};

impl Route {
    /// Whether it changes anything.
    pub(super) const fn writes(&self) -> bool {
        matches!(self.need, Need::Operate | Need::Administer | Need::Report)
    }
}

/// The route of a path as the router writes it; HEAD is a GET without its answer.
pub(super) fn find(method: &Method, path: &str) -> Option<&'static Route> {
    let method = if method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    TABLE
        .iter()
        .find(|route| route.method == method && route.path == path)
}

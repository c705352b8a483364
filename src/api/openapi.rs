//! The document of all doors, drawn from the same table as the router; what all of them share is added here.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Ref, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, ContentBuilder, OpenApi, RefOr, Response as Described};
use utoipa::openapi::{InfoBuilder, ResponseBuilder};

use super::error::PROBLEM_JSON;
use super::ofrep;
use super::routes::{self, Within};
use super::write::{LONGEST_KEY, LONGEST_NAME};
use crate::rules::access::Need;

/// The document before any route: what no route names by itself.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(super::error::Document)))]
struct Start;

/// What the table of routes begins with.
pub(super) fn start() -> OpenApi {
    <Start as utoipa::OpenApi>::openapi()
}

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| openapi().to_pretty_json().unwrap_or_default());

/// The document of all of this.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "document", responses(
    (status = 200, description = "This document (OpenAPI).", body = Object),
))]
pub(super) async fn read() -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, DOCUMENT.as_str()).into_response()
}

/// The OpenAPI document of every route: parameters, bodies, answers and problems.
#[must_use]
pub fn openapi() -> OpenApi {
    let mut document = super::table().into_openapi();
    super::shapes::add(&mut document);
    document.info = InfoBuilder::new()
        .title("Sluicegate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "An operational control panel for queues: flags, openings, and how each queue does. Errors are \
             application/problem+json; `type` is stable, `detail` says the cure.",
        ))
        .build();
    secure(&mut document);
    for (path, item) in &mut document.paths.paths {
        let reads = [&mut item.get];
        let evaluates = path.starts_with(ofrep::PATH); // reads, in the words of another protocol
        let guarded = evaluates || path.starts_with("/api/") || path == "/" || path == "/status";
        let writes = [
            &mut item.put,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in reads.into_iter().flatten() {
            let may_ask = operation.parameters.is_some();
            add(
                operation,
                400,
                "The request cannot be read.",
                guarded && may_ask,
            );
            add(
                operation,
                421,
                "Called by a name that is not this daemon's.",
                guarded,
            );
            shared(operation);
        }
        for operation in writes.into_iter().flatten() {
            if evaluates {
                add(operation, 403, "A page of another site sent it.", true);
                add(
                    operation,
                    421,
                    "Called by a name that is not this daemon's.",
                    true,
                );
                shared(operation);
                continue;
            }
            for (status, description) in OF_WRITES {
                add(operation, status, description, true);
            }
            let parameters = operation.parameters.get_or_insert_default();
            parameters.extend(headers_of_writes().map(RefOr::T));
            shared(operation);
        }
    }
    document
}

/// Says of each operation which role it takes, and how those are answered who do not have it.
fn secure(document: &mut OpenApi) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A token that `sluicegate token new` printed. Where the file names no token and no user, everybody on the machine may all.",
        ))
        .build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(TOKEN, SecurityScheme::Http(bearer));
    let key = ApiKeyValue::with_description("X-API-Key", "The same token, as OFREP has it.");
    components.add_security_scheme(KEY, SecurityScheme::ApiKey(ApiKey::Header(key)));
    for route in routes::TABLE {
        let item = document.paths.paths.get_mut(route.path);
        let Some(operation) = item.and_then(|item| operation_of(item, route.method)) else {
            continue;
        };
        if route.need == Need::Nothing {
            continue;
        }
        let by = |scheme: &str| SecurityRequirement::new(scheme, [] as [&str; 0]);
        operation.security = Some(match route.path.starts_with(ofrep::PATH) {
            true => vec![by(TOKEN), by(KEY)],
            false => vec![by(TOKEN)],
        });
        let takes = format!("Takes the role {}.", route.need.roles());
        operation.description = Some(match operation.description.take() {
            Some(text) if !text.is_empty() => format!("{text}\n\n{takes}"),
            _ => takes,
        });
        let denied = match (route.writes(), route.within) {
            (true, _) => "A page of another site sent it, or your role or scope does not allow it.",
            (false, Within::Everything) => "Your role does not allow it, or your scope has limits.",
            (false, _) => "Your role does not allow it.",
        };
        add(operation, 401, "No token that is good now.", true);
        add(operation, 403, denied, route.need != Need::Name);
        add(
            operation,
            429,
            "Too many wrong tokens came from there.",
            true,
        );
    }
}

const TOKEN: &str = "token";
const KEY: &str = "key";

/// The operation of a path by its method.
pub(super) fn operation_of<'i>(item: &'i mut PathItem, method: &str) -> Option<&'i mut Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "PUT" => item.put.as_mut(),
        "POST" => item.post.as_mut(),
        "PATCH" => item.patch.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

/// What any write may be answered.
const OF_WRITES: [(u16, &str); 10] = [
    (
        400,
        "The request or its JSON cannot be read; `detail` says where.",
    ),
    (403, "A page of another site sent it."),
    (408, "The body did not come within 10 s."),
    (
        413,
        "The body is larger than 256 KiB (segments and files of flags: 4 MiB).",
    ),
    (415, "It was not sent as application/json."),
    (421, "Called by a name that is not this daemon's."),
    (
        422,
        "The body or the change does not fit; `errors` says where.",
    ),
    (
        429,
        "More changes a minute than `changes_per_minute` of the file allows; Retry-After says when the next may come.",
    ),
    (500, "A fault of ours."),
    (503, "The store cannot be written; nothing was changed."),
];

fn headers_of_writes() -> [Parameter; 2] {
    let text = |longest: usize| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(longest))
            .build()
    };
    let header = |name: &str, longest: usize, description: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .description(Some(description))
            .schema(Some(text(longest)))
            .build()
    };
    [
        header(
            "Idempotency-Key",
            LONGEST_KEY,
            "1 to 128 characters. The same request with the same key within 24 h gets the same answer and changes nothing more.",
        ),
        header(
            "Sluicegate-User",
            LONGEST_NAME,
            "Who turns the knob, 1 to 64 characters; `local` if not said.",
        ),
    ]
}

fn add(operation: &mut Operation, status: u16, description: &str, applies: bool) {
    if applies {
        operation
            .responses
            .responses
            .entry(status.to_string())
            .or_insert_with(|| {
                ResponseBuilder::new()
                    .description(description)
                    .build()
                    .into()
            });
    }
}

/// Every operation has a name of its own (`flags_list`), and every answer from 400 on without content of its own is a problem.
fn shared(operation: &mut Operation) {
    let room = operation.tags.iter().flatten().next().cloned();
    let verb = operation.operation_id.take().unwrap_or_default();
    operation.operation_id = Some(format!("{}_{verb}", room.unwrap_or_default()));
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(Described { content, .. }) = response
            && status.as_str() >= "400"
            && content.is_empty()
        {
            content.insert(PROBLEM_JSON.to_owned(), problem().into());
        }
    }
}

fn problem() -> Content {
    ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build()
}

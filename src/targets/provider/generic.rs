//! Any HTTP service that takes the job as it is: the message's body, with the headers that an HTTP worker gets.

use super::Work;
use super::exchange::{Answered, Api, Request};
use crate::config::secret::Secret;
use crate::rules::reply::Reply;
use crate::targets::request::headers_of;

pub(super) struct Generic;

impl Api for Generic {
    fn request(&self, work: &Work, secret: &Secret, _: i64) -> Result<Request, Reply> {
        let key = secret.expose();
        let bearer = (!key.is_empty()).then(|| ("authorization", format!("Bearer {key}")));
        Ok(Request {
            path: String::new(),
            headers: bearer.into_iter().collect(),
            more: headers_of(&work.job),
            content_type: String::new(),
            body: work.job.raw.body.clone(),
        })
    }

    fn reply(&self, answer: &Answered) -> Reply {
        match answer.status {
            200..=299 => Reply::Done(None),
            _ => answer.by_status(None),
        }
    }
}

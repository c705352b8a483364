//! Mails: the job that a service hands over, checked once, and the message made of it for those who take whole messages.
//! May import `rules`.

mod job;
mod mime;

pub(super) use job::Mail;
#[cfg(test)]
pub(super) use job::tests;
pub use job::{Address, Attachment, MailJob, schema};

//! Mails: the job that a service hands over, checked once, and the message made of it for those who take whole messages.
//! May import `rules`.

mod job;
mod mime;
mod recipients;
#[cfg(test)]
pub(super) mod tests;

pub(super) use job::Mail;
pub use job::{Address, Attachment, MailJob, schema};
pub(super) use recipients::Recipient;

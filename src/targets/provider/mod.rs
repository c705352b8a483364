//! Adapters: how each kind of provider is asked to do a job, and what its answers mean. Each is one small file: a request and a table.
//! May import `config`, `seams`, `clock` and `rules`.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::mail::Mail;
use crate::clock::Clock;
use crate::config::provider::{Kind, Provider};
use crate::rules::reply::Reply;
use crate::seams::Job;
use exchange::Exchange;
use smtp::Smtp;

mod exchange;
mod generic;
#[cfg(test)]
mod http_tests;
mod keyring;
#[cfg(test)]
mod mail_tests;
mod mailgun;
mod postmark;
mod sendgrid;
mod ses;
mod signature;
mod smtp;
#[cfg(test)]
mod tests;
mod wary;

pub(super) use keyring::Keyring;

/// A job as an adapter gets it.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) job: Job,
    /// The mail in it, when its pool sends mail.
    pub(super) mail: Option<Mail>,
}

impl Work {
    fn mail(&self) -> Result<&Mail, Reply> {
        let none = || Reply::Recipient("the job is no mail".to_owned());
        self.mail.as_ref().ok_or_else(none)
    }
}

const NO_SUCH_CERTIFICATE: &str = "its certificate is not one that we accept";

/// Whether somebody was not believed to be who he is.
fn is_about_its_certificate(why: &(dyn Error + 'static)) -> bool {
    let mut next = Some(why);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        // What an I/O error was made of is not its source, but that one's source is.
        let within = error.downcast_ref::<std::io::Error>();
        let within = within.and_then(std::io::Error::get_ref);
        next = within.map_or_else(|| error.source(), |inner| Some(inner));
    }
    false
}

type Asking<'a> = Pin<Box<dyn Future<Output = Reply> + 'a>>;

/// A provider that can be asked.
pub(super) enum Adapter {
    Http(Exchange),
    Smtp(Smtp),
}

impl Adapter {
    /// How this provider is spoken to. Connects when the first job comes. The error says why nobody could be trusted.
    pub(super) fn of(provider: &Provider, clock: Clock) -> Result<Self, String> {
        let http = |api| Exchange::new(provider, api, clock).map(Self::Http);
        match provider.kind {
            Kind::Http => http(Box::new(generic::Generic)),
            Kind::Mailgun => http(Box::new(mailgun::Mailgun::of(provider))),
            Kind::Sendgrid => http(Box::new(sendgrid::Sendgrid)),
            Kind::Ses => http(Box::new(ses::Ses::of(provider))),
            Kind::Postmark => http(Box::new(postmark::Postmark)),
            Kind::Smtp => Smtp::new(provider, clock).map(Self::Smtp),
        }
    }

    /// What the provider knows us by.
    pub(super) fn keyring(&self) -> &Keyring {
        match self {
            Self::Http(exchange) => &exchange.keyring,
            Self::Smtp(smtp) => &smtp.keyring,
        }
    }

    /// Asks for the job to be done, and waits no longer than this for the answer.
    pub(super) fn ask<'a>(&'a self, work: &'a Work, within: Duration) -> Asking<'a> {
        match self {
            Self::Http(exchange) => Box::pin(exchange.ask(work, within)),
            Self::Smtp(smtp) => Box::pin(smtp.ask(work, within)),
        }
    }
}

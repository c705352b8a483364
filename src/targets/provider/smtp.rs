//! A mail server: one conversation for each mail, on connections that are kept for the next. STARTTLS is required unless the server is
//! this machine. What matters when it breaks: from the first byte of the message on, the server may have it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};

use super::{Keyring, Work};
use crate::clock::Clock;
use crate::config::provider::Provider;
use crate::rules::reply::Reply;
use crate::targets::mail::Mail;

/// Servers close idle connections after a while: ours goes first.
const IDLE_AT_MOST: Duration = Duration::from_secs(20);
/// So many idle connections are kept.
const MOST_IDLE: usize = 20;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A mail server.
pub(in crate::targets) struct Smtp {
    host: String,
    port: u16,
    /// TLS from the first byte, instead of STARTTLS.
    wrapped: bool,
    loopback: bool,
    /// Whether the file says who may have signed its certificate.
    trusts: bool,
    tls: TlsParameters,
    user: Option<String>,
    pub(super) keyring: Keyring,
    idle: RefCell<Vec<(AsyncSmtpConnection, Duration)>>,
    clock: Clock,
}

impl Smtp {
    pub(super) fn new(provider: &Provider, clock: Clock) -> Result<Self, String> {
        let (scheme, rest) = provider.url.split_once("://").unwrap_or_default();
        let wrapped = scheme == "smtps";
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap_or(0)),
            _ => (rest, if wrapped { 465 } else { 587 }),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        let mut tls = TlsParameters::builder(host.clone());
        if let Some(path) = &provider.ca_file {
            let pem = std::fs::read(path).map_err(|why| format!("`ca_file`: {why}"))?;
            let trusted = Certificate::from_pem(&pem).map_err(|why| why.to_string())?;
            tls = tls
                .certificate_store(CertificateStore::None)
                .add_root_certificate(trusted);
        }
        let address = host.parse::<std::net::IpAddr>();
        Ok(Self {
            loopback: host == "localhost" || address.is_ok_and(|ip| ip.is_loopback()),
            trusts: provider.ca_file.is_some(),
            tls: tls.build_rustls().map_err(|why| why.to_string())?,
            user: provider.user.clone(),
            keyring: Keyring::new(provider.credential.as_ref()),
            idle: RefCell::default(),
            host,
            port,
            wrapped,
            clock,
        })
    }

    pub(super) async fn ask(&self, work: &Work, within: Duration) -> Reply {
        let mail = match work.mail() {
            Ok(mail) => mail,
            Err(reply) => return reply,
        };
        let message = match mail.message(self.clock.now().ms) {
            Ok(message) => message,
            Err(why) => return Reply::Recipient(why),
        };
        let may_have = Cell::new(false);
        let sending = self.send(mail, &message, &may_have);
        match tokio::time::timeout(within, sending).await {
            Ok(reply) => reply,
            Err(_) if may_have.get() => {
                Reply::Unknown(format!("it gave no answer to the mail within {within:?}"))
            }
            Err(_) => Reply::Provider(format!("it did not take the mail within {within:?}")),
        }
    }

    async fn send(&self, mail: &Mail, message: &[u8], may_have: &Cell<bool>) -> Reply {
        if let Some(mut kept) = self.kept() {
            match converse(&mut kept, mail, message, may_have).await {
                // It was closed while it was idle, so nobody has heard of this mail.
                Err(Stage::From(why)) if why.status().is_none() => {}
                ended => return self.ended(kept, ended).await,
            }
        }
        let mut fresh = match self.connect().await {
            Ok(fresh) => fresh,
            Err(reply) => return reply,
        };
        let ended = converse(&mut fresh, mail, message, may_have).await;
        self.ended(fresh, ended).await
    }

    async fn ended(
        &self,
        mut connection: AsyncSmtpConnection,
        ended: Result<Reply, Stage>,
    ) -> Reply {
        match ended {
            Ok(reply) => {
                let mut idle = self.idle.borrow_mut();
                if !connection.has_broken() && idle.len() < MOST_IDLE {
                    idle.push((connection, self.clock.now().mono));
                }
                reply
            }
            Err(stage) => {
                let quit = tokio::time::timeout(Duration::from_millis(200), connection.abort());
                let _ = quit.await;
                stage.reply()
            }
        }
    }

    #[cfg(test)]
    pub(super) fn pretend_it_is_elsewhere(&mut self) {
        self.loopback = false;
    }

    fn kept(&self) -> Option<AsyncSmtpConnection> {
        let now = self.clock.now().mono;
        let mut idle = self.idle.borrow_mut();
        idle.retain(|(_, since)| now.saturating_sub(*since) < IDLE_AT_MOST);
        idle.pop().map(|(connection, _)| connection)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Reply> {
        let tls = self.wrapped.then(|| self.tls.clone());
        let hello = ClientId::default();
        let address = (self.host.as_str(), self.port);
        let connecting =
            AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT_WITHIN), &hello, tls, None);
        let mut connection = connecting.await.map_err(|why| refused_at_the_door(&why))?;
        let encrypts = !self.wrapped && (!self.loopback || self.trusts);
        if encrypts {
            if !connection.can_starttls() {
                return Err(Reply::Ours(
                    "it does not offer STARTTLS, and nothing is sent in the clear".to_owned(),
                ));
            }
            let starting = connection.starttls(self.tls.clone(), &hello);
            starting.await.map_err(|why| refused_at_the_door(&why))?;
        }
        if let Some(user) = &self.user {
            let password = self.keyring.secret().expose().to_owned();
            let login = Credentials::new(user.clone(), password);
            let signing_in = connection.auth(&[Mechanism::Plain, Mechanism::Login], &login);
            signing_in.await.map_err(|why| match code_of(&why) {
                Some(code) if code >= 500 => {
                    Reply::Ours(format!("it answered {code} to our sign-in"))
                }
                Some(code) => Reply::Provider(format!("it answered {code} to our sign-in")),
                None if why.is_client() => {
                    Reply::Ours("it offers no sign-in that we know".to_owned())
                }
                None => Reply::Provider("the connection broke at the sign-in".to_owned()),
            })?;
        }
        Ok(connection)
    }
}

fn refused_at_the_door(why: &Error) -> Reply {
    match code_of(why) {
        Some(code) => Reply::Provider(format!("it answered {code} at the door")),
        None if why.is_tls() => Reply::Ours("its certificate or TLS is not accepted".to_owned()),
        None => Reply::Provider("the connection could not be made".to_owned()),
    }
}

/// Where a conversation ended early, and with what.
enum Stage {
    From(Error),
    To(Error),
    Data(Error),
    Message(Error),
    Missing(&'static str),
}

/// Says the mail. Of several recipients those that are refused are left out, as long as one is taken.
async fn converse(
    connection: &mut AsyncSmtpConnection,
    mail: &Mail,
    message: &[u8],
    may_have: &Cell<bool>,
) -> Result<Reply, Stage> {
    let boxes = [&mail.to, &mail.cc, &mail.bcc].into_iter().flatten();
    let to: Vec<&Address> = boxes.map(|mailbox| &mailbox.email).collect();
    let plain = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    let mut parameters = Vec::new();
    if !plain(&mail.from.email) || !to.iter().all(|address| plain(address)) {
        if !connection
            .server_info()
            .supports_feature(Extension::SmtpUtfEight)
        {
            return Err(Stage::Missing(
                "an address is not ASCII, and it takes no others",
            ));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !message.is_ascii() {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    let from = MailFrom::new(Some(mail.from.email.clone()), parameters);
    connection.command(from).await.map_err(Stage::From)?;
    let (mut taken, mut refused) = (0, None);
    for address in to {
        match connection
            .command(Rcpt::new(address.clone(), Vec::new()))
            .await
        {
            Ok(_) => taken += 1,
            Err(why) if why.is_permanent() => {
                let code = code_of(&why).unwrap_or_default();
                mail.refused(
                    address.as_ref(),
                    &format!("it answered {code} to this recipient"),
                );
                refused = Some(why);
            }
            Err(why) => return Err(Stage::To(why)),
        }
    }
    match refused {
        Some(why) if taken == 0 => return Err(Stage::To(why)),
        Some(_) => tracing::warn!(
            message_id = mail.message_id,
            "some recipients of a mail were refused, the others have it"
        ),
        None => {}
    }
    connection.command(Data).await.map_err(Stage::Data)?;
    may_have.set(true);
    let answer = connection.message(message).await.map_err(Stage::Message)?;
    let said = answer.first_line().unwrap_or_default();
    let id: String = said
        .chars()
        .filter(|letter| !letter.is_control())
        .take(200)
        .collect();
    Ok(Reply::Done((!id.is_empty()).then_some(id)))
}

impl Stage {
    fn reply(&self) -> Reply {
        let (why, at) = match self {
            Self::Missing(what) => return Reply::Sender((*what).to_owned()),
            Self::From(why) => (why, "From"),
            Self::To(why) => (why, "a recipient"),
            Self::Data(why) => (why, "DATA"),
            Self::Message(why) => (why, "the mail"),
        };
        let Some(code) = code_of(why) else {
            let cause = format!("the connection broke at {at}");
            return match self {
                Self::Message(_) => Reply::Unknown(cause),
                _ => Reply::Provider(cause),
            };
        };
        let enhanced = enhanced_code(why);
        let cause = format!("it answered {code} to {at}");
        let policy = enhanced
            .as_deref()
            .is_some_and(|code| code.starts_with("5.7."));
        match (self, code) {
            (_, 421) => Reply::Provider(cause),
            (_, 530 | 534 | 535 | 538) => Reply::Ours(cause),
            (Self::To(_), 400..=499) => Reply::Later(cause),
            (_, 400..=499) => Reply::Provider(cause),
            (Self::From(_), _) => Reply::Sender(cause),
            // "Relay access denied" says nothing of the recipient.
            (Self::To(_), _) if policy => Reply::Sender(cause),
            _ => Reply::Recipient(cause),
        }
    }
}

fn code_of(why: &Error) -> Option<u16> {
    why.status().map(u16::from)
}

/// The enhanced status code in an error's words, such as `5.7.1`.
fn enhanced_code(why: &Error) -> Option<String> {
    let text = std::error::Error::source(why)?.to_string();
    let of_code = |word: &&str| {
        let parts: Vec<&str> = word.split('.').collect();
        parts.len() == 3 && parts.iter().all(|part| part.parse::<u16>().is_ok())
    };
    text.split_whitespace().find(of_code).map(str::to_owned)
}

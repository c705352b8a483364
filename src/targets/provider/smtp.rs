//! A mail server: one conversation for each mail, on connections that are kept for the next. STARTTLS is required unless the server is
//! this machine. What matters when it breaks: from the first byte of the message on, the server may have it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures_util::future::OptionFuture;
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::wary::Wary;
use super::{Keyring, NO_SUCH_CERTIFICATE, Work, is_about_its_certificate};
use crate::clock::Clock;
use crate::config::provider::Provider;
use crate::config::secret::Secret;
use crate::rules::reply::Reply;
use crate::targets::mail::Mail;

/// Servers close idle connections after a while: ours goes first.
const IDLE_AT_MOST: Duration = Duration::from_secs(20);
/// So many idle connections are kept.
const MOST_IDLE: usize = 20;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A secret that was refused is not tried again for so long: servers lock out who does.
const SAME_SECRET_AGAIN: Duration = Duration::from_secs(300);

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
    /// Until a secret is known to be good, one tries it for all.
    first_to_sign_in: Mutex<()>,
    signed_in: Cell<bool>,
    /// The secret that was refused last, when, and with what.
    refused: RefCell<Option<(Secret, Duration, u16)>>,
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
            first_to_sign_in: Mutex::default(),
            signed_in: Cell::default(),
            refused: RefCell::default(),
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
        let Some(user) = &self.user else {
            return self.knock().await;
        };
        let alone = (!self.signed_in.get()).then(|| self.first_to_sign_in.lock());
        let _alone = OptionFuture::from(alone).await;
        let secret = self.keyring.secret();
        if let Some(code) = self.refused_lately(&secret) {
            let minutes = SAME_SECRET_AGAIN.as_secs() / 60;
            return Err(Reply::Ours(format!(
                "it answered {code} to our sign-in; the same secret is tried again after {minutes} min, another one at once"
            )));
        }
        let mut connection = self.knock().await?;
        let login = Credentials::new(user.clone(), secret.expose().to_owned());
        let signing_in = connection.auth(&[Mechanism::Plain, Mechanism::Login], &login);
        let answer = signing_in.await.map_err(|why| (code_of(&why), why));
        self.signed_in.set(answer.is_ok());
        match answer {
            Ok(_) => Ok(connection),
            Err((Some(code), _)) if code >= 500 => {
                let now = self.clock.now().mono;
                self.refused.replace(Some((secret, now, code)));
                Err(Reply::Ours(format!("it answered {code} to our sign-in")))
            }
            Err((Some(code), _)) => Err(Reply::Provider(format!(
                "it answered {code} to our sign-in"
            ))),
            Err((None, why)) if why.is_client() => {
                Err(Reply::Ours("it offers no sign-in that we know".to_owned()))
            }
            Err((None, _)) => Err(Reply::Provider(
                "the connection broke at the sign-in".to_owned(),
            )),
        }
    }

    /// What it answered to this secret, if that was lately.
    fn refused_lately(&self, secret: &Secret) -> Option<u16> {
        let refused = self.refused.borrow();
        let (known, at, code) = refused.as_ref()?;
        let lately = self.clock.now().mono < *at + SAME_SECRET_AGAIN;
        (lately && known == secret).then_some(*code)
    }

    /// A connection, encrypted where that is required; nobody has signed in yet.
    async fn knock(&self) -> Result<AsyncSmtpConnection, Reply> {
        let hello = ClientId::default();
        let address = (self.host.as_str(), self.port);
        if self.wrapped {
            let (within, tls) = (Some(CONNECT_WITHIN), Some(self.tls.clone()));
            let connecting =
                AsyncSmtpConnection::connect_tokio1(address, within, &hello, tls, None);
            return connecting.await.map_err(|why| refused_at_the_door(&why));
        }
        let nobody = || Reply::Provider("the connection could not be made".to_owned());
        let connecting = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address));
        let stream = connecting.await.map_err(|_| nobody())?;
        let stream = stream.map_err(|_| nobody())?;
        let _ = stream.set_nodelay(true);
        let encrypts = !self.loopback || self.trusts;
        let stream = Box::new(Wary::new(stream, encrypts));
        let connecting = AsyncSmtpConnection::connect_with_transport(stream, &hello);
        let mut connection = connecting.await.map_err(|why| refused_at_the_door(&why))?;
        if encrypts {
            if !connection.can_starttls() {
                return Err(Reply::Ours(
                    "it does not offer STARTTLS, and nothing is sent in the clear".to_owned(),
                ));
            }
            let starting = connection.starttls(self.tls.clone(), &hello);
            starting.await.map_err(|why| refused_at_the_door(&why))?;
        }
        Ok(connection)
    }
}

fn refused_at_the_door(why: &Error) -> Reply {
    match code_of(why) {
        Some(code) => Reply::Provider(format!("it answered {code} at the door")),
        None if why.is_tls() || is_about_its_certificate(why) => {
            Reply::Ours(NO_SUCH_CERTIFICATE.to_owned())
        }
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
